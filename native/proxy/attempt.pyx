cimport cython
from libc.stdint cimport uint32_t
from native.codec.field_list cimport has_long_name
from native.codec.grpc cimport (
    GRPC_CANCELLED, GRPC_INTERNAL, GRPC_PERMISSION_DENIED, GRPC_RESOURCE_EXHAUSTED, GRPC_UNKNOWN,
)
from native.http.stream cimport FAILED_MALFORMED, FAILED_RESET, FAILED_TRUNCATED
from native.io.atomics cimport add32, add64
from native.io.clock cimport event_time_ns, monotonic_ns, wall_ns
from native.proxy.accounting cimport (
    circuit_open, late_bound_ns, learn_limits, note_late, note_slow, set_aside, settle_health, slow_after_ns, trial_bound_ns,
)
from native.proxy.answer_reader cimport EVENTS, FAULT, PIPE
from native.proxy.runtime cimport NEVER
from native.proxy.upload_watch cimport upload_blocked, upload_stuck
from native.state.shared_state cimport (
    CANCELLED, CLIENT_FAULT, DEADLINE, FAIL_CONNECT, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, FAIL_MALFORMED, FAIL_RESET,
    FAIL_STALLED, FAIL_STATUS, FAIL_TRUNCATED, OK, REFUSED_CREDENTIAL, T_ATTEMPTS, T_SPILLED, RouteRec,
)

from native.state.counters import Outcome

OUTCOME_NAMES = tuple(Outcome(i).name.lower() for i in range(16))
# native.http.stream.Failure as an Outcome
cdef int[5] OUTCOME_OF = [FAIL_CONNECT, FAIL_RESET, FAIL_MALFORMED, FAIL_TRUNCATED, CANCELLED]

# The bytes of the shortest name of a field that tells what is left of a limit: x-ratelimit-remaining-tokens.
cdef Py_ssize_t SHORTEST_LIMIT = 28

# RST_STREAM with this code is how gRPC servers end a call at its deadline (RFC 9113 7).
cdef uint32_t CANCEL = 8
# Methods of one gRPC service take from microseconds to minutes, so a deadline that a caller set says nothing about the
# target, unless its connection has been silent for this long too.
cdef uint64_t ALIVE_NS = 3_000_000_000

# Characters of why an attempt failed, which may quote the upstream: replies and records carry it about.
cdef Py_ssize_t DETAIL_LIMIT = 300

# The rest of an error's body may be silent for this long. Then the attempt is judged by what has come.
cdef uint64_t FAULT_IDLE_NS = 2_000_000_000

# What a gRPC caller is told of a stream that the upstream reset, by the HTTP/2 error (PROTOCOL-HTTP2, Errors). A reset
# without one of these errors, or the loss of a connection, is UNAVAILABLE.
cdef dict CALL_CODES = {
    1: GRPC_INTERNAL, 2: GRPC_INTERNAL, 3: GRPC_INTERNAL, 4: GRPC_INTERNAL, 5: GRPC_UNKNOWN, 6: GRPC_INTERNAL,
    8: GRPC_CANCELLED, 9: GRPC_INTERNAL, 10: GRPC_INTERNAL, 11: GRPC_RESOURCE_EXHAUSTED, 12: GRPC_PERMISSION_DENIED,
}

# How often on_late is repeated for a late attempt: the target's circuit may have opened meanwhile.
cdef uint64_t TELL_LATE_AGAIN_NS = 250_000_000


cdef int call_code_of(uint32_t reset_code, int failure):
    """Return the gRPC status of a call that failed; 0 = UNAVAILABLE."""
    if failure == <int>FAILED_MALFORMED:
        return GRPC_INTERNAL
    return CALL_CODES.get(reset_code, 0)


@cython.freelist(64)
cdef class AttemptResult:
    def __repr__(self):
        return f"<AttemptResult {OUTCOME_NAMES[self.outcome]} {self.detail}>"


cdef class AttemptEvents(ServerEvents):
    cdef int on_request_data(self, bytes data) except -1:
        return 0

    cdef int on_request_end(self, list trailers) except -1:
        return 0

    cdef int on_client_gone(self) except -1:
        return 0

    cdef int on_client_congested(self) except -1:
        return 0

    cdef int on_client_drained(self) except -1:
        return 0

    cdef bint on_answer(self, Attempt attempt, int64_t length):
        return False

    cdef bytes translate(self, Attempt attempt, bytes content):
        return content

    cdef bint on_failed_answer(self, Attempt attempt):
        return False

    cdef int on_answer_data(self, Attempt attempt, bytes data) except -1:
        return 0

    cdef int on_result(self, Attempt attempt, AttemptResult result) except -1:
        return 0

    cdef int on_interim_answer(self, Attempt attempt, int status) except -1:
        return 0

    cdef int on_late(self, Attempt attempt, uint64_t now) except -1:
        return 0

    cdef int on_deadline_change(self, Attempt attempt, uint64_t now) except -1:
        return 0


cdef class Attempt(ClientEvents):
    """One try of a request at one target."""

    def __repr__(self):
        return f"<Attempt {self.target.id} phase={self.phase}>"

    # --- asking ------------------------------------------------------------------------------------------------------
    cdef begin(self):
        cdef int got
        self.counted = True
        self.span = self.runtime.random() | 1
        add32(&self.target.rec.inflight[self.runtime.worker], 1)
        add32(&self.target.rec.inflight_by_priority[self.request.identity.priority][self.runtime.worker], 1)
        add64(&self.target.rec.count[<int>T_ATTEMPTS], 1)
        if self.route.pool.spilled(self.facts.index):
            add64(&self.target.rec.count[<int>T_SPILLED], 1)
        if self.upstream.signer is not None and self._refuse_unsigned():
            return
        got = self.upstream.acquire(self)
        if got < 0:
            self.end(CANCELLED, "every connection to it is in use")
        elif got == 0:
            self.facts.waiting_ns = monotonic_ns()

    cdef bint _refuse_unsigned(self):
        cdef str why = self.upstream.signer.objection(wall_ns() // 1_000_000_000)
        if why is not None:
            self.end(REFUSED_CREDENTIAL, f"{why}: see providers.{self.target.plan.provider}.auth")
            return True
        if self.request.is_model() or self.request.received:
            return False
        self.end(CANCELLED, "its body is relayed as it comes, and a signature covers the whole of it")
        return True

    cdef int on_connection(self, ClientStream stream) except -1:
        cdef Request request = self.request
        cdef uint64_t now
        cdef bint whole
        # the keys may have ended while it waited
        if self.phase == OVER or (self.upstream.signer is not None and self._refuse_unsigned()):
            stream.cancel()
            return 0
        self.stream = stream
        now = event_time_ns()
        if self.facts.waiting_ns:
            self.facts.connected_ns = now
            if request.request_complete_ns:
                request.request_complete_ns += now - self.facts.waiting_ns
        self.phase = ASKING
        self.sent = True
        request.reached = True
        if request.stream is not None:
            request.stream.reached_upstream = True
        self.prepare()
        whole = request.send(stream, self.upstream, self.span, now)
        if self.phase == OVER:
            return 0
        if whole:
            self._sent_whole()
            self._note_overhead(self.facts.asked_ns)
            stream.send_end(request.trailers)
            return 0
        self._note_overhead(monotonic_ns())
        if stream.congested():
            self._block()
        else:
            request.stream.resume()
            if request.stream.awaits_continue:
                self.continue_ns = monotonic_ns()
                self.events.on_deadline_change(self, self.continue_ns)

    cdef int _sent_whole(self) except -1:
        """All of the request is sent: from now on the deadlines of the answer run."""
        self.body_done = True
        self.facts.asked_ns = monotonic_ns()
        self.facts.late_after_ns = late_bound_ns(self.route, self.target, &self.facts)
        if self.facts.waiting_ns:
            # the owner's alarm is still set to the connect deadline, and the next deadline may be earlier
            self.events.on_deadline_change(self, self.facts.asked_ns)

    cdef int _note_overhead(self, uint64_t now) except -1:
        """Count edge's own time without connecting: once per request, for its first attempt."""
        cdef RouteRec* rec = self.route.rec
        if self.request.request_complete_ns and now > self.request.request_complete_ns:
            add64(&rec.overhead_sum_ns, now - self.request.request_complete_ns)
            add64(&rec.overhead_count, 1)
        self.request.request_complete_ns = 0

    cdef int _block(self) except -1:
        """The target takes the upload more slowly than it comes: pause the client, and watch the target's progress."""
        self.request.stream.pause()
        if not self.upload.blocked_ns and not self.body_done and self.reader.mode != PIPE and self.stream is not None:
            upload_blocked(&self.upload, self.stream.unsent(), monotonic_ns())
            self.events.on_deadline_change(self, self.upload.blocked_ns)

    cdef int on_upstream_congested(self) except -1:
        # A complete request needs no pause, and edge must go on reading to notice that the client leaves.
        if self.phase == OVER or self.request.stream is None or (self.request.received and self.reader.mode != PIPE):
            return 0
        self._block()

    cdef int on_upstream_drained(self) except -1:
        self.upload.blocked_ns = 0
        if self.phase != OVER and self.request.stream is not None:
            self.request.stream.resume()

    cdef int client_sent(self, uint64_t now) except -1:
        self.facts.last_ns = now

    cdef int finish_upload(self, list trailers) except -1:
        """Send the end of a service's request, whose rest has come."""
        cdef ClientStream stream = self.stream
        self._sent_whole()
        if stream is not None:
            stream.send_end(trailers)

    cdef int drain_answer(self, uint64_t now) except -1:
        cdef ClientStream stream = self.stream
        if stream is not None and self.paused:
            self.paused = False
            self.facts.last_ns = now
            if self.upload.blocked_ns:
                self.upload.blocked_ns = now       # the target was blocked while the client did not read
            stream.resume()

    # --- waiting -----------------------------------------------------------------------------------------------------
    cdef bint owes_answer(self) noexcept:
        if self.phase != ASKING or self.body_done or self.upload.blocked_ns:
            return True
        return self.continue_ns != 0 and self.request.stream.awaits_continue

    cdef uint64_t _first_limit(self) noexcept:
        """Return the time limit from asking to the head, or to the first content of a stream; 0 = no limit."""
        cdef uint64_t limit = self.route.timeouts.first_byte_ns
        cdef uint64_t other = 0
        if self.request.is_model():
            if self.request.streams():
                other = self.route.timeouts.first_token_ns
            elif self.phase == ASKING:
                limit = self.route.timeouts.whole_first_byte_ns
        if other and (limit == 0 or other < limit or self.phase == ANSWERING):
            limit = other
        if not self.request.may_join():
            other = trial_bound_ns(self.route, self.target, &self.facts)
            if other and (limit == 0 or other < limit):
                limit = other
        return limit

    cdef uint64_t _silence_limit(self) noexcept:
        """Return how long an answer that has begun may be silent; 0 = no limit."""
        cdef uint64_t idle = self.route.timeouts.stream_idle_ns
        if self.reader.mode == PIPE:
            return self.runtime.limits.idle_ns
        if self.reader.mode == FAULT:
            return min(idle, FAULT_IDLE_NS) if idle else FAULT_IDLE_NS
        return idle

    cdef bint _stuck(self, uint64_t now):
        """End the attempt if the target has taken nothing of the upload for the stream-idle time."""
        cdef uint64_t limit = self.route.timeouts.stream_idle_ns
        cdef bint moved = False
        if limit == 0 or now < self.upload.seen_ns + limit // 4 or self.stream is None:
            return False
        if upload_stuck(&self.upload, self.stream.unsent(), limit, now, &moved):
            self.end(FAIL_STALLED, "the upload was not taken any more")
            return True
        if moved and self.phase >= ANSWERING:
            self.facts.last_ns = now      # the upload makes progress, so the answer is not idle
        return False

    cdef uint64_t next_deadline(self) noexcept:
        """Return when check_deadlines() is due. A time limit of 0 is off."""
        cdef uint64_t idle = self.route.timeouts.stream_idle_ns
        cdef uint64_t from_ns = 0
        cdef uint64_t limit = 0
        cdef uint64_t when
        if self.phase == CONNECTING:
            from_ns = self.facts.started_ns
            limit = self.route.timeouts.connect_ns
        elif self.phase == ASKING:
            if self.body_done:
                from_ns = self.facts.asked_ns
                limit = self._first_limit()
            elif self.continue_ns and self.request.stream.awaits_continue:
                from_ns = self.continue_ns
                limit = self._first_limit()
                if limit == 0:
                    limit = self.runtime.limits.client_idle_ns
        elif self.phase == ANSWERING and self.reader.mode == EVENTS:
            from_ns = self.facts.asked_ns
            limit = self._first_limit()
        elif self.phase != OVER and not self.paused:
            from_ns = self.facts.last_ns
            limit = self._silence_limit()
        when = from_ns + limit if limit else NEVER
        if self.upload.blocked_ns and not self.body_done and not self.paused and idle:
            when = min(when, self.upload.seen_ns + idle // 4)
        if not self.facts.content_ns and self.body_done and not self.detached:
            if self.facts.late:
                when = min(when, self.late_told_ns + TELL_LATE_AGAIN_NS)
            else:
                when = min(when, self.facts.asked_ns + self.facts.late_after_ns)
                limit = slow_after_ns(self.route, self.target, &self.facts)
                if limit and not self.facts.slow:
                    when = min(when, self.facts.asked_ns + limit)
        return when

    cdef bint check_deadlines(self, uint64_t now):
        cdef uint64_t limit
        if self.upload.blocked_ns and not self.body_done and not self.paused and self._stuck(now):
            return True
        if self.phase == CONNECTING:
            if now >= self.facts.started_ns + self.route.timeouts.connect_ns:
                if self.upstream.crowded():
                    self.end(CANCELLED, "every connection to it is in use")
                else:
                    self.end(FAIL_CONNECT, "no connection within the connect deadline")
                return True
        elif self.phase == ASKING:
            limit = self._first_limit()
            if self.body_done and limit and now >= self.facts.asked_ns + limit:
                self.facts.silent = self.detached
                self.end(FAIL_FIRST_BYTE, "no answer within the first-byte deadline")
                return True
            if self.continue_ns and not self.body_done and self.request.stream.awaits_continue and (
                now >= self.continue_ns + (limit if limit else self.runtime.limits.client_idle_ns)
            ):
                self.end(FAIL_FIRST_BYTE, "no word to a client that waits with its body")
                return True
        elif self.phase == ANSWERING and self.reader.mode == EVENTS:
            limit = self._first_limit()
            if limit and now >= self.facts.asked_ns + limit:
                self.end(FAIL_FIRST_TOKEN, "no content within the first-token deadline")
                return True
        elif self.phase == ANSWERING or self.phase == RELAYING:
            if self._check_silence(now):
                return True
        if not self.facts.content_ns and self.body_done and not self.detached:
            self._check_lateness(now)
        return self.phase == OVER

    cdef bint _check_silence(self, uint64_t now):
        """End an answer that has begun and then been silent for the idle time."""
        cdef uint64_t limit = self._silence_limit()
        # while the client does not read, the upstream may be silent
        if not limit or self.paused or now < self.facts.last_ns + limit:
            return False
        if self.reader.mode == FAULT and self.judge_part():
            return True
        if self.reader.said_done():
            # [DONE] has come: only the end of the framing is missing, which the client does not get
            self.finish(OK, None, 0, None, None)
        elif self.request.received or self.request.stream.awaits_continue or self.upload.blocked_ns or self.reader.mode == PIPE:
            self.end(FAIL_STALLED, "the answer stopped coming")
        else:
            # the target may have been waiting for the client, so it is not blamed
            self.end(CANCELLED, "neither the request nor its answer went on")
        return True

    cdef int _check_lateness(self, uint64_t now) except -1:
        cdef uint64_t limit = slow_after_ns(self.route, self.target, &self.facts)
        if limit and now >= self.facts.asked_ns + limit:
            note_slow(self.route, self.target, &self.facts, now, self.runtime.random())
        if now >= self.facts.asked_ns + self.facts.late_after_ns:
            note_late(
                self.route, self.target, &self.facts, self.facts.head_ns != 0, now, self.runtime.random()
            )
        if self.facts.late or (
            self.facts.slow and circuit_open(self.target, &self.facts)
        ):
            self.facts.late = True      # also a slow attempt at a target whose circuit has opened
            if now >= self.late_told_ns + TELL_LATE_AGAIN_NS:
                self.late_told_ns = now
                self.events.on_late(self, now)

    # --- hearing -----------------------------------------------------------------------------------------------------
    cdef int on_interim(self, int status) except -1:
        if self.phase == ASKING and status == 100 and not self.request.is_model() and self.request.head.expects:
            self.events.on_interim_answer(self, status)

    cdef int on_head(self, Head head) except -1:
        cdef uint64_t now = event_time_ns()
        if self.phase != ASKING:
            return 0
        self.phase = ANSWERING
        self.head = head
        self.facts.head_ns = now
        self.facts.last_ns = now
        if self.charged and (
            self.target.allowance.bounds.requests.thousandths or self.target.allowance.bounds.tokens.thousandths
        ):
            if has_long_name(head.fields, SHORTEST_LIMIT):
                self.tokens_told = learn_limits(
                    self.target, head.fields, now, self.runtime.retry_after_ns(head.fields, None)
                )
        self.hear_head(head, now)
        if self.phase != OVER:
            self.events.on_deadline_change(self, now)   # the next deadline may be earlier

    cdef int on_data(self, bytes data) except -1:
        if self.phase != OVER:
            self.facts.last_ns = event_time_ns()
            self.hear_data(data)

    cdef int on_end(self, list trailers) except -1:
        if self.phase != OVER:
            self.stream = None
            self.hear_end(trailers)

    cdef int prepare(self) except -1:
        return 0

    cdef int hear_head(self, Head head, uint64_t now) except -1:
        return 0

    cdef int hear_data(self, bytes data) except -1:
        return 0

    cdef int hear_end(self, list trailers) except -1:
        return 0

    cdef int settle_usage(self, int outcome, uint64_t now) except -1:
        return 0

    cdef bint judge_part(self):
        return False

    cdef bint says_unknown(self):
        cdef bytes text = self.reader.text
        if not self.request.searching:
            return False
        return self.head.status == 404 or (text is not None and self.request.sought in text)

    cdef bint offered(self):
        return True

    cdef uint64_t mark(self):
        return 0

    cdef int on_failed(self, int failure, str detail) except -1:
        cdef uint64_t now
        cdef bint cancelled = False
        if self.phase == OVER:
            return 0
        if self.stream is not None:
            self.refused = self.stream.refused
            self.moved = self.stream.connection_ended
            cancelled = self.stream.reset_code == CANCEL
            self.request.call_code = call_code_of(self.stream.reset_code, failure)
        self.stream = None
        if failure == <int>FAILED_RESET or failure == <int>FAILED_TRUNCATED:
            now = event_time_ns()
            if self.request.caller_is_over(now, cancelled):
                # gRPC servers reset a call at its deadline, and may be quicker than edge's own alarm
                self.facts.alive = cancelled
                self.request.deadline_ns = min(self.request.deadline_ns, now)
                self.end(DEADLINE, "the caller's deadline has passed")
                return 0
        if failure == <int>FAILED_TRUNCATED and self.phase == RELAYING and self.reader.said_done():
            # [DONE] has come: only the end of the framing is missing, which the client does not get
            self.finish(OK, None, 0, None, None)
            return 0
        if self.phase == ANSWERING and self.reader.mode == FAULT and self.judge_part():
            return 0
        self.end(OUTCOME_OF[failure], detail)

    # --- ending ------------------------------------------------------------------------------------------------------
    cdef int settle(self, int outcome, uint64_t now, uint64_t retry_after_ns) except -1:
        """Record the outcome, once: the target's health, and what the attempt used."""
        cdef int status = 0 if self.head is None else self.head.status
        if self.outcome >= 0:
            return 0
        self.outcome = outcome
        self.settle_usage(outcome, now)
        if outcome == <int>DEADLINE and self.request.grpc and self.request.bounded and self.stream is not None and (
            not self.request.is_model()
        ):
            self.facts.alive = self.stream.heard_ns() + ALIVE_NS > now
        if outcome != <int>OK and self.facts.claims.needs:
            self.facts.body = self.mark()
        self.tripped = settle_health(
            self.route, self.target, &self.facts, outcome,
            outcome == <int>FAIL_STATUS and (status == 503 or status == 529), now, retry_after_ns, self.runtime.random(),
        )

    cdef int end_silent(self) except -1:
        self.facts.silent = True
        self.end(FAIL_FIRST_BYTE if self.phase == ASKING else FAIL_FIRST_TOKEN, "silent to its deadline")

    cdef int end(self, int outcome, str detail, uint64_t retry_after_ns=0) except -1:
        self.finish(outcome, detail, retry_after_ns, None, None)

    cdef int finish(self, int outcome, str detail, uint64_t retry_after_ns, list trailers, bytes tail) except -1:
        cdef AttemptEvents events = self.events
        cdef AttemptResult result
        cdef uint64_t now
        if self.phase == OVER:
            return 0
        now = event_time_ns()
        if detail is not None and len(detail) > DETAIL_LIMIT:
            detail = detail[:DETAIL_LIMIT] + "…"
        if outcome != <int>OK:
            self.detail = detail
            if outcome != <int>CLIENT_FAULT or self.absent:
                set_aside(
                    self.route, self.target, &self.facts, outcome, self.offered(), now, retry_after_ns,
                    self.head is not None and self.head.status == 429,
                )
        self.settle(CANCELLED if self.moved else outcome, now, retry_after_ns)
        result = AttemptResult.__new__(AttemptResult)
        result.outcome = outcome
        result.detail = detail
        result.retry_after_ns = retry_after_ns
        result.usage = self.usage
        result.trailers = trailers
        result.tail = tail
        result.relayed = self.phase == RELAYING
        self._leave()
        events.on_result(self, result)

    cdef int cancel(self, int outcome) except -1:
        if self.phase != OVER:
            self.settle(outcome, monotonic_ns(), 0)
            self._leave()

    cdef int _leave(self) except -1:
        """Free the attempt's place, and stop what still runs upstream."""
        cdef ClientStream stream = self.stream
        cdef int phase = self.phase
        if phase == CONNECTING:
            self.upstream.forget(self)
        self.phase = OVER
        self.events = None
        if self.counted:
            self.counted = False
            add32(&self.target.rec.inflight[self.runtime.worker], -1)
            add32(&self.target.rec.inflight_by_priority[self.request.identity.priority][self.runtime.worker], -1)
            self.runtime.place_freed()
        self.stream = None
        self.reader.release()
        self.request.upload_ended()
        if stream is not None:
            if phase == ANSWERING and self.reader.mode == FAULT:
                stream.discard()
            else:
                stream.cancel()
