"""Export of the node's traces by OTLP: at most one export at a time, replaced when the configuration changes.

Importing OpenTelemetry's SDK takes a third of a second, so it happens in a thread, and only if traces are exported.
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

EARLY: Final = 1024  # records kept while an export is being opened; the oldest are dropped


class Tracing:
    """Exports records as the configuration says; :meth:`take` gets every record.

    Args:
        environ: environment with the OTEL_* variables, for values that the configuration omits.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: tuple[Collector | None, str, str] = (None, "", "")
        self._export: Export | None = None
        self._encoder: SpanEncoder | None = None
        self._opening = False
        self._early: deque[ExchangeRecord] = deque(maxlen=EARLY)
        self._before = (0, 0, 0)  # counts of closed exports
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Export records, if configured; records that arrive while an export is being opened wait for it."""
        if self._export is not None:
            self._export.take(records)
        elif self._opening:
            self._early.extend(records)

    @property
    def exported(self) -> dict[str, int]:
        """Number of records since control was started, by result."""
        sent, dropped, failed = self._before
        if self._export is not None:
            now = self._export.counts
            sent, dropped, failed = sent + now.sent, dropped + now.dropped, failed + now.failed
        return {"sent": sent, "dropped": dropped, "failed": failed}

    def follow(self, telemetry: Telemetry, snapshot: Snapshot) -> None:
        """Export as this configuration says, once the export is open; returns at once."""
        where = collector(telemetry, self._environ)
        self._opening = where is not None
        task = asyncio.get_running_loop().create_task(self._follow(where, snapshot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send waiting records, for a limited time, and close."""
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
            except Exception as error:  # noqa: BLE001  # a failing export must not end the control process
                logs.say_failure("traces cannot be exported", error)
                self._early.clear()
            else:
                self._export, self._encoder = export, encoder
                export.take(tuple(self._early))
                self._early.clear()
                logs.say(logs.INFO, "traces are exported", collector=wanted[0].url, protocol=wanted[0].protocol)
            self._opening = False

    def _open(self, where: Collector, snapshot: Snapshot) -> tuple[Export, SpanEncoder]:
        from edge.telemetry.batches import Batch  # noqa: PLC0415  # slow import, see the module's docstring
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
