"""Builder of OpenTelemetry spans: one SERVER span per exchange, with one CLIENT child span per attempt.

Spans are built from a record after the exchange has ended. This takes a few microseconds; starting and ending them with
a tracer takes several times that. Names and attributes are in ``edge.telemetry.names``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from edge.telemetry import logs, names
from edge.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from edge.terms.snapshot import Snapshot, Target
    from edge.terms.trace import AttemptRecord, ExchangeRecord

    Attributes = dict[str, AttributeValue]

_NS: Final = 1e-9
_NANO: Final = 1e-9
_UNSET: Final = Status(StatusCode.UNSET)
_SCOPE: Final = InstrumentationScope("edge", VERSION)
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_UNIMPLEMENTED: Final = 12
_GONE: Final = ("", "cancelled")  # outcomes that say nothing about the target
_PATHS: Final = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
    "moderation": "/v1/moderations",
    "rerank": "/v1/rerank",
    "image": "/v1/images/generations",
    "image_edit": "/v1/images/edits",
    "image_variation": "/v1/images/variations",
    "speech": "/v1/audio/speech",
    "transcription": "/v1/audio/transcriptions",
    "translation": "/v1/audio/translations",
    "response": "/v1/responses/{id}",
    "conversations": "/v1/conversations",
    "files": "/v1/files",
    "batches": "/v1/batches",
    "fine_tuning": "/v1/fine_tuning",
    "vector_stores": "/v1/vector_stores",
}


def resource(region: str, node: str) -> Resource:
    """Return the resource of a node's spans; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence."""
    ours = Resource(
        {
            "service.name": "edge",
            "service.version": VERSION,
            "service.instance.id": f"{region}/{node}",  # unique across regions
            names.REGION: region,
        }
    )
    return ours.merge(OTELResourceDetector().detect())


class SpanBuilder:
    """Builds spans from records; :meth:`learn` tells it the targets and services."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._targets: dict[str, Target] = {}
        self._paths: dict[str, str] = {}
        self._resource = resource(snapshot.region, snapshot.node)
        self.learn(snapshot)

    def learn(self, snapshot: Snapshot) -> None:
        """Adopt the targets and services of a new Snapshot; records may still name targets that are gone."""
        self._targets = {target.id: target for target in snapshot.targets}
        self._paths = {snapshot.routes[match.route].name: match.path for match in snapshot.services}

    def spans(self, record: ExchangeRecord) -> list[ReadableSpan]:
        """Return the spans of one exchange, its SERVER span first."""
        trace = int(record.trace_id, 16)
        own = _context(trace, record.span_id)
        parent = _context(trace, record.parent_span_id, remote=True) if record.parent_span_id else None
        spans = [self._server(record, own, parent)]
        for index, attempt in enumerate(record.attempts):
            spans.append(self._client(record, attempt, index, own))
        return spans

    def _server(self, record: ExchangeRecord, own: SpanContext, parent: SpanContext | None) -> ReadableSpan:
        method = _method(record)
        attributes: Attributes = {
            names.METHOD: method,
            names.SCHEME: record.scheme,
            names.PATH: record.path,
            names.VERSION: names.VERSIONS.get(record.http_version, ""),
            names.KEPT: record.kept,
            names.REGION: record.region,
            names.ATTEMPTS: len(record.attempts),
        }
        route = self._route(record)
        _put(attributes, names.REQUEST_ID, record.request_id)
        _put(attributes, names.EDGE_ROUTE, record.route)
        _put(attributes, names.ROUTE, route)
        _put(attributes, names.KEY, record.key)
        _put(attributes, names.PRIORITY, record.priority)
        _put(attributes, names.QUEUED, record.queue_ns * _NS)
        _put(attributes, names.HOPS, record.hops)
        _put(attributes, names.CACHE, record.cache)
        _put(attributes, names.RESCUES, record.rescues)
        if record.status > 0:
            attributes[names.STATUS] = record.status
        if record.kind == "model":
            self._asked_of_a_model(record, attributes)
            if record.prompt_tokens >= 0:
                attributes[names.INPUT_TOKENS] = record.prompt_tokens
            if record.output_tokens >= 0:
                attributes[names.OUTPUT_TOKENS] = record.output_tokens
            _put(attributes, names.COST, record.cost_nano * _NANO)
        if record.first_ns >= 0:
            attributes[names.FIRST_CONTENT] = record.first_ns * _NS
        name = f"{_named(method)} {route}".strip()
        if record.grpc:
            name = _rpc(record, attributes)
        return ReadableSpan(
            name=name,
            context=own,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            links=_links(record),
            kind=SpanKind.SERVER,
            status=_server_status(record, attributes),
            start_time=record.started_ns,
            end_time=record.started_ns + record.duration_ns,
            instrumentation_scope=_SCOPE,
        )

    def _client(self, record: ExchangeRecord, attempt: AttemptRecord, index: int, own: SpanContext) -> ReadableSpan:
        target = self._targets.get(attempt.target)
        of_model = record.kind == "model" and (target is None or target.kind == "model")
        method = "POST" if of_model else _method(record)
        attributes: Attributes = {names.TARGET: attempt.target, names.METHOD: method}
        if target is not None:
            attributes[names.ADDRESS] = target.host
            attributes[names.PORT] = target.port
            attributes[names.TARGET_KIND] = target.kind
            scheme = "https" if target.tls is not None else "http"
            path = _PATHS.get(record.operation, "")[3:] if of_model else record.path
            host = f"[{target.host}]" if ":" in target.host else target.host
            attributes[names.URL] = f"{scheme}://{host}:{target.port}{target.base_path}{path}"
        if index:
            attributes[names.RESEND] = index
        if attempt.status:
            attributes[names.STATUS] = attempt.status
        _put(attributes, names.OUTCOME, attempt.outcome)
        _put(attributes, names.REASON, logs.without_secrets(attempt.detail))
        if attempt.hedge:
            attributes[names.HEDGE] = True
        if attempt.dropped_events:
            attributes[names.DROPPED_EVENTS] = attempt.dropped_events
        for name, at_ns in (
            (names.CONNECTED, attempt.connected_ns),
            (names.SENT, attempt.asked_ns),
            (names.FIRST_BYTE, attempt.head_ns),
            (names.FIRST_CONTENT, attempt.content_ns),
        ):
            if at_ns >= 0:
                attributes[name] = (at_ns - attempt.started_ns) * _NS
        name = f"{_named(method)} {self._route(record)}".strip()
        if of_model:
            self._asked_of_a_model(record, attributes)
            name = _generated(record, attempt, target, attributes)
        elif record.grpc:
            name = _rpc(record, attributes, attempt.grpc_status)
        ended_ns = max(attempt.ended_ns, attempt.started_ns)
        return ReadableSpan(
            name=name,
            context=_context(own.trace_id, attempt.span_id),
            parent=own,
            resource=self._resource,
            attributes=attributes,
            events=(Event(names.CIRCUIT_OPENED, {names.TARGET: attempt.target}, record.started_ns + ended_ns),)
            if attempt.tripped
            else (),
            kind=SpanKind.CLIENT,
            status=_client_status(record, attempt, attributes),
            start_time=record.started_ns + attempt.started_ns,
            end_time=record.started_ns + ended_ns,
            instrumentation_scope=_SCOPE,
        )

    def _route(self, record: ExchangeRecord) -> str:
        """Return a route of low cardinality in place of the path: an operation's path, or the prefix of a service."""
        if record.kind == "service":
            return self._paths.get(record.route, "")
        return _PATHS.get(record.operation, "")

    def _asked_of_a_model(self, record: ExchangeRecord, attributes: Attributes) -> None:
        attributes[names.OPERATION] = names.OPERATIONS.get(record.operation, record.operation)
        attributes[names.MODEL] = record.model
        if record.stream:
            attributes[names.STREAM] = True


def _method(record: ExchangeRecord) -> str:
    """Return the method, or the placeholder for a method that is unknown."""
    return record.method if record.method in names.METHODS else names.OTHER


def _named(method: str) -> str:
    """Return the method as it appears in a span's name; the conventions prescribe "HTTP" for unknown ones."""
    return "HTTP" if method == names.OTHER else method


def _generated(record: ExchangeRecord, attempt: AttemptRecord, target: Target | None, attributes: Attributes) -> str:
    """Add the attributes of GenAI's conventions for an attempt at a model; return the span's name."""
    model = record.model
    if target is not None:
        attributes[names.PROVIDER] = names.PROVIDERS.get(target.provider, target.provider)
        attributes[names.MODEL] = model = target.model or record.model.partition("/")[2]
    if attempt.outcome == "ok":
        if record.stream and attempt.content_ns >= 0:
            attributes[names.FIRST_CHUNK] = (attempt.content_ns - attempt.started_ns) * _NS
        if record.prompt_tokens >= 0:
            attributes[names.INPUT_TOKENS] = record.prompt_tokens
        if record.output_tokens >= 0:
            attributes[names.OUTPUT_TOKENS] = record.output_tokens
    return f"{names.OPERATIONS.get(record.operation, record.operation)} {model}"


def _rpc(record: ExchangeRecord, attributes: Attributes, code: int | None = None) -> str:
    """Add the attributes of the RPC conventions; return the span's name, without unimplemented methods."""
    known = record.kind and record.grpc_status != _UNIMPLEMENTED
    method = record.path[1:] if known else names.OTHER
    attributes[names.RPC_SYSTEM] = "grpc"
    attributes[names.RPC_METHOD] = method
    status = _code(record.grpc_status if code is None else code)
    _put(attributes, names.RPC_STATUS, status)
    return method if known else "grpc"


def _server_status(record: ExchangeRecord, attributes: Attributes) -> Status:
    code = _code(record.grpc_status)
    error = ""
    if record.status < 0:
        attributes[names.CANCELLED] = True
    elif record.status == 0:
        error = "broken"
    elif record.grpc:
        error = code if code in names.SERVER_FAULTS else ""
    elif record.status >= _SERVER_ERROR:
        error = str(record.status)
    return _failed(attributes, error, record.reason)


def _client_status(record: ExchangeRecord, attempt: AttemptRecord, attributes: Attributes) -> Status:
    error = ""
    if attempt.detail:
        error = attempt.outcome
    elif attempt.outcome in _GONE:
        attributes[names.CANCELLED] = True
    elif record.grpc and attempt.grpc_status >= 0:
        error = _code(attempt.grpc_status) if attempt.grpc_status else ""
    elif attempt.status >= _CLIENT_ERROR:
        error = str(attempt.status)
    return _failed(attributes, error, attempt.detail)


def _failed(attributes: Attributes, error: str, why: str) -> Status:
    if not error:
        return _UNSET
    attributes[names.ERROR] = error
    return Status(StatusCode.ERROR, logs.without_secrets(why) or None)


def _links(record: ExchangeRecord) -> tuple[Link, ...]:
    trace, _, span = record.link.partition("-")
    return (Link(_context(int(trace, 16), span, remote=True)),) if span else ()


def _context(trace: int, span: str, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace, int(span, 16), remote, _FLAGS)


def _code(number: int) -> str:
    return names.CODES[number] if 0 <= number < len(names.CODES) else ""


def _put(attributes: Attributes, name: str, value: AttributeValue) -> None:
    """Set an attribute, unless its value is empty or zero."""
    if value:
        attributes[name] = value
