from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.spoken cimport spoken_in
from native.codec.usage cimport Tokens, resolve_usage
from native.proxy.answer_reader cimport EVENTS, FAULT, HOLD
from native.state.allowance cimport usual_output


cdef int64_t seen_of(AnswerReader reader):
    """Return the output tokens of what has come of an answer; -1 = it was relayed unread."""
    cdef bytes content
    if reader.mode == EVENTS:
        if reader.scanner is None:
            return 0
        return max(<int64_t>reader.scanner.events, (reader.scanner.said_size + 3) // 4)
    if reader.mode == FAULT:
        return 0
    if reader.mode != HOLD:
        return -1
    if not reader.held:
        return 0
    content = b"".join(reader.held)
    return (spoken_in(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content)) + 3) // 4


cdef int64_t _bounded(const Tokens* tokens, int64_t most) noexcept:
    """Return the output as it was counted, unless no answer can have so much."""
    if tokens.output <= most:
        return tokens.output
    return tokens.said if 0 <= tokens.said <= most else most


cdef int measure(AnswerReader reader, const Basis* basis, Used* used) except -1:
    cdef Tokens tokens
    cdef int64_t prompt, output, seen = -2          # -2: not looked at yet
    cdef bint known = False
    resolve_usage(&reader.scanner.usage if reader.mode == EVENTS and reader.scanner is not None else &reader.usage, &tokens)
    prompt = tokens.prompt if tokens.prompt <= <int64_t>basis.prompt_most else -1
    output = tokens.output
    if prompt == 0 and output <= 0:
        prompt = output = -1        # counts that were never filled in
    if output > <int64_t>basis.output_most:
        # more than was asked for; a provider may have ignored that, so what was seen counts in any case
        seen = seen_of(reader)
        output = _bounded(&tokens, max(<int64_t>basis.output_most, seen))
    if basis.complete or basis.shown or basis.left:
        if reader.mode == EVENTS and (not basis.complete or output <= 0):
            output = max(output, seen_of(reader))       # a running count, or an initial 0, is too low
        if output < 0:
            seen = 0 if basis.silent else seen_of(reader) if seen == -2 else seen
            output = <int64_t>usual_output(basis.route, &known) if seen < 0 else max(seen, <int64_t>basis.output_least)
        if prompt < 0:
            prompt = basis.prompt
            tokens.cached = 0
            tokens.image_prompt = basis.picture_prompt
            tokens.audio_prompt = basis.sound_prompt
    used.prompt = max(prompt, 0)
    used.output = max(output, 0)
    used.cached = tokens.cached
    used.audio_prompt = tokens.audio_prompt
    used.image_prompt = tokens.image_prompt
    used.reasoning = tokens.reasoning
    used.audio_output = tokens.audio_output
