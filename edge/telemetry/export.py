"""How do traces reach a collector without anybody waiting for it?  A bounded queue, one thread, a count of the lost.

The queue holds records, not spans: what is dropped has cost next to nothing. The thread encodes and sends spans in
batches. A collector that is dead, slow or refuses costs records, never a request.
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
from edge.terms.trace import ExchangeRecord  # the base class is looked up with it

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from edge.telemetry.otlp import Collector

# Twice the defaults of OpenTelemetry's batch processor, for a request costs an exporter what hundreds of spans do: 1024
# exchanges are a megabyte, and collectors take four. The delay is shorter: who looks for a trace should not wait 5 s.
QUEUE: Final = 4096
BATCH: Final = 1024
DELAY_MS: Final = 1000


class Sent(Struct, frozen=True):
    """What became of the records of exchanges that were to be exported, since this export began."""

    sent: int = 0
    dropped: int = 0  # the queue was full
    failed: int = 0  # the collector did not take them


class Export(Sending[list[ExchangeRecord]]):
    """Sends records as spans.

    Args:
        exporter: speaks to the collector; used and closed by the thread alone.
        bundle: makes the spans of records.
        queue: records held at most.
        batch: records sent at once, at most.
        delay_s: how long a record may wait for others.
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
        """What became of the records so far."""
        with self._change:
            return Sent(self._sent, self._dropped, self._failed)

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Queue these; those for which there is no room are dropped and counted. Never waits for the collector."""
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
    """Begin to export to a collector. It need not be there yet.

    Args:
        collector: who is sent the spans.
        bundle: makes the spans of records.
        environ: OTEL_BSP_* bound queue, batch and delay.
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
    """Return a positive number of the environment; the specification has nonsense ignored with a warning."""
    text = environ.get(name, "").strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:
        logs.say(logs.WARNING, f"{name} is not a positive number; it is ignored", default=default)
    return default
