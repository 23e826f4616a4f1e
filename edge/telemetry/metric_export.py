"""Export of metrics to a collector by a thread that sends the newest reading.

A reading that the thread has no time for is replaced by the next one; cumulative counters lose nothing by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from edge.telemetry import logs
from edge.telemetry.measured import Moment, tell
from edge.telemetry.otlp import secrets
from edge.telemetry.sending import Sending, overhear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.telemetry.otlp import Collector

# How long a collector may take to accept a reading before it is given up; the next one is due soon.
TIMEOUT_S: Final = 5.0


class MetricExport(Sending[Moment]):
    """Sends readings; ``sent`` counts those that were accepted, ``failed`` the others.

    Args:
        exporter: the SDK's exporter; only the thread uses it.
    """

    def __init__(self, exporter: MetricExporter) -> None:
        super().__init__("metrics", exporter)
        self._exporter = exporter
        self._newest: Moment | None = None
        self.sent = self.failed = 0
        self._thread.start()

    def offer(self, moment: Moment) -> None:
        """Send this reading as soon as the thread is free. This never waits for the collector."""
        with self._change:
            self._newest = moment
            self._change.notify()

    def _next(self) -> Moment | None:
        if self._newest is None and not self._leaving:
            self._change.wait(1.0)
        moment, self._newest = self._newest, None
        return moment

    def _export(self, work: Moment) -> bool:
        return self._exporter.export(tell(work), TIMEOUT_S * 1000) is MetricExportResult.SUCCESS

    def _count(self, work: Moment, *, taken: bool) -> None:  # noqa: ARG002  # every reading counts as one
        if taken:
            self.sent += 1
        else:
            self.failed += 1


def open_metric_export(collector: Collector, environ: Mapping[str, str]) -> MetricExport:
    """Start to export to a collector, which need not be reachable yet.

    Args:
        collector: where to send the readings.
        environ: the environment; OTEL_EXPORTER_OTLP_TIMEOUT bounds one export.
    """
    logs.redact([*collector.headers.values(), *secrets(environ)])
    headers = collector.headers or None
    told = any(environ.get(f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT") for signal in ("", "METRICS_"))
    timeout = None if told else TIMEOUT_S
    overhear()
    if collector.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as over_grpc  # noqa: PLC0415

        exporter: MetricExporter = over_grpc.OTLPMetricExporter(
            endpoint=collector.url, headers=headers, timeout=timeout
        )
        return MetricExport(exporter)
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as over_http  # noqa: PLC0415

    return MetricExport(over_http.OTLPMetricExporter(endpoint=collector.url, headers=headers, timeout=timeout))
