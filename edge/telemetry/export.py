"""Export of traces to a collector by a thread with a bounded queue.

The queue holds records, not spans, so that a dropped record has cost next to nothing. The thread encodes and sends
spans in batches. A collector that is down, slow or refuses data costs records, never a request.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from edge.telemetry import logs
from edge.telemetry.batches import open_exporter
from edge.telemetry.otlp import secrets
from edge.telemetry.sending import Sending, overhear
from edge.terms.trace import ExchangeRecord  # the base class needs it at run time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from edge.telemetry.otlp import Collector

# Twice the defaults of OpenTelemetry's batch processor, because the exporter's cost per batch equals that of hundreds
# of spans. 1024 exchanges are about a megabyte, and collectors accept four. The delay is shorter than the default 5 s,
# so that a trace can be looked up soon.
QUEUE: Final = 4096
BATCH: Final = 1024
DELAY_MS: Final = 1000


class Sent(Struct, frozen=True):
    """How many records were sent, dropped and refused since the export began."""

    sent: int = 0
    dropped: int = 0  # the queue was full
    failed: int = 0  # the collector did not accept them


class Export(Sending[list[ExchangeRecord]]):
    """Sends records as spans.

    Args:
        exporter: the SDK's exporter; only the thread uses it.
        bundle: makes the spans of records.
        queue: maximum number of records in the queue.
        batch: maximum number of records in one request.
        delay_s: how long a record may wait for a batch to fill.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        bundle: Callable[[Sequence[ExchangeRecord]], Sequence[ReadableSpan]],
        *,
        queue: int = QUEUE,
        batch: int = BATCH,
        delay_s: float = DELAY_MS / 1000,
    ) -> None:
        super().__init__("traces", exporter)
        self._exporter = exporter
        self._bundle = bundle
        self._waiting: deque[ExchangeRecord] = deque()
        self._most = queue
        self._batch = batch
        self._delay_s = delay_s
        self._sent = self._dropped = self._failed = 0
        self._thread.start()

    @property
    def counts(self) -> Sent:
        """The counts of records so far."""
        with self._change:
            return Sent(self._sent, self._dropped, self._failed)

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Queue records; drop and count those that do not fit. This never waits for the collector."""
        with self._change:
            room = max(self._most - len(self._waiting), 0)
            self._waiting.extend(records[:room])
            self._dropped += len(records[room:])
            if len(self._waiting) >= self._batch:
                self._change.notify()

    def _next(self) -> list[ExchangeRecord] | None:
        if not self._leaving and len(self._waiting) < self._batch:
            self._change.wait(self._delay_s)
        count = min(self._batch, len(self._waiting))
        return [self._waiting.popleft() for _ in range(count)] or None

    def _export(self, work: list[ExchangeRecord]) -> bool:
        return self._exporter.export(self._bundle(work)) is SpanExportResult.SUCCESS

    def _count(self, work: list[ExchangeRecord], *, taken: bool) -> None:
        if taken:
            self._sent += len(work)
        else:
            self._failed += len(work)


def open_export(
    collector: Collector,
    bundle: Callable[[Sequence[ExchangeRecord]], Sequence[ReadableSpan]],
    environ: Mapping[str, str],
) -> Export:
    """Start to export to a collector, which need not be reachable yet.

    Args:
        collector: where to send the spans.
        bundle: makes the spans of records.
        environ: the environment; OTEL_BSP_* set the queue, the batch and the delay.
    """
    logs.redact([*collector.headers.values(), *secrets(environ)])
    overhear()
    queue = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", QUEUE)
    return Export(
        open_exporter(collector),
        bundle,
        queue=queue,
        batch=min(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH), queue),
        delay_s=_number(environ, "OTEL_BSP_SCHEDULE_DELAY", DELAY_MS) / 1000,
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a positive number from the environment; the specification asks to ignore other values with a warning."""
    text = environ.get(name, "").strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:
        logs.say(logs.WARNING, f"{name} is not a positive number; it is ignored", default=default)
    return default
