"""Periodic export of the node's metrics by OTLP; a changed configuration takes effect at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.telemetry import logs
from edge.telemetry.otlp import collector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema_telemetry import Telemetry
    from edge.control.node import Node
    from edge.telemetry.metric_export import MetricExport
    from edge.telemetry.otlp import Collector

_S: Final = 1_000_000_000


class Measuring:
    """Reads the node's metrics periodically and exports them; only the reading happens on the event loop.

    Args:
        environ: environment with the OTEL_* variables, for values that the configuration omits.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._wanted: tuple[Collector, int] | None = None
        self._known: Collector | None = None
        self._changed = asyncio.Event()
        self._export: MetricExport | None = None
        self._before = (0, 0)  # counts of closed exports
        self._started_ns: int | None = None

    @property
    def exported(self) -> dict[str, int]:
        """Number of readings since control was started, by result."""
        sent, failed = self._before
        if self._export is not None:
            sent, failed = sent + self._export.sent, failed + self._export.failed
        return {"sent": sent, "failed": failed}

    def follow(self, telemetry: Telemetry) -> None:
        """Export as this configuration says from now on."""
        found = collector(telemetry, self._environ, "metrics") if telemetry.metrics else None
        self._wanted = None if found is None else (found, telemetry.metrics_every)
        self._changed.set()

    async def run(self, node: Node) -> None:
        """Export until cancelled."""
        try:
            while True:
                self._changed.clear()
                wait_s = await self._turn(node)
                try:
                    await asyncio.wait_for(self._changed.wait(), wait_s)
                except TimeoutError:
                    continue
        finally:
            await asyncio.shield(self._close())

    async def _turn(self, node: Node) -> float | None:
        """Export a reading, if configured; return the seconds until the next one, None: there is none."""
        wanted = self._wanted[0] if self._wanted is not None else None
        if wanted != self._known:
            await self._close()
            self._known = wanted
            if wanted is not None:
                self._export = await self._open(wanted)
        if self._wanted is None:
            return None
        if self._export is not None:
            from edge.telemetry.measured import Moment  # noqa: PLC0415  # importing the SDK takes a third of a second

            wall_ns = int(clock.wall() * _S)
            started_ns = self._since(wall_ns, clock.now_ns() - node.shared_state.created_ns)
            self._export.offer(Moment(node.read(), node.snapshot, started_ns, wall_ns))
        return self._wanted[1] / _S

    def _since(self, wall_ns: int, age_ns: int) -> int:
        """Return the time at which the counters were 0; a collector takes another start time for a reset.

        The start time stays the same although the clock may be set or the machine may sleep, because the counters
        continue. It moves only if it would be later than the reading, which no collector accepts.
        """
        if self._started_ns is None or self._started_ns > wall_ns:
            self._started_ns = wall_ns - age_ns
        return self._started_ns

    async def _open(self, where: Collector) -> MetricExport | None:
        def begin() -> MetricExport:
            from edge.telemetry.metric_export import open_metric_export  # noqa: PLC0415  # as above

            return open_metric_export(where, self._environ)

        try:
            export = await asyncio.to_thread(begin)
        except Exception as error:  # noqa: BLE001  # a failing export must not end the control process
            logs.say_failure("metrics cannot be exported", error)
            return None
        logs.say(logs.INFO, "metrics are exported", collector=where.url, protocol=where.protocol)
        return export

    async def _close(self) -> None:
        export, self._export = self._export, None
        if export is not None:
            await asyncio.to_thread(export.stop)
            self._before = (self._before[0] + export.sent, self._before[1] + export.failed)
