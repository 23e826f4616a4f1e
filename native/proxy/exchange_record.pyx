from libc.stdint cimport int64_t
from native.io.atomics cimport add64
from native.io.clock cimport wall_ns
from native.proxy.attempt cimport OUTCOME_NAMES, Attempt
from native.codec.trace_context cimport span_hex, trace_hex
from native.proxy.record cimport Recorder
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport LOCAL
from native.proxy.router cimport OPERATION_HEALTH, OPERATION_MODELS, OPERATION_NAMES, OPERATION_PREFLIGHT
from native.proxy.runtime cimport Runtime
from native.state.shared_state cimport W_UNRECORDED

cdef tuple KEPT_NAMES = ("", "sampled", "failed", "slow", "retried", "logged")
# gRPC statuses that say that the server failed (OpenTelemetry's conventions for RPC):
# UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
cdef int FAILED_CODES = 1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15
# A record has this many bytes of a path.
cdef Py_ssize_t PATH_LIMIT = 256
# The longest registered method has 17 bytes (UPDATEREDIRECTREF).
cdef Py_ssize_t METHOD_LIMIT = 32


cdef inline int64_t offset(uint64_t when, uint64_t started) noexcept:
    """Return nanoseconds since the exchange began; -1 = ``when`` is 0, it did not happen."""
    return <int64_t>(when - started) if when else -1


cdef object write_attempt(Runtime runtime, Attempt attempt, bint hedge, uint64_t started, uint64_t now):
    return runtime.sink.attempt(
        target=attempt.target.id,
        outcome=OUTCOME_NAMES[attempt.outcome] if attempt.outcome >= 0 else "",
        detail="" if attempt.detail is None else attempt.detail,
        span_id=span_hex(attempt.span),
        started_ns=attempt.facts.started_ns - started,
        connected_ns=offset(attempt.facts.connected_ns, started),
        asked_ns=offset(attempt.facts.asked_ns, started),
        head_ns=offset(attempt.facts.head_ns, started),
        content_ns=offset(attempt.facts.content_ns, started),
        ended_ns=offset(attempt.facts.ended_ns if attempt.facts.ended_ns else now, started),
        status=0 if attempt.head is None else attempt.head.status,
        grpc_status=attempt.grpc_status,
        pushback_ms=attempt.reader.pushback,
        tripped=attempt.tripped,
        dropped_events=attempt.reader.dropped,
        hedge=hedge,
    )


cdef str model_name(Request request):
    """Return the model as the caller named it: an alias, or provider/model."""
    cdef str name
    if request.route is None or not request.is_model():
        return ""
    name = request.route.name
    if (<ModelRequest>request).wildcard is not None:
        asked = (<ModelRequest>request).wildcard.decode("utf-8", "replace")
        name = asked if request.route.is_pattern else name[:-1] + asked
    return name


cdef str address_of(Request request):
    """Return the address of the client, or the one that a PROXY header told."""
    cdef object peer = None if request.stream is None else request.stream.peer()
    return str(peer[0]) if isinstance(peer, tuple) else ""


cdef object write_record(int why, Request request, Response response, LiveAttempts live, Charge charge, int status,
                         uint64_t now, uint64_t queue_ns, Selection selection):
    cdef Runtime runtime = request.runtime
    cdef uint64_t started = request.started_ns
    cdef bint routed = request.route is not None
    cdef bint counted = charge is not None and request.reached and request.is_model()
    cdef list attempts = live.all()
    cdef Attempt last = <Attempt>attempts[-1] if attempts else None
    cdef bytes name = request.identity.name
    cdef bytes priority = request.identity.priority_name
    cdef bytes hops = request.identity.hops
    cdef str link = ""
    if request.trace.link_span:
        link = trace_hex(request.trace.link_high, request.trace.link_low) + "-" + span_hex(request.trace.link_span)
    return runtime.sink.exchange(
        request_id="" if request.identifier is None else request.identifier.decode(),
        trace_id=trace_hex(request.trace.high, request.trace.low),
        span_id=span_hex(request.trace.span),
        parent_span_id=span_hex(request.trace.parent),
        link=link,
        sampled=request.trace.sampled,
        kept=KEPT_NAMES[why],
        worker=runtime.worker,
        route=request.route.name if routed else "",
        kind="" if not routed else "service" if request.route.is_service else "model",
        method=request.head.method[:METHOD_LIMIT].decode("latin-1"),
        http_version=request.head.version,
        scheme="http" if request.stream is None else request.stream.scheme,
        path=request.head.path[:PATH_LIMIT].decode("latin-1"),
        operation=OPERATION_NAMES.get(request.operation, ""),
        grpc=request.grpc,
        model=model_name(request),
        status=status,
        grpc_status=response.grpc_status,
        stream=request.streams(),
        key="" if name is None else name.decode("latin-1"),
        priority="" if priority is None else priority.decode("latin-1"),
        started_ns=wall_ns() - (now - started),
        duration_ns=now - started,
        first_ns=offset(last.facts.content_ns, started) if last is not None and response.committed else -1,
        prompt_tokens=<int64_t>charge.prompt_tokens if counted else -1,
        output_tokens=<int64_t>charge.output_tokens if counted else -1,
        cost_nano=0 if charge is None else charge.cost_nano,
        region=runtime.region.decode(),
        hops=hops.count(b",") + 1 if request.identity.peer and hops is not None else 0,
        queue_ns=queue_ns,
        cache="" if response.flight is None else response.flight.result(response.stale),
        rescues=response.rescues,
        excluded=tuple(request.unmet_why or ()) if selection is None else selection.exclusions(),
        client=address_of(request),
        sent_bytes=response.sent_bytes,
        attempts=tuple([
            write_attempt(runtime, <Attempt>attempt, attempt is live.hedge, started, now) for attempt in attempts
        ]),
    )


cdef bint is_own(Request request) noexcept:
    """Return whether edge answers such a request itself, whatever it asks for: it is not recorded."""
    return request.response_format == LOCAL or (
        request.operation == OPERATION_HEALTH or request.operation == OPERATION_MODELS
        or request.operation == OPERATION_PREFLIGHT
    )


cdef int record(Request request, Response response, LiveAttempts live, Charge charge, int status, uint64_t now,
                 Place place, Selection selection) except -1:
    cdef Runtime runtime = request.runtime
    cdef Recorder recorder = runtime.recorder
    cdef uint64_t first = now
    cdef int why
    if live.copy is not None:
        live.copy.end(
            request.is_copy, status, response.grpc_status, live.first, 0 if charge is None else charge.output_tokens, now
        )
    if request.is_copy or runtime.sink is None or (charge is None and is_own(request)):
        return 0
    if request.trace.span == 0:         # refused before it counted as in flight
        request.begin_trace()
    if live.first is not None and live.first.facts.content_ns:
        first = live.first.facts.content_ns
    why = recorder.keep(
        &request.trace, now,
        status >= 500 or status == 0 or (response.grpc_status > 0 and FAILED_CODES >> response.grpc_status & 1),
        recorder.slow_ns and first - request.started_ns >= recorder.slow_ns,
        live.begun > 1,
    )
    if why and not recorder.add(
        write_record(
            why, request, response, live, charge, status, now, 0 if place is None else place.waited_ns, selection
        )
    ):
        add64(&runtime.meter.count[<int>W_UNRECORDED], 1)
