from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.media cimport PICTURE, SOUND, VIDEO
from native.codec.request_peek cimport peek_request
from native.proxy.router cimport (
    OPERATION_CHAT, OPERATION_EMBED, OPERATION_EMBEDDINGS, OPERATION_GENERATE, OPERATION_MESSAGES, OPERATION_RESPONSES,
    OPERATION_SPEECH, OPERATION_STREAM, SPOKEN,
)
from native.state.counters cimport (
    C_AUDIO, C_CHAT, C_EMBEDDINGS, C_JSON, C_LONG_CONTEXT, C_REASONING, C_STREAMING, C_TOOLS, C_VISION,
)

cdef enum:
    CHATS = (
        1 << OPERATION_CHAT | 1 << OPERATION_RESPONSES | 1 << OPERATION_MESSAGES | 1 << OPERATION_GENERATE
        | 1 << OPERATION_STREAM
    )
    SEEN = 1 << PICTURE | 1 << VIDEO

# What a refusal calls a capability (edge.providers.wordings has whole refusals). Nobody declines a stream in words.
cdef tuple WORDS = (
    (<int>C_VISION, (b"image", b"vision", b"multimodal", b"modalit", b"video")),
    (<int>C_AUDIO, (b"audio", b"modalit")),
    (<int>C_TOOLS, (b"tool", b"function")),
    (<int>C_JSON, (b"response_format", b"json", b"structured")),
    (<int>C_REASONING, (b"reasoning", b"thinking")),
)


cdef uint64_t needs_of(int operation, const Peek* peek, const Media* media, Py_ssize_t text_size) noexcept:
    cdef int kinds = media.kinds
    cdef uint64_t needs
    if not <int>CHATS >> operation & 1:
        if operation == OPERATION_EMBEDDINGS or operation == OPERATION_EMBED:
            return 1 << <int>C_EMBEDDINGS
        if operation == OPERATION_SPEECH or <int>SPOKEN >> operation & 1:
            return 1 << <int>C_AUDIO
        return 0
    needs = 1 << <int>C_CHAT
    if peek.stream == 1:
        needs |= 1 << <int>C_STREAMING
    if peek.tools:
        needs |= 1 << <int>C_TOOLS
    if peek.structured:
        needs |= 1 << <int>C_JSON
    if peek.reasons:
        needs |= 1 << <int>C_REASONING
    if text_size // 4 > <int>LONG_PROMPT:
        needs |= 1 << <int>C_LONG_CONTEXT
    if kinds & <int>SEEN:
        needs |= 1 << <int>C_VISION
    if kinds >> <int>SOUND & 1:
        needs |= 1 << <int>C_AUDIO
    return needs


cdef bint hides_letters(bytes content) noexcept:
    return b"\\u005" in content or b"\\u006" in content or b"\\u007" in content


cdef bint may_act_at_provider(bytes content) noexcept:
    # Providers call the tools of MCP servers themselves, and run code in containers.
    return (
        b'"mcp"' in content or b'"mcp_servers"' in content or b'"container"' in content or hides_letters(content)
    )


cdef int lacking(bytes text, uint64_t needs) except -2:
    cdef bytes words = text[:4096].lower()
    for capability, names in WORDS:
        if needs >> <int>capability & 1:
            for name in names:
                if name in words:
                    return capability
    return -1


def needs_in(int operation, bytes body not None):
    """Return what a JSON request needs, as bits: ``needs_of`` for tests."""
    cdef Peek peek
    cdef Media media
    peek_request(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &peek, &media)
    return needs_of(operation, &peek, &media, PyBytes_GET_SIZE(body) - media.size)


def named_in(bytes text not None, uint64_t needs):
    """``lacking`` for tests."""
    return lacking(text, needs)
