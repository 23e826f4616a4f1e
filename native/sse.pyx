"""What has this event stream said so far?  See sse.pxd for the contract.

Two layers: the Scanner finds where events end (bytes in, whole events out), and ``_classify`` says what the data of one
event means. What is handed on is never changed: the concatenation of all that ``feed`` returned and of ``rest`` is
the stream, byte for byte, and what is said does not depend on how the stream was cut into chunks.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp
from native.peek cimport (PEEK_OK, Scan, Text, is_empty, next_element, next_member, read_count, skip_space, take_text,
                          text_is, walk_value)

cdef Py_ssize_t ERROR_KEPT = 16 * 1024      # of the first error event's data: enough to relay, too little to hurt

# ---- what one event means

cdef enum:                  # what the members of one event's data add up to
    HAS_CONTENT = 1
    HAS_FINISH = 2
    HAS_ERROR = 4
    HAS_TYPE = 8
    DELTA_SPEAKS = 16       # a delta with something in it
    DELTA_HOLLOW = 32       # a delta whose text is there and empty
    DONE_SPEAKS = 64        # the text of a Responses "….done" event
    BLOCK_SPEAKS = 128      # an Anthropic content block that starts as more than an empty text

cdef struct Facts:
    int has
    int64_t prompt_tokens, output_tokens
    Text type


cdef const char* _walk_usage(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    cdef Text key
    cdef const char* after
    cdef int64_t count
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, depth + 1)
        if after == NULL:
            return NULL
        count = read_count(p, after)
        if count >= 0:
            if text_is(&key, b"prompt_tokens", 13) or text_is(&key, b"input_tokens", 12) or (
                    text_is(&key, b"promptTokenCount", 16)):
                facts.prompt_tokens = count
            elif text_is(&key, b"completion_tokens", 17) or text_is(&key, b"output_tokens", 13) or (
                    text_is(&key, b"candidatesTokenCount", 20)):
                facts.output_tokens = count
        p = after


cdef const char* _walk_carrier(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """An object that matters only for the usage in it: Responses' "response", Anthropic's "message"."""
    cdef Text key
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        if text_is(&key, b"usage", 5):
            p = _walk_usage(p, scan, depth + 1, facts)
        else:
            p = walk_value(p, scan, depth + 1)
        if p == NULL:
            return NULL


cdef const char* _walk_delta(const char* p, Scan* scan, int depth, int* has) noexcept nogil:
    """A delta (or a content block): does it say anything besides who speaks and in what kind of part?

    Any other string counts, since dialects keep adding names for what a model says (content, reasoning_content,
    reasoning, refusal, partial_json, thinking, signature); so does a non-empty list (tool_calls, content parts).
    """
    cdef Text key
    cdef const char* after
    cdef bint first = True
    if p[0] == c'"':
        after = walk_value(p, scan, depth)
        if after != NULL:
            has[0] |= DELTA_HOLLOW if is_empty(p, after) else DELTA_SPEAKS
        return after
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, depth + 1)
        if after == NULL:
            return NULL
        if p[0] == c'"':
            if not (text_is(&key, b"role", 4) or text_is(&key, b"type", 4) or text_is(&key, b"id", 2)):
                has[0] |= DELTA_HOLLOW if is_empty(p, after) else DELTA_SPEAKS
        elif p[0] == c"[":
            has[0] |= 0 if is_empty(p, after) else DELTA_SPEAKS
        elif p[0] == c"{" and (text_is(&key, b"function_call", 13) or text_is(&key, b"audio", 5)):
            has[0] |= DELTA_SPEAKS
        p = after


cdef const char* _walk_block(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """Anthropic's content_block: a text or thinking block starts empty; a tool_use block is content by its name."""
    cdef Text key
    cdef Text value
    cdef const char* start = p
    cdef bint first = True
    cdef bint prose = False
    cdef int has = 0
    p = _walk_delta(p, scan, depth, &has)
    if p == NULL or start[0] != c"{":
        return p
    start += 1
    while True:             # once more, now that it is known to be well-formed, for its type
        start = next_member(start, scan, first, &key)
        if key.at == NULL:
            break
        first = False
        if text_is(&key, b"type", 4) and start[0] == c'"':
            take_text(start, scan, &value)
            prose = text_is(&value, b"text", 4) or text_is(&value, b"thinking", 8)
        start = walk_value(start, scan, depth + 1)
    facts.has |= BLOCK_SPEAKS if has & DELTA_SPEAKS or not prose else 0
    return p


cdef const char* _walk_parts(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """Gemini's candidates[].content."""
    cdef Text key
    cdef const char* after
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, depth + 1)
        if after == NULL:
            return NULL
        if p[0] == c"[" and text_is(&key, b"parts", 5) and not is_empty(p, after):
            facts.has |= HAS_CONTENT
        p = after


cdef const char* _walk_choice(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """One of "choices" (chat, completions) or of "candidates" (Gemini)."""
    cdef Text key
    cdef Text reason
    cdef const char* after
    cdef bint first = True
    cdef int has
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        if text_is(&key, b"delta", 5) or text_is(&key, b"message", 7):
            has = 0
            after = _walk_delta(p, scan, depth + 1, &has)
            facts.has |= HAS_CONTENT if has & DELTA_SPEAKS else 0
        elif text_is(&key, b"content", 7):
            after = _walk_parts(p, scan, depth + 1, facts)
        else:
            after = walk_value(p, scan, depth + 1)
            if after != NULL and p[0] == c'"' and not is_empty(p, after):
                if text_is(&key, b"text", 4):
                    facts.has |= HAS_CONTENT
                elif text_is(&key, b"finish_reason", 13) or text_is(&key, b"finishReason", 12):
                    take_text(p, scan, &reason)
                    facts.has |= HAS_ERROR if text_is(&reason, b"error", 5) else HAS_FINISH
        if after == NULL:
            return NULL
        p = after


cdef const char* _walk_choices(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    cdef bint ended = False
    cdef bint first = True
    if p[0] != c"[":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_element(p, scan, first, &ended)
        if p == NULL or ended:
            return p
        first = False
        p = _walk_choice(p, scan, depth + 1, facts)
        if p == NULL:
            return NULL


cdef const char* _walk_plain(const char* p, Scan* scan, const Text* key, Facts* facts) noexcept nogil:
    """A top-level member that is not looked into."""
    cdef Text word
    cdef const char* after = walk_value(p, scan, 1)
    if after == NULL:
        return NULL
    if text_is(key, b"error", 5):
        facts.has |= 0 if is_empty(p, after) else HAS_ERROR
    elif p[0] == c'"':
        if text_is(key, b"type", 4):
            take_text(p, scan, &facts.type)
            facts.has |= HAS_TYPE
        elif text_is(key, b"object", 6):
            take_text(p, scan, &word)
            facts.has |= HAS_ERROR if text_is(&word, b"error", 5) else 0
        elif (text_is(key, b"text", 4) or text_is(key, b"arguments", 9) or text_is(key, b"refusal", 7)
                or text_is(key, b"transcript", 10)):
            facts.has |= 0 if is_empty(p, after) else DONE_SPEAKS
    return after


cdef const char* _walk_event(const char* p, Scan* scan, Facts* facts) noexcept nogil:
    """The top-level members of one event's data; p is after the brace. A member that breaks off leaves no fact."""
    cdef Text key
    cdef bint first = True
    cdef int before
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        before = facts.has
        if text_is(&key, b"choices", 7) or text_is(&key, b"candidates", 10):
            p = _walk_choices(p, scan, 1, facts)
        elif text_is(&key, b"delta", 5):
            p = _walk_delta(p, scan, 1, &facts.has)
        elif text_is(&key, b"usage", 5) or text_is(&key, b"usageMetadata", 13):
            p = _walk_usage(p, scan, 1, facts)
        elif text_is(&key, b"response", 8) or text_is(&key, b"message", 7):
            p = _walk_carrier(p, scan, 1, facts)
        elif text_is(&key, b"content_block", 13):
            p = _walk_block(p, scan, 1, facts)
        else:
            p = _walk_plain(p, scan, &key, facts)
        if p == NULL:
            facts.has = before
            return NULL


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
    scan.start = data
    scan.end = end
    scan.fault = PEEK_OK
    if data[0] == c"{":
        p = _walk_event(data + 1, &scan, facts)
    else:
        p = walk_value(data, &scan, 0)
    if p == NULL or skip_space(p, end) != end:
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
    and judged by its first ``limit`` bytes: content, unless they show an error.
    """

    def __cinit__(self, Py_ssize_t limit=256 * 1024):
        if limit < 1:
            raise ValueError(f"limit must be at least 1 byte, not {limit}")
        self.limit = limit
        self.carry = b""
        self.prompt_tokens = self.output_tokens = -1

    def push(self, bytes chunk not None):
        """Feed ``chunk``; return the whole events that can be handed on (``chunk`` itself where nothing is held back)."""
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
                if p[0] == b"\xef\xbb\xbf"[self.mark]:
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
                self._judge(unit, stop + 1)
            self.raw = self.fields = False
            unit = p
        if end - unit > self.limit and not self.raw:
            self._judge(unit, end)
            self.raw = True
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
            if end - p >= 3 and memcmp(p, b"\xef\xbb\xbf", 3) == 0:
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
