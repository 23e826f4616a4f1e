"""What does this JSON body ask for, without parsing it?  See peek.pxd for the contract."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy
from native.codec.json_walk cimport (Scan, Text, at_end, begin, decode_escape, fail, is_empty, next_member, read_count, skip_space,
                          take_text, text_is, walk_string, walk_value)

# ---- requests

cdef enum:                  # one bit per top-level key of a request that may come only once
    KEY_NONE = 0
    KEY_MODEL = 1
    KEY_STREAM = 2
    KEY_MAX_TOKENS = 4
    KEY_MAX_COMPLETION_TOKENS = 8
    KEY_MAX_OUTPUT_TOKENS = 16
    KEY_STREAM_OPTIONS = 32


cdef int _request_key(const Text* key) noexcept nogil:
    if text_is(key, b"model", 5):
        return KEY_MODEL
    if text_is(key, b"stream", 6):
        return KEY_STREAM
    if text_is(key, b"max_tokens", 10):
        return KEY_MAX_TOKENS
    if text_is(key, b"max_completion_tokens", 21):
        return KEY_MAX_COMPLETION_TOKENS
    if text_is(key, b"max_output_tokens", 17):
        return KEY_MAX_OUTPUT_TOKENS
    if text_is(key, b"stream_options", 14):
        return KEY_STREAM_OPTIONS
    return KEY_NONE


cdef const char* _walk_stream_options(const char* p, Scan* scan, Peek* out) noexcept nogil:
    cdef Text key
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, 1)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        if text_is(&key, b"include_usage", 13):
            out.include_usage = p[0] == c"t"
        p = walk_value(p, scan, 2)
        if p == NULL:
            return NULL


cdef const char* _read_member(const char* p, Scan* scan, int key, Peek* out) noexcept nogil:
    """Take the value of one known key."""
    cdef const char* after
    cdef bint escaped = False
    cdef int64_t count
    if key == KEY_STREAM_OPTIONS:
        return _walk_stream_options(p, scan, out)
    if key == KEY_MODEL:
        if p[0] != c'"':
            return fail(scan, p, PEEK_TYPE)
        after = walk_string(p, scan, &escaped)
        out.model_escaped = escaped
        if after != NULL:
            out.model_start = p + 1 - scan.start
            out.model_end = after - 1 - scan.start
        return after
    if key == KEY_STREAM:
        if p[0] != c"t" and p[0] != c"f" and p[0] != c"n":
            return fail(scan, p, PEEK_TYPE)
        out.stream = p[0] == c"t"
        return walk_value(p, scan, 1)
    after = walk_value(p, scan, 1)
    if after != NULL:
        count = read_count(p, after)
        if count > out.max_tokens:
            out.max_tokens = count
    return after


cdef const char* _walk_request(const char* p, Scan* scan, Peek* out) noexcept nogil:
    """The members of the top-level object; p is after its brace."""
    cdef Text key
    cdef const char* quote
    cdef bint first = True
    cdef int known
    cdef int seen = 0
    while True:
        quote = p
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        known = _request_key(&key)
        if known == KEY_NONE:
            p = walk_value(p, scan, 1)
        elif seen & known:
            while quote[0] != c'"':
                quote += 1
            return fail(scan, quote, PEEK_DUPLICATE)
        else:
            seen |= known
            p = _read_member(p, scan, known, out)
        if p == NULL:
            return NULL


cdef int peek_request(const char* data, Py_ssize_t size, Peek* out) noexcept nogil:
    cdef Scan scan
    cdef const char* p
    out.model_start = out.model_end = out.max_tokens = out.error_at = -1
    out.model_escaped = False
    out.stream = out.include_usage = 0
    out.error = PEEK_OK
    begin(&scan, data, size)
    p = skip_space(data, scan.end)
    if p < scan.end and p[0] == c"{":
        at_end(_walk_request(p + 1, &scan, out), &scan)
    elif at_end(walk_value(p, &scan, 0), &scan):
        fail(&scan, p, PEEK_NOT_OBJECT)
    if scan.fault != PEEK_OK:
        out.error = scan.fault
        out.error_at = scan.fault_at - data
    return out.error


# ---- answers

cdef enum:                  # what the top level of an answer says
    SAYS_ERROR = 1          # an "error" that is not empty
    SAYS_OBJECT_ERROR = 2   # "object":"error" (vLLM)
    SAYS_FAILED = 4         # "status":"failed" (Responses API: may come with the output so far)
    SAYS_SUBSTANCE = 8      # a non-empty "choices", "output", "data" or "content"


cdef const char* _read_usage(const char* p, Scan* scan, Verdict* out) noexcept nogil:
    cdef Text key
    cdef const char* after
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, 1)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, 2)
        if after == NULL:
            return NULL
        if text_is(&key, b"prompt_tokens", 13) or text_is(&key, b"input_tokens", 12):
            out.prompt_tokens = read_count(p, after)
        elif text_is(&key, b"completion_tokens", 17) or text_is(&key, b"output_tokens", 13):
            out.output_tokens = read_count(p, after)
        p = after


cdef const char* _walk_answer(const char* p, Scan* scan, Verdict* out, int* says) noexcept nogil:
    """The members of the top-level object; p is after its brace."""
    cdef Text key
    cdef Text value
    cdef const char* after
    cdef bint first = True
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        if text_is(&key, b"usage", 5):
            p = _read_usage(p, scan, out)
            if p == NULL:
                return NULL
            continue
        after = walk_value(p, scan, 1)
        if after == NULL:
            return NULL
        if text_is(&key, b"error", 5):
            says[0] |= 0 if is_empty(p, after) else SAYS_ERROR
        elif text_is(&key, b"object", 6) or text_is(&key, b"status", 6):
            if p[0] == c'"':
                take_text(p, scan, &value)
                if key.at[0] == c"o":
                    says[0] |= SAYS_OBJECT_ERROR if text_is(&value, b"error", 5) else 0
                else:
                    says[0] |= SAYS_FAILED if text_is(&value, b"failed", 6) else 0
        elif (text_is(&key, b"choices", 7) or text_is(&key, b"output", 6) or text_is(&key, b"data", 4)
                or text_is(&key, b"content", 7)):
            says[0] |= 0 if is_empty(p, after) else SAYS_SUBSTANCE
        p = after


cdef int peek_answer(const char* data, Py_ssize_t size, Verdict* out) noexcept nogil:
    cdef Scan scan
    cdef const char* p
    cdef int says = 0
    out.valid = out.is_object = out.has_error = False
    out.prompt_tokens = out.output_tokens = -1
    if size >= 3 and memcmp(data, b"\xef\xbb\xbf", 3) == 0:
        data += 3           # RFC 8259, 8.1: a reader may ignore a byte order mark; some providers' frameworks write one
        size -= 3
    begin(&scan, data, size)
    p = skip_space(data, scan.end)
    if p < scan.end and p[0] == c"{":
        out.is_object = True
        p = _walk_answer(p + 1, &scan, out, &says)
    else:
        p = walk_value(p, &scan, 0)
    out.valid = at_end(p, &scan)
    if out.valid:
        out.has_error = (says & SAYS_ERROR and says & SAYS_FAILED) or (
            says & (SAYS_ERROR | SAYS_OBJECT_ERROR) and not says & SAYS_SUBSTANCE)
    return out.valid


# ---- the names in them

cdef bytes splice(bytes body, Py_ssize_t start, Py_ssize_t end, bytes replacement):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t middle = PyBytes_GET_SIZE(replacement)
    if not 0 <= start <= end <= size:
        raise ValueError(f"splice {start}..{end} lies outside a body of {size} bytes")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size - (end - start) + middle)
    cdef char* into = PyBytes_AS_STRING(out)
    cdef const char* source = PyBytes_AS_STRING(body)
    memcpy(into, source, start)
    memcpy(into + start, PyBytes_AS_STRING(replacement), middle)
    memcpy(into + start + middle, source + end, size - end)
    return out


cdef bint _is_plain(bytes content) noexcept:
    """Whether it stands in a JSON string as it is, as nearly every name does."""
    cdef const char* p = PyBytes_AS_STRING(content)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(content)):
        if p[i] == c'"' or p[i] == c"\\" or <unsigned char>p[i] < 0x20:
            return False
    return True


cdef bytes escape_json(bytes utf8):
    cdef bytearray out
    cdef unsigned char c
    if _is_plain(utf8):
        return utf8
    out = bytearray()
    for c in utf8:
        if c == c'"' or c == c"\\":
            out.append(c"\\")
            out.append(c)
        elif c < 0x20:
            out += b"\\u%04x" % c
        else:
            out.append(c)
    return bytes(out)


cdef bytes unescape_json(bytes raw):
    cdef bytearray out
    cdef const char* p = PyBytes_AS_STRING(raw)
    cdef const char* end = p + PyBytes_GET_SIZE(raw)
    cdef int code
    if _is_plain(raw):
        return raw
    out = bytearray()
    while p < end:
        if p[0] == c"\\":
            code = decode_escape(p, end, &p)
            if code < 0:
                return None
            out += chr(code).encode()
        elif <unsigned char>p[0] < 0x20 or p[0] == c'"':
            return None
        else:
            out.append(<unsigned char>p[0])
            p += 1
    return bytes(out)


# ---- for Python (tests, tools, the control path); the data path calls the functions above

cdef class Peeked:
    """What :func:`read_request` found; see Peek in peek.pxd for each field. ``model`` is decoded, None if absent."""
    cdef readonly int error
    cdef readonly Py_ssize_t error_at, model_start, model_end
    cdef readonly str model
    cdef readonly bint stream, include_usage
    cdef readonly object max_tokens

    def __repr__(self):
        if self.error:
            return f"Peeked({PeekError(self.error).name} at {self.error_at})"
        return (f"Peeked(model={self.model!r} at {self.model_start}..{self.model_end}, stream={self.stream}, "
                f"max_tokens={self.max_tokens}, include_usage={self.include_usage})")


cdef class Answered:
    """What :func:`read_answer` found; see Verdict in peek.pxd for each field. Token counts are None if absent."""
    cdef readonly bint valid, is_object, has_error
    cdef readonly object prompt_tokens, output_tokens

    def __repr__(self):
        return (f"Answered(valid={self.valid}, is_object={self.is_object}, has_error={self.has_error}, "
                f"prompt_tokens={self.prompt_tokens}, output_tokens={self.output_tokens})")


cdef str _name(bytes raw):
    """A name as text, None if it is no Unicode text (a lone surrogate, or bytes that are not UTF-8)."""
    cdef bytes utf8 = unescape_json(raw)
    try:
        return None if utf8 is None else utf8.decode()
    except UnicodeDecodeError:
        return None


def read_request(bytes data not None):
    """Peek into a request body. A name that is no Unicode text is PEEK_TYPE, as it can name no model."""
    cdef Peek found
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Peeked out = Peeked.__new__(Peeked)
    with nogil:
        peek_request(start, size, &found)
    if found.error == PEEK_OK and found.model_start >= 0:
        out.model = _name(data[found.model_start:found.model_end])
        if out.model is None:
            found.error = PEEK_TYPE
            found.error_at = found.model_start
    out.error = found.error
    out.error_at = found.error_at
    out.model_start = found.model_start
    out.model_end = found.model_end
    out.stream = found.stream
    out.include_usage = found.include_usage
    out.max_tokens = None if found.max_tokens < 0 else found.max_tokens
    return out


def read_answer(bytes data not None):
    """Judge a whole (not streamed) answer body. Borrows ``data`` for the call."""
    cdef Verdict found
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Answered out = Answered.__new__(Answered)
    with nogil:
        peek_answer(start, size, &found)
    out.valid = found.valid
    out.is_object = found.is_object
    out.has_error = found.has_error
    out.prompt_tokens = None if found.prompt_tokens < 0 else found.prompt_tokens
    out.output_tokens = None if found.output_tokens < 0 else found.output_tokens
    return out


def replace_model(bytes body not None, Py_ssize_t start, Py_ssize_t end, str replacement not None):
    """A copy of ``body`` whose bytes start..end (from :func:`read_request`) are ``replacement`` as JSON string content.

    Raises ValueError if the range lies outside the body.
    """
    return splice(body, start, end, escape_json(replacement.encode()))


def escape(bytes utf8 not None):
    """``utf8`` as the content of a JSON string, without its quotes."""
    return escape_json(utf8)


def unescape(bytes raw not None):
    """What the content of a JSON string stands for; None for lone surrogates and for what no string holds."""
    return unescape_json(raw)
