from native.state.allowance cimport BOUND_REQUESTS, bounds_learn
from native.balance.balancer cimport CELL_STREAM
from native.state.shared_state cimport (
    CANCELLED, CLIENT_FAULT, FAIL_CONNECT, FAIL_INBAND, FAIL_MALFORMED, FAIL_RESET, FAIL_STATUS, FAIL_TRUNCATED, MISCONFIGURED, OK, RATE_LIMITED,
    REFUSED_CREDENTIAL,
)
from native.io.clock cimport monotonic_ns
from native.codec.grpc cimport (
    GRPC_DATA_LOSS, GRPC_INTERNAL, GRPC_OK, GRPC_RESOURCE_EXHAUSTED, GRPC_UNAVAILABLE, GRPC_UNKNOWN, pushback_ms,
    read_status,
)
from native.codec.field_rules cimport field_value
from native.codec.response_peek cimport Verdict, peek_response
from native.proxy.router cimport OPERATION_SERVICE
from native.proxy.accounting cimport ANSWERING, ASKING, BARE, CALL, EVENTS, FAULT, HOLD, OVER, PIPE, RAW, ExchangeCore
from native.codec.event_kind cimport SAID_CONTENT, SAID_DONE, SAID_ERROR, SAID_ERROR_FIRST, SAID_FINISH, SAID_GARBAGE
from native.codec.sse cimport Scanner
from native.codec.head cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

# native.http.stream.Failure as an Outcome
cdef int[5] OUTCOME_OF = [FAIL_CONNECT, FAIL_RESET, FAIL_MALFORMED, FAIL_TRUNCATED, CANCELLED]

cdef enum Action:           # edge/terms/actions.py
    RELAY = 0
    CLIENT = 1
    FAIL = 2
    REST = 3
    OUT = 4
    MISSING = 5
    ELSEWHERE = 6

# The longest wait believed of an answer that asks for one.
cdef uint64_t REST_MAX_NS = 300_000_000_000
# Start events before the first content: more than this is no preamble any more, and is committed.
cdef Py_ssize_t PREAMBLE_LIMIT = 262144
# An error's body is read up to here before it is judged.
cdef Py_ssize_t FAULT_LIMIT = 65536


cdef class Attempt(Asking):
    """One try of an exchange at one target."""

    # --- hearing -----------------------------------------------------------------------------------------------------
    cdef void on_interim(self, int status):
        if self.phase == ASKING and status == 100 and self.exchange.operation == OPERATION_SERVICE and self.exchange.head.expects:
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
        if exchange.operation == OPERATION_SERVICE:
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
            elif exchange.translated:
                exchange.failed(self, FAIL_MALFORMED, "a compressed answer, which cannot be told in gRPC", 0)
            else:
                self.proven(now)
                self.learn(now)
                exchange.commit(self, head.length)
        elif head.content_type is not None and head.content_type.lower().startswith(b"text/event-stream"):
            self.mode = EVENTS
            self.scanner = Scanner()
            if exchange.translated and exchange.latency_cell != CELL_STREAM:
                exchange.failed(self, FAIL_MALFORMED, "an event stream where a whole answer was asked for", 0)
        else:
            self.mode = HOLD
            if exchange.translated and exchange.latency_cell == CELL_STREAM:
                exchange.failed(self, FAIL_MALFORMED, "a whole answer where an event stream was asked for", 0)
        exchange.arm_deadline(now)      # another deadline counts from here, and it may be the nearer one

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
                if exchange.repeatable(self, FAIL_STATUS, now) and exchange.another(now) and (
                    exchange.may_retry(self, FAIL_STATUS, now)
                ):
                    self.retry_granted = True
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
                if self.held_size > FAULT_LIMIT and not self.client_error:
                    self.client_error = self.action_of(b"".join(self.held)) == CLIENT
                    if not self.client_error:
                        self.judge_fault()
                elif self.held_size > exchange.data_plane.answer_limit:
                    self.judge_fault()
            elif self.held_size > exchange.data_plane.answer_limit:
                if exchange.early:
                    exchange.failed(self, FAIL_MALFORMED, "a whole answer where a stream had begun", 0)
                    return
                if exchange.translated:
                    exchange.failed(self, FAIL_MALFORMED, "an answer over limits.max_response, which cannot be told in gRPC", 0)
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
            exchange.arm_deadline(self.last_ns)

    cdef hear_error(self, bytes whole, Py_ssize_t end):
        """The upstream says in its stream that it failed: its words go on up to there, nothing after them does."""
        cdef ExchangeCore exchange = self.exchange
        exchange.relay(self.redact(whole[:end] if end >= 0 else whole))
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
            exchange.finish(self, trailers, None)
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
                exchange.finish(self, None, None)
        else:
            self.judge_whole(now)

    cdef void on_failed(self, int failure, str detail):
        cdef ExchangeCore exchange = self.exchange
        cdef int outcome = OUTCOME_OF[failure]
        if self.phase == OVER:
            return
        if self.stream is not None:
            self.refused = self.stream.refused
            self.moved = self.stream.connection_ended
        self.stream = None
        if (
            outcome == <int>FAIL_TRUNCATED and self.mode == EVENTS and exchange.committed
            and self.scanner.said & <int>SAID_DONE
        ):
            # everything was said; only the framing's end is missing, and that was for us
            self.settle(OK, monotonic_ns())
            exchange.finish(self, None, None)
            return
        exchange.failed(self, outcome, detail, 0)

    # --- judging -----------------------------------------------------------------------------------------------------
    cdef judge_whole(self, uint64_t now):
        """A whole answer is checked before anything of it is shown."""
        cdef ExchangeCore exchange = self.exchange
        cdef bytes content = b"".join(self.held)
        cdef Verdict verdict
        peek_response(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), &verdict)
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
            exchange.finish(self, None, content)

    cdef judge_fault(self):
        """An error status with its body (or the first part of it): whose fault is it?"""
        cdef ExchangeCore exchange = self.exchange
        cdef int status = self.head.status
        cdef bytes content = b"".join(self.held)
        cdef int action = self.action_of(content)
        cdef uint64_t rest_ns = 0
        if action == CLIENT:
            self.content_ns = self.head_ns
            self.settle(CLIENT_FAULT, monotonic_ns())
            # what has not come whole is not shown as if it had
            whole = self.stream is None or self.held_size <= exchange.data_plane.answer_limit
            exchange.answer_fault(self, status, self.redact(content) if whole else None)
            return
        if action == REST or action == FAIL or action == ELSEWHERE:
            seconds = exchange.data_plane.rest(self.head.fields)
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

    cdef int action_of(self, bytes content):
        """What an error status means, with what its body says."""
        cdef int status = self.head.status
        for hint in self.pool.hints:
            if hint[0] == status and hint[1] in content:
                return hint[2]
        return <unsigned char>PyBytes_AS_STRING(self.pool.verdicts)[status]

    cdef bytes redact(self, bytes content):
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
                rest_ns = <uint64_t>self.pushback * 1_000_000
                if rest_ns > REST_MAX_NS or now + rest_ns >= exchange.total_ns:
                    self.pushback = -1      # nobody waits for that: it is told now
                rest_ns = min(rest_ns, REST_MAX_NS)
        if not self.content_ns:
            self.content_ns = self.head_ns
        if code == <int>GRPC_UNAVAILABLE and self.mode == BARE and exchange.repeatable(self, FAIL_STATUS, now) and (
            exchange.may_retry(self, FAIL_STATUS, now)
        ):
            self.retry_granted = True
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
            exchange.finish(self, None, None)
        else:
            exchange.finish(self, trailers, None)
