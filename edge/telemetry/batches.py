"""Hand-over of already encoded spans to the OTLP exporters of OpenTelemetry's SDK.

The SDK remains in charge of transport: retries, TLS, compression, headers and its environment variables. Both exporters
pass what they are given to a function ``encode_spans`` in their module (versions 1.30 to 1.45). It is replaced here by
one that returns the bytes of a :class:`Batch`. If a later version does not call it, a batch is still a sequence of the
SDK's spans and is encoded like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.sdk.trace.export import SpanExporter

    from edge.telemetry.encoding import SpanEncoder
    from edge.telemetry.otlp import Collector
    from edge.terms.trace import ExchangeRecord

SEAM: Final = "encode_spans"
"""The function that both exporters of the SDK call in their module with the argument of ``export``."""


class Batch(Sequence[ReadableSpan]):
    """The spans of some records; the SDK's span objects are built only on access."""

    def __init__(self, records: Sequence[ExchangeRecord], encoder: SpanEncoder) -> None:
        self._records = records
        self._encoder = encoder
        self._spans: list[ReadableSpan] | None = None

    def encoded(self) -> bytes:
        """Return the spans as a serialized ExportTraceServiceRequest."""
        return self._encoder.encode(self._records)

    def __len__(self) -> int:
        return sum(1 + len(record.attempts) for record in self._records)

    @overload
    def __getitem__(self, place: int) -> ReadableSpan: ...

    @overload
    def __getitem__(self, place: slice) -> list[ReadableSpan]: ...

    def __getitem__(self, place: int | slice) -> ReadableSpan | list[ReadableSpan]:
        if self._spans is None:
            self._spans = self._encoder.spans(self._records)
        return self._spans[place]


class _Written:
    """A message that is already serialized, for the HTTP exporter, which only takes its bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's name
        return self._content

    SerializePartialToString = SerializeToString


def open_exporter(collector: Collector) -> SpanExporter:
    """Return the SDK's exporter for a collector; its module is imported only when it is used."""
    headers = collector.headers or None
    if collector.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc  # noqa: PLC0415

        _teach(over_grpc, ExportTraceServiceRequest.FromString)  # its serializer requires a message object
        return over_grpc.OTLPSpanExporter(endpoint=collector.url, headers=headers)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http  # noqa: PLC0415

    _teach(over_http, _Written)
    return over_http.OTLPSpanExporter(endpoint=collector.url, headers=headers)


def _teach(module: ModuleType, ready: Callable[[bytes], Any]) -> None:
    """Make the exporter of a module accept batches; a second call has no effect."""
    encode = getattr(module, SEAM, None)
    if encode is None or getattr(encode, "of_batches", False):
        return

    def encode_spans(spans: Sequence[ReadableSpan]) -> Any:
        return ready(spans.encoded()) if isinstance(spans, Batch) else encode(spans)

    encode_spans.of_batches = True  # type: ignore[attr-defined]
    setattr(module, SEAM, encode_spans)
