from native.allowance cimport BOUND_BUDGET, bounds_take, bounds_wait, usual_output
from native.attempt cimport EVENTS, OVER, RELAYING
from native.balancer cimport (
    BARRED_EXHAUSTED, BARRED_FULL, BARRED_OPEN, BARRED_OUT, BARRED_RESTING, BARRED_TRIAL, CELL_STREAM, CELL_WHOLE,
    Choice, Target, inflight_total,
)
from native.board cimport (
    A_REQUESTS, CANCELLED, CLIENT_FAULT, DEADLINE, FAIL_CONNECT, FAIL_INBAND, FAIL_MALFORMED, FAIL_RESET, FAIL_STATUS,
    MISCONFIGURED, OK, RATE_LIMITED, REFUSED_CREDENTIAL, R_2XX, R_BROKEN, R_BUDGET, R_CANCELLED, R_FAILOVERS,
    R_KEEPALIVES, R_LIMITED, R_PEER, R_REQUESTS, R_RETRIES, R_SHED_HIGH, R_SPILLED, R_STREAMS, R_UNAVAILABLE, T_EXHAUSTED,
    T_FULL, T_RETRIED, T_SPILLED, W_HOPS_REFUSED, W_REFUSED, W_REFUSED_KEYS, W_REQUESTS, W_UNRECORDED, W_UNROUTED,
    RouteRec, TargetRec, add32, add64, cas64, hist_bucket, load32, load64, store32, store64,
)
from native.breaker cimport ADMIT_TRIAL, OPEN, breaker_return, circuit_state, circuit_until_ns
from native.budget cimport budget_deposit, budget_withdraw
from native.callers cimport SHOWN_NONE, Caller, Callers
from native.clock cimport monotonic_ns, wall_ns
from native.grpc cimport frame, is_grpc, read_status, timeout_ns, unframe
from native.headers cimport decimal, field_value, parse_seconds, plain_path
from native.peek cimport PEEK_OK, peek_request, unescape_json
from native.queue cimport Queue, Waiter
from native.record cimport Recorder, span_hex, trace_hex
from native.router cimport (
    DOOR_CHAT, DOOR_COMPLETIONS, DOOR_EMBEDDINGS, DOOR_HEALTH, DOOR_MODELS, DOOR_RESPONSES, DOOR_SERVICE, DOOR_UNKNOWN,
    Route,
)
from native.stream cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH, ClientStream, Head, ServerEvents

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from hmac import compare_digest

from native.board import Outcome

cdef uint64_t NEVER = <uint64_t>-1
# A 429 without a hint.
cdef uint64_t REST_NS = 2_000_000_000
# A refused credential or a missing model is a matter for people; it is looked at again this often.
cdef uint64_t OUT_NS = 60_000_000_000
# The same target again, when no other is left: first wait, doubled by each attempt, jittered by a half.
cdef uint64_t BACKOFF_NS = 50_000_000

# How often a request may go on to another region, and for how long a region that has nothing for a route is not asked
# for it again: what it says, within these.
cdef Py_ssize_t MOST_HOPS = 2
cdef uint64_t ABSENT_NS = 1_000_000_000
cdef uint64_t ABSENT_MAX_NS = 10_000_000_000

# A message to one of edge's own methods; they are questions, not uploads.
cdef Py_ssize_t LOCAL_LIMIT = 65536

cdef enum:
    LOW = 2                     # the class that does not wait
# When the lowest class is let in more widely (native/capacity): coming back sooner is in vain.
cdef double RAMP_STEP_S = 5.0

cdef frozenset IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
# What a client says to edge and no provider may hear. Credentials go last, from the target.
cdef frozenset WITHHELD = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"forwarded", b"via", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"accept-encoding", b"baggage", b"tracestate", b"traceparent",
    b"origin", b"referer", b"openai-organization", b"openai-project", b"x-edge-peer-token", b"x-edge-hops", b"x-edge-key-name",
    b"x-edge-class", b"x-request-timeout",
))
# The last ones are told anew: of a peer's answer they are read first.
cdef frozenset ANSWER_WITHHELD = frozenset((
    b"set-cookie", b"alt-svc", b"strict-transport-security", b"x-edge-request-id", b"x-edge-target", b"x-edge-region",
    b"x-edge-attempts", b"x-edge-reason",
))
cdef dict CAPABILITIES = {
    <int>DOOR_CHAT: "chat", <int>DOOR_COMPLETIONS: "completions", <int>DOOR_EMBEDDINGS: "embeddings",
    <int>DOOR_RESPONSES: "responses",
}
cdef tuple OUTCOME_NAMES = tuple(Outcome(i).name.lower() for i in range(16))
cdef tuple KEPT_NAMES = ("", "sampled", "failed", "slow", "retried")
# gRPC statuses that say that the server failed (OpenTelemetry's conventions for RPC):
# UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
cdef int FAILED_CODES = 1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15
# Where the traceparent of an attempt will stand.
cdef tuple NO_TRACEPARENT = (b"traceparent", b"")
# Paths are told up to here.
cdef Py_ssize_t PATH_LIMIT = 256
# What stands in a caller's way, by native.allowance.Bound, as edge.listen.reply knows it.
cdef tuple LIMITED = (
    None, "rate_limited_requests", "rate_limited_tokens", "rate_limited_concurrent", "rate_limited_budget",
)
cdef tuple CLASSES = (b"high", b"normal", b"low")
cdef bytes GRPC_HEALTH = b"/grpc.health.v1.Health/"
cdef bytes COMMENT = b": edge is waiting for an answer\n\n"


cdef tuple FROM_HTTP = (b"x-forwarded-proto", b"http")
cdef tuple FROM_HTTPS = (b"x-forwarded-proto", b"https")
# Many requests come on one connection: who asked last usually asks next.
cdef object LAST_PEER = None
cdef bytes LAST_ADDRESS = b"unknown"


cdef bytes address_of(object peer):
    """The IP address of a socket's name, as text."""
    global LAST_PEER, LAST_ADDRESS
    if peer is not LAST_PEER:
        LAST_ADDRESS = str(peer[0]).encode() if isinstance(peer, tuple) else b"unknown"
        LAST_PEER = peer
    return LAST_ADDRESS


cdef int reason_of(TargetRec* rec, int barred) noexcept:
    """The TripReason of an open circuit, the Outcome that put a target out; 0 where the bar says all there is."""
    if barred == <int>BARRED_OPEN:
        return load32(&rec.trip_reason)
    return load32(&rec.out_reason) if barred == <int>BARRED_OUT else 0


cdef uint64_t wait_ns(TargetRec* rec, int barred, uint64_t now) noexcept:
    """How long until this target may be usable again; 0 = no date is known, or now."""
    cdef uint64_t until = 0
    if barred == <int>BARRED_OPEN or barred == <int>BARRED_TRIAL:
        until = circuit_until_ns(load64(&rec.circuit))
    elif barred == <int>BARRED_RESTING:
        until = load64(&rec.rest_until_ns)
    elif barred == <int>BARRED_OUT:
        until = load64(&rec.out_until_ns)
    return until - now if until > now else 0


cdef inline int64_t offset(uint64_t when, uint64_t began) noexcept:
    """Nanoseconds since the exchange began; -1 for what never happened."""
    return <int64_t>(when - began) if when else -1


cdef list fields_for(Caller caller, list fields):
    """A model's answer's fields as they go on. What a provider grants edge is not what edge grants a caller."""
    cdef list kept
    cdef bytes name
    if caller is None:
        return [pair for pair in fields if pair[0] not in ANSWER_WITHHELD]
    kept = []
    for pair in fields:
        name = <bytes>(<tuple>pair)[0]
        if name not in ANSWER_WITHHELD and not is_grant(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
            kept.append(pair)
    return kept


cdef inline bint is_grant(const char* name, Py_ssize_t size) noexcept:
    """Whether a field says what a provider grants."""
    return (size > 12 and memcmp(name, b"x-ratelimit-", 12) == 0) or (
        size > 20 and memcmp(name, b"anthropic-ratelimit-", 20) == 0
    )


cdef class Lane(LaneCore):
    """A worker's data path: hand :meth:`protocol` to ``loop.create_server`` and :meth:`start` it."""

    cdef ServerEvents open(self, ServerStream stream, Head head):
        cdef Exchange exchange = Exchange.__new__(Exchange)
        exchange.lane = self
        exchange.stream = stream
        exchange.head = head
        exchange.began_ns = monotonic_ns()
        add64(&self.meter.count[<int>W_REQUESTS], 1)
        stream.events = exchange
        exchange.admit()
        return None if exchange.over else exchange


    cdef serve(self, uint64_t now_ns):
        """Those who wait, in their order, as far as there are places."""
        cdef Queue queue
        cdef Waiter waiter
        cdef Exchange exchange
        for route in list(self.crowded):
            queue = (<Route>route).queue
            while True:
                waiter = queue.first()
                if waiter is None:
                    break
                exchange = <Exchange>waiter.owner
                exchange.choose()
                if waiter.owner is not None:
                    break       # there is no place for the first, so there is none for those behind
        self.crowded = [route for route in self.crowded if (<Route>route).queue.count]


cdef class Alarm(Timer):
    cdef void fire(self, uint64_t now_ns):
        cdef Exchange exchange = self.exchange      # kept alive: looking may end it
        if exchange is not None:
            exchange.look(now_ns)


cdef class Exchange(ExchangeCore):
    """A request and its answer, with every attempt in between."""

    # --- admission and routing ---------------------------------------------------------------------------------------
    cdef admit(self):
        cdef LaneCore lane = self.lane
        cdef Head head = self.head
        cdef Route route = None
        self.key = -1
        self.code = -1
        self.klass = 1
        self.proof = -1
        if lane.peer_token is not None and not self.hear_peer():
            return
        self.grpc = head.version == 20 and is_grpc(head.content_type)
        self.door = lane.router.door(head.path)
        if self.grpc and lane.calls is not None and self.door == DOOR_UNKNOWN:
            self.voice = lane.calls.voice(head.path)
            if self.voice == LOCAL:
                if not head.path.startswith(GRPC_HEALTH) and not self.identify():
                    return
                self.body = []
                self.unread = b""
                return
            if self.voice != PLAIN:
                self.door = DOOR_CHAT
                if self.identify():
                    self.admit_model()
                return
        if lane.router.hosts and not self.peer and (self.door == DOOR_UNKNOWN or head.host in lane.router.hosts):
            route = lane.router.service(head.host, head.path)
        if (route is not None or self.door != DOOR_HEALTH) and not self.identify():
            return
        if route is not None:
            self.door = DOOR_SERVICE
            self.route = route
            self.route_service()
            return
        if self.door == DOOR_UNKNOWN:
            self.refuse("unknown_path", head.path.decode("latin-1"), None)
        elif self.door == DOOR_MODELS or self.door == DOOR_HEALTH:
            if head.method != b"GET" and head.method != b"HEAD":
                self.refuse("method", head.method.decode("latin-1"), [(b"allow", b"GET, HEAD")])
                return
            status, fields, content = lane.local(self.door, head.method, head.path, lane.router.snapshot, self.caller)
            self.answer(status, list(fields), content)
        else:
            self.admit_model()

    cdef bint hear_peer(self):
        """Is this another region's edge?  Only then is it believed where the request has been, and for whom it is.

        Of a client the fields count for nothing, but one: who says that a request has been elsewhere does not have it
        sent there again. False: the request has been refused.
        """
        cdef bytes token = field_value(self.head.fields, b"x-edge-peer-token")
        cdef bytes hops = field_value(self.head.fields, b"x-edge-hops")
        cdef list names
        self.hops = hops
        if token is None or not compare_digest(token, self.lane.peer_token):
            return True
        self.peer = True
        self.caller_name = field_value(self.head.fields, b"x-edge-key-name")
        self.caller_class = field_value(self.head.fields, b"x-edge-class")
        if hops is not None:
            names = hops.split(b",")
            if len(names) > MOST_HOPS or self.lane.region in names:
                add64(&self.lane.meter.count[<int>W_HOPS_REFUSED], 1)
                self.refuse("peer_loop", hops.decode("latin-1"), None)
                return False
        return True

    cdef mark_loops(self):
        """Where may this request not go?  Back to where it has been, and nowhere once it has been in two regions."""
        cdef list names = self.hops.split(b",")
        cdef int i
        if not self.peer or len(names) >= MOST_HOPS:
            self.loops = self.route.regions
            return
        for i in range(self.route.pool.size):
            if self.route.regions >> i & 1 and self.route.pool.target_at(i).plan.provider.encode() in names:
                self.loops |= <uint64_t>1 << i

    cdef bint identify(self):
        """Whose key does it come with?  False: it has been refused."""
        cdef Callers callers = self.lane.router.callers
        cdef int shown = 0
        if self.peer and self.caller_class in CLASSES:
            self.klass = CLASSES.index(self.caller_class)
        if callers is None or self.peer:
            return True     # a peer has admitted its caller itself, and charges it
        self.caller = callers.find(self.head.fields, &shown, &self.proof)
        if self.caller is not None:
            self.key = self.caller.slot
            self.klass = self.caller.priority
            self.caller_name = self.caller.told_name
            self.caller_class = self.caller.told_class
        elif not self.stream.keyless:
            self.refuse("missing_key" if shown == <int>SHOWN_NONE else "unknown_key", "", None)
            return False
        return True

    cdef admit_model(self):
        cdef LaneCore lane = self.lane
        cdef Head head = self.head
        if head.method != b"POST":
            self.refuse("method", head.method.decode("latin-1"), [(b"allow", b"POST")])
        elif head.length == NO_BODY:
            self.refuse("body_missing", "", None)
        elif head.length > lane.body_limit:
            self.refuse("body_too_large", str(lane.body_limit), None)
        else:
            self.body = []
            if head.expects:
                self.stream.send_interim(100)

    cdef void on_request_data(self, bytes data):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream
        if self.over:
            return
        self.body_size += PyBytes_GET_SIZE(data)
        if self.voice == LOCAL:
            self.hear_local(data)
            return
        if self.door != DOOR_SERVICE:
            if self.body_size > self.lane.body_limit:
                self.body = None
                self.refuse("body_too_large", str(self.lane.body_limit), None)
            else:
                self.body.append(data)
            return
        if self.tunnel:
            upstream = None if attempt is None else attempt.stream
            if upstream is not None:
                attempt.last_ns = monotonic_ns()
                upstream.send_data(data)
            return
        if attempt is None or not attempt.sent:
            self.body.append(data)
            if self.body_size > self.lane.replay_limit:
                self.stream.pause()
            return
        if self.replayable:
            if self.body_size > self.lane.replay_limit:
                self.replayable = False
                self.body = None
            else:
                self.body.append(data)
        upstream = attempt.stream
        if upstream is not None:
            if self.committed:
                attempt.last_ns = monotonic_ns()    # who is still being asked has not stopped answering
            upstream.send_data(data)

    cdef void on_request_end(self, list trailers):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream
        if self.over or self.received:
            return
        self.received = True
        self.trailers = trailers
        if self.voice == LOCAL:
            if not self.lane.calls.stays(self.head.path):
                stream = self.stream
                self.close(200)
                if not self.committed:
                    stream.send_head(200, [(b"content-type", b"application/grpc")], UNKNOWN_LENGTH)
                stream.send_end([(b"grpc-status", b"0")])
        elif self.door != DOOR_SERVICE:
            self.whole_ns = monotonic_ns()
            self.route_model()
        elif attempt is not None and attempt.sent:
            attempt.asked()
            upstream = attempt.stream
            if upstream is not None:
                upstream.send_end(trailers)
            if not self.over:
                self.ring(attempt.asked_ns)

    cdef route_model(self):
        """Read what the body asks for, without parsing it, and find the pool that can answer."""
        cdef LaneCore lane = self.lane
        cdef bytes name
        cdef tuple pair
        cdef int64_t timeout
        self.content = <bytes>self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body = None
        self.suffix = self.head.target[3:]      # /v1/chat/completions -> /chat/completions
        if self.voice != PLAIN:
            self.read_call()
            if self.over:
                return
        if peek_request(PyBytes_AS_STRING(self.content), PyBytes_GET_SIZE(self.content), &self.peek) != <int>PEEK_OK:
            self.refuse("malformed_json", f"{self.peek.error}:{self.peek.error_at}", None)
            return
        if self.peek.model_start < 0:
            self.refuse("model_missing", "", None)
            return
        name = self.content[self.peek.model_start:self.peek.model_end]
        if self.peek.model_escaped:
            name = unescape_json(name)
        if self.caller is not None and not self.caller.everything and (name is None or not self.caller.may_use(name)):
            # before anybody learns whether there is such a model
            self.refuse("model_not_allowed", "?" if name is None else name.decode("utf-8", "replace"), None)
            return
        self.route = None if name is None else lane.router.model(name)
        if self.route is None:
            self.refuse("unknown_model", "?" if name is None else name.decode("utf-8", "replace"), None)
            return
        self.wildcard = lane.router.wildcard_model(name)
        self.cell = CELL_STREAM if self.peek.stream == 1 else CELL_WHOLE
        if self.voice == PLAIN:
            self.fields = []
            for item in self.head.fields:
                pair = <tuple>item
                if pair[0] not in WITHHELD:
                    self.fields.append(pair)
                elif PyBytes_GET_SIZE(<bytes>pair[0]) == 17 and pair[0] == b"x-request-timeout":
                    timeout = parse_seconds(<bytes>pair[1])
                    if timeout < 0:
                        self.refuse("request_timeout", (<bytes>pair[1]).decode("latin-1"), None)
                        return
                    self.bounded = True
                    self.total_ns = self.began_ns + <uint64_t>timeout
        else:
            self.fields = [(b"content-type", b"application/json")]
        self.prompt_guess = PyBytes_GET_SIZE(self.content) // 4
        if lane.router.metered and self.door != DOOR_EMBEDDINGS:
            self.output_guess = usual_output(self.route.rec)
            if 0 <= self.peek.max_tokens < <int64_t>self.output_guess:
                self.output_guess = self.peek.max_tokens
        self.begin()

    cdef read_call(self):
        """One message of edge's own gRPC language becomes the JSON body that providers know."""
        cdef LaneCore lane = self.lane
        cdef list messages = []
        cdef bytes timeout = field_value(self.head.fields, b"grpc-timeout")
        cdef Py_ssize_t used = unframe(self.content, 0, lane.body_limit, messages)
        self.suffix = b"/chat/completions"
        if timeout is not None and timeout_ns(timeout) >= 0:
            self.bounded = True
            self.total_ns = self.began_ns + <uint64_t>timeout_ns(timeout)
        if used == -1:
            self.refuse("compressed_call", "", None)
        elif len(messages) != 1 or used != PyBytes_GET_SIZE(self.content):
            self.refuse("one_message", str(len(messages)), None)
        else:
            try:
                self.content = lane.calls.read(messages[0], self.voice == CHAT_STREAM)
            except ValueError as error:
                self.refuse("bad_message", str(error), None)

    cdef hear_local(self, bytes data):
        """Messages to a method that edge answers itself: each gets its answers at once."""
        cdef LaneCore lane = self.lane
        cdef ServerStream stream = self.stream
        cdef list messages = []
        cdef Py_ssize_t used
        data = self.unread + data if self.unread else data
        used = unframe(data, 0, LOCAL_LIMIT, messages)
        if used < 0:
            self.refuse("compressed_call" if used == -1 else "body_too_large", str(LOCAL_LIMIT), None)
            return
        self.unread = data[used:]
        for message in messages:
            code, text, answers = lane.calls.answer(self.head.path, message, lane.router.snapshot, self.caller)
            if not self.committed:
                self.committed = True
                stream.send_head(200, [(b"content-type", b"application/grpc")], UNKNOWN_LENGTH)
            for answer in answers:
                stream.send_data(frame(answer))
            if code:
                self.close(200)
                stream.send_end(lane.reply.call_end(code, text))
                return

    cdef tuple answered_by(self, Attempt attempt):
        """(target, region, attempts): another region's edge says itself who answered, and its attempts come to ours."""
        cdef bytes target
        cdef bytes region
        cdef bytes attempts
        if not attempt.pool.is_region:
            return attempt.target.id.encode(), self.lane.region, decimal(self.attempts)
        target = field_value(attempt.head.fields, b"x-edge-target")
        region = field_value(attempt.head.fields, b"x-edge-region")
        attempts = field_value(attempt.head.fields, b"x-edge-attempts")
        return (
            attempt.target.id.encode() if target is None else target,
            attempt.target.plan.provider.encode() if region is None else region,
            decimal(self.attempts - 1 + (int(attempts) if attempts is not None and attempts.isdigit() else 1)),
        )

    cdef dict facts(self, Attempt attempt):
        """What edge's own answers say of how they came about."""
        target, region, attempts = self.answered_by(attempt)
        return {
            "target": target.decode("latin-1"), "region": region.decode("latin-1"), "attempts": int(attempts),
            "request_id": self.identity.decode(),
        }

    cdef route_service(self):
        cdef Head head = self.head
        cdef bytes forwarded = None
        cdef bytes address
        cdef bytes name
        cdef tuple pair
        cdef Py_ssize_t size
        cdef Py_ssize_t place = -1
        cdef int64_t timeout
        if self.caller is not None and not self.caller.may_call(self.route.name):
            self.refuse("model_not_allowed", f"service:{self.route.name}", None)
            return
        if not plain_path(head.path):
            self.refuse("odd_path", head.path.decode("latin-1"), None)
            return
        self.cell = CELL_WHOLE
        self.body = []
        self.replayable = True
        self.whole_ns = self.began_ns
        self.received = head.length == NO_BODY
        address = address_of(self.stream.peer())
        self.fields = []
        for item in head.fields:
            pair = <tuple>item
            name = <bytes>pair[0]
            size = PyBytes_GET_SIZE(name)
            place += 1
            if place == self.proof:
                continue        # the key is between the caller and edge
            if size == 15 and name == b"x-forwarded-for":
                forwarded = pair[1] if forwarded is None else forwarded + b", " + <bytes>pair[1]
            elif size == 12 and self.grpc and name == b"grpc-timeout":
                timeout = timeout_ns(<bytes>pair[1])
                if timeout < 0:
                    self.refuse("grpc_timeout", (<bytes>pair[1]).decode("latin-1"), None)
                    return
                self.bounded = True
                self.total_ns = self.began_ns + timeout
            elif size == 17 and not self.grpc and name == b"x-request-timeout":
                timeout = parse_seconds(<bytes>pair[1])
                if timeout < 0:
                    self.refuse("request_timeout", (<bytes>pair[1]).decode("latin-1"), None)
                    return
                self.bounded = True
                self.total_ns = self.began_ns + <uint64_t>timeout
            elif not (
                size == 17 and name == b"x-forwarded-proto" or size == 16 and name == b"x-forwarded-host"
                or size == 11 and name == b"traceparent"
            ):
                self.fields.append(pair)
        self.fields.append((b"x-forwarded-for", address if forwarded is None else forwarded + b", " + address))
        self.fields.append(FROM_HTTPS if self.stream.scheme == "https" else FROM_HTTP)
        if head.authority is not None:
            self.fields.append((b"x-forwarded-host", head.authority))
        self.fields.append((b"via", b"2 edge" if head.version == 20 else b"1.1 edge" if head.version == 11 else b"1.0 edge"))
        if head.expects:
            self.fields.append((b"expect", b"100-continue"))
        if self.received and head.upgrade is not None and head.upgrade.lower() == b"websocket" and (
            self.route.pool.target_at(0).plan.protocol == "http1"
        ):
            self.stream.switching = True
            self.fields.append((b"connection", b"upgrade"))
            self.fields.append((b"upgrade", b"websocket"))
        self.begin()

    cdef begin(self):
        """The route is known: from here on the exchange counts, and its deadlines run."""
        cdef RouteRec* rec = self.route.rec
        cdef LaneCore lane = self.lane
        self.identity = lane.next_id()
        self.trail = []
        self.follow()
        if self.caller is not None and not self.enter():
            return
        add64(&rec.count[<int>R_REQUESTS], 1)
        add32(&rec.inflight[lane.worker], 1)
        if self.peek.stream == 1 and self.door != DOOR_SERVICE:
            add64(&rec.count[<int>R_STREAMS], 1)
        lane.active += 1
        lane.wake()
        budget_deposit(rec, self.began_ns, self.route.budget)
        if self.route.total_ns and (not self.bounded or self.began_ns + self.route.total_ns < self.total_ns):
            self.total_ns = self.began_ns + self.route.total_ns
        elif not self.bounded:
            self.total_ns = NEVER
        self.quiet_ns = self.began_ns
        if self.hops is not None and self.route.regions:
            self.mark_loops()
        self.alarm = Alarm.__new__(Alarm)
        self.alarm.exchange = self
        self.choose()

    cdef follow(self):
        """Give the exchange its place in a trace, and decide whether it is recorded."""
        cdef LaneCore lane = self.lane
        cdef uint64_t[3] chance
        cdef bytes caller = None
        cdef bint goes_on
        cdef tuple pair
        for item in self.head.fields:
            pair = <tuple>item
            if PyBytes_GET_SIZE(<bytes>pair[0]) == 11 and <bytes>pair[0] == b"traceparent":
                # said twice it says nothing
                caller = <bytes>pair[1] if caller is None else b""
        chance[0] = lane.random()
        chance[1] = lane.random()
        chance[2] = lane.random()
        goes_on = lane.recorder.begin(&self.trace, caller, self.peer, self.began_ns, chance)
        if self.fields is not None:
            if not goes_on and self.door == DOOR_SERVICE and field_value(self.fields, b"tracestate") is not None:
                # it belongs to a trace that does not go on
                self.fields = [item for item in self.fields if (<tuple>item)[0] != b"tracestate"]
            self.trace_at = len(self.fields)
            self.fields.append(NO_TRACEPARENT)

    cdef bint enter(self):
        """Take what this asks for out of the caller's allowance; False: it has been refused."""
        cdef LaneCore lane = self.lane
        cdef uint64_t now = monotonic_ns()
        cdef uint64_t wait = 0
        # a service costs no tokens and no money: no month is looked at
        cdef uint64_t month = 0 if self.door == DOOR_SERVICE else lane.month
        cdef int bound = self.caller.enter(lane.worker, now, self.prompt_guess + self.output_guess, month, &wait)
        if bound == 0:
            self.entered = True
            return True
        if bound == <int>BOUND_BUDGET:
            wait = lane.month_end_ns - now if lane.month_end_ns > now else 1
        add64(&self.route.rec.count[<int>R_LIMITED], 1)
        self.answer_problem(lane.reply.problem(LIMITED[bound], str((wait + 999_999_999) // 1_000_000_000)))
        return False

    # --- balance -----------------------------------------------------------------------------------------------------
    cdef choose(self):
        """Take the best target now and make one attempt at it."""
        cdef Choice choice
        cdef uint64_t now = monotonic_ns()
        cdef Attempt attempt
        choice.index = -1
        choice.admit = 0
        choice.generation = 0
        choice.full = 0
        self.climbing = False
        if self.attempts == 0 and self.waiter is None and self.route.queue.ahead(self.klass):
            self.wait(now)      # others came first
            return
        self.draw(now, self.tried, &choice)
        if choice.index < 0 and self.tried:
            # every usable target has been tried once: the same one again, after a moment
            self.draw(now, 0, &choice)
        if choice.full and self.waiter is None:
            self.passed_over(&choice)
        if choice.index < 0:
            if choice.full:
                self.wait(now)
            else:
                self.unavailable()
            return
        if self.waiter is not None:
            self.queued_ns = now - self.waiter.since_ns
            self.route.queue.leave(self.waiter, now)
            self.waiter = None
        if self.attempts == 0:
            self.explain(choice.index, now)
        if self.route.pool.spilled(choice.index):
            add64(&self.route.pool.recs[choice.index].count[<int>T_SPILLED], 1)
        self.tried |= (<uint64_t>1) << choice.index
        self.attempts += 1
        if self.latest is not None:
            if self.tries is None:
                self.tries = []
            self.tries.append(self.tell_of(self.latest, self.latest.ended_ns))
        attempt = Attempt.__new__(Attempt)
        attempt.exchange = self
        attempt.index = choice.index
        attempt.admit = choice.admit
        attempt.generation = choice.generation
        attempt.target = self.route.pool.target_at(choice.index)
        attempt.pool = attempt.target.pool
        attempt.charged = attempt.target.allowance is not None
        attempt.began_ns = now
        self.attempt = attempt
        self.latest = attempt
        attempt.begin()
        if not self.over and self.attempt is attempt:
            self.ring(now)

    cdef uint64_t away(self, uint64_t tried, uint64_t now):
        """A bit per member that may not be used: every other region while a target of our own can answer, else those
        where the request has been and those that have just said that they cannot answer it."""
        cdef Route route = self.route
        cdef uint64_t closed = self.loops
        cdef int i
        if route.regions == 0:
            return 0
        for i in range(route.pool.size):
            if not route.regions >> i & 1:
                if route.pool.barred(i, now, tried, self.klass) == 0:
                    return route.regions
            elif route.absent_ns[i] > now:
                closed |= <uint64_t>1 << i
        return closed

    cdef passed_over(self, const Choice* choice):
        """Count the targets that would have come first, had they had a place."""
        cdef int i
        for i in range(self.route.pool.size):
            if choice.full >> i & 1 and (
                choice.index < 0 or self.route.pool.tiers[i] <= self.route.pool.tiers[choice.index]
            ):
                add64(&self.route.pool.recs[i].count[<int>T_FULL], 1)

    cdef draw(self, uint64_t now, uint64_t tried, Choice* choice):
        """The best target whose credential has room for this too; what it will use is taken from there."""
        cdef Target target
        cdef uint64_t wait = 0
        while True:
            self.route.pool.pick(
                now, self.lane.random(), tried, self.cell, self.klass, choice, self.away(tried, now)
            )
            if choice.index < 0:
                return
            target = self.route.pool.target_at(choice.index)
            if target.allowance is None:
                return
            if bounds_take(&target.allowance.bounds, now, self.prompt_guess + self.output_guess, &wait) == 0:
                add64(&target.allowance.bounds.rec.count[<int>A_REQUESTS], 1)
                return
            if choice.admit == <int>ADMIT_TRIAL:
                breaker_return(target.rec, now, choice.generation)
            add64(&target.rec.count[<int>T_EXHAUSTED], 1)
            tried |= (<uint64_t>1) << choice.index

    # --- waiting -----------------------------------------------------------------------------------------------------
    cdef wait(self, uint64_t now):
        """There is no place anywhere: the low class is told so at once, the others wait for one. So is another region:
        it has places to ask for elsewhere and a line of its own, and one request must not stand in two."""
        cdef Queue queue = self.route.queue
        cdef Waiter waiter
        self.whole_ns = 0       # what edge itself takes is not told of an exchange that waits: most of it would be waiting
        cdef Exchange other
        if self.waiter is not None:
            return
        if self.klass != LOW and not self.peer:
            self.waiter = queue.join(self, self.klass, self.lane.worker, now)
            if self.waiter is None:
                waiter = queue.evict(self.klass)
                if waiter is not None:
                    other = <Exchange>waiter.owner
                    other.shed(now)
                    self.waiter = queue.join(self, self.klass, self.lane.worker, now)
        if self.waiter is None:
            self.shed(now)
            return
        self.lane.crowd(self.route)
        self.ring(now)

    cdef shed(self, uint64_t now):
        """Say at once that there is no room, and when to come back."""
        cdef list states = self.target_states(now)
        add64(&self.route.rec.count[<int>R_SHED_HIGH + self.klass], 1)
        self.answer_problem(self.lane.reply.overloaded(self.route.name, self.trail, states, self.come_back_s()))

    cdef int come_back_s(self):
        """Whole seconds, 1 to 10: until as many have left as stand before this one, by what a request takes here."""
        cdef uint64_t done = 0, us = 0, busy = 0
        cdef double seconds = 1.0
        cdef bint down = False
        cdef TargetRec* rec
        cdef int i, code
        for i in range(self.route.pool.size):
            rec = self.route.pool.recs[i]
            done += load64(&rec.count[<int>OK])
            us += load64(&rec.total_sum_us)
            busy += inflight_total(rec, self.route.pool.workers)
            code = self.route.pool.barred(i, monotonic_ns(), 0, self.klass)
            down = down or (not self.route.pool.spilled(i) and code != 0 and code != <int>BARRED_FULL)
        if done and busy:
            seconds = <double>us / 1e6 / <double>done * (self.route.queue.count + 1) / <double>busy
        if self.klass == LOW and down:
            seconds = max(seconds, RAMP_STEP_S)
        seconds = min(max(seconds, 1.0), 10.0)
        # up to twice as long: those who are sent away together must not come back together
        seconds *= 1.0 + <double>(self.lane.random() >> 11) / 9007199254740992.0
        return min(<int>(seconds + 0.5), 10)

    cdef explain(self, int chosen, uint64_t now):
        """Why is it not the best tier that answers?  Empty when it is."""
        cdef int i
        cdef int code
        for i in range(self.route.pool.size):
            if self.route.pool.tiers[i] < self.route.pool.tiers[chosen]:
                code = self.route.pool.barred(i, now, 0, self.klass)
                self.reason = f"{self.route.pool.target_at(i).id}: {self.lane.reply.barred(code)}"
                return

    cdef bint repeatable(self, Attempt attempt, int outcome, uint64_t now):
        """Before the commit point, within attempts and time, and only what may be sent twice."""
        if self.committed or self.attempts >= self.route.attempts or now >= self.total_ns:
            return False
        if self.door != DOOR_SERVICE or not attempt.sent:
            return True
        if not self.replayable:
            return False
        if self.grpc:
            # the transport failed or the server says UNAVAILABLE; and it did not forbid the retry (A6)
            return attempt.pushback != -1 and (
                outcome == <int>FAIL_CONNECT or outcome == <int>FAIL_RESET or outcome == <int>FAIL_STATUS
            )
        return attempt.refused or self.head.method in IDEMPOTENT

    cdef bint may_retry(self, Attempt attempt, int outcome, uint64_t now):
        """Repeatable, and within the retry budget."""
        if not self.repeatable(attempt, outcome, now):
            return False
        if attempt.moved:
            return True
        # Leaving a target whose circuit is open moves load, it does not add any; everything else spends the budget.
        if circuit_state(load64(&attempt.target.rec.circuit)) == <int>OPEN and self.route.pool.size > 1:
            return True
        if outcome >= <int>RATE_LIMITED:
            return True
        if budget_withdraw(self.route.rec, now):
            return True
        add64(&self.route.rec.count[<int>R_BUDGET], 1)
        return False

    cdef failed(self, Attempt attempt, int outcome, str detail, uint64_t rest_ns):
        """An attempt ended without a good answer: elsewhere, again, or an honest end."""
        cdef uint64_t now = monotonic_ns()
        cdef TargetRec* rec = attempt.target.rec
        cdef uint64_t until
        cdef uint64_t known
        if attempt.phase == OVER or self.over:
            return
        self.whole_ns = 0
        if outcome == <int>CLIENT_FAULT:
            # another region has no answer to this: it is left alone for this route, for as long as it says
            self.route.absent_ns[attempt.index] = now + min(rest_ns if rest_ns else ABSENT_NS, ABSENT_MAX_NS)
        self.trail.append((attempt.target.id, OUTCOME_NAMES[outcome], detail))
        attempt.detail = detail
        if outcome == <int>RATE_LIMITED:
            until = now + (rest_ns if rest_ns else REST_NS)
            while True:     # the later deadline wins, whoever else is writing
                known = load64(&rec.rest_until_ns)
                if until <= known or cas64(&rec.rest_until_ns, known, until):
                    break
        elif outcome == <int>REFUSED_CREDENTIAL or (outcome == <int>MISCONFIGURED and self._offered(attempt)):
            store32(&rec.out_reason, outcome)
            store64(&rec.out_until_ns, now + OUT_NS)
        attempt.settle(CANCELLED if attempt.moved else outcome, now, rest_ns)
        if self.committed:
            self.broken(attempt, outcome, detail)
            return
        attempt.leave()
        self.attempt = None
        if not self.may_retry(attempt, outcome, now):
            self.unavailable()
            return
        add64(&self.route.rec.count[<int>R_RETRIES], 1)
        add64(&rec.count[<int>T_RETRIED], 1)
        if attempt.moved:
            self.tried &= ~((<uint64_t>1) << attempt.index)
            self.choose()
            return
        if attempt.pushback > 0:
            self.resume_ns = now + <uint64_t>attempt.pushback * 1_000_000
        elif self.route.pool.size > 1 and self.another(now):
            self.choose()
            return
        else:
            self.resume_ns = now + (BACKOFF_NS << (self.attempts - 1)) * (50 + self.lane.random() % 101) // 100
        self.climbing = True
        self.ring(now)

    def _offered(self, Attempt attempt):
        """Does the target claim to offer this path?  A 404 for what it never offered says nothing about it."""
        offered = attempt.target.plan.capabilities
        return not offered or CAPABILITIES.get(self.door) in offered

    cdef bint another(self, uint64_t now):
        """Is there a usable target that this exchange has not tried?"""
        cdef uint64_t gone = self.tried | self.away(self.tried, now)
        cdef int i
        for i in range(self.route.pool.size):
            if self.route.pool.barred(i, now, gone, self.klass) == 0:
                return True
        return False

    # --- the answer --------------------------------------------------------------------------------------------------
    cdef list trace_fields(self, Attempt attempt):
        target, region, attempts = self.answered_by(attempt)
        cdef list fields = [
            (b"x-edge-request-id", self.identity), (b"x-edge-target", target), (b"x-edge-region", region),
            (b"x-edge-attempts", attempts),
        ]
        if self.trail:
            last = self.trail[len(self.trail) - 1]
            fields.append((b"x-edge-reason", f"{last[0]}: {last[1]}".encode()))
        elif self.reason is not None:
            fields.append((b"x-edge-reason", self.reason.encode()))
        return fields

    cdef commit(self, Attempt attempt, int64_t length):
        """The first byte of a real answer: after this nothing is retried."""
        cdef Head head = attempt.head
        cdef ServerStream stream = self.stream
        cdef list fields
        self.committed = True
        self.content = None     # nothing is sent again from here on
        self.body = None
        self.replayable = False
        attempt.phase = RELAYING
        if attempt.pool.is_region:
            add64(&self.route.rec.count[<int>R_PEER], 1)
        if self.voice != PLAIN:
            if self.voice == CHAT_STREAM:
                self.writer = self.lane.calls.writer(self.facts(attempt))
            fields = [(b"content-type", b"application/grpc")]
            fields.extend(self.trace_fields(attempt))
            stream.send_head(200, fields, UNKNOWN_LENGTH)
        elif not self.early:
            if self.door == DOOR_SERVICE:
                fields = list(head.fields)
            else:
                fields = fields_for(self.caller, head.fields)
                if self.caller is not None:
                    self.caller.tell(fields, attempt.last_ns)
            fields.extend(self.trace_fields(attempt))
            if length == TUNNEL:
                self.tunnel = True
                self.total_ns = NEVER       # a tunnel ends when a side ends, or when both are silent too long
                fields.append((b"upgrade", head.upgrade))
            stream.send_head(head.status, fields, length)
            if length == TUNNEL:
                self.ring(attempt.last_ns)
        if stream.congested():
            self.on_client_congested()

    cdef bytes tell(self, Attempt attempt, bytes content):
        """A whole answer in the caller's language; ValueError when it cannot be told there."""
        return content if self.voice == PLAIN else frame(self.lane.calls.write(content, self.facts(attempt)))

    cdef relay(self, bytes data):
        cdef ServerStream stream = self.stream
        if stream is None:
            return
        if self.voice != CHAT_STREAM:
            stream.send_data(data)
        else:
            try:
                messages = self.writer.push_events(data)
            except ValueError as error:
                self.failed(self.attempt, FAIL_MALFORMED, f"an answer that cannot be told in gRPC: {error}", 0)
                return
            for message in messages:
                stream.send_data(frame(message))

    cdef finish(self, Attempt attempt, list trailers):
        """The answer is complete and sent."""
        cdef ServerStream stream = self.stream
        cdef int status = attempt.head.status
        if self.over:
            return
        attempt.leave()
        self.attempt = None
        if self.attempts > 1 or self.reason is not None:
            add64(&self.route.rec.count[<int>R_FAILOVERS], 1)
        if self.route.pool.spilled(attempt.index):
            add64(&self.route.rec.count[<int>R_SPILLED], 1)
        if self.voice != PLAIN:
            trailers = [(b"grpc-status", b"0")]
            self.code = 0
        else:
            self.code = attempt.code
        self.close(status)
        stream.send_end(trailers)

    cdef answer_fault(self, Attempt attempt, int status, bytes content):
        """The caller's own fault, in the provider's words."""
        if self.early or self.voice != PLAIN:
            attempt.leave()
            self.attempt = None
            self.answer_problem((status, [], content))
            return
        self.commit(attempt, PyBytes_GET_SIZE(content))
        self.relay(content)
        self.finish(attempt, None)

    cdef broken(self, Attempt attempt, int outcome, str detail):
        """Something went wrong after the commit point: an honest end, never a clean-looking one."""
        cdef ServerStream stream = self.stream
        cdef list trailers = None
        add64(&self.route.rec.count[<int>R_BROKEN], 1)
        if self.grpc:
            trailers = self.lane.reply.broken_call(outcome == <int>DEADLINE, detail, attempt.target.id)
            self.code = read_status(field_value(trailers, b"grpc-status"))
        elif attempt.mode == EVENTS and outcome != <int>FAIL_INBAND:
            stream.send_data(self.lane.reply.event("broken", detail, attempt.target.id, self.identity.decode()))
        attempt.leave()
        self.attempt = None
        self.close(0)
        if trailers is not None:
            stream.send_end(trailers)
        else:
            stream.cut()

    cdef unavailable(self):
        """Nothing usable is left: say which targets were tried or rest, why, and until when."""
        cdef uint64_t now = monotonic_ns()
        cdef list states = self.target_states(now)
        cdef uint64_t earliest = self.route.pool.earliest_ns(now)
        wait = 1.0 if earliest <= now or earliest == NEVER else (earliest - now) / 1e9
        if self.route.regions and earliest <= now:      # a region that is well, and not for this request
            wait = min([state[3] for state in states if state[3] > 0], default=1.0)
        add64(&self.route.rec.count[<int>R_UNAVAILABLE], 1)
        if now >= self.total_ns:
            self.answer_problem(self.lane.reply.deadline(self.route.name, self.trail, states, wait))
        else:
            self.answer_problem(
                self.lane.reply.unavailable(self.route.name, self.trail, states, wait, self.door == DOOR_SERVICE)
            )

    cdef list target_states(self, uint64_t now):
        """Every target of the route: why it is not usable, and for how long."""
        cdef list states = []
        cdef int i
        cdef int code
        cdef uint64_t until
        cdef Target target
        for i in range(self.route.pool.size):
            target = self.route.pool.target_at(i)
            code = self.route.pool.barred(i, now, 0, self.klass)
            until = wait_ns(target.rec, code, now)
            if code == <int>BARRED_EXHAUSTED:
                until = bounds_wait(&target.allowance.bounds, now)
            if code == 0 and self.route.regions >> i & 1:
                if self.loops >> i & 1:
                    continue        # for this request it does not exist
                if self.route.absent_ns[i] > now:
                    code = BARRED_RESTING
                    until = self.route.absent_ns[i] - now
            states.append((target.id, code, reason_of(target.rec, code), until / 1e9))
        return states

    cdef answer_problem(self, tuple problem):
        """Send one of our own errors: as an answer, or as an event where the head is out already."""
        cdef ServerStream stream = self.stream
        cdef list fields = <list>problem[1]
        if self.early:
            stream.send_data(self.lane.reply.as_event(problem[2]))
            self.close(problem[0])
            stream.cut()
            return
        if self.identity is not None:
            fields = [*fields, (b"x-edge-request-id", self.identity), (b"x-edge-region", self.lane.region)]
            fields.append((b"x-edge-attempts", b"%d" % self.attempts))
            if self.caller is not None and self.door != DOOR_SERVICE:
                self.caller.tell(fields, monotonic_ns())
        self.answer(problem[0], fields, problem[2])

    cdef answer(self, int status, list fields, bytes content):
        """Send a whole answer of our own. Where the request has not come whole, it is the connection's last."""
        cdef ServerStream stream = self.stream
        if not self.received and self.head.length != NO_BODY:
            stream.ends = True
        if self.grpc:
            # gRPC tells of errors in a trailers-only answer
            fields = self.lane.reply.call_fields(status, fields, content)
            self.code = read_status(field_value(fields, b"grpc-status"))
        self.close(status)
        if self.grpc:
            stream.send_head(200, fields, NO_BODY)
        else:
            stream.send_head(status, fields, PyBytes_GET_SIZE(content))
            stream.send_data(content)
        stream.send_end(None)

    cdef refuse(self, str kind, str detail, list extra):
        # which model or path it was is the client's word: it may be counted, but it may not name a counter
        unrouted = kind == "unknown_path" or kind == "unknown_model"
        strange = kind == "missing_key" or kind == "unknown_key" or kind == "model_not_allowed"
        add64(&self.lane.meter.count[
            <int>W_UNROUTED if unrouted else <int>W_REFUSED_KEYS if strange else <int>W_REFUSED
        ], 1)
        status, fields, content = self.lane.reply.problem(kind, detail)
        if extra is not None:
            fields = [*fields, *extra]
        self.answer(status, fields, content)

    # --- the client --------------------------------------------------------------------------------------------------
    cdef void on_client_gone(self):
        cdef Attempt attempt = self.attempt
        if self.over:
            return
        if attempt is not None:
            attempt.settle(CANCELLED, monotonic_ns())
            attempt.leave()
            self.attempt = None
        if self.route is not None and self.alarm is not None:
            add64(&self.route.rec.count[<int>R_CANCELLED], 1)
        self.close(-1)

    cdef void on_client_congested(self):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream = None if attempt is None else attempt.stream
        if upstream is not None and self.committed:
            attempt.paused = True
            upstream.pause()

    cdef void on_client_drained(self):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream = None if attempt is None else attempt.stream
        if upstream is not None and attempt.paused:
            attempt.paused = False
            attempt.last_ns = monotonic_ns()
            upstream.resume()
            self.ring(attempt.last_ns)

    # --- settle ------------------------------------------------------------------------------------------------------
    cdef close(self, int status):
        """Exactly once per exchange: counters, and every reference that would make a circle."""
        cdef RouteRec* rec
        cdef uint64_t now
        if self.over:
            return
        self.over = True
        if self.waiter is not None:
            now = monotonic_ns()
            self.queued_ns = now - self.waiter.since_ns
            self.route.queue.leave(self.waiter, now)
            self.waiter = None
        if self.entered:
            self.entered = False
            self.caller.leave(
                self.lane.worker, monotonic_ns(), self.prompt_guess + self.output_guess, self.prompt_tokens,
                self.output_tokens, self.cost_nano, self.lane.month, not self.reached,
            )
        if self.alarm is not None:
            now = monotonic_ns()
            rec = self.route.rec
            self.lane.active -= 1
            add32(&rec.inflight[self.lane.worker], -1)
            if status >= 200:
                add64(&rec.count[<int>R_2XX + status // 100 - 2], 1)
            us = (now - self.began_ns) // 1000
            add64(&rec.total_hist[hist_bucket(us)], 1)
            add64(&rec.total_sum_us, us)
            self.lane.fine.disarm(self.alarm)
            self.alarm.exchange = None
            self.alarm = None
            self.consider(status, now)
        elif self.voice != LOCAL and self.door != DOOR_HEALTH and self.door != DOOR_MODELS:
            # refused before it counted
            if self.identity is None:
                self.follow()
            self.consider(status, monotonic_ns())
        self.latest = None
        self.stream = None
        self.body = None
        self.content = None

    # --- the record --------------------------------------------------------------------------------------------------
    cdef consider(self, int status, uint64_t now):
        """Is it to be recorded?  Sampled, or failed, slow or retried and within what may be kept of those."""
        cdef LaneCore lane = self.lane
        cdef Recorder recorder = lane.recorder
        cdef Attempt last = self.latest
        cdef uint64_t first = now if last is None or not last.content_ns else last.content_ns
        cdef int why
        if lane.records is None:
            return
        why = recorder.keep(
            &self.trace, now,
            status >= 500 or status == 0 or (self.code > 0 and FAILED_CODES >> self.code & 1),
            recorder.slow_ns and first - self.began_ns >= recorder.slow_ns,
            self.attempts > 1,
        )
        if why and not recorder.add(self.record(why, status, now)):
            add64(&lane.meter.count[<int>W_UNRECORDED], 1)

    cdef tuple record(self, int why, int status, uint64_t now):
        """What happened, in the order of edge.terms.trace.ExchangeRecord."""
        cdef LaneCore lane = self.lane
        cdef Head head = self.head
        cdef Attempt last = self.latest
        cdef bint routed = self.route is not None
        cdef str model = ""
        cdef str link = ""
        cdef list tries = self.tries
        cdef int64_t first = -1
        cdef bint counted = self.reached and self.door != DOOR_SERVICE
        if tries is None:
            tries = []
        if last is not None:
            tries.append(self.tell_of(last, now if self.committed or not last.ended_ns else last.ended_ns))
            if self.committed:
                first = offset(last.content_ns, self.began_ns)
        if routed and self.door != DOOR_SERVICE:
            model = self.route.name
            if self.wildcard is not None:
                model = model[:-1] + self.wildcard.decode("utf-8", "replace")
        if self.trace.link_span:
            link = trace_hex(self.trace.link_high, self.trace.link_low) + "-" + span_hex(self.trace.link_span)
        return (
            "" if self.identity is None else self.identity.decode(),
            trace_hex(self.trace.high, self.trace.low), span_hex(self.trace.span), span_hex(self.trace.parent), link,
            self.trace.sampled, KEPT_NAMES[why], lane.worker, self.route.name if routed else "",
            "" if not routed else "service" if self.door == DOOR_SERVICE else "model",
            head.method.decode("latin-1"), head.version, "http" if self.stream is None else self.stream.scheme,
            head.path[:PATH_LIMIT].decode("latin-1"),
            CAPABILITIES.get(self.door, ""), self.grpc, model, status, self.code, self.peek.stream == 1,
            "" if self.caller_name is None else self.caller_name.decode("latin-1"),
            "" if self.caller_class is None else self.caller_class.decode("latin-1"),
            wall_ns() - (now - self.began_ns), now - self.began_ns, first,
            self.prompt_tokens if counted else -1, self.output_tokens if counted else -1, self.cost_nano,
            lane.region.decode(), self.hops.count(b",") + 1 if self.peer and self.hops is not None else 0, 0, tries,
        )

    cdef tuple tell_of(self, Attempt attempt, uint64_t end):
        """One attempt, in the order of edge.terms.trace.AttemptRecord."""
        cdef uint64_t began = self.began_ns
        return (
            attempt.target.id, OUTCOME_NAMES[attempt.outcome] if attempt.outcome >= 0 else "",
            "" if attempt.detail is None else attempt.detail, span_hex(attempt.span), attempt.began_ns - began,
            offset(attempt.connected_ns, began), offset(attempt.asked_ns, began), offset(attempt.head_ns, began),
            offset(attempt.content_ns, began), offset(end, began),
            0 if attempt.head is None else attempt.head.status, attempt.code, attempt.pushback, attempt.tripped,
        )

    # --- deadlines ---------------------------------------------------------------------------------------------------
    cdef ring(self, uint64_t now):
        """Set the alarm to the earliest thing that may happen."""
        cdef uint64_t when = self.total_ns
        cdef uint64_t other
        if self.over:
            return
        if self.climbing and self.resume_ns < when:
            when = self.resume_ns
        if self.waiter is not None and self.waiter.until_ns < when:
            when = self.waiter.until_ns
        if self.attempt is not None:
            other = self.attempt.next_deadline()
            if other < when:
                when = other
        if self.peek.stream == 1 and not self.committed and not self.grpc:
            other = self.quiet_ns + self.lane.comment_ns
            if other < when:
                when = other
        self.lane.fine.disarm(self.alarm)
        self.lane.fine.arm(self.alarm, when)

    cdef look(self, uint64_t now):
        cdef Attempt attempt = self.attempt
        if self.over:
            return
        if now >= self.total_ns:
            if attempt is None:
                self.unavailable()
            else:
                self.failed(attempt, DEADLINE, "the total deadline of the exchange", 0)
            return
        if self.climbing and now >= self.resume_ns:
            self.choose()
            return
        if self.waiter is not None and now >= self.waiter.until_ns:
            self.shed(now)
            return
        if attempt is not None and attempt.overdue(now):
            return
        if self.over:
            return
        if self.peek.stream == 1 and not self.committed and not self.grpc and now >= self.quiet_ns + self.lane.comment_ns:
            self.comfort(now)
        self.ring(now)

    cdef comfort(self, uint64_t now):
        """Nothing has come for a while: keep the client's connection alive without committing to an answer."""
        if not self.early:
            self.early = True
            fields = [
                (b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"),
                (b"x-edge-request-id", self.identity), (b"x-edge-region", self.lane.region),
            ]
            if self.caller is not None:
                self.caller.tell(fields, now)
            self.stream.send_head(200, fields, UNKNOWN_LENGTH)
        self.stream.send_data(COMMENT)
        self.quiet_ns = now
        add64(&self.route.rec.count[<int>R_KEEPALIVES], 1)
