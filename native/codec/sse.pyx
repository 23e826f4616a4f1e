"""What has this event stream said so far?  See sse.pxd for the contract.

The Scanner finds where events end and ``_classify`` says what each means. What is handed on is never changed: all that
``feed`` returned and then ``rest`` make up the stream, byte for byte, and what is said of it does not depend on how it
was cut into chunks.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp
from native.codec.event cimport (BLOCK_SPEAKS, DELTA_HOLLOW, DELTA_SPEAKS, DONE_SPEAKS, HAS_CONTENT, HAS_ERROR, HAS_FINISH,
                           HAS_TYPE, Facts, walk_event)
from native.codec.json_walk cimport Scan, Text, at_end, begin, skip_space, text_is, walk_value

cdef unsigned char* BYTE_ORDER_MARK = b"\xef\xbb\xbf"
cdef Py_ssize_t ERROR_KEPT = 16 * 1024      # of the first error event's data: enough to relay, too little to hurt

# ---- what one event says


cdef bint _ends_in(const Text* text, const char* suffix, Py_ssize_t size) noexcept nogil:
    return text.size > size and memcmp(text.at + text.size - size, suffix, size) == 0


cdef int _say_type(Facts* facts) noexcept nogil:
    """What an event says by its type (Responses API, Anthropic); 0 = nothing that matters.

    A Responses "….done" repeats its deltas; it is content by itself where it holds the text, for servers that send no
    deltas. Its items and parts (output_item.*, content_part.*) are preamble.
    """
    cdef Text* type = &facts.type
    if _ends_in(type, b".delta", 6) or text_is(type, b"content_block_delta", 19):
        return 0 if facts.has & DELTA_HOLLOW and not facts.has & DELTA_SPEAKS else SAID_CONTENT
    if text_is(type, b"content_block_start", 19):
        return SAID_CONTENT if facts.has & BLOCK_SPEAKS else 0
    if _ends_in(type, b".done", 5):
        return SAID_CONTENT if facts.has & DONE_SPEAKS else 0
    if _ends_in(type, b".partial_image", 14):
        return SAID_CONTENT
    if (text_is(type, b"message_stop", 12) or text_is(type, b"response.completed", 18)
            or text_is(type, b"response.incomplete", 19)):
        return SAID_FINISH
    if text_is(type, b"error", 5) or text_is(type, b"response.failed", 15):
        return SAID_ERROR
    return 0


cdef int _classify(const char* data, const char* end, const Text* name, bint whole, Facts* facts) noexcept nogil:
    """The bits of one event from its data and its event name. Not whole: the data was cut, so take what there is."""
    cdef Scan scan
    cdef const char* p
    cdef int bits = 0
    facts.has = 0
    facts.prompt_tokens = facts.output_tokens = -1
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
    if data[0] == c"{":
        p = walk_event(data + 1, &scan, facts)
    else:
        p = walk_value(data, &scan, 0)
    if not at_end(p, &scan):
        facts.prompt_tokens = facts.output_tokens = -1
        if whole:
            return SAID_GARBAGE
    if not whole and not facts.has & HAS_TYPE:
        facts.type.at = name.at
        facts.type.size = name.size
        facts.has |= HAS_TYPE
    if facts.has & HAS_TYPE:
        bits = _say_type(facts)
    if facts.has & HAS_ERROR or bits & SAID_ERROR:
        return SAID_ERROR
    if facts.has & HAS_CONTENT or not whole:
        bits |= SAID_CONTENT
    if facts.has & HAS_FINISH:
        bits |= SAID_FINISH
    return bits if bits else SAID_PREAMBLE


# ---- lines

cdef struct Lines:          # where the next line ends, each of the two bytes looked for once
    const char* end
    const char* feed
    const char* turn


cdef inline const char* _find(const char* p, const char* end, char byte) noexcept nogil:
    cdef const void* found = memchr(p, byte, end - p)
    return end if found == NULL else <const char*>found


cdef inline const char* _line_end(Lines* lines, const char* p) noexcept nogil:
    """The first line feed or carriage return at or after p, or the end."""
    if lines.feed < p:
        lines.feed = _find(p, lines.end, c"\n")
    if lines.turn < p:
        lines.turn = _find(p, lines.end, c"\r")
    return lines.feed if lines.feed < lines.turn else lines.turn


cdef inline const char* _value(const char* p, const char* end, const char* field, Py_ssize_t size) noexcept nogil:
    """Where the value of this line begins if it is the field's, else NULL."""
    if end - p < size or memcmp(p, field, size) != 0:
        return NULL
    p += size
    if p == end:
        return p
    if p[0] != c":":
        return NULL
    p += 1
    return p + 1 if p < end and p[0] == c" " else p


cdef class Scanner:
    """Splits one event stream and remembers what was said; one instance per attempt.

    ``limit``: bytes of one event that are held back at most (default 256 KiB). A longer event is handed on in pieces
    and judged by its first ``limit`` bytes: content, unless they show an error; and the end, if they show it.
    """

    def __cinit__(self, Py_ssize_t limit=256 * 1024):
        if limit < 1:
            raise ValueError(f"limit must be at least 1 byte, not {limit}")
        self.limit = limit
        self.carry = b""
        self.prompt_tokens = self.output_tokens = self.error_end = -1

    def push(self, bytes chunk not None):
        """Feed ``chunk``; return the whole events to hand on (``chunk`` itself where nothing is held back)."""
        return self.feed(chunk)

    def tail(self):
        """Return the unfinished tail and forget it."""
        return self.rest()

    cdef bytes feed(self, bytes chunk):
        cdef Py_ssize_t held = PyBytes_GET_SIZE(self.carry)
        cdef bytes data = self.carry + chunk if held else chunk
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t border = 0
        self.fresh = 0
        self.error_end = -1
        self._scan(PyBytes_AS_STRING(data), held, size, &border)
        if border == size:
            if held:
                self.carry = b""
            return data
        if border == 0:
            self.carry = data
            return b""
        self.carry = data[border:]
        return data[:border]

    cdef bytes rest(self):
        cdef bytes tail = self.carry
        self.carry = b""
        return tail

    cdef int _scan(self, const char* start, Py_ssize_t held, Py_ssize_t size, Py_ssize_t* border) except -1:
        """Walk the lines from ``held`` on (before it nothing new can be found) and judge each event that ends."""
        cdef const char* p = start + held
        cdef const char* end = start + size
        cdef const char* unit = start       # where the open event begins
        cdef const char* stop
        cdef bint known
        cdef Lines lines
        lines.end = end
        lines.feed = lines.turn = NULL
        while p < end:
            if self.after_cr:
                self.after_cr = False
                if p[0] == c"\n":
                    p += 1
                    unit = p if unit == p - 1 else unit
                    continue
            if self.mark < 3:
                if <unsigned char>p[0] == BYTE_ORDER_MARK[self.mark]:
                    self.mark += 1
                    p += 1
                    continue
                self.within = self.fields = self.mark > 0    # part of a mark only: the beginning of some odd field
                self.mark = 3
            if not self.within:
                self.remark = p[0] == c":"
            stop = _line_end(&lines, p)
            if stop > p:
                self.within = True
                self.fields = self.fields or not self.remark
            if stop == end:
                break
            p = stop + 1
            if stop[0] == c"\r":
                if p < end and p[0] == c"\n":
                    p += 1
                else:
                    self.after_cr = p == end
            if self.within and self.fields:
                self.within = False         # one line of an event that goes on
                continue
            self.within = False
            if not self.raw:
                known = self.error is not None
                self._judge(unit, stop + 1)
                if not known and self.error is not None:
                    self.error_end = p - start
            self.raw = self.fields = False
            unit = p
        if end - unit > self.limit and not self.raw:
            known = self.error is not None
            self._judge(unit, end)
            self.raw = True
            if not known and self.error is not None:
                self.error_end = size
        border[0] = size if self.raw else unit - start
        return 0

    cdef int _judge(self, const char* p, const char* end) except -1:
        """Classify the event from p to end (without the line feed of a last CR LF, which may not have come yet)."""
        cdef bint whole = end - p <= self.limit
        cdef const char* stop
        cdef const char* value
        cdef const char* data = p
        cdef const char* data_end = p
        cdef list pieces = None     # the data of an event of several data lines
        cdef bytes joined           # keeps it alive
        cdef bint found = False
        cdef Text name
        cdef Facts facts
        cdef Lines lines
        cdef int bits
        name.at = p
        name.size = 0
        if not whole:
            end = p + self.limit
        if not self.begun:
            self.begun = True
            if end - p >= 3 and memcmp(p, BYTE_ORDER_MARK, 3) == 0:
                p += 3
        lines.end = end
        lines.feed = lines.turn = NULL
        while p < end:
            stop = _line_end(&lines, p)
            value = _value(p, stop, b"data", 4)
            if value != NULL:
                if found:
                    if pieces is None:
                        pieces = [data[:data_end - data]]
                    pieces.append(value[:stop - value])
                data = value
                data_end = stop
                found = True
            else:
                value = _value(p, stop, b"event", 5)
                if value != NULL:
                    name.at = value
                    name.size = stop - value
            p = stop + 1            # between CR and LF there is one more, empty line: it holds no field
        if pieces is not None:
            joined = b"\n".join(pieces)
            data = PyBytes_AS_STRING(joined)
            data_end = data + PyBytes_GET_SIZE(joined)
        bits = _classify(data, data_end, &name, whole or not self.fields, &facts)
        if facts.prompt_tokens >= 0:
            self.prompt_tokens = facts.prompt_tokens
        if facts.output_tokens >= 0:
            self.output_tokens = facts.output_tokens
        if bits & SAID_ERROR:
            if self.error is None:
                self.error = data[:min(data_end - data, ERROR_KEPT)]
            if self.events == 0:
                bits |= SAID_ERROR_FIRST
        if bits & SAID_CONTENT:
            self.events += 1
        self.fresh |= bits
        self.said |= bits
        return 0
