from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp
from native.codec.event cimport Facts
from native.codec.event_kind cimport SAID_CALL, SAID_COMMENT, SAID_CONTENT, SAID_ERROR, SAID_ERROR_FIRST, SAID_GARBAGE, classify
from native.codec.json_walk cimport Text, text_is
from native.codec.repeated_event cimport RepeatedEvent
from native.codec.shown cimport Shown
from native.codec.spoken cimport PICTURE_SAID
from native.codec.usage cimport Tokens, clear, merge_usage, resolve_usage

cdef unsigned char* BYTE_ORDER_MARK = b"\xef\xbb\xbf"
cdef Py_ssize_t RUN = 4096
cdef Py_ssize_t ERROR_KEPT = 16 * 1024      # of the first error event's data: enough to relay, small enough to keep

# A bit above those of native.codec.event_kind.Said.
cdef int HOLLOW_DATA = 1 << 16
# What a malformed event holds if it was a part of a tool call.
cdef tuple CALL_WORDS = (b"tool_call", b"function_call", b"functionCall", b"tool_use", b"partial_json", b"_input.delta")

cdef struct Lines:          # the next LF and the next CR, so that each is searched for only once
    const char* end
    const char* feed
    const char* turn


cdef inline const char* _find(const char* p, const char* end, char byte) noexcept nogil:
    cdef const void* found = memchr(p, byte, end - p)
    return end if found == NULL else <const char*>found


cdef inline const char* _line_end(Lines* lines, const char* p) noexcept nogil:
    """Return the first line feed or carriage return at or after p, or the end."""
    if lines.feed < p:
        lines.feed = _find(p, lines.end, c"\n")
    if lines.turn < p:
        lines.turn = _find(p, lines.end, c"\r")
    return lines.feed if lines.feed < lines.turn else lines.turn


cdef inline const char* _value(const char* p, const char* end, const char* field, Py_ssize_t size) noexcept nogil:
    """Return where the value of a line begins; NULL = the line is not this field's."""
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
    """Splits one event stream and accumulates the classification of its events; one instance per attempt.

    ``limit``: maximum bytes of an event that are held back (default 256 KiB). A longer event is passed on in pieces and
    classified by its first ``limit`` bytes: as content unless they contain an error, and as the end if they contain it.
    ``shown``: where the text is kept; None = nowhere.
    """

    def __cinit__(self, Py_ssize_t limit=256 * 1024, Shown shown=None):
        if limit < 1:
            raise ValueError(f"limit must be at least 1 byte, not {limit}")
        self.limit = limit
        self.shown = shown
        self.former = RepeatedEvent.__new__(RepeatedEvent)
        self.carry = b""
        self.error_end = -1
        clear(&self.usage)

    @property
    def prompt_tokens(self):
        """Tokens of the prompt by the counts so far; -1 = not counted."""
        cdef Tokens tokens
        resolve_usage(&self.usage, &tokens)
        return tokens.prompt

    @property
    def output_tokens(self):
        """Tokens of the output by the counts so far; -1 = not counted."""
        cdef Tokens tokens
        resolve_usage(&self.usage, &tokens)
        return tokens.output

    @property
    def broken(self):
        """(start, end, bits of Cut) of each event in the last result that no client may get."""
        return [] if self.cuts is None else self.cuts

    @property
    def ended_choices(self):
        """Whether every choice so far has its finish reason."""
        return self.all_ended()

    def push(self, bytes chunk not None):
        """Feed ``chunk``; return the complete events to pass on (``chunk`` itself if nothing is held back)."""
        return self.feed(chunk)

    def tail(self):
        """Return the incomplete event at the end, and drop it."""
        return self.rest()

    cdef bytes feed(self, bytes chunk):
        cdef Py_ssize_t held = PyBytes_GET_SIZE(self.carry)
        cdef bytes data = self.carry + chunk if held else chunk
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t border = 0
        self.fresh = 0
        self.error_end = -1
        self.cuts = None
        self.error_start = 0
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

    cdef bint all_ended(self) noexcept:
        return not (self.choices[0] & ~self.ended[0] or self.choices[1] & ~self.ended[1])

    cdef bytes rest(self):
        cdef bytes tail = self.carry
        self.carry = b""
        return tail

    cdef int _scan(self, const char* start, Py_ssize_t held, Py_ssize_t size, Py_ssize_t* border) except -1:
        """Walk the lines from ``held`` on (all before was searched already), and classify each event that ends."""
        cdef const char* p = start + held
        cdef const char* end = start + size
        cdef const char* unit = start       # where the open event begins
        cdef const char* line = NULL        # where its only line so far ends; NULL = it has none, or more, or a part came before
        cdef const char* stop
        cdef bint known
        cdef int bits
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
                self.within = self.fields = self.mark > 0    # an incomplete mark begins a field name
                self.mark = 3
            if not self.within:
                self.remark = p[0] == c":"
            stop = _line_end(&lines, p)
            if stop > p:
                self.within = True
                self.fields = self.fields or not self.remark
            if stop == end:
                break
            if self.within and self.fields:
                line = stop if p == unit else NULL
            p = stop + 1
            if stop[0] == c"\r":
                if p < end and p[0] == c"\n":
                    p += 1
                else:
                    self.after_cr = p == end
            if self.within and self.fields:
                self.within = False         # the line has ended, its event has not
                continue
            self.within = False
            if not self.raw:
                known = self.error is not None
                bits = self._judge(unit, stop + 1, line)
                if bits & (SAID_GARBAGE | HOLLOW_DATA):
                    self._cut(unit, p, unit - start, bits)
                if not known and self.error is not None:
                    self.error_start = unit - start
                    self.error_end = p - start
            elif self.raw_text:
                self.said_size += p - unit
            self.raw = self.fields = False
            unit = p
            line = NULL
        if end - unit > self.limit and not self.raw:
            known = self.error is not None
            self._judge(unit, end, NULL)
            self.raw = True
            # base64 has no spaces, and no text goes on so long without one
            self.raw_text = memchr(unit + self.limit - min(self.limit, RUN), c" ", min(self.limit, RUN)) != NULL
            self.said_size += end - unit if self.raw_text else <int>PICTURE_SAID
            if not known and self.error is not None:
                self.error_start = unit - start
                self.error_end = size
        elif self.raw and self.raw_text:
            self.said_size += end - unit
        border[0] = size if self.raw else unit - start
        return 0

    cdef int _judge(self, const char* p, const char* end, const char* line) except -1:
        """Classify the event from p to end (without the LF of the last CR LF, which may not have arrived yet).

        ``line``: where its only line ends; NULL = look for its lines.
        """
        cdef bint whole = end - p <= self.limit
        cdef const char* stop
        cdef const char* value
        cdef const char* data = p
        cdef const char* data_end = p
        cdef list pieces = None     # the data lines, if there are several
        cdef bytes joined           # keeps the joined data alive
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
        if not whole:
            line = NULL
        lines.end = end
        lines.feed = lines.turn = NULL
        while p < end:
            stop = line if line != NULL else _line_end(&lines, p)
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
            if line != NULL:
                break
            p = stop + 1            # between CR and LF this loop sees an empty line, which has no field
        if pieces is not None:
            joined = b"\n".join(pieces)
            data = PyBytes_AS_STRING(joined)
            data_end = data + PyBytes_GET_SIZE(joined)
        facts.keeps = self.shown is not None
        if whole and pieces is None and not text_is(&name, b"error", 5):
            bits = self.former.recognise(data, data_end, &facts)
            if bits:
                return self._add_text(&facts, bits)
        bits = classify(data, data_end, &name, whole or not self.fields, &facts)
        if bits & SAID_COMMENT and found and whole:
            self.fresh |= SAID_COMMENT
            self.said |= SAID_COMMENT
            return bits | HOLLOW_DATA
        if whole:       # what was cut off may have ended a choice, or not
            self.choices[0] |= facts.choices[0]
            self.choices[1] |= facts.choices[1]
            self.ended[0] |= facts.ended[0]
            self.ended[1] |= facts.ended[1]
        if facts.keeps:
            self.shown.note(&facts, bits)
            if not whole and bits & SAID_CONTENT:
                self.shown.spoil()
        if facts.usage.seen:
            merge_usage(&self.usage, &facts.usage)
        if not facts.repeats or self.said_size == 0:
            self.said_size += facts.said
        if bits & SAID_ERROR:
            if self.error is None:
                self.error = data[:min(data_end - data, ERROR_KEPT)]
            if self.events == 0:
                bits |= SAID_ERROR_FIRST
        if bits & SAID_CONTENT:
            self.events += 1
            if whole and pieces is None:
                self.former.remember(data, data_end, bits, &facts)
        self.fresh |= bits
        self.said |= bits
        return bits

    cdef int _add_text(self, const Facts* facts, int bits) except -1:
        """Add an event like the one before, whose choices and tokens are known."""
        if facts.keeps:
            self.shown.note(facts, bits)
        self.said_size += facts.said
        self.events += 1
        self.fresh |= bits
        self.said |= bits
        return bits

    cdef int _cut(self, const char* p, const char* end, Py_ssize_t start, int bits) except -1:
        """Note an event that no client may get."""
        cdef int why = CUT_HOLLOW
        cdef bytes text
        if bits & SAID_GARBAGE:
            why = CUT_BROKEN | CUT_ERROR if bits & SAID_ERROR else CUT_BROKEN
            text = p[:end - p]
            if self.said & SAID_CALL or any([word in text for word in CALL_WORDS]):
                why |= CUT_CALL
        if self.cuts is None:
            self.cuts = []
        self.cuts.append((start, start + (end - p), why))
        return 0
