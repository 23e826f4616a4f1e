"""What does this JSON body ask for, without parsing it?  See peek.pxd for the contract.

Grammar: RFC 8259. Strings are skipped eight bytes at a time, since a body is mostly long strings (prompts, base64 images).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define EDGE_EACH(byte) (0x0101010101010101ULL * (byte))
    /* One flag (0x80) per byte of the next eight that ends a plain run inside a string: a quote, a backslash, a control
       character. Flags above the lowest one may be false (borrows travel upwards), so only the lowest is used.
       "Determine if a word has a byte less than n", Sean Eron Anderson, Bit Twiddling Hacks. */
    static inline uint64_t edge_stops(const char *p) {
        uint64_t word, quote, slash;
        memcpy(&word, p, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
    #endif
        quote = word ^ EDGE_EACH(0x22);
        slash = word ^ EDGE_EACH(0x5c);
        return (((quote - EDGE_EACH(1)) & ~quote) | ((slash - EDGE_EACH(1)) & ~slash)
                | ((word - EDGE_EACH(0x20)) & ~word)) & EDGE_EACH(0x80);
    }
    #define edge_lowest(flags) (__builtin_ctzll(flags) >> 3)
    """
    uint64_t edge_stops(const char* p) noexcept nogil
    int edge_lowest(uint64_t flags) noexcept nogil


cdef enum:
    MAX_DEPTH = 128         # deeper than any client library writes, shallow enough for the C stack


cdef inline const char* _fail(Scan* scan, const char* at, int fault) noexcept nogil:
    scan.fault_at = at
    scan.fault = fault
    return NULL


cdef inline const char* _space(const char* p, const char* end) noexcept nogil:
    while p < end and (p[0] == c" " or p[0] == c"\n" or p[0] == c"\r" or p[0] == c"\t"):
        p += 1
    return p


cdef inline int _hex(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return -1


cdef int _hex4(const char* p) noexcept nogil:
    """The value of four hexadecimal digits, -1 if one is not."""
    cdef int value = 0
    cdef int digit, i
    for i in range(4):
        digit = _hex(p[i])
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value


cdef const char* _walk_escape(const char* p, Scan* scan) noexcept nogil:
    """From a backslash to after its escape."""
    if scan.end - p < 2:
        return _fail(scan, scan.end, PEEK_MALFORMED)
    cdef char c = p[1]
    if c == c"u":
        if scan.end - p < 6:
            return _fail(scan, scan.end, PEEK_MALFORMED)
        if _hex4(p + 2) < 0:
            return _fail(scan, p, PEEK_MALFORMED)
        return p + 6
    if (c == c'"' or c == c"\\" or c == c"/" or c == c"b" or c == c"f" or c == c"n" or c == c"r" or c == c"t"):
        return p + 2
    return _fail(scan, p, PEEK_MALFORMED)


cdef const char* _walk_string(const char* p, Scan* scan, bint* escaped) noexcept nogil:
    """From the opening quote to after the closing one."""
    cdef const char* end = scan.end
    cdef uint64_t stops
    cdef unsigned char c
    p += 1
    while True:
        while end - p >= 8:
            stops = edge_stops(p)
            if stops:
                p += edge_lowest(stops)
                break
            p += 8
        if p >= end:
            return _fail(scan, end, PEEK_MALFORMED)
        c = <unsigned char>p[0]
        if c == c'"':
            return p + 1
        if c == c"\\":
            escaped[0] = True
            p = _walk_escape(p, scan)
            if p == NULL:
                return NULL
        elif c < 0x20:
            return _fail(scan, p, PEEK_MALFORMED)
        else:
            p += 1              # fewer than eight bytes are left: one by one


cdef inline const char* _digits(const char* p, const char* end) noexcept nogil:
    while p < end and c"0" <= p[0] <= c"9":
        p += 1
    return p


cdef const char* _walk_number(const char* p, Scan* scan) noexcept nogil:
    cdef const char* end = scan.end
    cdef const char* first
    if p[0] == c"-":
        p += 1
    if p < end and p[0] == c"0":
        p += 1
    else:
        first = p
        p = _digits(p, end)
        if p == first:
            return _fail(scan, p, PEEK_MALFORMED)
    if p < end and p[0] == c".":
        first = p + 1
        p = _digits(first, end)
        if p == first:
            return _fail(scan, p, PEEK_MALFORMED)
    if p < end and (p[0] == c"e" or p[0] == c"E"):
        p += 1
        if p < end and (p[0] == c"+" or p[0] == c"-"):
            p += 1
        first = p
        p = _digits(p, end)
        if p == first:
            return _fail(scan, p, PEEK_MALFORMED)
    return p


cdef const char* _walk_literal(const char* p, Scan* scan) noexcept nogil:
    cdef Py_ssize_t left = scan.end - p
    if left >= 4 and (memcmp(p, b"null", 4) == 0 or memcmp(p, b"true", 4) == 0):
        return p + 4
    if left >= 5 and memcmp(p, b"false", 5) == 0:
        return p + 5
    return _fail(scan, p, PEEK_MALFORMED)


cdef const char* next_member(const char* p, Scan* scan, bint first, Text* key) noexcept nogil:
    cdef const char* end = scan.end
    p = _space(p, end)
    if p < end and p[0] == c"}":
        key.at = NULL
        return p + 1
    if not first:
        if p >= end or p[0] != c",":
            return _fail(scan, p, PEEK_MALFORMED)
        p = _space(p + 1, end)
    p = take_text(p, scan, key)
    if p == NULL:
        return NULL
    p = _space(p, end)
    if p >= end or p[0] != c":":
        return _fail(scan, p, PEEK_MALFORMED)
    p = _space(p + 1, end)
    if p >= end:
        return _fail(scan, p, PEEK_MALFORMED)
    return p


cdef const char* next_element(const char* p, Scan* scan, bint first, bint* ended) noexcept nogil:
    cdef const char* end = scan.end
    ended[0] = False
    p = _space(p, end)
    if p < end and p[0] == c"]":
        ended[0] = True
        return p + 1
    if not first:
        if p >= end or p[0] != c",":
            return _fail(scan, p, PEEK_MALFORMED)
        p = _space(p + 1, end)
    if p >= end:
        return _fail(scan, p, PEEK_MALFORMED)
    return p


cdef const char* _walk_object(const char* p, Scan* scan, int depth) noexcept nogil:
    cdef Text key
    cdef bint first = True
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        p = walk_value(p, scan, depth + 1)
        if p == NULL:
            return NULL


cdef const char* _walk_array(const char* p, Scan* scan, int depth) noexcept nogil:
    cdef bint ended = False
    cdef bint first = True
    p += 1
    while True:
        p = next_element(p, scan, first, &ended)
        if p == NULL or ended:
            return p
        first = False
        p = walk_value(p, scan, depth + 1)
        if p == NULL:
            return NULL


cdef const char* walk_value(const char* p, Scan* scan, int depth) noexcept nogil:
    cdef bint escaped = False
    if p >= scan.end:
        return _fail(scan, p, PEEK_MALFORMED)
    cdef char c = p[0]
    if c == c'"':
        return _walk_string(p, scan, &escaped)
    if c == c"{" or c == c"[":
        if depth >= MAX_DEPTH:
            return _fail(scan, p, PEEK_DEPTH)
        return _walk_object(p, scan, depth) if c == c"{" else _walk_array(p, scan, depth)
    if c == c"n" or c == c"t" or c == c"f":
        return _walk_literal(p, scan)
    return _walk_number(p, scan)


cdef int _decode_escape(const char* p, const char* end, const char** after) noexcept nogil:
    """The code point of the escape at p, surrogate pairs combined; -1 for a lone surrogate or no escape at all."""
    cdef int high, low
    if end - p < 2:
        return -1
    cdef char c = p[1]
    after[0] = p + 2
    if c == c"u":
        if end - p < 6:
            return -1
        high = _hex4(p + 2)
        after[0] = p + 6
        if not 0xD800 <= high <= 0xDFFF:
            return high
        if high >= 0xDC00 or end - p < 12 or p[6] != c"\\" or p[7] != c"u":
            return -1
        low = _hex4(p + 8)
        after[0] = p + 12
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00) if 0xDC00 <= low <= 0xDFFF else -1
    if c == c'"' or c == c"\\" or c == c"/":
        return c
    if c == c"b":
        return 8
    if c == c"t":
        return 9
    if c == c"n":
        return 10
    if c == c"f":
        return 12
    if c == c"r":
        return 13
    return -1


cdef void _decode_short(const char* p, const char* end, Text* text) noexcept nogil:
    """Decode an escaped string into text.room, if it is short and ASCII as all of our words are."""
    cdef int code
    cdef Py_ssize_t size = 0
    text.at = text.room
    text.size = -1
    while p < end:
        if p[0] == c"\\":
            code = _decode_escape(p, end, &p)
        else:
            code = <unsigned char>p[0]
            p += 1
        if not 0 <= code < 0x80 or size >= <Py_ssize_t>sizeof(text.room):
            return
        text.room[size] = <char>code
        size += 1
    text.size = size


cdef const char* take_text(const char* p, Scan* scan, Text* text) noexcept nogil:
    cdef const char* after
    cdef bint escaped = False
    if p >= scan.end or p[0] != c'"':
        return _fail(scan, p, PEEK_MALFORMED)
    after = _walk_string(p, scan, &escaped)
    if after == NULL:
        return NULL
    if escaped:
        _decode_short(p + 1, after - 1, text)
    else:
        text.at = p + 1
        text.size = after - p - 2
    return after


cdef int64_t read_count(const char* p, const char* end) noexcept nogil:
    cdef int64_t value = 0
    cdef int digit
    if p >= end or not c"0" <= p[0] <= c"9":
        return -1
    while p < end and c"0" <= p[0] <= c"9":
        digit = p[0] - c"0"
        value = INT64_MAX if value > (INT64_MAX - digit) // 10 else value * 10 + digit
        p += 1
    if p < end and (p[0] == c"." or p[0] == c"e" or p[0] == c"E"):
        return -1
    return value


cdef const char* skip_space(const char* p, const char* end) noexcept nogil:
    return _space(p, end)


cdef const char* skip_string(const char* p, const char* end) noexcept nogil:
    cdef Scan scan
    cdef bint escaped = False
    scan.end = end
    if p >= end or p[0] != c'"':
        return NULL
    return _walk_string(p, &scan, &escaped)


cdef const char* skip_value(const char* p, const char* end, int depth) noexcept nogil:
    cdef Scan scan
    scan.end = end
    return walk_value(p, &scan, depth)


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
            return _fail(scan, p, PEEK_TYPE)
        after = _walk_string(p, scan, &escaped)
        out.model_escaped = escaped
        if after != NULL:
            out.model_start = p + 1 - scan.start
            out.model_end = after - 1 - scan.start
        return after
    if key == KEY_STREAM:
        if p[0] != c"t" and p[0] != c"f" and p[0] != c"n":
            return _fail(scan, p, PEEK_TYPE)
        out.stream = p[0] == c"t"
        return _walk_literal(p, scan)
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
            return _fail(scan, quote, PEEK_DUPLICATE)
        else:
            seen |= known
            p = _read_member(p, scan, known, out)
        if p == NULL:
            return NULL


cdef void _begin(Scan* scan, const char* data, Py_ssize_t size) noexcept nogil:
    scan.start = data
    scan.end = data + size
    scan.fault_at = data
    scan.fault = PEEK_OK


cdef bint _finish(const char* p, Scan* scan) noexcept nogil:
    """Whether only white space follows."""
    if p == NULL:
        return False
    p = _space(p, scan.end)
    if p < scan.end:
        _fail(scan, p, PEEK_MALFORMED)
        return False
    return True


cdef int peek_request(const char* data, Py_ssize_t size, Peek* out) noexcept nogil:
    cdef Scan scan
    cdef const char* p
    out.model_start = out.model_end = out.max_tokens = out.error_at = -1
    out.model_escaped = False
    out.stream = out.include_usage = 0
    out.error = PEEK_OK
    _begin(&scan, data, size)
    p = _space(data, scan.end)
    if p < scan.end and p[0] == c"{":
        _finish(_walk_request(p + 1, &scan, out), &scan)
    elif _finish(walk_value(p, &scan, 0), &scan):
        _fail(&scan, p, PEEK_NOT_OBJECT)
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


cdef bint is_empty(const char* p, const char* after) noexcept nogil:
    if p[0] == c"n" or p[0] == c"f":
        return True
    if p[0] == c'"':
        return after - p == 2
    return (p[0] == c"[" or p[0] == c"{") and _space(p + 1, after) == after - 1


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
    _begin(&scan, data, size)
    p = _space(data, scan.end)
    if p < scan.end and p[0] == c"{":
        out.is_object = True
        p = _walk_answer(p + 1, &scan, out, &says)
    else:
        p = walk_value(p, &scan, 0)
    out.valid = _finish(p, &scan)
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


cdef bytes escape_json(bytes utf8):
    cdef bytearray out = bytearray()
    cdef unsigned char c
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
    cdef bytearray out = bytearray()
    cdef const char* p = PyBytes_AS_STRING(raw)
    cdef const char* end = p + PyBytes_GET_SIZE(raw)
    cdef int code
    while p < end:
        if p[0] == c"\\":
            code = _decode_escape(p, end, &p)
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
    """The UTF-8 that the content of a JSON string stands for; None for lone surrogates and for what no string contains."""
    return unescape_json(raw)
