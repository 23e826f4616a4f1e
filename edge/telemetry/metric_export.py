"""How do metrics reach a collector without anybody waiting for it?  One thread, which has the newest reading or none.

A reading that the thread had no time for is replaced by the next: counters lose nothing by that.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from edge import clock
from edge.telemetry import logs
from edge.telemetry.export import QUIET_S, overheard, step_back
from edge.telemetry.measured import tell
from edge.telemetry.otlp import secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.telemetry.measured import Moment
    from edge.telemetry.otlp import Collector

# A collector that has not taken a page by then does not get it; the next one is due soon.
TIMEOUT_S: Final = 5.0


class MetricExport:
    """Sends readings; ``failed`` counts those that were not taken, ``sent`` the others.

    Args:
        exporter: speaks to the collector; used by the thread alone.
    """

    def __init__(self, exporter: MetricExporter) -> None:
        self._exporter = exporter
        self._change = threading.Condition()
        self._newest: Moment | None = None
        self._leaving = False
        self._say_ns = 0
        self.sent = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def offer(self, moment: Moment) -> None:
        """Have this sent as soon as the thread is free. Never waits for the collector."""
        with self._change:
            self._newest = moment
            self._change.notify()

    def stop(self, limit_s: float = 2.0) -> None:
        """Send what waits, for so long at most, then end. Waits: call it where waiting is allowed."""
        with self._change:
            self._leaving = True
            self._change.notify()
        self._thread.join(limit_s)
        self._exporter.shutdown()

    def _run(self) -> None:
        step_back()
        while True:
            with self._change:
                while self._newest is None:
                    if self._leaving:
                        return
                    self._change.wait(1.0)
                moment, self._newest = self._newest, None
            self._send(moment)

    def _send(self, moment: Moment) -> None:
        try:
            taken = self._exporter.export(tell(moment), TIMEOUT_S * 1000) is MetricExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001  # whatever breaks here, the next reading must be tried
            logs.say_failure("metrics could not be exported", error)
            taken = False
        now_ns = clock.now_ns()
        if taken:
            self.sent += 1
            return
        self.failed += 1
        if now_ns >= self._say_ns:
            self._say_ns = now_ns + int(QUIET_S * 1e9)
            logs.say(logs.WARNING, "the collector does not take metrics", why=overheard())


def open_metric_export(collector: Collector, environ: Mapping[str, str]) -> MetricExport:
    """Begin to export to a collector. It need not be there yet.

    Args:
        collector: who is sent the readings.
        environ: OTEL_EXPORTER_OTLP_TIMEOUT bounds an export.
    """
    logs.conceal([*collector.headers.values(), *secrets(environ)])
    headers = collector.headers or None
    told = any(environ.get(f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT") for signal in ("", "METRICS_"))
    timeout = None if told else TIMEOUT_S
    overheard()
    if collector.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as over_grpc  # noqa: PLC0415

        exporter: MetricExporter = over_grpc.OTLPMetricExporter(
            endpoint=collector.url, headers=headers, timeout=timeout
        )
        return MetricExport(exporter)
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as over_http  # noqa: PLC0415

    return MetricExport(over_http.OTLPMetricExporter(endpoint=collector.url, headers=headers, timeout=timeout))
