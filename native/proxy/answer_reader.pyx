cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.field_rules cimport field_value
from native.codec.grpc cimport (
    GRPC_DATA_LOSS, GRPC_INTERNAL, GRPC_OK, GRPC_RESOURCE_EXHAUSTED, GRPC_UNAVAILABLE, GRPC_UNKNOWN, pushback_ms,
    read_status,
)
from native.codec.content_coding cimport new_decoder
from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH
from native.codec.numbers cimport parse_length
from native.codec.pieces cimport add_piece
from native.codec.sigv4 cimport KEYS_REFUSED, NOT_PERMITTED, error_of, key_fault
from native.balance.breaker cimport RETRY_AFTER_MAX_NS
from native.codec.shown cimport Shown, new_shown
from native.codec.response_peek cimport Verdict, peek_response
from native.codec.usage cimport clear
from native.codec.event_kind cimport SAID_CHOICES, SAID_CONTENT, SAID_DONE, SAID_ERROR, SAID_ERROR_FIRST, SAID_FINISH
from native.codec.sse cimport CUT_BROKEN, CUT_CALL, CUT_ERROR
from native.state.shared_state cimport (
    CANCELLED, CLIENT_FAULT, FAIL_INBAND, FAIL_MALFORMED, FAIL_STATUS, FAIL_TRUNCATED, MISCONFIGURED, OK, RATE_LIMITED, REFUSED_CREDENTIAL,
)

# Events before the first content are held up to this size. A longer preamble is relayed.
cdef Py_ssize_t PREAMBLE_LIMIT = 262144
# An error's body is read up to here before it is judged.
cdef Py_ssize_t FAULT_LIMIT = 65536
# The words of an error stand within this many bytes of its body.
cdef Py_ssize_t WORDS_LIMIT = 16384
# More malformed events than this are no accident: what is left of such a stream is not the model's answer.
cdef int MOST_DROPPED = 3
cdef bytes DONE = b"data: [DONE]\n\n"


cdef inline bint may_relay(int action) noexcept:
    """Whether the client may get the answer itself."""
    return action == ACTION_CLIENT or action >= ACTION_DECLINED


cdef AnswerReader new_reader(
    ConnectionPool upstream, Acceptor acceptor, Share share, Py_ssize_t limit, bint translated, bint structured
):
    cdef AnswerReader reader = AnswerReader.__new__(AnswerReader)
    reader.acceptor = acceptor
    reader.share = share
    reader.upstream = upstream
    reader.limit = limit
    reader.translated = translated
    reader.structured = structured
    reader.outcome = -1
    reader.grpc_status = -1
    reader.pushback = -2
    clear(&reader.usage)
    return reader


@cython.freelist(64)
cdef class AnswerReader:
    """One answer while it is read."""

    def __repr__(self):
        return f"<AnswerReader mode={self.mode} held={self.held_size}>"

    cdef bint hold(self) noexcept:
        if not self.acceptor.hold(self.share, self.held_size - self.counted):
            return False
        self.counted = self.held_size
        return True

    cdef void release(self) noexcept:
        if self.counted:
            self.acceptor.count(self.share, -self.counted)
            self.counted = 0

    cdef int count_kept(self) except -1:
        """Where there is no room for it, it is not kept."""
        cdef Shown shown = None if self.scanner is None else self.scanner.shown
        cdef Py_ssize_t size
        self.kept_room = 0 if shown is None else shown.room
        size = self.kept_room + (0 if self.opening is None else PyBytes_GET_SIZE(self.opening))
        if self.acceptor.hold(self.share, size - self.counted):
            self.counted = size
            return 0
        if shown is not None:
            shown.spoil()
        self.opening = None
        self.kept_room = 0
        self.release()

    cdef int _failed(self, int outcome, str detail) noexcept:
        self.outcome = outcome
        self.detail = detail
        return READ_FAILED

    cdef int action(self) noexcept:
        return <unsigned char>PyBytes_AS_STRING(self.upstream.verdicts)[self.head.status]

    cdef int begin(self, Head head, bint stream_asked):
        """Take the head of a model's answer, and choose how its body is read."""
        cdef int action
        self.head = head
        self.held = []
        action = self.action()
        if head.content_encoding is not None and head.content_encoding != b"identity" and head.length != NO_BODY:
            self.decoder = new_decoder(head.content_encoding)
            if self.decoder is not None:        # nobody asked for it: edge sends no Accept-Encoding
                head.fields = [pair for pair in head.fields if pair[0] != b"content-encoding"]
                head.length = UNKNOWN_LENGTH
            elif may_relay(action):
                return self._failed(FAIL_MALFORMED, "an error in a coding that edge cannot decode")
        if action != ACTION_RELAY:
            self.mode = FAULT
            # the status alone decides; without a body, finish() follows at once and judges
            if head.length != NO_BODY and not self._needs_body():
                return self._judge_fault(False)
        elif self.decoder is None and head.content_encoding is not None and head.content_encoding != b"identity":
            # a body in a coding that edge cannot decode is not checked, and relayed as it comes
            self.mode = RAW
            if self.stream_begun:
                return self._failed(FAIL_MALFORMED, "a compressed answer where a stream had begun")
            if self.translated:
                return self._failed(FAIL_MALFORMED, "a compressed answer, which cannot be translated")
            self.begun = True
            self.ready = None
            return READ_CONTENT
        elif head.content_type is not None and head.content_type.lower().startswith(b"text/event-stream"):
            self.mode = EVENTS
            self._scan_events()
            if self.translated and not stream_asked:
                return self._failed(FAIL_MALFORMED, "an event stream where a whole answer was asked for")
        else:
            self.mode = HOLD
            self.may_be_events = stream_asked
            # a page of a proxy in between is none of these
            self.unread = self.unread and head.content_type is not None and not (
                head.content_type.lower().startswith((b"application/json", b"text/html"))
            )
        return READ_ON

    cdef _scan_events(self):
        self.scanner = Scanner()
        if self.keeps:
            self.scanner.shown = new_shown()

    cdef bytes decode(self, bytes data):
        cdef bytes plain = self.decoder.feed(data, <Py_ssize_t>1 << 40)
        if plain is None:
            self.outcome = FAIL_MALFORMED
            self.detail = "a compressed answer that is broken, or expands more than a hundredfold"
        return plain

    cdef bint is_cut(self):
        if self.decoder is None or self.decoder.is_complete():
            return False
        self.outcome = FAIL_TRUNCATED
        self.detail = "a compressed answer that ended before its end"
        return True

    cdef int _tell_events(self, bytes data):
        """Decide by its first bytes whether an answer that was asked for as a stream is one, whatever its type says."""
        cdef bytes start = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
        if not start:
            return READ_ON
        self.may_be_events = False
        if start.startswith((b"data:", b"event:", b":", b"id:", b"retry:")):
            self.mode = EVENTS
            self._scan_events()
            self.head.content_type = b"text/event-stream"
            self.head.fields = [
                (b"content-type", b"text/event-stream"),
                *[pair for pair in self.head.fields if pair[0] != b"content-type"],
            ]
        elif self.translated:
            return self._failed(FAIL_MALFORMED, "a whole answer where an event stream was asked for")
        return READ_ON

    cdef bint _needs_body(self):
        """Whether the body of an error is relayed, or may change what its status means."""
        cdef int action = self.action()
        if may_relay(action) or self.upstream.is_worded(self.head.status):
            return True
        if action == ACTION_ELSEWHERE:
            return field_value(self.head.fields, b"x-edge-target") is not None
        for hint in self.upstream.hints:
            if hint[0] == self.head.status:
                return True
        return False

    cdef int feed(self, bytes data):
        """Take more of the body, decoded. Modes without checks relay it as it comes."""
        if self.may_be_events:
            if self.held:
                data = b"".join(self.held) + data
                self.held = []
                self.held_size = 0
            if self._tell_events(data) == READ_FAILED:
                return READ_FAILED
        if self.mode == EVENTS:
            return self._feed_events(data)
        if self.mode == FAULT:
            add_piece(self.held, data)
            self.held_size += PyBytes_GET_SIZE(data)
            if self.held_size > FAULT_LIMIT and not self.client_error:
                self.client_error = may_relay(self._action_of(b"".join(self.held)))
                if not self.client_error:
                    return self._judge_fault(False)
            elif self.held_size > self.limit or not self.hold():
                return self._judge_fault(False)
            return READ_ON
        if self.mode == HOLD and self.unread:
            self.mode = RAW
            self.begun = True
            self.ready = data
            return READ_CONTENT
        if self.mode == HOLD:
            add_piece(self.held, data)
            self.held_size += PyBytes_GET_SIZE(data)
            if self.held_size > self.limit or not self.hold():
                return self._relay_unchecked()
            return READ_ON
        self.ready = data
        return READ_DATA

    cdef int _relay_unchecked(self):
        """Relay a whole answer that is larger than edge holds, without checking it."""
        if self.stream_begun:
            return self._failed(FAIL_MALFORMED, "a whole answer where a stream had begun")
        if self.translated and self.held_size <= self.limit:
            return self._failed(CANCELLED, "no room for its answer within limits.max_buffered")
        if self.translated:
            return self._failed(FAIL_MALFORMED, "an answer over limits.max_response, which cannot be translated")
        self.mode = RAW
        self.ready = b"".join(self.held)
        self.held = None
        self.release()
        self.begun = True
        return READ_CONTENT

    cdef int _feed_events(self, bytes data):
        cdef Scanner scanner = self.scanner
        cdef bytes whole = scanner.feed(data)
        cdef Py_ssize_t removed = 0
        cdef Py_ssize_t size
        if scanner.cuts is not None:
            whole = self._without_cuts(whole, &removed)
        size = PyBytes_GET_SIZE(whole)
        if self.begun:
            if scanner.shown is not None and scanner.shown.room != self.kept_room:
                self.count_kept()
            if self.outcome >= 0:
                self.ready = whole
                return READ_DATA_FAILED
            if scanner.fresh & <int>SAID_ERROR:
                return self._error_event(whole, scanner.error_start - removed, scanner.error_end - removed)
            self.ready = whole
            return READ_DATA if size or scanner.cuts is not None else READ_ON
        if size:
            add_piece(self.held, whole)
            self.held_size += size
        if scanner.said & <int>SAID_ERROR_FIRST:
            return self._failed(FAIL_INBAND, "an error event before any content")
        if self.outcome >= 0:
            return READ_FAILED
        if scanner.said & (<int>SAID_CONTENT | <int>SAID_DONE | <int>SAID_FINISH) or (
            self.held_size > PREAMBLE_LIMIT or not self.hold()
        ):
            self.begun = True
            self.release()
            self.ready = <bytes>self.held[0] if len(self.held) == 1 else b"".join(self.held)
            self.held = None
            if self.keeps:
                self.opening = self.ready
                self.count_kept()
            if scanner.fresh & <int>SAID_ERROR:
                size = self.held_size - size - removed
                self._error_event(self.ready, size + scanner.error_start, size + scanner.error_end)
            return READ_CONTENT
        return READ_ON

    cdef bytes _without_cuts(self, bytes whole, Py_ssize_t* removed):
        """Return the events that a client may get, up to the end of the first error event, or up to the malformed event
        with which the answer fails. ``removed``: bytes that are missing in front of the first error event."""
        cdef Scanner scanner = self.scanner
        cdef list kept = []
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t start, end
        cdef int why
        for start, end, why in scanner.cuts:
            if 0 <= scanner.error_end <= start:
                break               # nothing behind an error event is relayed
            kept.append(whole[at:start])
            at = end
            removed[0] += end - start
            self.cut += 1
            if not why & <int>CUT_BROKEN:
                continue
            self.dropped += 1
            if why & <int>CUT_ERROR:
                self._failed(FAIL_MALFORMED, "an error event whose data is not JSON")
            elif why & <int>CUT_CALL:
                self._failed(FAIL_MALFORMED, "an event inside a tool call whose data is not JSON")
            elif self.structured:
                self._failed(FAIL_MALFORMED, "an event of structured output whose data is not JSON")
            elif self._may_be_rescued():
                self._failed(FAIL_MALFORMED, "an event whose data is not JSON")     # another target has the whole text
            elif self.dropped > MOST_DROPPED:
                self._failed(FAIL_MALFORMED, f"more than {MOST_DROPPED} events whose data is not JSON")
            else:
                continue
            return b"".join(kept)
        kept.append(whole[at:])
        return b"".join(kept)

    cdef bint _may_be_rescued(self) noexcept:
        """Return whether another target may go on with what the client has so far."""
        cdef Shown shown = self.scanner.shown
        return self.rescues and (not self.keeps or shown is not None and not shown.spoiled and not shown.finished)

    cdef int _error_event(self, bytes whole, Py_ssize_t start, Py_ssize_t end):
        """Relay the stream up to the end of the upstream's error event, and nothing after it. Hold the event back as
        long as another target may go on."""
        whole = whole[:end] if end >= 0 else whole
        self.ready = whole[:start] if self.rescues else self._redact(whole)
        if self.rescues:
            self.last_event = self._redact(whole[start:])
        self._failed(FAIL_INBAND, "an error event in the middle of the stream")
        return READ_DATA_FAILED

    cdef int feed_end(self):
        if self.mode != EVENTS or not PyBytes_GET_SIZE(self.scanner.carry):
            return READ_ON
        return self._feed_events(b"\n\n")

    cdef int finish(self):
        """Judge a body that is complete."""
        self.ready = None
        if self.mode == FAULT:
            return self._judge_fault(True)
        if self.mode == EVENTS:
            return self._finish_events()
        if self.mode == HOLD:
            return self._judge_whole()
        return READ_DONE

    cdef int _finish_events(self):
        cdef Scanner scanner = self.scanner
        cdef int said = scanner.said
        if not self.begun:
            if self.dropped:
                return self._failed(FAIL_MALFORMED, "an event stream whose data is not JSON")
            return self._failed(FAIL_TRUNCATED, "the stream ended before any content")
        if not said & <int>SAID_DONE:
            if not said & <int>SAID_FINISH or not scanner.all_ended():
                return self._failed(FAIL_TRUNCATED, "the stream ended before it was complete")
            if said & <int>SAID_CHOICES:
                self.ready = DONE       # the answer is complete, and clients of this dialect wait for the word
                return READ_DONE
        self.ready = scanner.rest()
        return READ_DONE

    cdef int _judge_whole(self):
        """Check a whole answer before any of it is relayed."""
        cdef bytes content = b"".join(self.held)
        cdef Verdict verdict
        peek_response(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), &verdict)
        self.usage = verdict.usage
        if not verdict.valid or not verdict.is_object:
            return self._failed(FAIL_MALFORMED, "an answer that is not a JSON object")
        if verdict.has_error:
            return self._failed(FAIL_INBAND, "an error under a success status")
        if self.stream_begun:
            return self._failed(FAIL_MALFORMED, "a whole answer where a stream had begun")
        self.ready = content
        return READ_WHOLE

    cdef int _judge_fault(self, bint complete):
        """Decide whose fault an error status is, from its body (or the first part of it)."""
        cdef bytes content = b"".join(self.held)
        cdef int action = self._action_of(content)
        cdef str detail = f"status {self.head.status}"
        cdef str code = error_of(self.head.fields, content)
        if code is not None:
            detail = f"{detail} ({code})"
        self.detail = detail
        self.text = content
        if action == ACTION_CLIENT:
            # an error body that was cut off is not shown as if it were complete
            self.ready = self._redact(content) if complete else None
            return READ_REFUSED
        if may_relay(action):
            self.declined = action
            self.ready = self._redact(content) if complete else None
            return READ_DECLINED
        self.asks_to_wait = action == ACTION_RATE_LIMITED or action == ACTION_FAIL or action == ACTION_ELSEWHERE
        if action == ACTION_ELSEWHERE:
            # the region has nothing for this model, and is not to blame for that
            return READ_ABSENT
        if action == ACTION_RATE_LIMITED:
            return self._failed(RATE_LIMITED, detail)
        if action == ACTION_QUARANTINE:
            return self._failed(REFUSED_CREDENTIAL, detail)
        if action == ACTION_MISCONFIGURED:
            return self._failed(MISCONFIGURED, detail)
        return self._failed(FAIL_STATUS, detail)

    cdef int _action_of(self, bytes content):
        """Return the Action of an error status; what stands in the body may change it."""
        cdef int action = -1
        cdef int fault = key_fault(self.head.fields)
        if fault == <int>KEYS_REFUSED or (fault == <int>NOT_PERMITTED and self.upstream.model):
            return ACTION_QUARANTINE
        if fault == <int>NOT_PERMITTED:
            return ACTION_CLIENT        # the caller has chosen the model
        if self.upstream.is_worded(self.head.status):
            action = self._action_by_words(content[:WORDS_LIMIT].lower())
        if action >= 0:
            return action
        for hint in self.upstream.hints:
            if hint[0] == self.head.status and hint[1] in content:
                return hint[2]
        action = self.action()
        if action == ACTION_ELSEWHERE and field_value(self.head.fields, b"x-edge-target") is not None:
            return ACTION_DECLINED      # a target of that region has said it, not its edge
        return action

    cdef int _action_by_words(self, bytes content) except? -1:
        """Return the Action of the first wording that fits; -1 = none does."""
        for words, action in self.upstream.wordings[self.head.status]:
            for word in words:
                if word not in content:
                    break
            else:
                return action
        if self.head.status == 429 and self._asks_for_less(content):
            return ACTION_DECLINED
        return -1

    cdef bint _asks_for_less(self, bytes words):
        """Return whether a 429 names the limit that it is about, and the target reports that some of it is left. Then
        this request asks for more than that, and a smaller one may be answered."""
        cdef bint tokens = b'"tokens"' in words or b"tokens per" in words or b"(tpm" in words
        cdef bint requests = b'"requests"' in words or b"requests per" in words or b"(rpm" in words
        cdef bytes limit = b"tokens" if tokens else b"requests"
        cdef bint known = False
        if tokens == requests:
            return False
        for name, value in self.head.fields:
            if b"ratelimit-" in name and b"remaining" in name and limit in name:
                if parse_length(value) <= 0:
                    return False
                known = True
        return known

    cdef int judge_part(self):
        if may_relay(self._action_of(b"".join(self.held))):
            return READ_ON
        return self._judge_fault(False)

    cdef bytes _redact(self, bytes content):
        """Remove edge's credential from an error body and its head: some providers quote it."""
        for word in self.upstream.secrets:
            if word in content:
                content = content.replace(word, b"***")
            for pair in self.head.fields:
                if word in pair[1]:
                    self.head.fields = [(name, value.replace(word, b"***")) for name, value in self.head.fields]
                    break
        return content

    cdef int read_call_end(self, bytes status, list trailers, uint64_t left_ns) except -1:
        """Read status and pushback. A status that reports a failure of the server counts against the target."""
        cdef bytes wait = None if trailers is None else field_value(trailers, b"grpc-retry-pushback-ms")
        cdef int code = read_status(status)
        self.grpc_status = code
        if wait is not None:
            self.pushback = pushback_ms(wait)
        if self.pushback > 0:
            self.retry_after_ns = <uint64_t>self.pushback * 1_000_000
            if self.retry_after_ns > RETRY_AFTER_MAX_NS or self.retry_after_ns >= left_ns:
                self.pushback = -1      # the exchange ends before that: the client gets the status now
            self.retry_after_ns = min(self.retry_after_ns, RETRY_AFTER_MAX_NS)
        self.outcome = CLIENT_FAULT
        if code == <int>GRPC_OK:
            self.outcome = OK
        elif code == <int>GRPC_RESOURCE_EXHAUSTED and self.retry_after_ns:
            self.outcome = RATE_LIMITED
        elif code == <int>GRPC_UNAVAILABLE or code == <int>GRPC_INTERNAL or code == <int>GRPC_UNKNOWN or (
            code == <int>GRPC_DATA_LOSS
        ):
            self.outcome = FAIL_STATUS

    cdef bint said_done(self) noexcept:
        return self.mode == EVENTS and self.scanner.said & <int>SAID_DONE
