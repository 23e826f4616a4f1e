from libc.string cimport memcmp
from native.codec.event cimport (
    BLOCK_SPEAKS, DELTA_HOLLOW, DELTA_SPEAKS, DONE_SPEAKS, HAS_CALL, HAS_CHOICES, HAS_CONTENT, HAS_ERROR, HAS_FINISH, HAS_TYPE,
    Facts, walk_event,
)
from native.codec.json_walk cimport Scan, Text, at_end, begin, skip_space, text_is, walk_value
from native.codec.spoken cimport PARTIAL_PICTURE_SAID, SOUND_DIVISOR
from native.codec.usage cimport clear

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif
    static inline int edge_is_ascii16(const unsigned char *p) {
    #if defined(__SSE2__)
        return _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p)) == 0;
    #else
        uint64_t words[2];
        memcpy(words, p, 16);
        return ((words[0] | words[1]) & 0x8080808080808080ULL) == 0;
    #endif
    }

    /* Skip ASCII, sixteen bytes at a time; the last block overlaps the one before it. Returns where the first block begins
       that holds another byte, or that is the last and overlaps another byte. */
    static inline const unsigned char *edge_skip_ascii(
        const unsigned char *begin, const unsigned char *p, const unsigned char *end
    ) {
    #if defined(__SSE2__)
        while (end - p >= 64) {
            const __m128i *at = (const __m128i *)p;
            __m128i some = _mm_or_si128(
                _mm_or_si128(_mm_loadu_si128(at), _mm_loadu_si128(at + 1)),
                _mm_or_si128(_mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3))
            );
            if (_mm_movemask_epi8(some))
                break;
            p += 64;
        }
    #endif
        while (end - p >= 16) {
            if (!edge_is_ascii16(p))
                return p;
            p += 16;
        }
        return p < end && end - begin >= 16 && edge_is_ascii16(end - 16) ? end : p;
    }
    """
    const unsigned char* edge_skip_ascii(
        const unsigned char* begin, const unsigned char* p, const unsigned char* end
    ) noexcept nogil


cdef bint is_utf8(const unsigned char* p, const unsigned char* end) noexcept nogil:
    """Return whether this is UTF-8 (RFC 3629): SDKs decode a line before they parse it, and fail at the first fault."""
    cdef const unsigned char* begin = p
    cdef int more
    while True:
        p = edge_skip_ascii(begin, p, end)
        if p >= end:
            return True
        more = 1
        if p[0] >= 0x80:
            more = 2 if 0xC2 <= p[0] <= 0xDF else 3 if 0xE0 <= p[0] <= 0xEF else 4 if 0xF0 <= p[0] <= 0xF4 else 0
            if more == 0 or end - p < more or p[1] & 0xC0 != 0x80 or (more > 2 and p[2] & 0xC0 != 0x80) or (
                more > 3 and p[3] & 0xC0 != 0x80
            ):
                return False
            if (p[0] == 0xE0 and p[1] < 0xA0) or (p[0] == 0xED and p[1] > 0x9F) or (p[0] == 0xF0 and p[1] < 0x90) or (
                p[0] == 0xF4 and p[1] > 0x8F
            ):
                return False        # longer than it has to be, a surrogate, or above U+10FFFF
        p += more


cdef bint _is_object(const char* data, const char* end) noexcept nogil:
    cdef Scan scan
    data = skip_space(data, end)
    begin(&scan, data, end - data)
    return data < end and data[0] == c"{" and at_end(walk_value(data, &scan, 0), &scan) and (
        is_utf8(<const unsigned char*>data, <const unsigned char*>end)
    )


cdef bint _ends_in(const Text* text, const char* suffix, Py_ssize_t size) noexcept nogil:
    return text.size > size and memcmp(text.at + text.size - size, suffix, size) == 0


cdef int _kind_by_type(Facts* facts) noexcept nogil:
    """Classify an event by its type (Responses API, Anthropic); 0 = the type is not relevant.

    A Responses "….done" event repeats its deltas. If it holds the text, it counts as content, for servers that send no
    deltas. The events of items and parts (output_item.*, content_part.*) are preamble.
    """
    cdef Text* type = &facts.type
    if _ends_in(type, b".delta", 6) or text_is(type, b"content_block_delta", 19):
        if _ends_in(type, b"_arguments.delta", 16) or _ends_in(type, b"_input.delta", 12):
            facts.has |= HAS_CALL
        if _ends_in(type, b"audio.delta", 11):
            facts.said = facts.said // <int>SOUND_DIVISOR + 1
        return 0 if facts.has & DELTA_HOLLOW and not facts.has & DELTA_SPEAKS else SAID_CONTENT
    if text_is(type, b"content_block_start", 19):
        return SAID_CONTENT if facts.has & BLOCK_SPEAKS else 0
    if text_is(type, b"speech.audio.done", 17) or text_is(type, b"transcript.text.done", 20):
        facts.repeats = True
        return SAID_FINISH | SAID_CONTENT if facts.has & DONE_SPEAKS else SAID_FINISH
    if _ends_in(type, b".done", 5):
        facts.repeats = True
        return SAID_CONTENT if facts.has & DONE_SPEAKS else 0
    if _ends_in(type, b".partial_image", 14):
        facts.said = PARTIAL_PICTURE_SAID
        return SAID_CONTENT
    if (text_is(type, b"message_stop", 12) or text_is(type, b"response.completed", 18)
            or text_is(type, b"response.incomplete", 19) or text_is(type, b"image_generation.completed", 26)
            or text_is(type, b"image_edit.completed", 20)):
        return SAID_FINISH
    if text_is(type, b"error", 5) or text_is(type, b"response.failed", 15):
        return SAID_ERROR
    return 0


cdef int classify(const char* data, const char* end, const Text* name, bint whole, Facts* facts) noexcept nogil:
    cdef Scan scan
    cdef int bits = 0
    facts.has = 0
    facts.said = 0
    facts.repeats = False
    facts.choices[0] = facts.choices[1] = facts.ended[0] = facts.ended[1] = 0
    facts.text = NULL
    facts.other = False
    clear(&facts.usage)
    if text_is(name, b"error", 5):
        return SAID_ERROR if not whole or _is_object(data, end) else SAID_ERROR | SAID_GARBAGE
    while data < end and (end[-1] == c" " or end[-1] == c"\t" or end[-1] == c"\n" or end[-1] == c"\r"):
        end -= 1
    data = skip_space(data, end)
    if data == end:
        return SAID_COMMENT if whole else SAID_CONTENT
    if end - data == 6 and memcmp(data, b"[DONE]", 6) == 0:
        return SAID_DONE
    begin(&scan, data, end - data)
    if not at_end(walk_event(data, &scan, facts), &scan) or (whole and (
        data[0] != c"{" or not is_utf8(<const unsigned char*>data, <const unsigned char*>end)
    )):
        clear(&facts.usage)
        if whole:
            facts.said = 0
            facts.choices[0] = facts.choices[1] = facts.ended[0] = facts.ended[1] = 0
            return SAID_GARBAGE
    if not whole and not facts.has & HAS_TYPE:
        facts.type.at = name.at
        facts.type.size = name.size
        facts.has |= HAS_TYPE
    if facts.has & HAS_TYPE:
        bits = _kind_by_type(facts)
    if facts.has & HAS_ERROR or bits & SAID_ERROR:
        return SAID_ERROR
    if facts.has & HAS_CONTENT or not whole:
        bits |= SAID_CONTENT
    if facts.has & HAS_FINISH:
        bits |= SAID_FINISH
    if bits == 0:
        bits = SAID_PREAMBLE
    if facts.has & HAS_CALL:
        bits |= SAID_CALL
    return bits | SAID_CHOICES if facts.has & HAS_CHOICES else bits
