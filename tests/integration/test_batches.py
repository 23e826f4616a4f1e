"""The SDK's exporters send the encoded spans, and would send the same bytes if they encoded the spans themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from collector import GrpcCollector, HttpCollector
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc
from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http
from opentelemetry.sdk.trace.export import SpanExportResult

from edge.telemetry import batches
from edge.telemetry.batches import Batch, open_exporter
from edge.telemetry.encoding import SpanEncoder
from edge.telemetry.otlp import Collector
from edge.telemetry.spans import SpanBuilder
from tests.unit.plans import snapshot
from tests.unit.records import attempt, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector import Span
    from opentelemetry.sdk.trace import ReadableSpan

    from edge.terms.trace import ExchangeRecord

KINDS = pytest.mark.parametrize("kind", [GrpcCollector, HttpCollector], ids=["grpc", "http"])


def batch() -> Batch:
    """Two exchanges, one with two attempts."""
    failed = attempt(outcome="fail_status", detail="status 500", status=500, tripped=True)
    records = (record(attempts=(failed, attempt(span_id="b" * 16))), record(span_id="3" * 16))
    return Batch(records, SpanEncoder(SpanBuilder(snapshot())))


async def sent(kind: type[GrpcCollector | HttpCollector], spans: Batch) -> list[Span]:
    """Send a batch; return what a collector receives."""
    async with kind() as collector:
        over = "grpc" if kind is GrpcCollector else "http"
        url = collector.url if over == "grpc" else f"{collector.url}/v1/traces"
        exporter = open_exporter(Collector(url, "grpc" if over == "grpc" else "http"))
        try:
            assert await asyncio.to_thread(exporter.export, spans) is SpanExportResult.SUCCESS
        finally:
            await asyncio.to_thread(exporter.shutdown)
        return collector.spans


@KINDS
async def test_exporters_take_what_is_encoded(
    kind: type[GrpcCollector | HttpCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither exporter reads the spans of a batch: both send its encoded bytes."""
    looked: list[object] = []
    build = SpanEncoder.spans

    def spans_of(self: SpanEncoder, records: Sequence[ExchangeRecord]) -> list[ReadableSpan]:
        looked.append(records)
        return build(self, records)

    monkeypatch.setattr(SpanEncoder, "spans", spans_of)
    spans = await sent(kind, batch())
    assert not looked, (
        f"the exporter encodes batches itself, at many times the CPU: it no longer calls {batches.SEAM} of its module; "
        "see edge/telemetry/batches.py"
    )
    assert len(spans) == len(batch()) == 5


@KINDS
async def test_exporters_that_do_not_ask_send_the_same(
    kind: type[GrpcCollector | HttpCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is a sequence of SDK spans: an exporter that encodes these sends the same content."""
    ready = await sent(kind, batch())
    for module in (over_grpc, over_http):
        monkeypatch.setattr(module, batches.SEAM, encode_spans)
    monkeypatch.setattr(batches, "SEAM", "a_name_that_is_gone")
    assert await sent(kind, batch()) == ready
    assert [span.name for span in batch()] == [span.name for span in ready]
