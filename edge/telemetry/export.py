"""How do traces reach a collector without anybody waiting for it?  A bounded queue, one thread, a count of the lost.

The queue holds records, not spans: what is dropped has cost next to nothing. The thread builds and sends spans in
batches, at the lowest priority the system knows, so that workers come first where the CPU is short. A collector that is
dead, slow or refuses costs records, never a request.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from edge import clock
from edge.telemetry import logs
from edge.telemetry.batches import open_exporter
from edge.telemetry.otlp import secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from edge.telemetry.otlp import Collector
    from edge.terms.trace import ExchangeRecord

# Twice the defaults of OpenTelemetry's batch processor, for a request costs an exporter what hundreds of spans do: 1024
# exchanges are a megabyte, and collectors take four. The delay is shorter: who looks for a trace should not wait 5 s.
QUEUE: Final = 4096
BATCH: Final = 1024
DELAY_MS: Final = 1000
NICENESS: Final = 15
# One line about a collector that fails in so many seconds.
QUIET_S: Final = 60.0


def step_back() -> None:
    """Let others come before the calling thread, where the system allows that: a sandbox's filter of calls may not."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except PermissionError as error:
        logs.say(logs.WARNING, "telemetry is sent with the priority of everything else", error=str(error))


class Sent(Struct, frozen=True):
    """What became of the records of exchanges that were to be exported, since this export began."""

    sent: int = 0
    dropped: int = 0  # the queue was full
    failed: int = 0  # the collector did not take them


class Export:
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
        self._exporter = exporter
        self._bundle = bundle
        self._waiting: deque[ExchangeRecord] = deque()
        self._most = queue
        self._batch = batch
        self._delay_s = delay_s
        self._change = threading.Condition()
        self._leaving = False
        self._sent = self._dropped = self._failed = 0
        self._say_ns = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
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

    def stop(self, limit_s: float = 2.0) -> None:
        """Send what waits, for so long at most, then end. Waits: call it where waiting is allowed."""
        with self._change:
            self._leaving = True
            self._change.notify()
        self._thread.join(limit_s)
        # an export that hangs is cut short; the thread is a daemon and cannot hold the process up
        self._exporter.shutdown()

    def _run(self) -> None:
        step_back()
        while True:
            with self._change:
                if not self._leaving and len(self._waiting) < self._batch:
                    self._change.wait(self._delay_s)
                count = min(self._batch, len(self._waiting))
                records = [self._waiting.popleft() for _ in range(count)]
                if not records and self._leaving:
                    return
            if records:
                self._send(records)

    def _send(self, records: list[ExchangeRecord]) -> None:
        try:
            taken = self._exporter.export(self._bundle(records)) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001  # whatever breaks here, the next batch must be tried
            logs.say_failure("traces could not be exported", error)
            taken = False
        now_ns = clock.now_ns()
        if not taken and now_ns >= self._say_ns:
            self._say_ns = now_ns + int(QUIET_S * 1e9)
            logs.say(logs.WARNING, "the collector does not take traces; they are dropped", why=_OVERHEARD.last)
        with self._change:
            if taken:
                self._sent += len(records)
            else:
                self._failed += len(records)


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
    logs.conceal([*collector.headers.values(), *secrets(environ)])
    _overhear()
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


class _Overheard(logging.Handler):
    """Keeps the last thing the SDK's exporters said, which is why they failed, out of the log and at hand."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


_OVERHEARD: Final = _Overheard()


def overheard() -> str:
    """Return why the SDK's exporter failed last, and take over what it would log."""
    _overhear()
    return _OVERHEARD.last


def _overhear() -> None:
    """Take over what the SDK's exporters would log with every failure; a second call changes nothing."""
    logger = logging.getLogger("opentelemetry.exporter")
    logger.addHandler(_OVERHEARD)
    logger.propagate = False
