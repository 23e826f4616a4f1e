"""OTLP encoding of spans: the SDK encodes each distinct shape of span once, and a native kernel copies it.

The SDK's encoder takes tens of microseconds per span, nearly all of it for what thousands of spans have in common. So a
span is built and encoded here only if none of the same shape is known. ``native/codec/span_writer`` keeps the encoded
shape without ids, times and counts, and fills those in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from edge.native import SpanWriter
from edge.telemetry import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from opentelemetry.sdk.trace import ReadableSpan

    from edge.telemetry.spans import SpanBuilder
    from edge.terms.snapshot import Snapshot
    from edge.terms.trace import ExchangeRecord

# The kernel writes these for each exchange, so a shape must not contain them.
_OF_ALL: Final = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "links")
_OF_SERVERS: Final = frozenset(
    (
        names.REQUEST_ID,
        names.PATH,
        names.QUEUED,
        names.INPUT_TOKENS,
        names.OUTPUT_TOKENS,
        names.COST,
        names.FIRST_CONTENT,
    )
)
_OF_CLIENTS: Final = frozenset(
    (
        names.CONNECTED,
        names.SENT,
        names.FIRST_BYTE,
        names.FIRST_CONTENT,
        names.FIRST_CHUNK,
        names.INPUT_TOKENS,
        names.OUTPUT_TOKENS,
    )
)


class SpanEncoder:
    """Encodes the spans of records; ``builder`` makes the spans of shapes that are not known yet."""

    def __init__(self, builder: SpanBuilder) -> None:
        self._builder = builder
        self._writer = SpanWriter(names, self._server, self._client)
        self._around: tuple[bytes, bytes] | None = None

    def learn(self, snapshot: Snapshot) -> None:
        """Adopt the targets and services of a new Snapshot. Another thread may be encoding at the same time."""
        self._builder.learn(snapshot)
        self._writer.forget()  # afterwards, so that shapes learned from now on do not use old targets

    def spans(self, records: Iterable[ExchangeRecord]) -> list[ReadableSpan]:
        """Return the spans of these records as the SDK's objects, each exchange's own span first."""
        return [span for record in records for span in self._builder.spans(record)]

    def encode(self, records: Sequence[ExchangeRecord]) -> bytes:
        """Return a serialized ExportTraceServiceRequest with the spans of one or more records."""
        if self._around is None:
            self._around = _around(self._builder.spans(records[0])[0])
        resource, scope = self._around
        spans = self._writer.write(records)
        within = resource + b"\x12" + _varint(len(scope) + len(spans)) + scope
        return b"".join((b"\x0a", _varint(len(within) + len(spans)), within, spans))

    def _server(self, record: ExchangeRecord) -> bytes:
        return _without(_encoded(self._builder.spans(record)[0]), _OF_SERVERS)

    def _client(self, record: ExchangeRecord, index: int) -> tuple[bytes, bytes, bytes, bool]:
        span = self._builder.spans(record)[1 + index]
        encoded = _encoded(span)
        attributes = span.attributes or {}
        of_model = names.OPERATION in attributes
        # all models share one URL, and so do all calls of a gRPC method
        url = "" if of_model or record.grpc else str(attributes.get(names.URL, "")).removesuffix(record.path)
        event = b""
        if encoded.events:
            encoded.events[0].ClearField("time_unix_nano")
            event = encoded.events[0].SerializeToString()
            encoded.ClearField("events")
        return _without(encoded, _OF_CLIENTS | {names.URL} if url else _OF_CLIENTS), event, url.encode(), of_model


def _encoded(span: ReadableSpan) -> Span:
    return encode_spans((span,)).resource_spans[0].scope_spans[0].spans[0]


def _without(span: Span, attributes: frozenset[str]) -> bytes:
    """Serialize a span without the parts that differ between exchanges."""
    for name in _OF_ALL:
        span.ClearField(name)
    kept = [pair for pair in span.attributes if pair.key not in attributes]
    del span.attributes[:]
    span.attributes.extend(kept)
    return span.SerializeToString()


def _around(span: ReadableSpan) -> tuple[bytes, bytes]:
    """Return the serialized ResourceSpans and ScopeSpans without their spans."""
    resource = encode_spans((span,)).resource_spans[0]
    scope = resource.scope_spans[0]
    scope.ClearField("spans")
    written = scope.SerializeToString()
    resource.ClearField("scope_spans")
    return resource.SerializeToString(), written


def _varint(number: int) -> bytes:
    """Return a protobuf varint: seven bits per byte, the lowest first (protobuf.dev/programming-guides/encoding)."""
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # the largest value of seven bits
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
