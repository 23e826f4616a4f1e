from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.codec.event cimport HAS_TYPE, Facts
from native.codec.event_kind cimport SAID_CHOICES, SAID_CONTENT, is_utf8
from native.codec.json_walk cimport Scan, begin, text_is, walk_string
from native.codec.spoken cimport text_size

cdef enum:
    # A stream whose events differ in more than their text, as by a sequence number, is not compared any longer.
    MOST_MISSES = 8


cdef class RepeatedEvent:
    cdef int recognise(self, const char* data, const char* end, Facts* facts) noexcept:
        cdef Py_ssize_t length = end - data - self.before - self.behind
        cdef const char* text
        cdef const char* after
        cdef const char* known
        cdef bint escaped = False
        cdef Scan scan
        if self.event is None or length < 1 or length > <Py_ssize_t>LONGEST_TEXT:
            return 0
        known = PyBytes_AS_STRING(self.event)
        text = data + self.before
        after = text + length
        if memcmp(data, known, self.before) != 0 or (
            memcmp(after, known + PyBytes_GET_SIZE(self.event) - self.behind, self.behind) != 0
        ):
            return 0
        begin(&scan, data, end - data)
        if walk_string(text - 1, &scan, &escaped) != after + 1 or not is_utf8(
            <const unsigned char*>text, <const unsigned char*>after
        ):
            return 0
        facts.has = 0
        facts.repeats = facts.other = False
        facts.text = text
        facts.text_length = length
        facts.said = text_size(text - 1, after + 1)
        self.misses = 0
        return self.bits

    cdef int remember(self, const char* data, const char* end, int bits, const Facts* facts) except -1:
        if self.misses >= <int>MOST_MISSES:
            return 0
        if bits & ~<int>SAID_CHOICES != <int>SAID_CONTENT or facts.text == NULL or facts.other or facts.usage.seen:
            return 0
        if not 1 <= facts.text_length <= <Py_ssize_t>LONGEST_TEXT or facts.repeats or facts.ended[0] or facts.ended[1]:
            return 0
        # No other text counts, and none counts for less.
        if facts.said != text_size(facts.text - 1, facts.text + facts.text_length + 1):
            return 0
        if facts.has & HAS_TYPE and not (
            text_is(&facts.type, b"content_block_delta", 19) or text_is(&facts.type, b"response.output_text.delta", 26)
        ):
            return 0        # of other types it counts where they stand in the stream
        self.misses += 1
        self.event = None if self.misses == <int>MOST_MISSES else data[:end - data]
        self.before = facts.text - data
        self.behind = end - facts.text - facts.text_length
        self.bits = bits
        return 0
