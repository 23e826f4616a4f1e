from libc.stdint cimport INT64_MAX, uint64_t
from native.codec.json_text cimport decode_escape

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
    /* Skip what cannot end a plain run, sixteen bytes at a time where the processor has SSE2, which every x86-64 has.
       Returns the first byte that ends one, or where fewer than sixteen bytes are left. */
    #if defined(__SSE2__)
    #include <emmintrin.h>
    static inline const char *edge_skip_plain(const char *p, const char *end) {
        const __m128i quote = _mm_set1_epi8(0x22), slash = _mm_set1_epi8(0x5c), control = _mm_set1_epi8(0x1f);
        while (end - p >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)p);
            __m128i stops = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash));
            int flags;
            stops = _mm_or_si128(stops, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
            flags = _mm_movemask_epi8(stops);
            if (flags)
                return p + __builtin_ctz((unsigned)flags);
            p += 16;
        }
        return p;
    }
    #else
    #define edge_skip_plain(p, end) (p)
    #endif
    /* Whether four bytes are hexadecimal digits: each is looked up, and there is one branch for all of them. */
    static const unsigned char edge_no_digit[256] = {
        [0 ... '0' - 1] = 1, ['9' + 1 ... 'A' - 1] = 1, ['F' + 1 ... 'a' - 1] = 1, ['f' + 1 ... 255] = 1
    };
    static inline int edge_is_unit(const char *p) {
        const unsigned char *u = (const unsigned char *)p;
        return !(edge_no_digit[u[0]] | edge_no_digit[u[1]] | edge_no_digit[u[2]] | edge_no_digit[u[3]]);
    }
    """
    uint64_t edge_stops(const char* p) noexcept nogil
    int edge_lowest(uint64_t flags) noexcept nogil
    const char* edge_skip_plain(const char* p, const char* end) noexcept nogil
    bint edge_is_unit(const char* p) noexcept nogil


cdef enum:
    MAX_DEPTH = 128         # deeper than any client library writes, shallow enough for the C stack


cdef const char* fail(Scan* scan, const char* at, int fault) noexcept nogil:
    scan.fault_at = at
    scan.fault = fault
    return NULL


cdef inline const char* _space(const char* p, const char* end) noexcept nogil:
    while p < end and (p[0] == c" " or p[0] == c"\n" or p[0] == c"\r" or p[0] == c"\t"):
        p += 1
    return p


cdef inline const char* _walk_escape(const char* p, Scan* scan) noexcept nogil:
    """Walk from a backslash to the end of its escape."""
    if scan.end - p < 2:
        return fail(scan, scan.end, WALK_MALFORMED)
    cdef char c = p[1]
    if c == c"u":
        if scan.end - p < 6:
            return fail(scan, scan.end, WALK_MALFORMED)
        if not edge_is_unit(p + 2):
            return fail(scan, p, WALK_MALFORMED)
        return p + 6
    if (c == c'"' or c == c"\\" or c == c"/" or c == c"b" or c == c"f" or c == c"n" or c == c"r" or c == c"t"):
        return p + 2
    return fail(scan, p, WALK_MALFORMED)


cdef const char* walk_string(const char* p, Scan* scan, bint* escaped) noexcept nogil:
    """Walk from the opening quote to behind the closing one, eight or sixteen bytes at a time.

    A body is mostly long strings (prompts, images in base64)."""
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
            p = edge_skip_plain(p + 8, end)  # not before: most strings are short
        if p >= end:
            return fail(scan, end, WALK_MALFORMED)
        c = <unsigned char>p[0]
        if c == c'"':
            return p + 1
        if c == c"\\":
            escaped[0] = True
            while True:             # many encoders escape whole texts that are not ASCII
                p = _walk_escape(p, scan)
                if p == NULL:
                    return NULL
                if p >= end or p[0] != c"\\":
                    break
        elif c < 0x20:
            return fail(scan, p, WALK_MALFORMED)
        else:
            p += 1              # fewer than eight bytes are left


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
            return fail(scan, p, WALK_MALFORMED)
    if p < end and p[0] == c".":
        first = p + 1
        p = _digits(first, end)
        if p == first:
            return fail(scan, p, WALK_MALFORMED)
    if p < end and (p[0] == c"e" or p[0] == c"E"):
        p += 1
        if p < end and (p[0] == c"+" or p[0] == c"-"):
            p += 1
        first = p
        p = _digits(p, end)
        if p == first:
            return fail(scan, p, WALK_MALFORMED)
    return p


cdef const char* _walk_literal(const char* p, Scan* scan) noexcept nogil:
    cdef Py_ssize_t left = scan.end - p
    if left >= 4 and (memcmp(p, b"null", 4) == 0 or memcmp(p, b"true", 4) == 0):
        return p + 4
    if left >= 5 and memcmp(p, b"false", 5) == 0:
        return p + 5
    return fail(scan, p, WALK_MALFORMED)


cdef const char* next_member(const char* p, Scan* scan, bint first, Text* key) noexcept nogil:
    cdef const char* end = scan.end
    p = _space(p, end)
    if p < end and p[0] == c"}":
        key.at = NULL
        return p + 1
    if not first:
        if p >= end or p[0] != c",":
            return fail(scan, p, WALK_MALFORMED)
        p = _space(p + 1, end)
    p = take_text(p, scan, key)
    if p == NULL:
        return NULL
    p = _space(p, end)
    if p >= end or p[0] != c":":
        return fail(scan, p, WALK_MALFORMED)
    p = _space(p + 1, end)
    if p >= end:
        return fail(scan, p, WALK_MALFORMED)
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
            return fail(scan, p, WALK_MALFORMED)
        p = _space(p + 1, end)
    if p >= end:
        return fail(scan, p, WALK_MALFORMED)
    return p


cdef const char* walk_members(const char* p, Scan* scan, int depth, Visit visit, void* into) noexcept nogil:
    cdef Text key
    cdef bint first = True
    if p >= scan.end or p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        p = visit(p, scan, &key, depth + 1, into)
        if p == NULL:
            return NULL


cdef const char* walk_elements(const char* p, Scan* scan, int depth, Visit visit, void* into) noexcept nogil:
    cdef bint ended = False
    cdef bint first = True
    if p >= scan.end or p[0] != c"[":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_element(p, scan, first, &ended)
        if p == NULL or ended:
            return p
        first = False
        p = visit(p, scan, NULL, depth + 1, into)
        if p == NULL:
            return NULL


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
        return fail(scan, p, WALK_MALFORMED)
    cdef char c = p[0]
    if c == c'"':
        return walk_string(p, scan, &escaped)
    if c == c"{" or c == c"[":
        if depth >= MAX_DEPTH:
            return fail(scan, p, WALK_DEPTH)
        return _walk_object(p, scan, depth) if c == c"{" else _walk_array(p, scan, depth)
    if c == c"n" or c == c"t" or c == c"f":
        return _walk_literal(p, scan)
    return _walk_number(p, scan)


cdef void _decode_short(const char* p, const char* end, Text* text) noexcept nogil:
    """Decode an escaped string into text.room if it is short and ASCII, as all words are that edge compares with."""
    cdef int code
    cdef Py_ssize_t size = 0
    text.at = text.room
    text.size = -1
    while p < end:
        if p[0] == c"\\":
            code = decode_escape(p, end, &p)
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
    text.quote = p
    if p >= scan.end or p[0] != c'"':
        return fail(scan, p, WALK_MALFORMED)
    after = walk_string(p, scan, &escaped)
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


cdef bint is_empty(const char* p, const char* after) noexcept nogil:
    if p[0] == c"n" or p[0] == c"f":
        return True
    if p[0] == c'"':
        return after - p == 2
    return (p[0] == c"[" or p[0] == c"{") and _space(p + 1, after) == after - 1


cdef void begin(Scan* scan, const char* data, Py_ssize_t size) noexcept nogil:
    scan.start = data
    scan.end = data + size
    scan.fault_at = data
    scan.fault = WALK_OK


cdef bint at_end(const char* p, Scan* scan) noexcept nogil:
    if p == NULL:
        return False
    p = _space(p, scan.end)
    if p < scan.end:
        fail(scan, p, WALK_MALFORMED)
        return False
    return True
