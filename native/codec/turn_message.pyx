from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.json_text cimport unescape_json
from native.codec.json_walk cimport Scan, Text, at_end, begin, fail, skip_space, text_is, walk_members, walk_value, WALK_OK

# What stopped a walk: a member stands there twice. It is none of the faults of a walk.
cdef int TWICE = 100
# What may be stripped from what stands between two members that are left out.
cdef bytes BETWEEN = b" \t\r\n,"


cdef int member_of(const Text* key) noexcept nogil:
    if text_is(key, b"type", 4):
        return M_TYPE
    if text_is(key, b"input", 5):
        return M_INPUT
    if text_is(key, b"model", 5):
        return M_MODEL
    if text_is(key, b"stream", 6):
        return M_STREAM
    if text_is(key, b"generate", 8):
        return M_GENERATE
    if text_is(key, b"stream_id", 9):
        return M_STREAM_ID
    if text_is(key, b"background", 10):
        return M_BACKGROUND
    if text_is(key, b"previous_response_id", 20):
        return M_PREVIOUS
    return M_OTHER


cdef const char* _visit(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef const char* after = walk_value(p, scan, depth)
    cdef int member = M_OTHER if key == NULL else member_of(key)
    cdef Places* places = <Places*>into
    cdef Place* place = &places.at[places.count]
    cdef int i
    if after == NULL or member == M_OTHER:
        return after
    for i in range(places.count):
        if places.at[i].member == member:
            return fail(scan, key.quote, TWICE)
    place.member = member
    place.start = key.quote - scan.start
    place.value = p - scan.start
    place.end = after - scan.start
    places.count += 1
    return after


cdef TurnMessage read_turn(bytes content):
    cdef TurnMessage message = TurnMessage.__new__(TurnMessage)
    cdef Scan scan
    cdef const char* p
    cdef const char* after
    message.content = content
    begin(&scan, PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
    p = skip_space(scan.start, scan.end)
    if p >= scan.end or p[0] != c"{":
        message.fault = TURN_MALFORMED
        return message
    message.open = p + 1 - scan.start
    after = walk_members(p, &scan, 0, _visit, &message.places)
    if after == NULL or not at_end(after, &scan):
        message.fault = TURN_TWICE if scan.fault == TWICE else TURN_MALFORMED
        message.fault_at = 0 if scan.fault_at == NULL or scan.fault == WALK_OK else scan.fault_at - scan.start
        return message
    message.close = after - 1 - scan.start
    message._judge()
    return message


cdef bytes join_items(bytes before, bytes more):
    return before + b"," + more if before and more else before or more


cdef class TurnMessage:
    def __repr__(self):
        return f"<TurnMessage {self.kind} lane={self.lane} fault={self.fault}>"

    def written(self, bytes before=None):
        """Return the body of the request that the turn stands for; ``before`` as in turn_message.pxd."""
        return self.body(before)

    def conversation(self, bytes before=None):
        """Return the items of the conversation up to this turn."""
        return self.items(before)

    cdef const Place* _find(self, int member) noexcept:
        cdef int i
        for i in range(self.places.count):
            if self.places.at[i].member == member:
                return &self.places.at[i]
        return NULL

    cdef int _judge(self) except -1:
        """Read the members that belong to the connection."""
        cdef bytes value
        cdef bytes text
        cdef int i
        for i in range(self.places.count):
            value = self.content[self.places.at[i].value:self.places.at[i].end]
            member = self.places.at[i].member
            if value == b"null" or member == M_STREAM or member == M_MODEL:
                continue
            if member == M_BACKGROUND or member == M_GENERATE:
                if value != b"true" and value != b"false":
                    break
                if member == M_BACKGROUND:
                    self.background = value == b"true"
                else:
                    self.warms_up = value == b"false"
                continue
            if member == M_INPUT:
                if value[0] != c'"' and value[0] != c"[":
                    break
                continue
            text = unescape_json(value[1:-1]) if value[0] == c'"' else None
            if text is None:
                break
            if member == M_TYPE:
                self.kind = text
            elif member == M_STREAM_ID:
                self.lane = text
            else:
                self.previous = text
        else:
            return 0
        self.fault = TURN_TYPE
        self.fault_at = self.places.at[i].start

    cdef bytes model_text(self):
        cdef const Place* place = self._find(M_MODEL)
        return b"null" if place == NULL else self.content[place.value:place.end]

    cdef bytes body(self, bytes before):
        cdef list pieces = [b'{"stream":true']
        cdef Py_ssize_t at = self.open
        cdef Place* place
        cdef int i
        for i in range(self.places.count + 1):
            place = &self.places.at[i] if i < self.places.count else NULL
            if place != NULL and (place.member == M_MODEL or (
                before is None and (place.member == M_INPUT or (place.member == M_PREVIOUS and self.previous is not None))
            )):
                continue
            part = self.content[at:self.close if place == NULL else place.start].strip(BETWEEN)
            if part:
                pieces.append(part)
            at = self.close if place == NULL else place.end
        if before is not None:
            pieces.append(b'"input":[' + self.items(before) + b"]")
        return b",".join(pieces) + b"}"

    cdef bytes items(self, bytes before):
        cdef const Place* place = self._find(M_INPUT)
        cdef bytes value = b"null" if place == NULL else self.content[place.value:place.end]
        if value[0] == c'"':
            value = b'{"type":"message","role":"user","content":' + value + b"}"
        else:
            value = value[1:-1].strip() if value[0] == c"[" else b""
        return value if before is None else join_items(before, value)


def turn(bytes content not None):
    """Read one message of a client."""
    return read_turn(content)
