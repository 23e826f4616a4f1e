from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.codec.json_walk cimport (
    Scan, Text, at_end, begin, is_empty, skip_space, take_text, text_is, walk_elements, walk_members, walk_value,
)
from native.codec.usage cimport Usage, clear, usage_view, walk_usage

cdef enum:                  # facts in the top level of a response, as bits
    SAYS_ERROR = 1          # an "error" that is not empty
    SAYS_OBJECT_ERROR = 2   # "object":"error" (vLLM)
    SAYS_FAILED = 4         # "status":"failed" (Responses API: may come with the output so far)
    SAYS_SUBSTANCE = 8      # a non-empty "choices", "output", "data" or "content"
    SAYS_BROKEN = 16        # an error that is an object, or a choice that ended with one


cdef struct Reading:
    int says                # the bits so far
    Usage usage


cdef const char* _visit_choice_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Text value
    cdef const char* after = walk_value(p, scan, depth)
    if after == NULL:
        return NULL
    if text_is(key, b"error", 5):
        (<Reading*>into).says |= SAYS_BROKEN if p[0] == c"{" and not is_empty(p, after) else 0
    elif text_is(key, b"finish_reason", 13) and p[0] == c'"':
        take_text(p, scan, &value)
        (<Reading*>into).says |= SAYS_BROKEN if text_is(&value, b"error", 5) else 0
    return after


cdef const char* _visit_choice(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    return walk_members(p, scan, depth, _visit_choice_member, into)


cdef const char* _visit_groq(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    if text_is(key, b"usage", 5):
        return walk_usage(p, scan, depth, &(<Reading*>into).usage)
    return walk_value(p, scan, depth)


cdef const char* _visit_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Reading* reading = <Reading*>into
    cdef Text value
    cdef const char* after
    if text_is(key, b"usage", 5) or text_is(key, b"usageMetadata", 13):
        return walk_usage(p, scan, depth, &reading.usage)
    if text_is(key, b"x_groq", 6):
        return walk_members(p, scan, depth, _visit_groq, reading)
    if text_is(key, b"choices", 7):
        after = walk_elements(p, scan, depth, _visit_choice, into)
    else:
        after = walk_value(p, scan, depth)
    if after == NULL:
        return NULL
    if text_is(key, b"error", 5):
        reading.says |= 0 if is_empty(p, after) else SAYS_ERROR | (SAYS_BROKEN if p[0] == c"{" else 0)
    elif text_is(key, b"object", 6) and p[0] == c'"':
        take_text(p, scan, &value)
        reading.says |= SAYS_OBJECT_ERROR if text_is(&value, b"error", 5) else 0
    elif text_is(key, b"status", 6) and p[0] == c'"':
        take_text(p, scan, &value)
        reading.says |= SAYS_FAILED if text_is(&value, b"failed", 6) else 0
    elif (text_is(key, b"choices", 7) or text_is(key, b"output", 6) or text_is(key, b"data", 4)
            or text_is(key, b"content", 7)):
        reading.says |= 0 if is_empty(p, after) else SAYS_SUBSTANCE
    return after


cdef int peek_response(const char* data, Py_ssize_t size, Verdict* out) noexcept nogil:
    cdef Scan scan
    cdef Reading reading
    cdef const char* p
    reading.says = 0
    clear(&reading.usage)
    if size >= 3 and memcmp(data, b"\xef\xbb\xbf", 3) == 0:
        data += 3           # RFC 8259, 8.1: a reader may ignore a byte order mark; some providers' frameworks write one
        size -= 3
    begin(&scan, data, size)
    p = skip_space(data, scan.end)
    out.is_object = p < scan.end and p[0] == c"{"
    out.valid = at_end(walk_members(p, &scan, 0, _visit_member, &reading), &scan)
    out.has_error = out.valid and (
        reading.says & SAYS_BROKEN != 0 or
        (reading.says & SAYS_ERROR and reading.says & SAYS_FAILED)
        or (reading.says & (SAYS_ERROR | SAYS_OBJECT_ERROR) and not reading.says & SAYS_SUBSTANCE)
    )
    out.usage = reading.usage
    return out.valid


cdef class PeekedResponse:
    """The result of :func:`read_response`; see Verdict in response_peek.pxd. Token counts are None if absent."""
    cdef readonly bint valid, is_object, has_error
    cdef readonly object prompt_tokens, output_tokens
    cdef readonly dict tokens

    def __repr__(self):
        return (f"PeekedResponse(valid={self.valid}, is_object={self.is_object}, has_error={self.has_error}, "
                f"prompt_tokens={self.prompt_tokens}, output_tokens={self.output_tokens})")


def read_response(bytes data not None):
    """Read a complete (not streamed) response body. Borrows ``data`` for the call."""
    cdef Verdict found
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef PeekedResponse out = PeekedResponse.__new__(PeekedResponse)
    with nogil:
        peek_response(start, size, &found)
    out.valid = found.valid
    out.is_object = found.is_object
    out.has_error = found.has_error
    out.tokens = usage_view(&found.usage)
    out.prompt_tokens = None if out.tokens["prompt"] < 0 else out.tokens["prompt"]
    out.output_tokens = None if out.tokens["output"] < 0 else out.tokens["output"]
    return out
