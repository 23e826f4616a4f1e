from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from native.codec.head cimport NO_BODY, Head
from native.codec.pieces cimport add_piece
from native.io.clock cimport monotonic_ns, wall_ns
from native.proxy.accounting cimport note_first_content, note_good_answer, settle_credential
from native.proxy.answer_reader cimport (
    ACTION_DECLINED, ACTION_RELAY, HOLD, RAW, READ_DECLINED, READ_ON, READ_REFUSED, AnswerReader,
)
from native.proxy.attempt cimport ANSWERING, OVER, RELAYING, AttemptEvents
from native.proxy.issuer cimport owner_of, remember
from native.proxy.kept_paths cimport session_of
from native.proxy.stored_request cimport StoredRequest
from native.state.issued_ids cimport Issued, IssuedIds
from native.state.shared_state cimport CLIENT_FAULT, FAIL_MALFORMED, OK

# An object is smaller than this. A larger answer is relayed as it comes, and its ids are not learned.
cdef int64_t LARGEST_OBJECT = 1 << 20


cdef class StoredAttempt(Attempt):
    """Asks one provider for what it keeps. Objects are held until their ids are remembered; the rest is relayed."""

    cdef int hear_head(self, Head head, uint64_t now) except -1:
        cdef StoredRequest request = <StoredRequest>self.request
        cdef int reading = self.reader.begin(head, False)
        if self.reader.action() != ACTION_RELAY:
            self._judge(reading, now)
            return 0
        if request.dialect == "gemini":
            self._take_session(request, head)
        self.reader.mode = HOLD
        if head.length == NO_BODY or head.length == 0 or head.content_type is None or (
            not head.content_type.lower().startswith(b"application/json")
        ) or (head.length > LARGEST_OBJECT and not request.lists):
            self._begin_relay(now)

    cdef int _take_session(self, StoredRequest request, Head head) except -1:
        """Remember an upload that begins, and let the client send its bytes to edge rather than to the provider."""
        cdef bytes name
        cdef bytes here
        cdef Py_ssize_t at
        cdef tuple pair
        for at in range(len(head.fields)):
            pair = <tuple>head.fields[at]
            if pair[0] != b"x-goog-upload-url" and pair[0] != b"x-goog-upload-control-url":
                continue
            name = session_of((<bytes>pair[1]).partition(b"?")[2])
            here = request.here()
            if name is not None and here is not None:
                remember(request, self.facts.index, None, [name], owner_of(request), False)
                head.fields = list(head.fields)     # the connection keeps the other for its next answer
                head.fields[at] = (pair[0], here + request.path + b"?" + (<bytes>pair[1]).partition(b"?")[2])

    cdef int _begin_relay(self, uint64_t now) except -1:
        cdef AnswerReader reader = self.reader
        cdef bytes held = b"".join(reader.held) if reader.held else None
        self.relays = True
        reader.mode = RAW
        reader.held = None
        reader.release()
        self.facts.content_ns = now
        note_good_answer(self.route, self.target, &self.facts, now, self.runtime.random())
        note_first_content(self.route, self.target, &self.facts, now)
        if self.events.on_answer(self, self.head.length) and self.phase == ANSWERING:
            self.phase = RELAYING
        if held is not None and self.phase != OVER:
            self.events.on_answer_data(self, held)

    cdef int hear_data(self, bytes data) except -1:
        cdef AnswerReader reader = self.reader
        if reader.decoder is not None:
            data = reader.decode(data)
            if data is None:
                self.end(reader.outcome, reader.detail)
                return 0
            if not PyBytes_GET_SIZE(data):
                return 0
        if self.relays:
            self.events.on_answer_data(self, data)
            return 0
        if reader.mode != HOLD:
            self._judge(reader.feed(data), self.facts.last_ns)
            return 0
        add_piece(reader.held, data)
        reader.held_size += PyBytes_GET_SIZE(data)
        if reader.held_size <= reader.limit and reader.hold() and (
            reader.held_size <= LARGEST_OBJECT or (<StoredRequest>self.request).lists
        ):
            return 0
        if (<StoredRequest>self.request).lists:
            self.end(FAIL_MALFORMED, "a list over limits.max_response, from which what is of other keys cannot be left out")
        else:
            self._begin_relay(self.facts.last_ns)

    cdef int hear_end(self, list trailers) except -1:
        if self.reader.is_cut():
            self.end(self.reader.outcome, self.reader.detail)
        elif self.relays:
            self.finish(OK, None, 0, trailers, None)
        elif self.reader.mode == HOLD:
            self._offer(monotonic_ns())
        else:
            self._judge(self.reader.finish(), monotonic_ns())

    cdef int _judge(self, int reading, uint64_t now) except -1:
        """Act on what was read of an answer that is not good."""
        cdef AnswerReader reader = self.reader
        cdef uint64_t retry_after_ns = 0
        if reading == READ_ON:
            return 0
        if reading == READ_REFUSED or reading == READ_DECLINED:
            self.facts.content_ns = self.facts.head_ns
            if self.says_unknown():
                self.declined = ACTION_DECLINED
            self.finish(CLIENT_FAULT, reader.detail, 0, None, reader.ready)
            return 0
        if reader.asks_to_wait:
            retry_after_ns = self.runtime.retry_after_ns(self.head.fields, reader.text)
        self.end(reader.outcome, reader.detail, retry_after_ns)

    cdef bint judge_part(self):
        cdef int reading = self.reader.judge_part()
        if reading == READ_ON:
            return False
        self._judge(reading, monotonic_ns())
        return True

    cdef int _offer(self, uint64_t now) except -1:
        """Remember the ids in a whole answer, settle it, and offer it: the next request may reach another worker."""
        cdef AttemptEvents events = self.events
        cdef bytes content = b"".join(self.reader.held)
        try:
            content = self._learn(content)
        except ValueError as error:
            self.end(FAIL_MALFORMED, f"an answer that is no JSON: {error}")
            return 0
        self.facts.content_ns = self.facts.head_ns
        note_first_content(self.route, self.target, &self.facts, now)
        self.settle(OK, now, 0)
        if events.on_answer(self, PyBytes_GET_SIZE(content)) and self.phase != OVER:
            self.phase = RELAYING
            self.finish(OK, None, 0, None, content)

    cdef bytes _learn(self, bytes content):
        cdef StoredRequest request = <StoredRequest>self.request
        cdef object kept = self.runtime.kept
        cdef IssuedIds table = self.runtime.issued
        cdef Issued issued
        cdef uint64_t owner
        cdef list others = []
        if kept is None or table is None or request.head.method == b"DELETE":
            return content
        if request.lists:
            owner = owner_of(request)
            for item in kept.listed(content):
                if table.find(<bytes>item, wall_ns() // 1_000_000_000, &issued) and issued.owner and issued.owner != owner:
                    others.append(item)
            return self._local(kept.without(content, others) if others else content)
        remember(request, self.facts.index, None, kept.issued(content), request.owner, True)
        return self._local(content)

    cdef bytes _local(self, bytes content):
        """Return an answer whose links to results lead to edge. Anthropic's clients follow them with their own key."""
        cdef bytes here
        if b'"results_url"' not in content:
            return content
        here = (<StoredRequest>self.request).here()
        return content if here is None else self.runtime.kept.led_here(content, here)

    cdef int settle_usage(self, int outcome, uint64_t now) except -1:
        if self.charged:
            self.charged = False
            settle_credential(self.target, &self.usage, 0, self.tokens_told, self.sent, now)
