from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from native.codec.characters cimport token_char

cdef extern from "Python.h":
    char* PyBytes_AS_STRING(void* bytes) noexcept       # of a borrowed object, without a reference
    Py_ssize_t Py_SIZE(void* object) noexcept

# The fields of RFC 9110 7.6.1, those that speak to the next hop only, and those that a Head holds as attributes.
cdef dict SPECIAL = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": PROXY_CONNECTION,
    b"proxy-authenticate": HOP,
    b"proxy-authorization": HOP,
    b"te": HOP,
    b"trailer": TRAILER,
    b"http2-settings": HOP,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"content-type": CONTENT_TYPE,
    b"content-encoding": CONTENT_ENCODING,
}

# What clients and providers of models, browsers, proxies and gRPC send.
cdef tuple COMMON = (
    b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"accept-ranges", b"age", b"allow",
    b"alt-svc", b"anthropic-beta", b"anthropic-organization-id", b"anthropic-ratelimit-requests-limit",
    b"anthropic-ratelimit-requests-remaining", b"anthropic-ratelimit-requests-reset",
    b"anthropic-ratelimit-tokens-limit", b"anthropic-ratelimit-tokens-remaining",
    b"anthropic-ratelimit-tokens-reset", b"anthropic-version", b"api-key", b"authorization", b"baggage",
    b"cache-control", b"cf-cache-status", b"cf-ray", b"content-disposition", b"content-language", b"content-location",
    b"content-range", b"content-security-policy", b"cookie", b"date", b"dnt", b"etag", b"expires", b"forwarded", b"from",
    b"grpc-accept-encoding", b"grpc-encoding", b"grpc-message", b"grpc-status", b"grpc-timeout", b"if-match",
    b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"last-modified", b"link", b"location",
    b"max-forwards", b"openai-beta", b"openai-model", b"openai-organization", b"openai-processing-ms",
    b"openai-project", b"openai-version", b"origin", b"pragma", b"priority", b"range", b"referer", b"request-id",
    b"retry-after", b"retry-after-ms", b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-user",
    b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-key", b"sec-websocket-protocol",
    b"sec-websocket-version", b"server", b"server-timing", b"set-cookie", b"strict-transport-security", b"traceparent",
    b"tracestate", b"upgrade-insecure-requests", b"user-agent", b"vary", b"via", b"www-authenticate", b"x-api-key",
    b"x-cache", b"x-content-type-options", b"x-correlation-id", b"x-envoy-upstream-service-time", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-frame-options", b"x-goog-api-client",
    b"x-goog-api-key", b"x-powered-by", b"x-ratelimit-limit-requests", b"x-ratelimit-limit-tokens",
    b"x-ratelimit-remaining-requests", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-requests",
    b"x-ratelimit-reset-tokens", b"x-real-ip", b"x-request-id", b"x-request-timeout", b"x-requested-with",
    b"x-should-retry", b"x-stainless-arch", b"x-stainless-async", b"x-stainless-helper-method", b"x-stainless-lang",
    b"x-stainless-os", b"x-stainless-package-version", b"x-stainless-raw-response", b"x-stainless-read-timeout",
    b"x-stainless-retry-count", b"x-stainless-runtime", b"x-stainless-runtime-version", b"x-stainless-timeout",
    b"x-xss-protection",
)

# Open addressing in a table that is at most a third full. 512 is a power of two.
cdef enum:
    SLOTS = 512

cdef struct Kept:
    void* name              # an object of ALL
    int marks

cdef KnownName[SLOTS] TABLE
cdef Kept[SLOTS] KEPT       # by the address of the object
# The table borrows from this tuple.
cdef tuple ALL = tuple(SPECIAL) + COMMON

# Sets the bit that tells lower case from upper. Of the other characters of known names, digits and the hyphen, it is set;
# what would become one of them is a control character.
cdef uint64_t LOWER = 0x2020202020202020


cdef inline uint64_t eight(const unsigned char* p) noexcept:
    cdef uint64_t word = 0
    memcpy(&word, p, 8)
    return word


cdef inline uint32_t four(const unsigned char* p) noexcept:
    cdef uint32_t word = 0
    memcpy(&word, p, 4)
    return word


cdef inline bint same_name(const unsigned char* p, const unsigned char* known, Py_ssize_t size) noexcept:
    """Compare a name in any case with a known one of the same size."""
    cdef Py_ssize_t at = 0
    if size >= 8:
        while at + 8 <= size:
            if eight(p + at) | LOWER != eight(known + at):
                return False
            at += 8
        return eight(p + size - 8) | LOWER == eight(known + size - 8)
    if size >= 4:
        return four(p) | <uint32_t>LOWER == four(known) and four(p + size - 4) | <uint32_t>LOWER == four(known + size - 4)
    while at < size:
        if p[at] | 0x20 != known[at]:
            return False
        at += 1
    return True


cdef inline unsigned int first_slot(const unsigned char* p, Py_ssize_t size) noexcept:
    """Mix the length and three characters, which tell most known names apart. The name is not empty."""
    cdef unsigned int mixed = <unsigned int>size * 37 + (p[0] | 0x20)
    mixed = mixed * 37 + (p[size >> 1] | 0x20)
    mixed = mixed * 37 + (p[size - 1] | 0x20)
    return (mixed ^ mixed >> 9) & (SLOTS - 1)


cdef inline Kept* kept_at(void* name) noexcept:
    """Return the entry of an object; that of an unknown object is empty."""
    cdef unsigned int slot = (<size_t>name >> 4 ^ <size_t>name >> 13) & (SLOTS - 1)
    while KEPT[slot].name != NULL and KEPT[slot].name != name:
        slot = (slot + 1) & (SLOTS - 1)
    return &KEPT[slot]


cdef fill_table():
    cdef unsigned int slot
    for name in ALL:
        slot = first_slot(<const unsigned char*>PyBytes_AS_STRING(<void*>name), PyBytes_GET_SIZE(name))
        while TABLE[slot].name != NULL:
            slot = (slot + 1) & (SLOTS - 1)
        TABLE[slot].name = <void*>name
        TABLE[slot].kind = <Field><int>SPECIAL.get(name, PLAIN)
        kept_at(<void*>name).name = <void*>name


fill_table()


cdef const KnownName* find_name(const char* name, Py_ssize_t size) noexcept:
    cdef const unsigned char* p = <const unsigned char*>name
    cdef PyObject* known
    cdef unsigned int slot
    if size == 0:
        return NULL
    slot = first_slot(p, size)
    while True:
        known = <PyObject*>TABLE[slot].name
        if known == NULL:
            return NULL
        if Py_SIZE(known) == size and same_name(p, <const unsigned char*>PyBytes_AS_STRING(known), size):
            return &TABLE[slot]
        slot = (slot + 1) & (SLOTS - 1)


cdef tuple known_names():
    return ALL


cdef mark_names(object names, Mark mark):
    cdef const KnownName* known
    for name in names:
        known = find_name(PyBytes_AS_STRING(<void*>name), PyBytes_GET_SIZE(name))
        if known != NULL:
            kept_at(known.name).marks |= mark


cdef bint is_clear(bytes name, Mark mark) noexcept:
    cdef Kept* kept = kept_at(<void*>name)
    return kept.name != NULL and not kept.marks & mark


cdef bytes kept_name(bytes name):
    cdef const KnownName* known = find_name(PyBytes_AS_STRING(<void*>name), PyBytes_GET_SIZE(name))
    if known == NULL:
        raise KeyError(name)
    return <bytes>known.name


cdef bytes lower_name(const char* name, Py_ssize_t size):
    cdef bytes lowered = PyBytes_FromStringAndSize(NULL, size)
    cdef char* out = PyBytes_AS_STRING(<void*>lowered)
    cdef Py_ssize_t i
    for i in range(size):
        out[i] = <char>token_char[<unsigned char>name[i]]
    return lowered


cdef Field field_kind(bytes name) noexcept:
    cdef const KnownName* known = find_name(PyBytes_AS_STRING(<void*>name), PyBytes_GET_SIZE(name))
    return PLAIN if known == NULL else known.kind


def known_name(bytes name not None):
    """Return the object that is kept for a name in any case; None = the name is not known."""
    cdef const KnownName* known = find_name(PyBytes_AS_STRING(<void*>name), PyBytes_GET_SIZE(name))
    return None if known == NULL else <bytes>known.name
