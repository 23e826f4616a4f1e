"""Which collector is sent the traces of this node, and what becomes of a change?  One export at a time, or none.

OpenTelemetry's SDK takes a third of a second to import: that happens in a thread, and only where traces are exported.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from edge.telemetry import logs
from edge.telemetry.otlp import collector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.config.schema_telemetry import Telemetry
    from edge.telemetry.encoding import SpanEncoder
    from edge.telemetry.export import Export
    from edge.telemetry.otlp import Collector
    from edge.terms.snapshot import Snapshot
    from edge.terms.trace import ExchangeRecord

EARLY: Final = 1024  # records that wait while an export is being opened; the oldest are left out


class Tracing:
    """Follows the configuration; :meth:`take` is given every record.

    Args:
        environ: OTEL_* variables, for what the configuration does not say.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: tuple[Collector | None, str, str] = (None, "", "")
        self._export: Export | None = None
        self._encoder: SpanEncoder | None = None
        self._opening = False
        self._early: deque[ExchangeRecord] = deque(maxlen=EARLY)
        self._before = (0, 0, 0)  # counts of exports that have ended
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Export these, if anything is exported; what comes while an export is being opened waits for it."""
        if self._export is not None:
            self._export.take(records)
        elif self._opening:
            self._early.extend(records)

    @property
    def exported(self) -> dict[str, int]:
        """What became of records since control was started, by result."""
        sent, dropped, failed = self._before
        if self._export is not None:
            now = self._export.counts
            sent, dropped, failed = sent + now.sent, dropped + now.dropped, failed + now.failed
        return {"sent": sent, "dropped": dropped, "failed": failed}

    def follow(self, telemetry: Telemetry, snapshot: Snapshot) -> None:
        """Export as this configuration says from soon on; returns at once."""
        where = collector(telemetry, self._environ)
        self._opening = where is not None
        task = asyncio.get_running_loop().create_task(self._follow(where, snapshot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send what waits, for a moment, and end."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._turn:
            await self._close()

    async def _follow(self, where: Collector | None, snapshot: Snapshot) -> None:
        async with self._turn:
            wanted = (where, snapshot.region, snapshot.node)
            if wanted == self._known:
                self._opening = False
                if self._encoder is not None:
                    self._encoder.learn(snapshot)
                return
            await self._close()
            self._known = wanted
            if wanted[0] is None:
                return
            try:
                export, encoder = await asyncio.to_thread(self._open, wanted[0], snapshot)
            except Exception as error:  # noqa: BLE001  # traces are worth less than the node that makes them
                logs.say_failure("traces cannot be exported", error)
                self._early.clear()
            else:
                self._export, self._encoder = export, encoder
                export.take(tuple(self._early))
                self._early.clear()
                logs.say(logs.INFO, "traces are exported", collector=wanted[0].url, protocol=wanted[0].protocol)
            self._opening = False

    def _open(self, where: Collector, snapshot: Snapshot) -> tuple[Export, SpanEncoder]:
        from edge.telemetry.batches import Batch  # noqa: PLC0415  # see the question above
        from edge.telemetry.encoding import SpanEncoder  # noqa: PLC0415
        from edge.telemetry.export import open_export  # noqa: PLC0415
        from edge.telemetry.spans import SpanBuilder  # noqa: PLC0415

        encoder = SpanEncoder(SpanBuilder(snapshot))
        return open_export(where, lambda records: Batch(records, encoder), self._environ), encoder

    async def _close(self) -> None:
        export, self._export, self._encoder = self._export, None, None
        if export is not None:
            await asyncio.to_thread(export.stop)
            counts = export.counts
            sent, dropped, failed = self._before
            self._before = (sent + counts.sent, dropped + counts.dropped, failed + counts.failed)
