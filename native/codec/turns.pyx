from libc.string cimport memchr, memcmp
from native.codec.json_walk cimport skip_space, text_is

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Multiply and fold, as in wyhash (Wang Yi, public domain). Chosen bytes can collide: a request then goes where
       another one's prompt is, and no more. */
    static inline uint64_t edge_fold(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline uint64_t edge_bytes_mark(const char *p, Py_ssize_t size, uint64_t mark) {
        uint64_t a, b;
        mark ^= edge_fold((uint64_t)size ^ 0xA0761D6478BD642FULL, 0xE7037ED1A0B428DBULL);
        while (size > 16) {
            memcpy(&a, p, 8);
            memcpy(&b, p + 8, 8);
            mark = edge_fold(a ^ 0x8EBC6AF09C88C6E3ULL, b ^ mark);
            p += 16;
            size -= 16;
        }
        a = b = 0;
        if (size > 8) {
            memcpy(&a, p, 8);
            memcpy(&b, p + size - 8, 8);
        } else if (size >= 4) {
            uint32_t first, last;
            memcpy(&first, p, 4);
            memcpy(&last, p + size - 4, 4);
            a = (uint64_t)first << 32 | last;
        } else if (size > 0) {
            a = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[size / 2] << 8
                | (unsigned char)p[size - 1];
        }
        return edge_fold(a ^ 0x589965CC75374CC3ULL, b ^ mark);
    }
    """
    uint64_t edge_fold(uint64_t a, uint64_t b) noexcept nogil
    uint64_t edge_bytes_mark(const char* p, Py_ssize_t size, uint64_t mark) noexcept nogil

cdef enum:
    USUAL_S = 300           # Anthropic's prompt cache; OpenAI's is kept for 5 to 10 minutes without use
    HOUR_S = 3600           # Anthropic: "ttl": "1h"
    DAY_S = 86400           # OpenAI: "prompt_cache_retention": "24h"
    LOOKED = 2048           # bytes of a text that are looked at
    PART = 64               # ... of which the beginning, the middle and the end count
    STRINGS = 12            # texts of a turn that count
    TAIL = 64               # bytes at the end of a turn in which the mark of a prompt cache stands


cdef uint64_t BASIS = 0x9E3779B97F4A7C15ULL


cdef uint64_t bytes_mark(const char* p, Py_ssize_t size, uint64_t before) noexcept nogil:
    return edge_bytes_mark(p, size, before)


cdef uint64_t both(uint64_t first, uint64_t second) noexcept nogil:
    return edge_fold(first ^ <uint64_t>0x2D358DCCAA6C78A5, second ^ <uint64_t>0xD6E8FEB86659FD93)


cdef uint64_t name_mark(const char* name, Py_ssize_t size) noexcept nogil:
    return edge_bytes_mark(name, size, BASIS) | 1


cdef const char* _end_of(const char* p, const char* end, bint* closed) noexcept nogil:
    """Return the closing quote of the string that begins at p, or where it is no longer looked at."""
    cdef const char* most = p + LOOKED if end - p > LOOKED else end
    cdef const char* q = p
    cdef const char* slash
    while True:
        q = <const char*>memchr(q, c'"', most - q)
        if q == NULL:
            closed[0] = False
            return most
        slash = q
        while slash > p and slash[-1] == c"\\":
            slash -= 1
        if not (q - slash) & 1:
            closed[0] = True
            return q
        q += 1


cdef uint64_t _text_mark(const char* p, Py_ssize_t size, bint closed, uint64_t mark) noexcept nogil:
    if size <= 3 * PART:
        return edge_bytes_mark(p, size, mark)
    mark = edge_bytes_mark(p, PART, mark ^ <uint64_t>(size if closed else -1))
    mark = edge_bytes_mark(p + size // 2, PART, mark)
    return edge_bytes_mark(p + size - PART, PART, mark)


cdef bint _says_hour(const char* p, const char* end) noexcept nogil:
    """Return whether "1h" stands here. In the text of a turn its quotes would be escaped."""
    while end - p >= 4:
        p = <const char*>memchr(p, c'"', end - p - 3)
        if p == NULL:
            return False
        if memcmp(p, b'"1h"', 4) == 0:
            return True
        p += 1
    return False


cdef uint64_t _fingerprint(const char* p, const char* end, uint64_t mark, Turns* turns, bint* own) noexcept nogil:
    """Return the fingerprint of the texts in a JSON value; sets ``own`` to False if its role is not the client's."""
    cdef const char* text
    cdef const char* q
    cdef Py_ssize_t size
    cdef int left = STRINGS
    cdef bint closed = True
    cdef bint typed = False
    cdef bint has_role = False
    # Most turns begin like this; the loop below reads all others, and these to the same fingerprint.
    if end - p > 24 and memcmp(p, b'{"role":', 8) == 0:
        q = p + 8 + (p[8] == c" ")
        if memcmp(q, b'"user"', 6) == 0:
            has_role = True
            mark ^= 4
            p = q + 6
        elif memcmp(q, b'"assistant"', 11) == 0:
            has_role = True
            own[0] = False
            mark ^= 9
            p = q + 11
        if has_role and p[0] == c"," and end - p > 14:
            q = p + 1 + (p[1] == c" ")
            if memcmp(q, b'"content":', 10) == 0:
                p = q + 10
    while left:
        while p < end and p[0] != c'"':
            p += 1
        if p >= end:
            break
        text = p + 1
        if end - text > 8 and memcmp(text, b'content"', 8) == 0:
            q = text + 8
            if q[0] == c":":
                p = q
                continue
        p = _end_of(text, end, &closed)
        size = p - text
        if not closed:
            mark = _text_mark(text, size, False, mark)
            break
        p += 1
        q = p if p < end and p[0] == c":" else skip_space(p, end)
        if q < end and q[0] == c":":        # the name of a member
            if size == 13 and memcmp(text, b"cache_control", 13) == 0:
                p = <const char*>memchr(q, c"}", end - q)
                if p == NULL:
                    break
                if _says_hour(q, p):
                    turns.keep_s = max(turns.keep_s, <int>HOUR_S)
            elif size == 4 and memcmp(text, b"type", 4) == 0:
                typed = True
                q = skip_space(q + 1, end)
                if q < end and q[0] == c'"':
                    p = _end_of(q + 1, end, &closed) + 1
            elif size == 4 and not has_role and memcmp(text, b"role", 4) == 0:
                has_role = True
                q = skip_space(q + 1, end)
                if q < end and q[0] == c'"':
                    p = _end_of(q + 1, end, &closed)
                    size = p - q - 1
                    own[0] = (size == 4 and memcmp(q + 1, b"user", 4) == 0) or (
                        size == 6 and memcmp(q + 1, b"system", 6) == 0
                    ) or (size == 9 and memcmp(q + 1, b"developer", 9) == 0)
                    mark ^= <uint64_t>size      # which role it is, the turns before and after tell
                    p += 1
            if p >= end:
                break
            continue
        mark = _text_mark(text, size, True, mark)
        left -= 1
    if typed and not has_role:
        own[0] = False      # a function call or its output (Responses); Gemini's turns without a role have no type
    return mark


cdef void _note_tail(Turns* turns, const char* p, const char* after) noexcept nogil:
    """Look for a mark at the end of blocks; a bare text has none."""
    if after - p > 2 and (after[-2] == c"]" or after[-2] == c"}") and (
        _says_hour(after - TAIL if after - p > TAIL else p, after)
    ):
        turns.keep_s = max(turns.keep_s, <int>HOUR_S)


cdef void begin_turns(Turns* turns) noexcept nogil:
    turns.fixed = turns.chain = BASIS
    turns.named = 0
    turns.count = 0
    turns.answered = False
    turns.keep_s = USUAL_S
    turns.start = turns.end = turns.fixed_start = turns.fixed_end = 0


cdef void note_turn(Turns* turns, const char* p, const char* after) noexcept nogil:
    cdef bint own = True
    cdef uint64_t mark = _fingerprint(p, after, BASIS, turns, &own)
    _note_tail(turns, p, after)
    if not own:
        turns.answered = True
    turns.chain = both(turns.chain, mark)
    turns.latest[<uint64_t>turns.count & <uint64_t>(LATEST - 1)] = turns.chain
    turns.count += 1


cdef void note_member(
    Turns* turns, const Text* key, const char* start, const char* p, const char* after
) noexcept nogil:
    cdef bint own = True
    if not may_note(key):
        return
    if key.size == 5:       # as of "model", which every request has
        if text_is(key, b"tools", 5):
            _note_tail(turns, p, after)
        elif p[0] == c'"' and text_is(key, b"input", 5):
            _note_text(turns, start, p, after)
    elif text_is(key, b"system", 6) or text_is(key, b"instructions", 12) or text_is(key, b"systemInstruction", 17) or (
        text_is(key, b"system_instruction", 18)
    ):
        turns.fixed = both(turns.fixed, _fingerprint(p, after, BASIS, turns, &own))
        turns.fixed_start = p - start
        turns.fixed_end = after - start
        _note_tail(turns, p, after)
    elif text_is(key, b"prompt_cache_key", 16):
        turns.fixed = both(turns.fixed, _fingerprint(p, after, BASIS, turns, &own))
    elif text_is(key, b"previous_response_id", 20) or text_is(key, b"conversation", 12):
        _note_name(turns, p, after)
    elif text_is(key, b"cache_control", 13):
        if _says_hour(p, after):
            turns.keep_s = max(turns.keep_s, <int>HOUR_S)
    elif text_is(key, b"prompt_cache_retention", 22):
        if after - p == 5 and memcmp(p, b'"24h"', 5) == 0:
            turns.keep_s = DAY_S
    elif p[0] == c'"' and text_is(key, b"prompt", 6):
        _note_text(turns, start, p, after)


cdef void _note_text(Turns* turns, const char* start, const char* p, const char* after) noexcept nogil:
    """Add the only turn of a request, a bare text."""
    turns.start = p - start
    turns.end = after - start
    note_turn(turns, p, after)


cdef void _note_name(Turns* turns, const char* p, const char* after) noexcept nogil:
    """Read "resp_1" or {"id": "conv_1"}."""
    cdef bint closed = True
    cdef const char* end
    if p[0] == c"{":
        p = <const char*>memchr(p, c":", after - p)
        if p != NULL:
            p = <const char*>memchr(p, c'"', after - p)
    if p != NULL and p[0] == c'"':
        end = _end_of(p + 1, after, &closed)
        turns.named = name_mark(p + 1, end - p - 1)
