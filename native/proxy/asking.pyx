from native.balance.balancer cimport BASELINE_TAU_MS, ewma_read
from native.io.atomics cimport add32, add64, load64
from native.state.shared_state cimport (
    CANCELLED, FAIL_CONNECT, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, FAIL_STALLED, OK, T_ATTEMPTS, RouteRec,
)
from native.balance.breaker cimport ADMIT_TRIAL, OPEN, circuit_state
from native.io.clock cimport monotonic_ns
from native.codec.grpc cimport write_timeout
from native.codec.numbers cimport write_seconds
from native.proxy.data_plane cimport DataPlaneCore
from native.codec.json_text cimport escape_json, splice
from native.codec.trace_context cimport write_traceparent
from native.proxy.router cimport OPERATION_SERVICE, Route
from native.proxy.accounting cimport ANSWERING, ASKING, CONNECTING, EVENTS, OVER, PIPE, RELAYING, ExchangeCore
from native.codec.event_kind cimport SAID_DONE
from native.codec.head cimport Head
from native.http.stream cimport ClientStream

from cpython.bytes cimport PyBytes_GET_SIZE

cdef uint64_t NEVER = <uint64_t>-1
# A half-open trial must not cost the one client that makes it a whole deadline: it may take three times what the target
# used to take, and no less than this.
cdef uint64_t TRIAL_FLOOR_NS = 2_000_000_000
# How often an overdue attempt looks whether others have found its target ill.
cdef uint64_t LOOK_AGAIN_NS = 250_000_000


cdef class Asking(AttemptCore):
    """The first half of an attempt: the target is asked and waited for."""

    # --- asking ------------------------------------------------------------------------------------------------------
    cdef begin(self):
        cdef ExchangeCore exchange = self.exchange
        cdef int got
        self.phase = CONNECTING
        self.counted = True
        self.pushback = -2
        self.outcome = -1
        self.code = -1
        self.span = exchange.data_plane.random() | 1
        self.priority = exchange.priority
        self.prompt_tokens = self.output_tokens = -1
        add32(&self.target.rec.inflight[exchange.data_plane.worker], 1)
        add32(&self.target.rec.inflight_class[self.priority][exchange.data_plane.worker], 1)
        add64(&self.target.rec.count[<int>T_ATTEMPTS], 1)
        got = self.pool.acquire(self)
        if got < 0:
            exchange.failed(self, CANCELLED, "every connection to it is in use", 0)
        elif got == 0:
            self.waiting_ns = monotonic_ns()

    cdef void on_connection(self, ClientStream stream):
        cdef ExchangeCore exchange = self.exchange
        cdef Head head
        cdef bytes model
        cdef bytes body
        cdef list fields
        cdef uint64_t now
        self.stream = stream
        if self.phase == OVER:
            stream.cancel()
            return
        if self.waiting_ns:
            self.connected_ns = monotonic_ns()
            if exchange.request_complete_ns:
                exchange.request_complete_ns += self.connected_ns - self.waiting_ns
        self.phase = ASKING
        self.sent = True
        exchange.reached = True
        head = exchange.head
        fields = exchange.fields[:]      # the next attempt says other things
        fields[exchange.trace_at] = (b"traceparent", write_traceparent(&exchange.trace, self.span))
        if self.pool.is_region:
            self.forward(fields)
            return
        if self.pool.fields:
            fields.extend(self.pool.fields)
        if exchange.operation == OPERATION_SERVICE:
            if exchange.bounded:
                now = monotonic_ns()
                left = exchange.total_ns - now if exchange.total_ns > now else 1
                fields.append(
                    (b"grpc-timeout", write_timeout(left)) if exchange.grpc else (b"x-request-timeout", write_seconds(left))
                )
            stream.send_request(
                head.method, self.pool.base_path + head.target if self.pool.base_path else head.target,
                head.authority if head.authority is not None else self.pool.authority, fields, head.length,
            )
            self.push_body()
            self.note_own(self.asked_ns if self.asked_ns else monotonic_ns())
            return
        model = exchange.wildcard if exchange.wildcard is not None else self.pool.model
        body = splice(exchange.content, exchange.peek.model_start, exchange.peek.model_end, escape_json(model))
        stream.send_request(
            b"POST", self.pool.base_path + exchange.suffix, self.pool.authority, fields, PyBytes_GET_SIZE(body)
        )
        stream.send_data(body)
        self.asked()
        self.note_own(self.asked_ns)
        stream.send_end(None)

    cdef forward(self, list fields):
        """Another region's edge is asked as the client asked here: the same body, the model's name not replaced."""
        cdef ExchangeCore exchange = self.exchange
        cdef ClientStream stream = self.stream
        cdef DataPlaneCore data_plane = exchange.data_plane
        cdef uint64_t now
        cdef uint64_t left
        fields = [pair for pair in fields if pair[0] != b"x-request-timeout"]
        fields.append((b"x-edge-hops", data_plane.region if exchange.hops is None else exchange.hops + b"," + data_plane.region))
        if exchange.total_ns != NEVER:
            now = monotonic_ns()
            left = max((exchange.total_ns - now) // 1_000_000, <uint64_t>1) if exchange.total_ns > now else 1
            fields.append((b"x-request-timeout", b"%d.%03d" % (left // 1000, left % 1000)))
        if exchange.caller_name is not None:
            fields.append((b"x-edge-key-name", exchange.caller_name))
        if exchange.caller_class is not None:
            fields.append((b"x-edge-class", exchange.caller_class))
        if exchange.trace.parent:
            # the caller's trace goes on, and with it what the caller said of it: the other region is one of us
            fields.extend([pair for pair in exchange.head.fields if pair[0] == b"tracestate" or pair[0] == b"baggage"])
        fields.extend(self.pool.fields)
        stream.send_request(
            b"POST", self.pool.base_path + exchange.suffix, self.pool.authority, fields,
            PyBytes_GET_SIZE(exchange.content),
        )
        stream.send_data(exchange.content)
        self.asked()
        self.note_own(self.asked_ns)
        stream.send_end(None)

    cdef push_body(self):
        """Send what has come of a service's request so far; the rest follows as it comes."""
        cdef ExchangeCore exchange = self.exchange
        cdef ClientStream stream = self.stream
        for data in exchange.body:
            stream.send_data(<bytes>data)
        if not exchange.body and not exchange.received:
            stream.send_data(b"")       # the head goes now: the service may answer before the body comes
        if exchange.body_size > exchange.data_plane.replay_limit:
            exchange.replayable = False
            exchange.body = None
            exchange.hold(0)
        if exchange.received:
            self.asked()
            stream.send_end(exchange.trailers)
        elif stream.congested():
            self.block()
        else:
            exchange.stream.resume()
            if exchange.stream.awaits_continue:
                self.begged_ns = monotonic_ns()
                exchange.arm_deadline(self.begged_ns)

    cdef asked(self):
        """The request is sent whole: from now on the target owes an answer."""
        self.body_done = True
        self.asked_ns = monotonic_ns()
        if self.waiting_ns:
            # the alarm stands at the deadline of a connection that is here now: the next one may be nearer
            self.exchange.arm_deadline(self.asked_ns)

    cdef note_own(self, uint64_t now):
        """Once per exchange, of its first attempt: what edge itself took, connecting left out."""
        cdef ExchangeCore exchange = self.exchange
        cdef RouteRec* rec = exchange.route.rec
        if exchange.request_complete_ns and now > exchange.request_complete_ns:
            add64(&rec.own_sum_ns, now - exchange.request_complete_ns)
            add64(&rec.own_count, 1)
        exchange.request_complete_ns = 0

    cdef block(self):
        """The target does not take the upload as fast as it comes: the client waits, and the target is watched."""
        cdef ExchangeCore exchange = self.exchange
        exchange.stream.pause()
        if not self.blocked_ns and not self.body_done and self.mode != PIPE and self.stream is not None:
            self.blocked_ns = self.viewed_ns = monotonic_ns()
            self.untaken = self.stream.unsent()
            exchange.arm_deadline(self.blocked_ns)

    cdef void on_upstream_congested(self):
        cdef ExchangeCore exchange = self.exchange
        # a request that is here whole has nothing more to wait for, and who does not read does not see its client leave
        if self.phase == OVER or exchange.stream is None or (exchange.received and self.mode != PIPE):
            return
        self.block()

    cdef void on_upstream_drained(self):
        self.blocked_ns = 0
        if self.phase != OVER and self.exchange.stream is not None:
            self.exchange.stream.resume()

    # --- waiting -----------------------------------------------------------------------------------------------------
    cdef bint owes(self) noexcept:
        if self.phase != ASKING or self.body_done or self.blocked_ns:
            return True
        return self.begged_ns != 0 and self.exchange.stream.awaits_continue

    cdef bint stuck(self, uint64_t now):
        """A target that takes nothing of an upload for as long as an answer may be silent has failed. What it takes is
        seen by what is left: bytes that a wire had still to be given may hide some of it, but never for long."""
        cdef ExchangeCore exchange = self.exchange
        cdef uint64_t limit = exchange.route.stream_idle_ns
        cdef Py_ssize_t left
        if limit == 0 or now < self.viewed_ns + limit // 4:
            return False
        if self.stream is None:
            return False
        left = self.stream.unsent()
        self.viewed_ns = now
        if left < self.untaken:
            self.blocked_ns = now
            if self.phase >= ANSWERING:
                self.last_ns = now      # this side of the conversation goes on
        self.untaken = left
        if now < self.blocked_ns + limit:
            return False
        exchange.failed(self, FAIL_STALLED, "the upload was not taken any more", 0)
        return True

    cdef uint64_t patience(self, uint64_t deadline_ns) noexcept:
        """A trial gets three times what the target used to need, not the whole deadline of the client that makes it."""
        cdef uint64_t limit
        if self.admit != <int>ADMIT_TRIAL or self.exchange.route.pool.size < 2:
            return deadline_ns
        limit = <uint64_t>(3e6 * ewma_read(
            &self.target.rec.baseline[self.exchange.latency_cell], self.started_ns, <uint64_t>BASELINE_TAU_MS * 1000000
        ))
        if limit < TRIAL_FLOOR_NS:
            limit = TRIAL_FLOOR_NS
        return limit if limit < deadline_ns or deadline_ns == 0 else deadline_ns

    cdef uint64_t next_deadline(self) noexcept:
        """When something may be overdue; a deadline of 0 is off."""
        cdef Route route = self.exchange.route
        cdef uint64_t from_ns = 0
        cdef uint64_t limit = 0
        cdef uint64_t when
        cdef uint64_t slow
        if self.phase == CONNECTING:
            from_ns = self.started_ns
            limit = route.connect_ns
        elif self.phase == ASKING:
            if self.body_done:
                from_ns = self.asked_ns
                limit = self.patience(route.first_byte_ns)
            elif self.begged_ns and self.exchange.stream.awaits_continue:
                from_ns = self.begged_ns
                limit = self.patience(route.first_byte_ns)
                if limit == 0:
                    limit = self.exchange.data_plane.client_idle_ns
        elif self.phase == ANSWERING and self.mode == EVENTS:
            from_ns = self.started_ns
            limit = self.patience(route.first_token_ns)
        elif self.phase != OVER and not self.paused:
            from_ns = self.last_ns
            limit = self.exchange.data_plane.idle_ns if self.mode == PIPE else route.stream_idle_ns
        when = from_ns + limit if limit else NEVER
        if self.blocked_ns and not self.body_done and not self.paused and route.stream_idle_ns:
            when = min(when, self.viewed_ns + route.stream_idle_ns // 4)
        if not self.content_ns and self.body_done and route.pool.policy.slow_threshold_ns:
            slow = self.asked_ns + self.slow_limit()
            if self.slow:
                # overdue already: look again soon whether the circuit has opened meanwhile
                slow = self.looked_ns + LOOK_AGAIN_NS
            if slow < when:
                when = slow
        return when

    cdef bint overdue(self, uint64_t now):
        """Judge the attempt against its deadlines; True when it has been ended."""
        cdef ExchangeCore exchange = self.exchange
        cdef Route route = exchange.route
        cdef uint64_t limit
        if self.blocked_ns and not self.body_done and not self.paused and self.stuck(now):
            return True
        if self.phase == CONNECTING:
            if now >= self.started_ns + route.connect_ns:
                if self.pool.crowded():
                    exchange.failed(self, CANCELLED, "every connection to it is in use", 0)
                else:
                    exchange.failed(self, FAIL_CONNECT, "no connection within the connect deadline", 0)
                return True
        elif self.phase == ASKING:
            limit = self.patience(route.first_byte_ns)
            if self.body_done and limit and now >= self.asked_ns + limit:
                exchange.failed(self, FAIL_FIRST_BYTE, "no answer within the first-byte deadline", 0)
                return True
            if self.begged_ns and not self.body_done and exchange.stream.awaits_continue and (
                now >= self.begged_ns + (limit if limit else exchange.data_plane.client_idle_ns)
            ):
                exchange.failed(self, FAIL_FIRST_BYTE, "no word to a client that waits with its body", 0)
                return True
        elif self.phase == ANSWERING and self.mode == EVENTS:
            limit = self.patience(route.first_token_ns)
            if limit and now >= self.started_ns + limit:
                exchange.failed(self, FAIL_FIRST_TOKEN, "no content within the first-token deadline", 0)
                return True
        elif self.phase == ANSWERING or self.phase == RELAYING:
            limit = exchange.data_plane.idle_ns if self.mode == PIPE else route.stream_idle_ns
            # while the client does not read, nothing is asked of the upstream
            if limit and not self.paused and now >= self.last_ns + limit:
                if self.mode == EVENTS and self.scanner.said & <int>SAID_DONE:
                    # everything was said; the rest of the framing was for us
                    self.settle(OK, now)
                    exchange.finish(self, None, None)
                    return True
                if exchange.received or exchange.stream.awaits_continue or self.blocked_ns or self.mode == PIPE:
                    exchange.failed(self, FAIL_STALLED, "the answer stopped coming", 0)
                else:
                    # who would have had to speak is not known: perhaps it was the client
                    exchange.failed(self, CANCELLED, "neither the request nor its answer went on", 0)
                return True
        if route.pool.policy.slow_threshold_ns and not self.content_ns and self.body_done and (
            now >= self.asked_ns + self.slow_limit()
        ):
            self.looked_ns = now
            self.note_slow(now)
            # It is overdue, and so are enough others that the circuit has opened: waiting out the deadline would help
            # nobody while another target can answer.
            if (
                self.phase < RELAYING and circuit_state(load64(&self.target.rec.circuit)) == <int>OPEN
                and exchange.repeatable(self, FAIL_FIRST_BYTE, now) and exchange.another(now)
            ):
                exchange.failed(self, FAIL_FIRST_BYTE, "overdue, and its circuit has opened", 0)
                return True
        return False
