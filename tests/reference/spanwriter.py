"""Encodes the spans of records with the SDK: the reference model of native/codec/span_writer.

Attributes of a span have no order, so both sides are compared with theirs sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.telemetry.spans import SpanBuilder
    from edge.terms.trace import ExchangeRecord


def encode(builder: SpanBuilder, records: Sequence[ExchangeRecord]) -> str:
    """Return, as text, the request in which the SDK sends the spans of these records."""
    return _sorted(encode_spans([span for record in records for span in builder.spans(record)]))


def read(encoded: bytes) -> str:
    """Return a request as text."""
    request = ExportTraceServiceRequest.FromString(encoded)
    assert len(request.SerializeToString()) == len(encoded)  # no unknown field, and no length longer than it must be
    return _sorted(request)


def _sorted(request: ExportTraceServiceRequest) -> str:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                pairs = sorted(span.attributes, key=lambda pair: pair.key)
                del span.attributes[:]
                span.attributes.extend(pairs)
    return str(request)
