from native.allowance cimport (
    BOUND_REQUESTS, BOUND_TOKENS, UNBOUND, Grant, bounds_learn, bounds_settle, note_output, note_usage, usual_output,
)
from native.balancer cimport BASELINE_TAU_MS, CELL_STREAM, Pool, Target, ewma_read, inflight_total
from native.board cimport (
    CANCELLED, CLIENT_FAULT, DEADLINE, FAIL_CONNECT, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, FAIL_INBAND, FAIL_MALFORMED,
    FAIL_STALLED, FAIL_STATUS, FAIL_TRUNCATED, MISCONFIGURED, OK, RATE_LIMITED, REFUSED_CREDENTIAL, R_COST_NANO, R_OUTPUT_TOKENS, R_PROMPT_TOKENS,
    T_ATTEMPTS, T_COST_NANO, T_OUTPUT_TOKENS, T_PROMPT_TOKENS,
    RouteRec, TargetRec, add32, add64, hist_bucket, load64,
)
from native.breaker cimport (
    ADMIT_TRIAL, ADMIT_YES, OPEN, Policy, breaker_report, breaker_return, breaker_slow, circuit_state,
)
from native.capacity cimport capacity_first, capacity_refused
from native.clock cimport monotonic_ns
from native.grpc cimport (
    GRPC_DATA_LOSS, GRPC_INTERNAL, GRPC_OK, GRPC_RESOURCE_EXHAUSTED, GRPC_UNAVAILABLE, GRPC_UNKNOWN, pushback_ms,
    read_status, write_timeout,
)
from native.headers cimport field_value, parse_length, write_seconds
from native.peek cimport Verdict, escape_json, peek_answer, splice
from native.record cimport write_traceparent
from native.router cimport DOOR_EMBEDDINGS, DOOR_SERVICE
from native.sse cimport SAID_CONTENT, SAID_DONE, SAID_ERROR, SAID_ERROR_FIRST, SAID_FINISH, SAID_GARBAGE
from native.stream cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef enum Action:           # edge/terms/actions.py
    RELAY = 0
    CLIENT = 1
    FAIL = 2
    REST = 3
    OUT = 4
    MISSING = 5
    ELSEWHERE = 6

cdef uint64_t NEVER = <uint64_t>-1
# The longest wait believed of an answer that asks for one.
cdef uint64_t REST_MAX_NS = 300_000_000_000
# Start events before the first content: more than this is no preamble any more, and is committed.
cdef Py_ssize_t PREAMBLE_LIMIT = 262144
# An error's body is read up to here before it is judged.
cdef Py_ssize_t FAULT_LIMIT = 65536
# A half-open trial must not cost the one client that makes it a whole deadline: it may take three times what the target
# used to take, and no less than this.
cdef uint64_t TRIAL_FLOOR_NS = 2_000_000_000
# Nothing under this is slow unless the operator says so: prompts differ, and their first tokens with them.
cdef uint64_t SLOW_FLOOR_NS = 2_000_000_000
# More than any answer takes: who reports it has miscounted, and sums of such numbers would overflow.
cdef int64_t MOST_TOKENS = 1_000_000_000
# How often an overdue attempt looks whether others have found its target ill.
cdef uint64_t LOOK_AGAIN_NS = 250_000_000


cdef price_elsewhere(ExchangeCore exchange, bytes said, double* input_nano, double* output_nano):
    """What another region's answer costs its caller, whose budget holds wherever it comes from: the price of the target
    that is named there, where we know it, else of the dearest of ours."""
    cdef Pool pool = exchange.route.pool
    cdef Target target
    cdef int i
    for i in range(pool.size):
        target = pool.target_at(i)
        if said is not None and target.id.encode() == said:
            input_nano[0] = target.input_nano
            output_nano[0] = target.output_nano
            return
        input_nano[0] = max(input_nano[0], target.input_nano)
        output_nano[0] = max(output_nano[0], target.output_nano)


cdef class ExchangeCore(ServerEvents):
    cdef bint hold(self, Py_ssize_t size) noexcept:
        if size != self.holding:
            if not self.lane.hold(size - self.holding):
                return False
            self.holding = size
        return True

    cdef failed(self, Attempt attempt, int outcome, str detail, uint64_t rest_ns):
        raise TypeError("ExchangeCore.failed is not implemented")

    cdef bint repeatable(self, Attempt attempt, int outcome, uint64_t now):
        raise TypeError("ExchangeCore.repeatable is not implemented")

    cdef bint another(self, uint64_t now):
        raise TypeError("ExchangeCore.another is not implemented")

    cdef commit(self, Attempt attempt, int64_t length):
        raise TypeError("ExchangeCore.commit is not implemented")

    cdef bytes tell(self, Attempt attempt, bytes content):
        raise TypeError("ExchangeCore.tell is not implemented")

    cdef relay(self, bytes data):
        raise TypeError("ExchangeCore.relay is not implemented")

    cdef finish(self, Attempt attempt, list trailers):
        raise TypeError("ExchangeCore.finish is not implemented")

    cdef answer_fault(self, Attempt attempt, int status, bytes content):
        raise TypeError("ExchangeCore.answer_fault is not implemented")

    cdef ring(self, uint64_t now):
        raise TypeError("ExchangeCore.ring is not implemented")


cdef class Attempt(ClientEvents):
    """One try of an exchange at one target."""

    # --- asking ------------------------------------------------------------------------------------------------------
    cdef begin(self):
        cdef ExchangeCore exchange = self.exchange
        cdef int got
        self.phase = CONNECTING
        self.counted = True
        self.pushback = -2
        self.outcome = -1
        self.code = -1
        self.span = exchange.lane.random() | 1
        self.klass = exchange.klass
        self.prompt_tokens = self.output_tokens = -1
        add32(&self.target.rec.inflight[exchange.lane.worker], 1)
        add32(&self.target.rec.inflight_class[self.klass][exchange.lane.worker], 1)
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
            if exchange.whole_ns:
                exchange.whole_ns += self.connected_ns - self.waiting_ns
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
        if exchange.door == DOOR_SERVICE:
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
        cdef LaneCore lane = exchange.lane
        cdef uint64_t now
        cdef uint64_t left
        fields = [pair for pair in fields if pair[0] != b"x-request-timeout"]
        fields.append((b"x-edge-hops", lane.region if exchange.hops is None else exchange.hops + b"," + lane.region))
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
        if exchange.body_size > exchange.lane.replay_limit:
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
            if exchange.stream.waits:
                self.begged_ns = monotonic_ns()
                exchange.ring(self.begged_ns)

    cdef asked(self):
        """The request is sent whole: from now on the target owes an answer."""
        self.body_done = True
        self.asked_ns = monotonic_ns()
        if self.waiting_ns:
            # the alarm stands at the deadline of a connection that is here now: the next one may be nearer
            self.exchange.ring(self.asked_ns)

    cdef note_own(self, uint64_t now):
        """Once per exchange, of its first attempt: what edge itself took, connecting left out."""
        cdef ExchangeCore exchange = self.exchange
        cdef RouteRec* rec = exchange.route.rec
        if exchange.whole_ns and now > exchange.whole_ns:
            add64(&rec.own_sum_ns, now - exchange.whole_ns)
            add64(&rec.own_count, 1)
        exchange.whole_ns = 0

    cdef block(self):
        """The target does not take the upload as fast as it comes: the client waits, and the target is watched."""
        cdef ExchangeCore exchange = self.exchange
        exchange.stream.pause()
        if not self.blocked_ns and not self.body_done and self.mode != PIPE and self.stream is not None:
            self.blocked_ns = self.viewed_ns = monotonic_ns()
            self.untaken = self.stream.unsent()
            exchange.ring(self.blocked_ns)

    cdef void on_upstream_congested(self):
        cdef ExchangeCore exchange = self.exchange
        # a request that is here whole has nothing more to wait for, and who does not read does not see its client leave
        if self.phase == OVER or exchange.stream is None or (exchange.received and self.mode != PIPE):
            return
        self.block()

    cdef void on_upstream_drained(self):
        self.blocked_ns = 0
        if not self.body_done and self.phase != OVER and self.exchange.stream is not None:
            self.exchange.stream.resume()

    # --- hearing -----------------------------------------------------------------------------------------------------
    cdef void on_interim(self, int status):
        if self.phase == ASKING and status == 100 and self.exchange.door == DOOR_SERVICE and self.exchange.head.expects:
            self.exchange.stream.send_interim(100)

    cdef void on_head(self, Head head):
        cdef ExchangeCore exchange = self.exchange
        cdef uint64_t now = monotonic_ns()
        cdef int action
        if self.phase != ASKING:
            return
        self.phase = ANSWERING
        self.head = head
        self.head_ns = now
        self.last_ns = now
        self.held = []
        if self.charged:
            self.hear_limits(head, now)
        action = <unsigned char>PyBytes_AS_STRING(self.pool.verdicts)[head.status]
        if exchange.door == DOOR_SERVICE:
            self.hear_service(head, action, now)
        elif action != RELAY:
            self.mode = FAULT
            # without a body there is nothing to read: the end follows at once
            if head.length != NO_BODY and action != CLIENT and not self._hinted(head.status):
                self.judge_fault()
        elif head.content_encoding is not None and head.content_encoding != b"identity":
            # what cannot be read cannot be checked: relayed as it comes
            self.mode = RAW
            self.content_ns = now
            if exchange.early:
                exchange.failed(self, FAIL_MALFORMED, "a compressed answer where a stream had begun", 0)
            else:
                self.proven(now)
                self.learn(now)
                exchange.commit(self, head.length)
        elif head.content_type is not None and head.content_type.lower().startswith(b"text/event-stream"):
            self.mode = EVENTS
            self.scanner = Scanner()
        else:
            self.mode = HOLD
        exchange.ring(now)      # another deadline counts from here, and it may be the nearer one

    cdef hear_service(self, Head head, int action, uint64_t now):
        """A service's answer goes on at once; only a failure that may be tried elsewhere is kept from the client."""
        cdef ExchangeCore exchange = self.exchange
        if head.status == 101:
            self.mode = PIPE
            self.content_ns = now
            self.body_done = False      # the client sends on, and may have to wait
            self.settle(OK, now)
            exchange.commit(self, TUNNEL)
            return
        if exchange.grpc and head.status == 200:
            if head.length == NO_BODY:
                self.mode = BARE
                return
            self.mode = CALL
        else:
            self.mode = RAW
            if action == FAIL:
                if exchange.repeatable(self, FAIL_STATUS, now) and exchange.another(now):
                    exchange.failed(self, FAIL_STATUS, f"status {head.status}", 0)
                    return
                self.settle(FAIL_STATUS, now)
            else:
                self.proven(now)
        self.content_ns = now
        if action == RELAY:
            self.learn(now)
        exchange.commit(self, head.length)

    def _hinted(self, int status):
        for hint in self.pool.hints:
            if hint[0] == status:
                return True
        return False

    cdef void on_data(self, bytes data):
        cdef ExchangeCore exchange = self.exchange
        if self.phase == OVER:
            return
        self.last_ns = monotonic_ns()
        if self.mode == RAW or self.mode == CALL or self.mode == PIPE:
            if self.mode == CALL:
                self.proven(self.last_ns)
            exchange.relay(data)
        elif self.mode == EVENTS:
            self.hear_events(data)
        else:
            self.held.append(data)
            self.held_size += PyBytes_GET_SIZE(data)
            if self.mode == FAULT:
                if self.held_size > FAULT_LIMIT:
                    self.judge_fault()
            elif self.held_size > exchange.lane.answer_limit:
                if exchange.early:
                    exchange.failed(self, FAIL_MALFORMED, "a whole answer where a stream had begun", 0)
                    return
                # larger than edge holds: it goes on unchecked rather than not at all
                self.mode = RAW
                self.content_ns = self.last_ns
                self.proven(self.last_ns)
                self.learn(self.last_ns)
                exchange.commit(self, self.head.length)
                for part in self.held:
                    exchange.relay(<bytes>part)
                self.held = None

    cdef hear_events(self, bytes data):
        cdef ExchangeCore exchange = self.exchange
        cdef Scanner scanner = self.scanner
        cdef bytes whole = scanner.feed(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
        if exchange.committed:
            if scanner.fresh & <int>SAID_ERROR:
                self.hear_error(whole, scanner.error_end)
            elif size:
                exchange.relay(whole)
            return
        if size:
            self.held.append(whole)
            self.held_size += size
        if scanner.said & <int>SAID_ERROR_FIRST:
            exchange.failed(self, FAIL_INBAND, "an error event before any content", 0)
            return
        if scanner.said & <int>SAID_GARBAGE and not scanner.said & <int>SAID_CONTENT:
            exchange.failed(self, FAIL_MALFORMED, "an event stream whose data is not JSON", 0)
            return
        if scanner.said & (<int>SAID_CONTENT | <int>SAID_DONE | <int>SAID_FINISH) or self.held_size > PREAMBLE_LIMIT:
            self.content_ns = self.last_ns
            self.proven(self.last_ns)
            self.learn(self.last_ns)
            exchange.commit(self, UNKNOWN_LENGTH)
            whole = <bytes>self.held[0] if len(self.held) == 1 else b"".join(self.held)
            self.held = None
            if scanner.fresh & <int>SAID_ERROR:
                self.hear_error(whole, self.held_size - size + scanner.error_end)
                return
            exchange.relay(whole)
            exchange.ring(self.last_ns)

    cdef hear_error(self, bytes whole, Py_ssize_t end):
        """The upstream says in its stream that it failed: its words go on up to there, nothing after them does."""
        cdef ExchangeCore exchange = self.exchange
        exchange.relay(self.conceal(whole[:end] if end >= 0 else whole))
        exchange.failed(self, FAIL_INBAND, "an error event in the middle of the stream", 0)

    cdef void on_end(self, list trailers):
        cdef ExchangeCore exchange = self.exchange
        cdef bytes rest
        cdef uint64_t now
        if self.phase == OVER:
            return
        self.stream = None
        now = monotonic_ns()
        if self.mode == RAW or self.mode == PIPE:
            self.settle(OK, now)
            exchange.finish(self, trailers)
        elif self.mode == CALL:
            self.judge_call(None if trailers is None else field_value(trailers, b"grpc-status"), trailers, now)
        elif self.mode == BARE:
            self.judge_call(field_value(self.head.fields, b"grpc-status"), self.head.fields, now)
        elif self.mode == FAULT:
            self.judge_fault()
        elif self.mode == EVENTS:
            if not exchange.committed:
                exchange.failed(self, FAIL_TRUNCATED, "the stream ended before any content", 0)
            elif not self.scanner.said & (<int>SAID_DONE | <int>SAID_FINISH):
                exchange.failed(self, FAIL_TRUNCATED, "the stream ended before it was complete", 0)
            else:
                rest = self.scanner.rest()
                if rest:
                    exchange.relay(rest)
                self.settle(OK, now)
                exchange.finish(self, None)
        else:
            self.judge_whole(now)

    cdef void on_failed(self, int outcome, str detail):
        cdef ExchangeCore exchange = self.exchange
        if self.phase == OVER:
            return
        if self.stream is not None:
            self.refused = self.stream.refused
            self.moved = self.stream.moved
        self.stream = None
        if (
            outcome == <int>FAIL_TRUNCATED and self.mode == EVENTS and exchange.committed
            and self.scanner.said & <int>SAID_DONE
        ):
            # everything was said; only the framing's end is missing, and that was for us
            self.settle(OK, monotonic_ns())
            exchange.finish(self, None)
            return
        exchange.failed(self, outcome, detail, 0)

    # --- judging -----------------------------------------------------------------------------------------------------
    cdef judge_whole(self, uint64_t now):
        """A whole answer is checked before anything of it is shown."""
        cdef ExchangeCore exchange = self.exchange
        cdef bytes content = b"".join(self.held)
        cdef Verdict verdict
        peek_answer(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), &verdict)
        self.prompt_tokens = verdict.prompt_tokens
        self.output_tokens = verdict.output_tokens
        if not verdict.valid or not verdict.is_object:
            exchange.failed(self, FAIL_MALFORMED, "an answer that is not a JSON object", 0)
        elif verdict.has_error:
            exchange.failed(self, FAIL_INBAND, "an error under a success status", 0)
        elif exchange.early:
            exchange.failed(self, FAIL_MALFORMED, "a whole answer where a stream had begun", 0)
        else:
            try:
                content = exchange.tell(self, content)
            except ValueError as error:
                exchange.failed(self, FAIL_MALFORMED, f"an answer that cannot be told in gRPC: {error}", 0)
                return
            self.content_ns = self.head_ns
            self.learn(now)
            self.settle(OK, now)
            exchange.commit(self, PyBytes_GET_SIZE(content))
            exchange.relay(content)
            exchange.finish(self, None)

    cdef judge_fault(self):
        """An error status with its body (or the first part of it): whose fault is it?"""
        cdef ExchangeCore exchange = self.exchange
        cdef int status = self.head.status
        cdef int action = <unsigned char>PyBytes_AS_STRING(self.pool.verdicts)[status]
        cdef bytes content = b"".join(self.held)
        cdef uint64_t rest_ns = 0
        for hint in self.pool.hints:
            if hint[0] == status and hint[1] in content:
                action = hint[2]
                break
        if action == CLIENT:
            self.content_ns = self.head_ns
            self.settle(CLIENT_FAULT, monotonic_ns())
            exchange.answer_fault(self, status, self.conceal(content))
            return
        if action == REST or action == FAIL or action == ELSEWHERE:
            seconds = exchange.lane.rest(self.head.fields)
            if seconds is not None:
                rest_ns = min(<uint64_t>(min(max(seconds, 0.0), 1e6) * 1e9), REST_MAX_NS)
        if action == REST:
            if rest_ns and self.charged:
                bounds_learn(&self.target.allowance.bounds, monotonic_ns(), BOUND_REQUESTS, 0, rest_ns)
            exchange.failed(self, RATE_LIMITED, f"status {status}", rest_ns)
        elif action == ELSEWHERE:
            # it answered, and rightly: for this model it has nothing, and that is no fault of its own
            exchange.failed(self, CLIENT_FAULT, f"status {status}", rest_ns)
        elif action == OUT:
            exchange.failed(self, REFUSED_CREDENTIAL, f"status {status}", 0)
        elif action == MISSING:
            exchange.failed(self, MISCONFIGURED, f"status {status}", 0)
        else:
            exchange.failed(self, FAIL_STATUS, f"status {status}", rest_ns)

    cdef bytes conceal(self, bytes content):
        """What a target says of a fault, without the credential that it was asked with: some quote it."""
        for word in self.pool.secrets:
            if word in content:
                content = content.replace(word, b"***")
            for pair in self.head.fields:
                if word in pair[1]:
                    self.head.fields = [(name, value.replace(word, b"***")) for name, value in self.head.fields]
                    break
        return content

    cdef judge_call(self, bytes status, list trailers, uint64_t now):
        """A gRPC call ends with its status. UNAVAILABLE before any message may be tried elsewhere; what the server
        broke counts against it; the rest is between it and its caller."""
        cdef ExchangeCore exchange = self.exchange
        cdef int code = read_status(status)
        cdef bytes wait = None if trailers is None else field_value(trailers, b"grpc-retry-pushback-ms")
        cdef uint64_t rest_ns = 0
        self.code = code
        if code < 0:
            exchange.failed(self, FAIL_TRUNCATED, "the call ended without a grpc-status", 0)
            return
        if wait is not None:
            self.pushback = pushback_ms(wait)
            if self.pushback > 0:
                rest_ns = min(<uint64_t>self.pushback * 1_000_000, REST_MAX_NS)
        if not self.content_ns:
            self.content_ns = self.head_ns
        if code == <int>GRPC_UNAVAILABLE and self.mode == BARE and exchange.repeatable(self, FAIL_STATUS, now):
            exchange.failed(self, FAIL_STATUS, "grpc status UNAVAILABLE", rest_ns)
            return
        if code == <int>GRPC_OK:
            self.settle(OK, now)
        elif code == <int>GRPC_RESOURCE_EXHAUSTED and rest_ns:
            self.settle(RATE_LIMITED, now, rest_ns)
        elif code == <int>GRPC_UNAVAILABLE or code == <int>GRPC_INTERNAL or code == <int>GRPC_UNKNOWN or (
            code == <int>GRPC_DATA_LOSS
        ):
            self.settle(FAIL_STATUS, now, rest_ns)
        else:
            self.settle(CLIENT_FAULT, now)
        if self.mode == BARE:
            exchange.commit(self, NO_BODY)
            exchange.finish(self, None)
        else:
            exchange.finish(self, trailers)

    # --- settle ------------------------------------------------------------------------------------------------------
    cdef proven(self, uint64_t now):
        """A rightful answer has begun: the half-open trial has succeeded, whatever the length of the rest."""
        if self.admit == <int>ADMIT_TRIAL:
            self.admit = ADMIT_YES
            breaker_report(
                self.target.rec, &self.exchange.route.pool.policy, now, self.generation, False, True,
                self.exchange.key, 0, self.exchange.lane.random(),
            )

    cdef learn(self, uint64_t now):
        """The first content is here: what it says about how much the target takes."""
        cdef TargetRec* rec = self.target.rec
        cdef uint64_t from_ns
        if self.target.bounds.initial <= 0:
            return
        from_ns = self.asked_ns if self.asked_ns and self.asked_ns < self.content_ns else self.began_ns
        # A whole answer takes as long as it is: it is measured only where there are no streams to measure by.
        capacity_first(
            rec, &self.target.bounds, now, (self.content_ns - from_ns) // 1000,
            self.exchange.cell == <int>CELL_STREAM or load64(&rec.baseline[<int>CELL_STREAM]) == 0,
            inflight_total(rec, self.exchange.route.pool.workers),
        )

    cdef settle(self, int outcome, uint64_t now, uint64_t rest_ns=0):
        """Exactly once per attempt: what the target is to be remembered for."""
        cdef ExchangeCore exchange = self.exchange
        cdef TargetRec* rec = self.target.rec
        cdef const Policy* policy = &exchange.route.pool.policy
        cdef bint trial = self.admit == <int>ADMIT_TRIAL
        cdef uint64_t from_ns
        cdef uint64_t us
        if self.settled:
            return
        self.settled = True
        self.outcome = outcome
        self.ended_ns = now
        add64(&rec.count[outcome], 1)
        if exchange.door != DOOR_SERVICE:
            self.account(outcome, now)
        if outcome == <int>CANCELLED:
            if trial:
                breaker_return(rec, now, self.generation)
        elif outcome == <int>CLIENT_FAULT:
            self.proven(now)        # it answered, and rightly
        elif outcome == <int>OK:
            # an answer may begin before an upload is whole: then it is measured from the start
            from_ns = self.asked_ns if self.asked_ns and self.asked_ns < self.content_ns else self.began_ns
            self.target.observe(exchange.cell, now, self.content_ns - from_ns, False)
            us = (self.content_ns - from_ns) // 1000
            add64(&rec.first_hist[hist_bucket(us)], 1)
            add64(&rec.first_sum_us, us)
            us = (self.content_ns - exchange.began_ns) // 1000
            add64(&exchange.route.rec.first_hist[hist_bucket(us)], 1)
            add64(&exchange.route.rec.first_sum_us, us)
            us = (now - self.began_ns) // 1000
            add64(&rec.total_hist[hist_bucket(us)], 1)
            add64(&rec.total_sum_us, us)
            if policy.slow_after_ns and self.content_ns - from_ns > self.slow_limit():
                self.note_slow(now)
            breaker_report(
                rec, policy, now, self.generation, False, trial, exchange.key, 0, exchange.lane.random()
            )
        else:
            self.target.observe(exchange.cell, now, now - self.began_ns, True)
            if self.target.bounds.initial > 0 and (
                outcome == <int>RATE_LIMITED or outcome == <int>FAIL_FIRST_BYTE or outcome == <int>FAIL_FIRST_TOKEN
                or (outcome == <int>FAIL_STATUS and self.head is not None
                    and (self.head.status == 503 or self.head.status == 529))
            ):
                capacity_refused(rec, &self.target.bounds, now)
            if outcome == <int>DEADLINE:
                self.note_slow(now)
                if trial:
                    breaker_return(rec, now, self.generation)
            elif trial or outcome < <int>RATE_LIMITED:
                # of a trial everything but a good answer is a failure; else only what the target itself did
                self.tripped = breaker_report(
                    rec, policy, now, self.generation, True, trial, exchange.key, rest_ns, exchange.lane.random()
                ) > 0

    cdef hear_limits(self, Head head, uint64_t now):
        """What the provider says is left of its bounds: OpenAI's x-ratelimit-*, Anthropic's anthropic-ratelimit-*."""
        cdef const Grant* bounds = &self.target.allowance.bounds
        cdef tuple pair
        cdef bytes name
        cdef const char* p
        cdef Py_ssize_t size
        cdef int64_t remaining
        cdef uint64_t wait_ns
        cdef int bound
        if not bounds.requests.thousandths and not bounds.tokens.thousandths:
            return
        for item in head.fields:
            pair = <tuple>item
            name = <bytes>pair[0]
            size = PyBytes_GET_SIZE(name)
            if size < 28:
                continue
            p = PyBytes_AS_STRING(name)
            bound = UNBOUND
            if p[0] == c"x" and name.startswith(b"x-ratelimit-remaining-"):
                bound = BOUND_REQUESTS if name.endswith(b"-requests") else BOUND_TOKENS if name.endswith(b"-tokens") else UNBOUND
            elif p[0] == c"a" and name.startswith(b"anthropic-ratelimit-") and name.endswith(b"-remaining"):
                bound = BOUND_REQUESTS if name.endswith(b"-requests-remaining") else BOUND_TOKENS
            remaining = parse_length(<bytes>pair[1]) if bound else -1
            if remaining < 0:
                continue
            wait_ns = 0
            if remaining == 0:
                seconds = self.exchange.lane.rest(head.fields)
                if seconds is not None:
                    wait_ns = min(<uint64_t>(min(max(seconds, 0.0), 1e6) * 1e9), REST_MAX_NS)
            if bounds_learn(bounds, now, bound, remaining, wait_ns) and bound == BOUND_TOKENS:
                self.told = True

    cdef account(self, int outcome, uint64_t now):
        """What this attempt used: as its target counted, and where it did not, a guess at what it has shown.

        The guess: a token for each event with content, a token for four bytes of a prompt or of a whole answer. What
        was never shown and never counted was not used.
        """
        cdef ExchangeCore exchange = self.exchange
        cdef RouteRec* route = exchange.route.rec
        cdef int64_t prompt = self.prompt_tokens
        cdef int64_t output = self.output_tokens
        cdef double input_nano = self.target.input_nano
        cdef double output_nano = self.target.output_nano
        cdef uint64_t cost
        if self.mode == EVENTS and self.scanner is not None:
            prompt = self.scanner.prompt_tokens
            output = self.scanner.output_tokens
        prompt = prompt if prompt <= MOST_TOKENS else -1
        output = output if output <= MOST_TOKENS else -1
        if outcome == <int>OK or exchange.committed:
            if output < 0:
                if self.mode == EVENTS:
                    output = self.scanner.events
                elif exchange.door == DOOR_EMBEDDINGS or prompt >= 0:
                    output = 0
                elif self.mode == HOLD:
                    output = self.held_size // 4
                else:       # nobody here could read it
                    output = usual_output(route)
            if prompt < 0:
                prompt = exchange.prompt_guess
        else:
            prompt = prompt if prompt > 0 else 0
            output = output if output > 0 else 0
        if self.pool.is_region and self.head is not None:
            price_elsewhere(exchange, field_value(self.head.fields, b"x-edge-target"), &input_nano, &output_nano)
        cost = <uint64_t>(prompt * input_nano + output * output_nano + 0.5)
        if outcome == <int>OK:
            note_output(route, output)
        if self.charged:
            self.charged = False
            bounds_settle(
                &self.target.allowance.bounds, now,
                prompt + output if self.told else exchange.prompt_guess + exchange.output_guess, prompt + output,
                not self.sent,
            )
            note_usage(self.target.allowance.bounds.rec, prompt, output, cost)
        exchange.prompt_tokens += prompt
        exchange.output_tokens += output
        exchange.cost_nano += cost
        if prompt:
            add64(&self.target.rec.count[<int>T_PROMPT_TOKENS], prompt)
            add64(&route.count[<int>R_PROMPT_TOKENS], prompt)
        if output:
            add64(&self.target.rec.count[<int>T_OUTPUT_TOKENS], output)
            add64(&route.count[<int>R_OUTPUT_TOKENS], output)
        if cost and not self.pool.is_region:    # the region that paid counts it
            add64(&self.target.rec.count[<int>T_COST_NANO], cost)
            add64(&route.count[<int>R_COST_NANO], cost)

    cdef note_slow(self, uint64_t now):
        """At most once: it took longer than ``slow_after``, whether it has answered by now or not."""
        if not self.slow:
            self.slow = True
            breaker_slow(
                self.target.rec, &self.exchange.route.pool.policy, now, self.generation,
                self.admit == <int>ADMIT_TRIAL, self.exchange.lane.random(),
            )

    cdef leave(self):
        """The attempt is over: its place is free, and what still runs upstream is stopped."""
        cdef ClientStream stream = self.stream
        if self.phase == OVER:
            return
        if self.phase == CONNECTING:
            self.pool.forget(self)
        if self.counted:
            self.counted = False
            add32(&self.target.rec.inflight[self.exchange.lane.worker], -1)
            add32(&self.target.rec.inflight_class[self.klass][self.exchange.lane.worker], -1)
            if self.exchange.lane.crowded:
                self.exchange.lane.nudge()
        self.stream = None
        self.held = None
        if stream is not None:
            if self.phase == ANSWERING and self.mode == FAULT:
                self.phase = OVER
                stream.discard()
            else:
                self.phase = OVER
                stream.cancel()
        self.phase = OVER

    cdef bint owes(self) noexcept:
        if self.phase != ASKING or self.body_done or self.blocked_ns:
            return True
        return self.begged_ns != 0 and self.exchange.stream.waits

    cdef bint stuck(self, uint64_t now):
        """A target that takes nothing of an upload for as long as an answer may be silent has failed. What it takes is
        seen by what is left: bytes that a wire had still to be given may hide some of it, but never for long."""
        cdef ExchangeCore exchange = self.exchange
        cdef uint64_t limit = exchange.route.between_tokens_ns
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

    # --- deadlines ---------------------------------------------------------------------------------------------------
    cdef uint64_t patience(self, uint64_t deadline_ns) noexcept:
        """A trial gets three times what the target used to need, not the whole deadline of the client that makes it."""
        cdef uint64_t limit
        if self.admit != <int>ADMIT_TRIAL or self.exchange.route.pool.size < 2:
            return deadline_ns
        limit = <uint64_t>(3e6 * ewma_read(
            &self.target.rec.baseline[self.exchange.cell], self.began_ns, <uint64_t>BASELINE_TAU_MS * 1000000
        ))
        if limit < TRIAL_FLOOR_NS:
            limit = TRIAL_FLOOR_NS
        return limit if limit < deadline_ns or deadline_ns == 0 else deadline_ns

    cdef uint64_t slow_limit(self) noexcept:
        """From when on this attempt counts as slow."""
        cdef const Policy* policy = &self.exchange.route.pool.policy
        cdef double usual
        cdef uint64_t limit
        if not policy.slow_adaptive:
            return policy.slow_after_ns
        usual = ewma_read(
            &self.target.rec.baseline[self.exchange.cell], self.began_ns, <uint64_t>BASELINE_TAU_MS * 1000000
        )
        if usual <= 0:
            return policy.slow_after_ns
        limit = <uint64_t>(4e6 * usual)
        if limit < SLOW_FLOOR_NS:
            limit = SLOW_FLOOR_NS
        return limit if limit < policy.slow_after_ns else policy.slow_after_ns

    cdef uint64_t next_deadline(self) noexcept:
        """When something may be overdue; a deadline of 0 is off."""
        cdef Route route = self.exchange.route
        cdef uint64_t from_ns = 0
        cdef uint64_t limit = 0
        cdef uint64_t when
        cdef uint64_t slow
        if self.phase == CONNECTING:
            from_ns = self.began_ns
            limit = route.connect_ns
        elif self.phase == ASKING:
            if self.body_done:
                from_ns = self.asked_ns
                limit = self.patience(route.first_byte_ns)
            elif self.begged_ns and self.exchange.stream.waits:
                from_ns = self.begged_ns
                limit = self.patience(route.first_byte_ns)
                if limit == 0:
                    limit = self.exchange.lane.stall_ns
        elif self.phase == ANSWERING and self.mode == EVENTS:
            from_ns = self.began_ns
            limit = self.patience(route.first_token_ns)
        elif self.phase != OVER and not self.paused:
            from_ns = self.last_ns
            limit = self.exchange.lane.idle_ns if self.mode == PIPE else route.between_tokens_ns
        when = from_ns + limit if limit else NEVER
        if self.blocked_ns and not self.body_done and not self.paused and route.between_tokens_ns:
            when = min(when, self.viewed_ns + route.between_tokens_ns // 4)
        if not self.content_ns and self.body_done and route.pool.policy.slow_after_ns:
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
            if now >= self.began_ns + route.connect_ns:
                exchange.failed(self, FAIL_CONNECT, "no connection within the connect deadline", 0)
                return True
        elif self.phase == ASKING:
            limit = self.patience(route.first_byte_ns)
            if self.body_done and limit and now >= self.asked_ns + limit:
                exchange.failed(self, FAIL_FIRST_BYTE, "no answer within the first-byte deadline", 0)
                return True
            if self.begged_ns and not self.body_done and exchange.stream.waits and (
                now >= self.begged_ns + (limit if limit else exchange.lane.stall_ns)
            ):
                exchange.failed(self, FAIL_FIRST_BYTE, "no word to a client that waits with its body", 0)
                return True
        elif self.phase == ANSWERING and self.mode == EVENTS:
            limit = self.patience(route.first_token_ns)
            if limit and now >= self.began_ns + limit:
                exchange.failed(self, FAIL_FIRST_TOKEN, "no content within the first-token deadline", 0)
                return True
        elif self.phase == ANSWERING or self.phase == RELAYING:
            limit = exchange.lane.idle_ns if self.mode == PIPE else route.between_tokens_ns
            # while the client does not read, nothing is asked of the upstream
            if limit and not self.paused and now >= self.last_ns + limit:
                if self.mode == EVENTS and self.scanner.said & <int>SAID_DONE:
                    # everything was said; the rest of the framing was for us
                    self.settle(OK, now)
                    exchange.finish(self, None)
                    return True
                if exchange.received or exchange.stream.waits or self.blocked_ns or self.mode == PIPE:
                    exchange.failed(self, FAIL_STALLED, "the answer stopped coming", 0)
                else:
                    # who would have had to speak is not known: perhaps it was the client
                    exchange.failed(self, CANCELLED, "neither the request nor its answer went on", 0)
                return True
        if route.pool.policy.slow_after_ns and not self.content_ns and self.body_done and (
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
