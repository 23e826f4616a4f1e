from native.state.allowance cimport bounds_wait
from native.balance.balancer cimport (
    BARRED_EXHAUSTED, BARRED_OPEN, BARRED_QUARANTINED, BARRED_RATE_LIMITED, BARRED_TRIAL, Target,
)
from native.io.atomics cimport add64, load32, load64
from native.state.shared_state cimport (
    DEADLINE, FAIL_INBAND, FAIL_MALFORMED, R_BROKEN, R_FAILOVERS, R_KEEPALIVES, R_PEER, R_SPILLED, R_UNAVAILABLE,
    W_REFUSED, W_REFUSED_KEYS, W_UNRECORDED, W_UNROUTED, TargetRec,
)
from native.balance.breaker cimport circuit_until_ns
from native.state.callers cimport Caller
from native.io.clock cimport monotonic_ns, wall_ns
from native.codec.grpc cimport frame, read_status
from native.codec.field_rules cimport field_value
from native.codec.numbers cimport decimal
from native.proxy.request cimport CHAT_STREAM, PLAIN
from native.codec.trace_context cimport span_hex, trace_hex
from native.proxy.record cimport Recorder
from native.proxy.router cimport OPERATION_CHAT, OPERATION_COMPLETIONS, OPERATION_EMBEDDINGS, OPERATION_RESPONSES, OPERATION_SERVICE
from native.proxy.accounting cimport EVENTS, RELAYING
from native.codec.head cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH, Head

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from native.state.shared_state import Outcome

cdef uint64_t NEVER = <uint64_t>-1
# The last ones are told anew: of a peer's answer they are read first.
cdef frozenset ANSWER_WITHHELD = frozenset((
    b"set-cookie", b"alt-svc", b"strict-transport-security", b"x-edge-request-id", b"x-edge-target", b"x-edge-region",
    b"x-edge-attempts", b"x-edge-reason",
))
CAPABILITIES = {
    <int>OPERATION_CHAT: "chat", <int>OPERATION_COMPLETIONS: "completions", <int>OPERATION_EMBEDDINGS: "embeddings",
    <int>OPERATION_RESPONSES: "responses",
}
OUTCOME_NAMES = tuple(Outcome(i).name.lower() for i in range(16))
cdef tuple KEPT_NAMES = ("", "sampled", "failed", "slow", "retried")
# gRPC statuses that say that the server failed (OpenTelemetry's conventions for RPC):
# UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
cdef int FAILED_CODES = 1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15
# Paths are told up to here.
cdef Py_ssize_t PATH_LIMIT = 256
cdef tuple ONE_ATTEMPT = (b"x-edge-attempts", b"1")
cdef bytes COMMENT = b": edge is waiting for an answer\n\n"


cdef int reason_of(TargetRec* rec, int barred) noexcept:
    """The TripReason of an open circuit, the Outcome that quarantined a target; 0 where the bar says all there is."""
    if barred == <int>BARRED_OPEN:
        return load32(&rec.trip_reason)
    return load32(&rec.quarantine_reason) if barred == <int>BARRED_QUARANTINED else 0


cdef uint64_t wait_ns(TargetRec* rec, int barred, uint64_t now) noexcept:
    """How long until this target may be usable again; 0 = no date is known, or now."""
    cdef uint64_t until = 0
    if barred == <int>BARRED_OPEN or barred == <int>BARRED_TRIAL:
        until = circuit_until_ns(load64(&rec.circuit))
    elif barred == <int>BARRED_RATE_LIMITED:
        until = load64(&rec.rate_limited_until_ns)
    elif barred == <int>BARRED_QUARANTINED:
        until = load64(&rec.quarantined_until_ns)
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


cdef class Answering(Intake):
    """What the client of an exchange is told."""

    cdef tuple answered_by(self, AttemptCore attempt):
        """(target, region, attempts): another region's edge says itself who answered, and its attempts come to ours."""
        cdef bytes target
        cdef bytes region
        cdef bytes attempts
        if not attempt.pool.is_region:
            return attempt.target.id.encode(), self.data_plane.region, decimal(self.attempts)
        target = field_value(attempt.head.fields, b"x-edge-target")
        region = field_value(attempt.head.fields, b"x-edge-region")
        attempts = field_value(attempt.head.fields, b"x-edge-attempts")
        return (
            attempt.target.id.encode() if target is None else target,
            attempt.target.plan.provider.encode() if region is None else region,
            decimal(self.attempts - 1 + (int(attempts) if attempts is not None and attempts.isdigit() else 1)),
        )

    cdef dict facts(self, AttemptCore attempt):
        """What edge's own answers say of how they came about."""
        target, region, attempts = self.answered_by(attempt)
        return {
            "target": target.decode("latin-1"), "region": region.decode("latin-1"), "attempts": int(attempts),
            "request_id": self.identity.decode(),
        }

    cdef trace_fields(self, list fields, AttemptCore attempt):
        fields.append((b"x-edge-request-id", self.identity))
        if attempt.pool.is_region:
            target, region, attempts = self.answered_by(attempt)
            fields.append((b"x-edge-target", target))
            fields.append((b"x-edge-region", region))
            fields.append((b"x-edge-attempts", attempts))
        else:
            fields.append(attempt.pool.told)
            fields.append(self.data_plane.told_region)
            fields.append(ONE_ATTEMPT if self.attempts == 1 else (b"x-edge-attempts", decimal(self.attempts)))
        if self.failed_attempts:
            last = self.failed_attempts[len(self.failed_attempts) - 1]
            fields.append((b"x-edge-reason", f"{last[0]}: {last[1]}".encode()))
        elif self.reason is not None:
            fields.append((b"x-edge-reason", self.reason.encode()))
        return fields

    cdef commit(self, AttemptCore attempt, int64_t length):
        """The first byte of a real answer: after this nothing is retried."""
        cdef Head head = attempt.head
        cdef ServerStream stream = self.stream
        cdef list fields
        self.committed = True
        self.content = None     # nothing is sent again from here on
        self.body = None
        self.hold(0)
        self.replayable = False
        attempt.phase = RELAYING
        if attempt.pool.is_region:
            add64(&self.route.rec.count[<int>R_PEER], 1)
        if self.response_format != PLAIN:
            if self.response_format == CHAT_STREAM:
                self.writer = self.data_plane.calls.writer(self.facts(attempt))
            fields = [(b"content-type", b"application/grpc")]
            self.trace_fields(fields, attempt)
            stream.send_head(200, fields, UNKNOWN_LENGTH)
        elif not self.early:
            if self.operation == OPERATION_SERVICE:
                fields = list(head.fields)
            else:
                fields = fields_for(self.caller, head.fields)
                if self.caller is not None:
                    if attempt.settled:
                        self.repay(attempt.last_ns)
                    self.caller.tell(fields, attempt.last_ns)
            self.trace_fields(fields, attempt)
            if length == TUNNEL:
                self.tunnel = True
                self.total_ns = NEVER       # a tunnel ends when a side ends, or when both are silent too long
                fields.append((b"upgrade", head.upgrade))
            stream.send_head(head.status, fields, length)
            if length == TUNNEL:
                self.arm_deadline(attempt.last_ns)
        if stream.congested():
            self.on_client_congested()

    cdef bytes tell(self, AttemptCore attempt, bytes content):
        """A whole answer in the caller's language; ValueError when it cannot be told there."""
        return content if self.response_format == PLAIN else frame(self.data_plane.calls.write(content, self.facts(attempt)))

    cdef relay(self, bytes data):
        cdef ServerStream stream = self.stream
        if stream is None:
            return
        if self.response_format != CHAT_STREAM:
            stream.send_data(data)
        else:
            try:
                messages = self.writer.push_events(data)
            except ValueError as error:
                self.failed(self.attempt, FAIL_MALFORMED, f"an answer that cannot be told in gRPC: {error}", 0)
                return
            for message in messages:
                stream.send_data(frame(message))

    cdef finish(self, AttemptCore attempt, list trailers, bytes last):
        """The answer is complete; of what a length announced, ``last`` is still to be sent. Everything is counted before:
        who has an answer may ask again at once, and of another worker."""
        cdef ServerStream stream = self.stream
        cdef int status = attempt.head.status
        if last is not None and self.response_format == CHAT_STREAM:
            self.relay(last)
            last = None
        if self.over:
            return
        attempt.leave()
        self.attempt = None
        if self.attempts > 1 or self.reason is not None:
            add64(&self.route.rec.count[<int>R_FAILOVERS], 1)
        if self.route.pool.spilled(attempt.index):
            add64(&self.route.rec.count[<int>R_SPILLED], 1)
        if self.response_format != PLAIN:
            trailers = [(b"grpc-status", b"0")]
            self.code = 0
        else:
            self.code = attempt.code
        self.close(status)
        if last is not None:
            stream.send_data(last)
        stream.send_end(trailers)

    cdef answer_fault(self, AttemptCore attempt, int status, bytes content):
        """The caller's own fault, in the provider's words; None = in ours, for theirs are too many."""
        if content is None:
            attempt.leave()
            self.attempt = None
            self.answer_problem(self.data_plane.reply.too_long(status, self.data_plane.answer_limit))
            return
        if self.early or self.response_format != PLAIN:
            attempt.leave()
            self.attempt = None
            self.answer_problem((status, [], content))
            return
        self.commit(attempt, PyBytes_GET_SIZE(content))
        self.finish(attempt, None, content)

    cdef broken(self, AttemptCore attempt, int outcome, str detail):
        """Something went wrong after the commit point: an honest end, never a clean-looking one."""
        cdef ServerStream stream = self.stream
        cdef list trailers = None
        add64(&self.route.rec.count[<int>R_BROKEN], 1)
        if self.grpc:
            trailers = self.data_plane.reply.broken_call(outcome == <int>DEADLINE, detail, attempt.target.id)
            self.code = read_status(field_value(trailers, b"grpc-status"))
        elif attempt.mode == EVENTS and outcome != <int>FAIL_INBAND:
            stream.send_data(self.data_plane.reply.event("broken", detail, attempt.target.id, self.identity.decode()))
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
            self.answer_problem(self.data_plane.reply.deadline(self.route.name, self.failed_attempts, states, wait))
        else:
            self.answer_problem(
                self.data_plane.reply.unavailable(self.route.name, self.failed_attempts, states, wait, self.operation == OPERATION_SERVICE)
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
            code = self.route.pool.barred(i, now, 0, self.priority)
            until = wait_ns(target.rec, code, now)
            if code == <int>BARRED_EXHAUSTED:
                until = bounds_wait(&target.allowance.bounds, now)
            if code == 0 and self.route.regions >> i & 1:
                if self.excluded_targets >> i & 1:
                    continue        # for this request it does not exist
                if self.route.absent_ns[i] > now:
                    code = BARRED_RATE_LIMITED
                    until = self.route.absent_ns[i] - now
            states.append((target.id, code, reason_of(target.rec, code), until / 1e9))
        return states

    cdef answer_problem(self, tuple problem):
        """Send one of our own errors: as an answer, or as an event where the head is out already."""
        cdef ServerStream stream = self.stream
        cdef list fields = <list>problem[1]
        if self.early:
            stream.send_data(self.data_plane.reply.as_event(problem[2]))
            self.close(problem[0])
            stream.cut()
            return
        if self.identity is not None:
            fields = [*fields, (b"x-edge-request-id", self.identity), (b"x-edge-region", self.data_plane.region)]
            fields.append((b"x-edge-attempts", b"%d" % self.attempts))
            if self.caller is not None and self.operation != OPERATION_SERVICE:
                self.repay(monotonic_ns())
                self.caller.tell(fields, monotonic_ns())
        self.answer(problem[0], fields, problem[2])

    cdef answer(self, int status, list fields, bytes content):
        """Send a whole answer of our own. Where the request has not come whole, it is the connection's last."""
        cdef ServerStream stream = self.stream
        if not self.received and self.head.length != NO_BODY:
            stream.closes_connection = True
        if self.grpc:
            # gRPC tells of errors in a trailers-only answer
            fields = self.data_plane.reply.call_fields(status, fields, content)
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
        add64(&self.data_plane.meter.count[
            <int>W_UNROUTED if unrouted else <int>W_REFUSED_KEYS if strange else <int>W_REFUSED
        ], 1)
        status, fields, content = self.data_plane.reply.problem(kind, detail)
        if extra is not None:
            fields = [*fields, *extra]
        self.answer(status, fields, content)

    cdef consider(self, int status, uint64_t now):
        """Is it to be recorded?  Sampled, or failed, slow or retried and within what may be kept of those."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef Recorder recorder = data_plane.recorder
        cdef AttemptCore last = self.latest
        cdef uint64_t first = now if last is None or not last.content_ns else last.content_ns
        cdef int why
        if data_plane.records is None:
            return
        why = recorder.keep(
            &self.trace, now,
            status >= 500 or status == 0 or (self.code > 0 and FAILED_CODES >> self.code & 1),
            recorder.slow_ns and first - self.started_ns >= recorder.slow_ns,
            self.attempts > 1,
        )
        if why and not recorder.add(self.record(why, status, now)):
            add64(&data_plane.meter.count[<int>W_UNRECORDED], 1)

    cdef tuple record(self, int why, int status, uint64_t now):
        """What happened, in the order of edge.terms.trace.ExchangeRecord."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef Head head = self.head
        cdef AttemptCore last = self.latest
        cdef bint routed = self.route is not None
        cdef str model = ""
        cdef str link = ""
        cdef list tries = self.tries
        cdef int64_t first = -1
        cdef bint counted = self.reached and self.operation != OPERATION_SERVICE
        if tries is None:
            tries = []
        if last is not None:
            tries.append(self.tell_of(last, now if self.committed or not last.ended_ns else last.ended_ns))
            if self.committed:
                first = offset(last.content_ns, self.started_ns)
        if routed and self.operation != OPERATION_SERVICE:
            model = self.route.name
            if self.wildcard is not None:
                model = model[:-1] + self.wildcard.decode("utf-8", "replace")
        if self.trace.link_span:
            link = trace_hex(self.trace.link_high, self.trace.link_low) + "-" + span_hex(self.trace.link_span)
        return (
            "" if self.identity is None else self.identity.decode(),
            trace_hex(self.trace.high, self.trace.low), span_hex(self.trace.span), span_hex(self.trace.parent), link,
            self.trace.sampled, KEPT_NAMES[why], data_plane.worker, self.route.name if routed else "",
            "" if not routed else "service" if self.operation == OPERATION_SERVICE else "model",
            head.method.decode("latin-1"), head.version, "http" if self.stream is None else self.stream.scheme,
            head.path[:PATH_LIMIT].decode("latin-1"),
            CAPABILITIES.get(self.operation, ""), self.grpc, model, status, self.code, self.peek.stream == 1,
            "" if self.caller_name is None else self.caller_name.decode("latin-1"),
            "" if self.caller_class is None else self.caller_class.decode("latin-1"),
            wall_ns() - (now - self.started_ns), now - self.started_ns, first,
            self.prompt_tokens if counted else -1, self.output_tokens if counted else -1, self.cost_nano,
            data_plane.region.decode(), self.hops.count(b",") + 1 if self.peer and self.hops is not None else 0, 0, tries,
        )

    cdef tuple tell_of(self, AttemptCore attempt, uint64_t end):
        """One attempt, in the order of edge.terms.trace.AttemptRecord."""
        cdef uint64_t began = self.started_ns
        return (
            attempt.target.id, OUTCOME_NAMES[attempt.outcome] if attempt.outcome >= 0 else "",
            "" if attempt.detail is None else attempt.detail, span_hex(attempt.span), attempt.started_ns - began,
            offset(attempt.connected_ns, began), offset(attempt.asked_ns, began), offset(attempt.head_ns, began),
            offset(attempt.content_ns, began), offset(end, began),
            0 if attempt.head is None else attempt.head.status, attempt.code, attempt.pushback, attempt.tripped,
        )

    cdef send_keepalive(self, uint64_t now):
        """Nothing has come for a while: keep the client's connection alive without committing to an answer."""
        if not self.early:
            self.early = True
            fields = [
                (b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"),
                (b"x-edge-request-id", self.identity), (b"x-edge-region", self.data_plane.region),
            ]
            if self.caller is not None:
                self.caller.tell(fields, now)
            self.stream.send_head(200, fields, UNKNOWN_LENGTH)
        self.stream.send_data(COMMENT)
        self.last_sent_ns = now
        add64(&self.route.rec.count[<int>R_KEEPALIVES], 1)
