from native.balancer cimport CELL_STREAM, CELL_WHOLE, BARRED_OPEN, BARRED_OUT, BARRED_RESTING, BARRED_TRIAL, BASELINE_TAU_MS, Choice, ewma_read
from native.board cimport (
    CANCELLED, CLIENT_FAULT, DEADLINE, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, FAIL_CONNECT, FAIL_INBAND, FAIL_MALFORMED,
    FAIL_STALLED, FAIL_STATUS, FAIL_TRUNCATED, MISCONFIGURED, OK, RATE_LIMITED, REFUSED_CREDENTIAL, R_2XX, R_BROKEN,
    R_BUDGET, R_CANCELLED, R_FAILOVERS, R_KEEPALIVES, R_REQUESTS, R_RETRIES, R_STREAMS, R_UNAVAILABLE, T_ATTEMPTS,
    T_RETRIED, W_REQUESTS, W_UNROUTED, RouteRec, TargetRec, add32, add64, cas64, hist_bucket, load64, store32,
    store64,
)
from native.breaker cimport (
    ADMIT_TRIAL, OPEN, Policy, breaker_report, breaker_return, breaker_slow, circuit_state, circuit_until_ns,
)
from native.budget cimport budget_deposit, budget_withdraw
from native.clock cimport monotonic_ns
from native.headers cimport plain_path
from native.peek cimport PEEK_OK, Verdict, peek_answer, peek_request, escape_json, splice, unescape_json
from native.router cimport (
    DOOR_CHAT, DOOR_COMPLETIONS, DOOR_EMBEDDINGS, DOOR_HEALTH, DOOR_MODELS, DOOR_RESPONSES, DOOR_SERVICE, DOOR_UNKNOWN,
)
from native.sse cimport (
    SAID_CONTENT, SAID_DONE, SAID_ERROR, SAID_ERROR_FIRST, SAID_FINISH, SAID_GARBAGE,
)
from native.stream cimport NO_BODY, UNKNOWN_LENGTH

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from native.board import Outcome

cdef enum Action:           # edge/terms/actions.py
    RELAY = 0
    CLIENT = 1
    FAIL = 2
    REST = 3
    OUT = 4
    MISSING = 5

cdef uint64_t NEVER = <uint64_t>-1
# A 429 without a hint, and the longest hint believed.
cdef uint64_t REST_NS = 2_000_000_000
cdef uint64_t REST_MAX_NS = 300_000_000_000
# A refused credential or a missing model is a matter for people; it is looked at again this often.
cdef uint64_t OUT_NS = 60_000_000_000
# The same target again, when no other is left: first wait, doubled by each attempt, jittered by a half.
cdef uint64_t BACKOFF_NS = 50_000_000
# Start events before the first content: more than this is no preamble any more, and is committed.
cdef Py_ssize_t PREAMBLE_LIMIT = 262144
# An error's body is read up to here before it is judged.
cdef Py_ssize_t FAULT_LIMIT = 65536
# A half-open trial must not cost the one client that makes it a whole deadline: it may take three times what the target
# used to take, and no less than this.
cdef uint64_t TRIAL_FLOOR_NS = 2_000_000_000

cdef frozenset IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
# What a client says to edge and no provider may hear. Credentials go last, from the target.
cdef frozenset WITHHELD = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"forwarded", b"via", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"accept-encoding", b"baggage", b"tracestate", b"origin",
    b"referer", b"openai-organization", b"openai-project",
))
cdef frozenset ANSWER_WITHHELD = frozenset((b"set-cookie", b"alt-svc", b"strict-transport-security"))
cdef dict CAPABILITIES = {
    <int>DOOR_CHAT: "chat", <int>DOOR_COMPLETIONS: "completions", <int>DOOR_EMBEDDINGS: "embeddings",
    <int>DOOR_RESPONSES: "responses",
}
cdef tuple OUTCOME_NAMES = tuple(Outcome(i).name.lower() for i in range(16))
cdef bytes COMMENT = b": edge is waiting for an answer\n\n"


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


cdef class Alarm(Timer):
    cdef void fire(self, uint64_t now_ns):
        cdef Exchange exchange = self.exchange      # kept alive: looking may end it
        if exchange is not None:
            exchange.look(now_ns)


cdef class Exchange(ServerEvents):
    # --- admission and routing ---------------------------------------------------------------------------------------
    cdef admit(self):
        cdef LaneCore lane = self.lane
        cdef Head head = self.head
        cdef Route route = None
        self.door = lane.router.door(head.path)
        if lane.router.hosts and (self.door == DOOR_UNKNOWN or head.host in lane.router.hosts):
            route = lane.router.service(head.host, head.path)
        if route is not None:
            self.door = DOOR_SERVICE
            self.route = route
            self.route_service()
            return
        if self.door == DOOR_UNKNOWN:
            add64(&lane.meter.count[<int>W_UNROUTED], 1)
            self.refuse("unknown_path", head.path.decode("latin-1"), None)
        elif self.door == DOOR_MODELS or self.door == DOOR_HEALTH:
            if head.method != b"GET" and head.method != b"HEAD":
                self.refuse("method", head.method.decode("latin-1"), [(b"allow", b"GET, HEAD")])
                return
            status, fields, content = lane.local(self.door, head.method, head.path, lane.router.snapshot)
            self.answer(status, list(fields), content)
        elif head.method != b"POST":
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
        if self.over:
            return
        self.body_size += PyBytes_GET_SIZE(data)
        if self.door != DOOR_SERVICE:
            if self.body_size > self.lane.body_limit:
                self.body = None
                self.refuse("body_too_large", str(self.lane.body_limit), None)
            else:
                self.body.append(data)
            return
        if attempt is not None and attempt.sent:
            if self.replayable:
                if self.body_size > self.lane.replay_limit:
                    self.replayable = False
                    self.body = None
                else:
                    self.body.append(data)
            if attempt.stream is not None:
                attempt.stream.send_data(data)
        else:
            self.body.append(data)
            if self.body_size > self.lane.replay_limit:
                self.stream.pause()

    cdef void on_request_end(self, list trailers):
        if self.over or self.received:
            return
        self.received = True
        if self.door == DOOR_SERVICE:
            if self.attempt is not None and self.attempt.sent:
                self.attempt.asked()
                if self.attempt.stream is not None:
                    self.attempt.stream.send_end(trailers)
                self.ring(self.attempt.asked_ns)
        else:
            self.route_model()

    cdef route_model(self):
        """Read what the body asks for, without parsing it, and find the pool that can answer."""
        cdef LaneCore lane = self.lane
        cdef bytes name
        self.content = <bytes>self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body = None
        if peek_request(PyBytes_AS_STRING(self.content), PyBytes_GET_SIZE(self.content), &self.peek) != <int>PEEK_OK:
            self.refuse("malformed_json", f"{self.peek.error}:{self.peek.error_at}", None)
            return
        if self.peek.model_start < 0:
            self.refuse("model_missing", "", None)
            return
        name = self.content[self.peek.model_start:self.peek.model_end]
        if self.peek.model_escaped:
            name = unescape_json(name)
        self.route = None if name is None else lane.router.model(name)
        if self.route is None:
            self.refuse("unknown_model", "?" if name is None else name.decode("utf-8", "replace"), None)
            return
        self.wildcard = lane.router.wildcard_model(name)
        self.cell = CELL_STREAM if self.peek.stream == 1 else CELL_WHOLE
        self.fields = [pair for pair in self.head.fields if pair[0] not in WITHHELD]
        self.start()

    cdef route_service(self):
        cdef Head head = self.head
        if not plain_path(head.path):
            self.refuse("odd_path", head.path.decode("latin-1"), None)
            return
        self.cell = CELL_WHOLE
        self.body = []
        self.replayable = True
        self.received = head.length == NO_BODY
        peer = self.stream.peer()
        address = b"unknown" if not isinstance(peer, tuple) else str(peer[0]).encode()
        self.fields = []
        for name, value in head.fields:
            if name == b"x-forwarded-for":
                address = value + b", " + address
            elif name != b"x-forwarded-proto" and name != b"x-forwarded-host":
                self.fields.append((name, value))
        self.fields.append((b"x-forwarded-for", address))
        self.fields.append((b"x-forwarded-proto", self.stream.scheme.encode()))
        if head.authority is not None:
            self.fields.append((b"x-forwarded-host", head.authority))
        self.fields.append((b"via", b"1.1 edge" if head.version == 11 else b"1.0 edge"))
        if head.expects:
            self.fields.append((b"expect", b"100-continue"))
        self.start()

    def start(self):
        """The route is known: from here on the exchange counts, and its deadlines run."""
        cdef RouteRec* rec = self.route.rec
        cdef LaneCore lane = self.lane
        self.identity = lane.next_id()
        self.trail = []
        add64(&rec.count[<int>R_REQUESTS], 1)
        add32(&rec.inflight[lane.worker], 1)
        if self.peek.stream == 1 and self.door != DOOR_SERVICE:
            add64(&rec.count[<int>R_STREAMS], 1)
        lane.active += 1
        lane.wake()
        budget_deposit(rec, self.began_ns, self.route.budget)
        self.total_ns = self.began_ns + self.route.total_ns
        self.quiet_ns = self.began_ns
        self.alarm = Alarm.__new__(Alarm)
        self.alarm.exchange = self
        self.choose()

    # --- balance -----------------------------------------------------------------------------------------------------
    cdef choose(self):
        """Take the best target now and make one attempt at it."""
        cdef Choice choice
        cdef LaneCore lane = self.lane
        cdef uint64_t now = monotonic_ns()
        cdef Attempt attempt
        choice.index = -1
        choice.admit = 0
        choice.generation = 0
        self.climbing = False
        self.route.pool.pick(now, lane.random(), self.tried, self.cell, &choice)
        if choice.index < 0 and self.tried:
            # every usable target has been tried once: the same one again, after a moment
            self.route.pool.pick(now, lane.random(), 0, self.cell, &choice)
        if choice.index < 0:
            self.unavailable()
            return
        if self.attempts == 0:
            self._explain(choice.index, now)
        self.tried |= (<uint64_t>1) << choice.index
        self.attempts += 1
        attempt = Attempt.__new__(Attempt)
        attempt.exchange = self
        attempt.index = choice.index
        attempt.admit = choice.admit
        attempt.generation = choice.generation
        attempt.target = self.route.pool.target_at(choice.index)
        attempt.pool = attempt.target.pool
        attempt.began_ns = now
        self.attempt = attempt
        attempt.begin()
        if not self.over and self.attempt is attempt:
            self.ring(now)

    def _explain(self, int chosen, uint64_t now):
        """Why is it not the best tier that answers?  Empty when it is."""
        cdef int i
        cdef int code
        for i in range(self.route.pool.size):
            if self.route.pool.tiers[i] < self.route.pool.tiers[chosen]:
                code = self.route.pool.barred(i, now, 0)
                self.reason = f"{self.route.pool.target_at(i).id}: {self.lane.reply.barred(code)}"
                return

    cdef bint repeatable(self, Attempt attempt, uint64_t now):
        """Before the commit point, within attempts and time, and only what may be sent twice."""
        if self.committed or self.attempts >= self.route.attempts or now >= self.total_ns:
            return False
        return self.door != DOOR_SERVICE or not attempt.sent or (self.replayable and self.head.method in IDEMPOTENT)

    cdef bint may_retry(self, Attempt attempt, int outcome, uint64_t now):
        """Repeatable, and within the retry budget."""
        if not self.repeatable(attempt, now):
            return False
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
        self.trail.append((attempt.target.id, OUTCOME_NAMES[outcome], detail))
        if outcome == <int>RATE_LIMITED:
            until = now + (rest_ns if rest_ns else REST_NS)
            while True:     # the later deadline wins, whoever else is writing
                known = load64(&rec.rest_until_ns)
                if until <= known or cas64(&rec.rest_until_ns, known, until):
                    break
        elif outcome == <int>REFUSED_CREDENTIAL or (outcome == <int>MISCONFIGURED and self._offered(attempt)):
            store32(&rec.out_reason, outcome)
            store64(&rec.out_until_ns, now + OUT_NS)
        attempt.settle(outcome, now, rest_ns)
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
        if self.route.pool.size > 1 and self._another(now):
            self.choose()
            return
        self.climbing = True
        self.resume_ns = now + (BACKOFF_NS << (self.attempts - 1)) * (50 + self.lane.random() % 101) // 100
        self.ring(now)

    def _offered(self, Attempt attempt):
        """Does the target claim to offer this path?  A 404 for what it never offered says nothing about it."""
        offered = attempt.target.plan.capabilities
        return not offered or CAPABILITIES.get(self.door) in offered

    def _another(self, uint64_t now):
        """Is there a usable target that this exchange has not tried?"""
        cdef int i
        for i in range(self.route.pool.size):
            if self.route.pool.barred(i, now, self.tried) == 0:
                return True
        return False

    # --- the answer --------------------------------------------------------------------------------------------------
    cdef list trace_fields(self, Attempt attempt):
        cdef list fields = [
            (b"x-edge-request-id", self.identity),
            (b"x-edge-target", attempt.target.id.encode()),
            (b"x-edge-region", self.lane.region),
            (b"x-edge-attempts", b"%d" % self.attempts),
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
        cdef list fields
        self.committed = True
        attempt.phase = RELAYING
        if not self.early:
            if self.door == DOOR_SERVICE:
                fields = list(head.fields)
            else:
                fields = [pair for pair in head.fields if pair[0] not in ANSWER_WITHHELD]
            fields.extend(self.trace_fields(attempt))
            self.stream.send_head(head.status, fields, length)
        if self.stream is not None and self.stream.congested():
            self.on_client_congested()

    cdef finish(self, Attempt attempt):
        """The answer is complete and sent."""
        cdef int status = attempt.head.status
        attempt.leave()
        self.attempt = None
        if self.attempts > 1 or self.reason is not None:
            add64(&self.route.rec.count[<int>R_FAILOVERS], 1)
        stream = self.stream
        self.close(status)
        (<ServerStream>stream).send_end(None)

    cdef broken(self, Attempt attempt, int outcome, str detail):
        """Something went wrong after the commit point: an honest end, never a clean-looking one."""
        cdef ServerStream stream = self.stream
        add64(&self.route.rec.count[<int>R_BROKEN], 1)
        if attempt.mode == EVENTS and outcome != <int>FAIL_INBAND:
            stream.send_data(self.lane.reply.event("broken", detail, attempt.target.id, self.identity.decode()))
        attempt.leave()
        self.attempt = None
        self.close(0)
        stream.cut()

    cdef unavailable(self):
        """Nothing usable is left: say which targets were tried or rest, why, and until when."""
        cdef uint64_t now = monotonic_ns()
        cdef list states = []
        cdef int i
        cdef int code
        cdef uint64_t earliest = self.route.pool.earliest_ns(now)
        cdef Target target
        for i in range(self.route.pool.size):
            target = self.route.pool.target_at(i)
            code = self.route.pool.barred(i, now, 0)
            states.append((target.id, code, wait_ns(target.rec, code, now) / 1e9))
        wait = 1.0 if earliest <= now or earliest == NEVER else (earliest - now) / 1e9
        add64(&self.route.rec.count[<int>R_UNAVAILABLE], 1)
        if now >= self.total_ns:
            self.answer_problem(self.lane.reply.deadline(self.route.name, self.trail, states, wait))
        else:
            self.answer_problem(
                self.lane.reply.unavailable(self.route.name, self.trail, states, wait, self.door == DOOR_SERVICE)
            )

    def answer_problem(self, problem):
        """Send one of our own errors: as an answer, or as an event where the head is out already."""
        cdef ServerStream stream = self.stream
        status, fields, content = problem
        if self.early:
            stream.send_data(self.lane.reply.as_event(content))
            self.close(status)
            stream.cut()
            return
        if self.identity is not None:
            fields = [*fields, (b"x-edge-request-id", self.identity), (b"x-edge-region", self.lane.region)]
            fields.append((b"x-edge-attempts", b"%d" % self.attempts))
        self.answer(status, fields, content)

    def answer(self, int status, list fields, bytes content):
        """Send a whole answer of our own. Where the request has not come whole, it is the connection's last."""
        cdef ServerStream stream = self.stream
        if not self.received and self.head.length != NO_BODY:
            stream.ends = True
        self.close(status)
        stream.send_head(status, fields, len(content))
        stream.send_data(content)
        stream.send_end(None)

    cdef refuse(self, str kind, str detail, list extra):
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
        if self.attempt is not None and self.committed and self.attempt.stream is not None:
            self.attempt.paused = True
            self.attempt.stream.pause()

    cdef void on_client_drained(self):
        if self.attempt is not None and self.attempt.paused and self.attempt.stream is not None:
            self.attempt.paused = False
            self.attempt.last_ns = monotonic_ns()
            self.attempt.stream.resume()

    # --- settle ------------------------------------------------------------------------------------------------------
    cdef close(self, int status):
        """Exactly once per exchange: counters, and every reference that would make a circle."""
        cdef RouteRec* rec
        if self.over:
            return
        self.over = True
        if self.alarm is not None:
            rec = self.route.rec
            self.lane.active -= 1
            add32(&rec.inflight[self.lane.worker], -1)
            if status >= 200:
                add64(&rec.count[<int>R_2XX + status // 100 - 2], 1)
            us = (monotonic_ns() - self.began_ns) // 1000
            add64(&rec.total_hist[hist_bucket(us)], 1)
            add64(&rec.total_sum_us, us)
            self.lane.fine.disarm(self.alarm)
            self.alarm.exchange = None
            self.alarm = None
        self.stream = None
        self.body = None
        self.content = None

    # --- deadlines ---------------------------------------------------------------------------------------------------
    cdef ring(self, uint64_t now):
        """Set the alarm to the earliest thing that may happen."""
        cdef uint64_t when = self.total_ns
        cdef uint64_t other
        if self.climbing and self.resume_ns < when:
            when = self.resume_ns
        if self.attempt is not None:
            other = self.attempt.next_deadline()
            if other < when:
                when = other
        if self.peek.stream == 1 and not self.committed:
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
        if attempt is not None and attempt.overdue(now):
            return
        if self.over:
            return
        if self.peek.stream == 1 and not self.committed and now >= self.quiet_ns + self.lane.comment_ns:
            self.comfort(now)
        self.ring(now)

    def comfort(self, uint64_t now):
        """Nothing has come for a while: keep the client's connection alive without committing to an answer."""
        if not self.early:
            self.early = True
            self.stream.send_head(200, [
                (b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"),
                (b"x-edge-request-id", self.identity), (b"x-edge-region", self.lane.region),
            ], UNKNOWN_LENGTH)
        self.stream.send_data(COMMENT)
        self.quiet_ns = now
        add64(&self.route.rec.count[<int>R_KEEPALIVES], 1)


cdef class Attempt(ClientEvents):
    # --- upstream ----------------------------------------------------------------------------------------------------
    cdef begin(self):
        cdef Exchange exchange = self.exchange
        self.phase = CONNECTING
        self.counted = True
        add32(&self.target.rec.inflight[exchange.lane.worker], 1)
        add64(&self.target.rec.count[<int>T_ATTEMPTS], 1)
        if self.pool.acquire(self) < 0:
            exchange.failed(self, CANCELLED, "every connection to it is in use", 0)

    cdef void on_connection(self, ClientStream stream):
        cdef Exchange exchange = self.exchange
        cdef Head head
        cdef Peek* peek
        cdef bytes model
        cdef bytes body
        cdef list fields
        self.stream = stream
        if self.phase == OVER:
            stream.cancel()
            return
        self.phase = ASKING
        self.sent = True
        head = exchange.head
        fields = exchange.fields + self.pool.fields if self.pool.fields else exchange.fields
        if exchange.door == DOOR_SERVICE:
            stream.send_request(
                head.method, self.pool.base_path + head.target if self.pool.base_path else head.target,
                head.authority if head.authority is not None else self.pool.authority, fields, head.length,
            )
            self.push_body()
            return
        peek = &exchange.peek
        body = exchange.content
        model = exchange.wildcard if exchange.wildcard is not None else self.pool.model
        body = splice(body, peek.model_start, peek.model_end, escape_json(model))
        # /v1/chat/completions -> {base_path}/chat/completions
        stream.send_request(
            b"POST", self.pool.base_path + head.target[3:], self.pool.authority, fields, PyBytes_GET_SIZE(body)
        )
        stream.send_data(body)
        self.asked()
        stream.send_end(None)

    cdef push_body(self):
        """Send what has come of a service's request so far; the rest follows as it comes."""
        cdef Exchange exchange = self.exchange
        for data in exchange.body:
            self.stream.send_data(<bytes>data)
        if not exchange.received:
            self.stream.send_data(b"")      # the rest of the body may take its time: the head goes now
        if exchange.body_size > exchange.lane.replay_limit:
            exchange.replayable = False
            exchange.body = None
        if exchange.received:
            self.asked()
            self.stream.send_end(None)
        elif self.stream.congested():
            exchange.stream.pause()
        else:
            exchange.stream.resume()

    cdef asked(self):
        """The request is sent whole: from now on the target owes an answer."""
        self.body_done = True
        self.asked_ns = monotonic_ns()

    cdef void on_upstream_congested(self):
        if self.exchange is not None and not self.body_done and self.exchange.stream is not None:
            self.exchange.stream.pause()

    cdef void on_upstream_drained(self):
        if self.exchange is not None and not self.body_done and self.exchange.stream is not None:
            self.exchange.stream.resume()

    cdef void on_interim(self, int status):
        if self.phase == ASKING and status == 100 and self.exchange.door == DOOR_SERVICE and self.exchange.head.expects:
            self.exchange.stream.send_interim(100)

    cdef void on_head(self, Head head):
        cdef Exchange exchange = self.exchange
        cdef uint64_t now = monotonic_ns()
        cdef int action
        if self.phase != ASKING:
            return
        self.phase = ANSWERING
        self.head = head
        self.head_ns = now
        self.last_ns = now
        self.held = []
        action = <unsigned char>PyBytes_AS_STRING(self.pool.verdicts)[head.status]
        if exchange.door == DOOR_SERVICE:
            if action == FAIL:
                if exchange.repeatable(self, now) and exchange._another(now):
                    exchange.failed(self, FAIL_STATUS, f"status {head.status}", 0)
                    return
                self.settle(FAIL_STATUS, now)
            self.mode = RAW
            self.content_ns = now
            exchange.commit(self, head.length)
        elif action != RELAY:
            self.mode = FAULT
            if head.length == NO_BODY:
                return
            if action != CLIENT and not self._hinted(head.status):
                self.answer_fault()
        elif head.content_encoding is not None and head.content_encoding != b"identity":
            # what cannot be read cannot be checked: relayed as it comes
            if exchange.early:
                exchange.failed(self, FAIL_MALFORMED, "a compressed answer where a stream had begun", 0)
                return
            self.mode = RAW
            self.content_ns = now
            exchange.commit(self, head.length)
        elif head.content_type is not None and head.content_type.lower().startswith(b"text/event-stream"):
            self.mode = EVENTS
            self.scanner = Scanner()
            exchange.ring(now)
        else:
            self.mode = HOLD

    def _hinted(self, int status):
        for hint in self.pool.hints:
            if hint[0] == status:
                return True
        return False

    cdef void on_data(self, bytes data):
        cdef Exchange exchange = self.exchange
        if self.phase == OVER:
            return
        self.last_ns = monotonic_ns()
        if self.mode == RAW:
            exchange.stream.send_data(data)
            return
        if self.mode == EVENTS:
            self.answer_events(data)
            return
        self.held.append(data)
        self.held_size += PyBytes_GET_SIZE(data)
        if self.mode == FAULT:
            if self.held_size > FAULT_LIMIT:
                self.answer_fault()
        elif self.held_size > exchange.lane.answer_limit and not exchange.early:
            # larger than edge holds: it goes on unchecked rather than not at all
            self.mode = RAW
            self.content_ns = self.last_ns
            exchange.commit(self, self.head.length)
            for part in self.held:
                exchange.stream.send_data(<bytes>part)
            self.held = None

    cdef answer_events(self, bytes data):
        cdef Exchange exchange = self.exchange
        cdef Scanner scanner = self.scanner
        cdef bytes whole = scanner.feed(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
        if exchange.committed:
            if scanner.fresh & <int>SAID_ERROR:
                self._pass_error(whole, scanner.error_end)
            elif whole:
                exchange.stream.send_data(whole)
            return
        if whole:
            self.held.append(whole)
            self.held_size += PyBytes_GET_SIZE(whole)
        if scanner.said & <int>SAID_ERROR_FIRST:
            exchange.failed(self, FAIL_INBAND, "an error event before any content", 0)
            return
        if scanner.said & <int>SAID_GARBAGE and not scanner.said & <int>SAID_CONTENT:
            exchange.failed(self, FAIL_MALFORMED, "an event stream whose data is not JSON", 0)
            return
        if scanner.said & (<int>SAID_CONTENT | <int>SAID_DONE | <int>SAID_FINISH) or self.held_size > PREAMBLE_LIMIT:
            self.content_ns = self.last_ns
            self._proven(self.last_ns)
            exchange.commit(self, UNKNOWN_LENGTH)
            whole = <bytes>self.held[0] if len(self.held) == 1 else b"".join(self.held)
            self.held = None
            if scanner.fresh & <int>SAID_ERROR:
                self._pass_error(whole, self.held_size - size + scanner.error_end)
                return
            exchange.stream.send_data(whole)
            exchange.ring(self.last_ns)

    def _pass_error(self, bytes whole, Py_ssize_t end):
        """The upstream says in its stream that it failed: its words go on up to there, nothing after them does."""
        cdef Exchange exchange = self.exchange
        exchange.stream.send_data(whole[:end] if end >= 0 else whole)
        exchange.failed(self, FAIL_INBAND, "an error event in the middle of the stream", 0)

    def _proven(self, uint64_t now):
        """First content: the half-open trial has succeeded, whatever the length of the rest."""
        if self.admit == <int>ADMIT_TRIAL:
            breaker_report(
                self.target.rec, &self.exchange.route.pool.policy, now, self.generation, False, True, -1, 0,
                self.exchange.lane.random(),
            )
            self.admit = 1

    cdef answer_fault(self):
        """An error status with its body (or the first part of it): whose fault is it?"""
        cdef Exchange exchange = self.exchange
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
            if exchange.early:
                exchange.answer_problem((status, [], content))
                return
            exchange.commit(self, PyBytes_GET_SIZE(content))
            exchange.stream.send_data(content)
            exchange.finish(self)
            return
        if action == REST or action == FAIL:
            seconds = exchange.lane.rest(self.head.fields)
            if seconds is not None:
                rest_ns = min(<uint64_t>(max(seconds, 0.0) * 1e9), REST_MAX_NS)
        if action == REST:
            exchange.failed(self, RATE_LIMITED, f"status {status}", rest_ns)
        elif action == OUT:
            exchange.failed(self, REFUSED_CREDENTIAL, f"status {status}", 0)
        elif action == MISSING:
            exchange.failed(self, MISCONFIGURED, f"status {status}", 0)
        else:
            exchange.failed(self, FAIL_STATUS, f"status {status}", rest_ns)

    cdef void on_end(self, list trailers):
        cdef Exchange exchange = self.exchange
        cdef bytes content
        cdef bytes rest
        cdef Verdict verdict
        cdef uint64_t now
        if self.phase == OVER:
            return
        self.stream = None
        now = monotonic_ns()
        if self.mode == RAW:
            self.settle(OK, now)
            exchange.finish(self)
        elif self.mode == FAULT:
            self.answer_fault()
        elif self.mode == EVENTS:
            if not exchange.committed:
                exchange.failed(self, FAIL_TRUNCATED, "the stream ended before any content", 0)
            elif not self.scanner.said & (<int>SAID_DONE | <int>SAID_FINISH):
                exchange.failed(self, FAIL_TRUNCATED, "the stream ended before it was complete", 0)
            else:
                rest = self.scanner.rest()
                if rest:
                    exchange.stream.send_data(rest)
                self.settle(OK, now)
                exchange.finish(self)
        else:
            content = b"".join(self.held)
            peek_answer(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), &verdict)
            if not verdict.valid or not verdict.is_object:
                exchange.failed(self, FAIL_MALFORMED, "an answer that is not a JSON object", 0)
            elif verdict.has_error:
                exchange.failed(self, FAIL_INBAND, "an error under a success status", 0)
            elif exchange.early:
                exchange.failed(self, FAIL_MALFORMED, "a whole answer where a stream had begun", 0)
            else:
                self.content_ns = self.head_ns
                self.settle(OK, now)
                exchange.commit(self, PyBytes_GET_SIZE(content))
                exchange.stream.send_data(content)
                exchange.finish(self)

    cdef void on_failed(self, int outcome, str detail):
        if self.phase == OVER:
            return
        self.stream = None
        if (
            outcome == <int>FAIL_TRUNCATED and self.mode == EVENTS and self.exchange.committed
            and self.scanner.said & <int>SAID_DONE
        ):
            # everything was said; only the framing's end is missing, and that was for us
            self.settle(OK, monotonic_ns())
            self.exchange.finish(self)
            return
        self.exchange.failed(self, outcome, detail, 0)

    # --- settle ------------------------------------------------------------------------------------------------------
    cdef settle(self, int outcome, uint64_t now, uint64_t rest_ns=0):
        """Exactly once per attempt: what the target is to be remembered for."""
        cdef Exchange exchange = self.exchange
        cdef TargetRec* rec = self.target.rec
        cdef const Policy* policy = &exchange.route.pool.policy
        cdef bint trial = self.admit == <int>ADMIT_TRIAL
        cdef uint64_t took
        cdef uint64_t us
        if self.settled:
            return
        self.settled = True
        add64(&rec.count[outcome], 1)
        if outcome == <int>CANCELLED or outcome == <int>CLIENT_FAULT:
            if trial:
                if outcome == <int>CLIENT_FAULT:
                    self._proven(now)       # it answered, and rightly
                else:
                    breaker_return(rec, now, self.generation)
            return
        if outcome == <int>OK:
            # an answer may begin before an upload is whole: then it is measured from the start
            us = self.asked_ns if self.asked_ns and self.asked_ns < self.content_ns else self.began_ns
            took = self.content_ns - us
            self.target.observe(exchange.cell, now, took, False)
            us = took // 1000
            add64(&rec.first_hist[hist_bucket(us)], 1)
            add64(&rec.first_sum_us, us)
            add64(&exchange.route.rec.first_hist[hist_bucket((self.content_ns - exchange.began_ns) // 1000)], 1)
            add64(&exchange.route.rec.first_sum_us, (self.content_ns - exchange.began_ns) // 1000)
            us = (now - self.began_ns) // 1000
            add64(&rec.total_hist[hist_bucket(us)], 1)
            add64(&rec.total_sum_us, us)
            if took > policy.slow_after_ns:
                self._note_slow(now)
            breaker_report(rec, policy, now, self.generation, False, trial, -1, 0, exchange.lane.random())
            return
        self.target.observe(exchange.cell, now, now - self.began_ns, True)
        if outcome == <int>DEADLINE:
            self._note_slow(now)
            if trial:
                breaker_return(rec, now, self.generation)
        elif outcome == <int>RATE_LIMITED or outcome == <int>REFUSED_CREDENTIAL or outcome == <int>MISCONFIGURED:
            if trial:
                breaker_report(rec, policy, now, self.generation, True, True, -1, rest_ns, exchange.lane.random())
        else:
            breaker_report(rec, policy, now, self.generation, True, trial, -1, rest_ns, exchange.lane.random())

    def _note_slow(self, uint64_t now):
        if self.slow:
            return
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
        self.stream = None
        if stream is not None:
            if self.phase == ANSWERING and self.mode == FAULT:
                stream.discard()
            else:
                stream.cancel()
        self.phase = OVER
        self.held = None

    # --- deadlines ---------------------------------------------------------------------------------------------------
    cdef uint64_t next_deadline(self) noexcept:
        cdef Route route = self.exchange.route
        cdef uint64_t when = NEVER
        cdef uint64_t other
        if self.phase == CONNECTING:
            when = self.began_ns + route.connect_ns
        elif self.phase == ASKING:
            if self.body_done:
                when = self.asked_ns + self.patience(route.first_byte_ns)
        elif self.phase == ANSWERING:
            if self.mode == EVENTS:
                when = self.began_ns + self.patience(route.first_token_ns)
            else:
                when = self.last_ns + route.between_tokens_ns
        elif self.phase == RELAYING:
            when = self.last_ns + route.between_tokens_ns
        if not self.slow and not self.content_ns and self.body_done:
            other = self.asked_ns + self.exchange.route.pool.policy.slow_after_ns
            if other < when:
                when = other
        return when

    cdef uint64_t patience(self, uint64_t deadline_ns) noexcept:
        """A trial gets three times what the target used to need, not the whole deadline of the client that makes it."""
        cdef double usual
        cdef uint64_t limit
        if self.admit != <int>ADMIT_TRIAL or self.exchange.route.pool.size < 2:
            return deadline_ns
        usual = ewma_read(&self.target.rec.baseline[self.exchange.cell], self.began_ns, <uint64_t>BASELINE_TAU_MS * 1000000)
        limit = <uint64_t>(usual * 3e6)
        if limit < TRIAL_FLOOR_NS:
            limit = TRIAL_FLOOR_NS
        return limit if limit < deadline_ns else deadline_ns

    cdef bint overdue(self, uint64_t now):
        """Judge the attempt against its deadlines; True when it has been ended."""
        cdef Exchange exchange = self.exchange
        cdef Route route = exchange.route
        if self.phase == CONNECTING:
            if now >= self.began_ns + route.connect_ns:
                exchange.failed(self, FAIL_CONNECT, "no connection within the connect deadline", 0)
                return True
        elif self.phase == ASKING:
            if self.body_done and now >= self.asked_ns + self.patience(route.first_byte_ns):
                exchange.failed(self, FAIL_FIRST_BYTE, "no answer within the first-byte deadline", 0)
                return True
        elif self.phase == ANSWERING and self.mode == EVENTS:
            if now >= self.began_ns + self.patience(route.first_token_ns):
                exchange.failed(self, FAIL_FIRST_TOKEN, "no content within the first-token deadline", 0)
                return True
        elif self.phase == ANSWERING or self.phase == RELAYING:
            if not self.paused and now >= self.last_ns + route.between_tokens_ns:
                exchange.failed(self, FAIL_STALLED, "the answer stopped coming", 0)
                return True
        if not self.slow and not self.content_ns and self.body_done and now >= self.asked_ns + route.pool.policy.slow_after_ns:
            self._note_slow(now)
        return False
