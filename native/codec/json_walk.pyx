from libc.stdint cimport INT64_MAX
from native.codec.json_text cimport decode_escape

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define EDGE_EACH(byte) (0x0101010101010101ULL * (byte))
    #if defined(__SSE2__)
    #include <immintrin.h>
    /* One bit per byte of the next sixteen that ends a plain run inside a string: a quote, a backslash, a control
       character. Every x86-64 has SSE2. */
    static inline unsigned edge_stops16(const char *p) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i stops = _mm_or_si128(
            _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x22)), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x5c))
        );
        stops = _mm_or_si128(stops, _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes));
        return (unsigned)_mm_movemask_epi8(stops);
    }
    /* Skip what cannot end a plain run, 64 bytes at a time, in texts that are long: prompts, images in base64. */
    __attribute__((target("avx2"), noinline))
    static const char *edge_skip_plain64(const char *p, const char *end) {
        const __m256i quote = _mm256_set1_epi8(0x22), slash = _mm256_set1_epi8(0x5c), control = _mm256_set1_epi8(0x1f);
        while (end - p >= 64) {
            __m256i a = _mm256_loadu_si256((const __m256i *)p), b = _mm256_loadu_si256((const __m256i *)(p + 32));
            __m256i stops = _mm256_or_si256(
                _mm256_or_si256(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(a, slash)),
                _mm256_or_si256(_mm256_cmpeq_epi8(b, quote), _mm256_cmpeq_epi8(b, slash))
            );
            stops = _mm256_or_si256(stops, _mm256_cmpeq_epi8(_mm256_min_epu8(a, control), a));
            stops = _mm256_or_si256(stops, _mm256_cmpeq_epi8(_mm256_min_epu8(b, control), b));
            if (_mm256_movemask_epi8(stops))
                break;
            p += 64;
        }
        return p;
    }
    static int edge_wide = -1;      /* whether the processor has AVX2; -1 = not asked yet */
    static inline int edge_is_wide(void) {
        if (edge_wide < 0)
            edge_wide = __builtin_cpu_supports("avx2") != 0;
        return edge_wide;
    }
    #endif
    /* One flag (0x80) per byte of the next eight that ends a plain run. Flags above the lowest one may be false (borrows
       travel upwards), so only the lowest is used. "Determine if a word has a byte less than n", Sean Eron Anderson, Bit
       Twiddling Hacks. */
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
    /* Return the first byte at or after p that ends a plain run, or the end. ``start`` is where the bytes begin that may be
       read: the last block overlaps what was seen before. */
    static __attribute__((noinline)) const char *edge_long_plain_end(const char *p, const char *start, const char *end) {
    #if defined(__SSE2__)
        const char *from = p;
        unsigned stops;
        while (end - p >= 16) {
            if ((stops = edge_stops16(p)))
                return p + __builtin_ctz(stops);
            p += 16;
            if (p - from == 64 && edge_is_wide())
                p = edge_skip_plain64(p, end);
        }
        if (p == end)
            return p;
        if (end - start >= 16) {
            stops = edge_stops16(end - 16) >> (16 - (end - p));
            return stops ? p + __builtin_ctz(stops) : end;
        }
    #endif
        while (end - p >= 8) {
            uint64_t flags = edge_stops(p);
            if (flags)
                return p + (__builtin_ctzll(flags) >> 3);
            p += 8;
        }
        while (p < end && *p != '"' && *p != '\\\\' && (unsigned char)*p >= 0x20)
            p++;
        return p;
    }
    static inline const char *edge_plain_end(const char *p, const char *start, const char *end) {
    #if defined(__SSE2__)
        if (end - p >= 16) {    /* most strings end here */
            unsigned stops = edge_stops16(p);
            if (stops)
                return p + __builtin_ctz(stops);
            p += 16;
        }
    #endif
        return edge_long_plain_end(p, start, end);
    }
    /* Read a member's name as nearly every encoder writes it: short, plain, with at most one space around it. Return where its
       value begins, or NULL: then the general walk reads it. 24 bytes may be read at p. */
    static inline const char *edge_quick_name(const char *p, int first, const char **quote, Py_ssize_t *size) {
    #if defined(__SSE2__)
        unsigned stops;
        if (!first && *p++ != ',')
            return NULL;
        p += *p == ' ';
        if (*p != '"')
            return NULL;
        stops = edge_stops16(p + 1);
        if (!stops)
            return NULL;
        *quote = p;
        *size = __builtin_ctz(stops);
        p += 1 + *size;
        if (p[0] != '"' || p[1] != ':')
            return NULL;
        p += 2 + (p[2] == ' ');
        return (unsigned char)*p > ' ' ? p : NULL;
    #else
        return NULL;
    #endif
    }
    /* Whether four bytes are hexadecimal digits: each is looked up, and there is one branch for all of them. */
    static const unsigned char edge_no_digit[256] = {
        [0 ... '0' - 1] = 1, ['9' + 1 ... 'A' - 1] = 1, ['F' + 1 ... 'a' - 1] = 1, ['f' + 1 ... 255] = 1
    };
    static inline int edge_is_unit(const char *p) {
        const unsigned char *u = (const unsigned char *)p;
        return !(edge_no_digit[u[0]] | edge_no_digit[u[1]] | edge_no_digit[u[2]] | edge_no_digit[u[3]]);
    }
    """
    const char* edge_plain_end(const char* p, const char* start, const char* end) noexcept nogil
    const char* edge_quick_name(const char* p, bint first, const char** quote, Py_ssize_t* size) noexcept nogil
    bint edge_is_unit(const char* p) noexcept nogil


cdef enum:
    MAX_DEPTH = 128         # deeper than any client library writes, shallow enough for the C stack


cdef const char* fail(Scan* scan, const char* at, int fault) noexcept nogil:
    scan.fault_at = at
    scan.fault = fault
    return NULL


cdef inline const char* _space(const char* p, const char* end) noexcept nogil:
    # most texts have none, or one byte of it
    while p < end and <unsigned char>p[0] <= c" " and (p[0] == c" " or p[0] == c"\n" or p[0] == c"\r" or p[0] == c"\t"):
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


cdef const char* _walk_escaped(const char* p, Scan* scan, bint* escaped) noexcept nogil:
    """Walk on from a byte that ends a plain run to behind the closing quote."""
    cdef const char* end = scan.end
    while True:
        if p >= end:
            return fail(scan, end, WALK_MALFORMED)
        if p[0] == c'"':
            return p + 1
        if p[0] != c"\\":
            return fail(scan, p, WALK_MALFORMED)
        escaped[0] = True
        while p < end and p[0] == c"\\":
            # many encoders escape whole texts that are not ASCII
            while end - p >= 6 and p[0] == c"\\" and p[1] == c"u" and edge_is_unit(p + 2):
                p += 6
            if p < end and p[0] == c"\\":
                p = _walk_escape(p, scan)
                if p == NULL:
                    return NULL
        p = edge_plain_end(p, scan.start, end)


cdef inline const char* _walk_string(const char* p, Scan* scan, bint* escaped) noexcept nogil:
    p = edge_plain_end(p + 1, scan.start, scan.end)
    return p + 1 if p < scan.end and p[0] == c'"' else _walk_escaped(p, scan, escaped)


cdef const char* walk_string(const char* p, Scan* scan, bint* escaped) noexcept nogil:
    return _walk_string(p, scan, escaped)


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


cdef inline const char* _take_text(const char* p, Scan* scan, Text* text) noexcept nogil:
    cdef const char* after
    cdef bint escaped = False
    text.quote = p
    if p >= scan.end or p[0] != c'"':
        return fail(scan, p, WALK_MALFORMED)
    after = _walk_string(p, scan, &escaped)
    if after == NULL:
        return NULL
    if escaped:
        _decode_short(p + 1, after - 1, text)
    else:
        text.at = p + 1
        text.size = after - p - 2
    return after


cdef const char* take_text(const char* p, Scan* scan, Text* text) noexcept nogil:
    return _take_text(p, scan, text)


cdef const char* next_member(const char* p, Scan* scan, bint first, Text* key) noexcept nogil:
    cdef const char* end = scan.end
    cdef const char* value
    if end - p >= 24:
        value = edge_quick_name(p, first, &key.quote, &key.size)
        if value != NULL:
            key.at = key.quote + 1
            return value
    p = _space(p, end)
    if p < end and p[0] == c"}":
        key.at = NULL
        return p + 1
    if not first:
        if p >= end or p[0] != c",":
            return fail(scan, p, WALK_MALFORMED)
        p = _space(p + 1, end)
    p = _take_text(p, scan, key)
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


cdef int64_t read_count(const char* p, const char* end) noexcept nogil:
    cdef int64_t value = 0
    cdef int digit
    cdef const char* sure = p + 18 if end - p > 18 else end     # so many digits cannot overflow
    if p >= end or not c"0" <= p[0] <= c"9":
        return -1
    while p < sure and c"0" <= p[0] <= c"9":
        value = value * 10 + (p[0] - c"0")
        p += 1
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
