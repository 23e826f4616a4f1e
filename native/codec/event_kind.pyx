from libc.string cimport memcmp
from native.codec.event cimport (
    BLOCK_SPEAKS, DELTA_HOLLOW, DELTA_SPEAKS, DONE_SPEAKS, HAS_CONTENT, HAS_ERROR, HAS_FINISH, HAS_TYPE, Facts, walk_event,
)
from native.codec.json_walk cimport Scan, Text, at_end, begin, skip_space, text_is
from native.codec.spoken cimport PARTIAL_PICTURE_SAID, SOUND_DIVISOR
from native.codec.usage cimport clear


cdef bint _ends_in(const Text* text, const char* suffix, Py_ssize_t size) noexcept nogil:
    return text.size > size and memcmp(text.at + text.size - size, suffix, size) == 0


cdef int _kind_by_type(Facts* facts) noexcept nogil:
    """Classify an event by its type (Responses API, Anthropic); 0 = the type is not relevant.

    A Responses "….done" event repeats its deltas. If it holds the text, it counts as content, for servers that send no
    deltas. The events of items and parts (output_item.*, content_part.*) are preamble.
    """
    cdef Text* type = &facts.type
    if _ends_in(type, b".delta", 6) or text_is(type, b"content_block_delta", 19):
        if _ends_in(type, b"audio.delta", 11):
            facts.said = facts.said // <int>SOUND_DIVISOR + 1
        return 0 if facts.has & DELTA_HOLLOW and not facts.has & DELTA_SPEAKS else SAID_CONTENT
    if text_is(type, b"content_block_start", 19):
        return SAID_CONTENT if facts.has & BLOCK_SPEAKS else 0
    if _ends_in(type, b".done", 5):
        facts.repeats = True
        return SAID_CONTENT if facts.has & DONE_SPEAKS else 0
    if _ends_in(type, b".partial_image", 14):
        facts.said = PARTIAL_PICTURE_SAID
        return SAID_CONTENT
    if (text_is(type, b"message_stop", 12) or text_is(type, b"response.completed", 18)
            or text_is(type, b"response.incomplete", 19)):
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
    clear(&facts.usage)
    if text_is(name, b"error", 5):
        return SAID_ERROR
    while data < end and (end[-1] == c" " or end[-1] == c"\t" or end[-1] == c"\n" or end[-1] == c"\r"):
        end -= 1
    data = skip_space(data, end)
    if data == end:
        return SAID_COMMENT if whole else SAID_CONTENT
    if end - data == 6 and memcmp(data, b"[DONE]", 6) == 0:
        return SAID_DONE
    begin(&scan, data, end - data)
    if not at_end(walk_event(data, &scan, facts), &scan):
        clear(&facts.usage)
        if whole:
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
    return bits if bits else SAID_PREAMBLE
