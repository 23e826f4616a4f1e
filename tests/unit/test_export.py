"""Where traces are sent, what they contain, and that nothing waits for a collector."""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest
from msgspec import structs
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.semconv import attributes as stable
from opentelemetry.semconv import metrics as stable_metrics
from opentelemetry.semconv._incubating import attributes as incubating
from opentelemetry.semconv._incubating import metrics as incubating_metrics
from opentelemetry.trace import SpanKind, StatusCode
from plans import snapshot
from records import attempt, record

from edge.config.fields import Secret
from edge.config.schema import Telemetry
from edge.telemetry import logs, names
from edge.telemetry.batches import Batch
from edge.telemetry.encoding import SpanEncoder
from edge.telemetry.export import Export, Sent, open_export
from edge.telemetry.metric_export import open_metric_export
from edge.telemetry.otlp import Collector, collector
from edge.telemetry.spans import SpanBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from edge.terms.trace import ExchangeRecord


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ({}, {}, None),
        ({"otlp": "http://c:4317"}, {}, Collector("http://c:4317", "grpc")),
        ({"otlp": "http://c:4318"}, {}, Collector("http://c:4318/v1/traces", "http")),
        ({"otlp": "http://c:4318/v1/traces"}, {}, Collector("http://c:4318/v1/traces", "http")),
        ({"otlp": "https://c/otlp/", "protocol": "http"}, {}, Collector("https://c/otlp/v1/traces", "http")),
        ({"otlp": "http://c:4317"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:1"}, Collector("http://c:4317", "grpc")),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:4317"}, Collector("http://d:4317", "grpc")),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "d:4317"}, Collector("http://d:4317", "grpc")),
        (
            {},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            Collector("http://d:9/v1/traces", "http"),
        ),
        (
            {},
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:9/in",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            Collector("http://d:9/in", "http"),
        ),
        ({"otlp": "http://c:4317"}, {"OTEL_SDK_DISABLED": "true"}, None),
        ({"otlp": "http://c:4317"}, {"OTEL_TRACES_EXPORTER": "none"}, None),
        (
            {"otlp": "http://c:4317", "headers": {"X-Token": Secret("t")}},
            {},
            Collector("http://c:4317", "grpc", {"x-token": "t"}),
        ),
    ],
)
def test_collector(written: dict[str, Any], environ: dict[str, str], expected: Collector | None) -> None:
    """The file wins, the variables fill the rest, and each protocol gets its URL."""
    assert collector(Telemetry(**written), environ) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://d:notaport",
        "http://d:99999",
        "http://d:0",
        "::::",
        "http://[::1",
        "file:///etc/passwd",
        "http://",
        "http://a b:1",
        "http://169.254.169.254:4317",
        "http://edge:pass-w0rd@d:nowhere",
    ],
)
@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_a_variable_that_is_no_address_is_a_warning(
    url: str, signal: Literal["traces", "metrics"], caplog: pytest.LogCaptureFixture
) -> None:
    """An invalid variable disables the export with a warning that does not quote it, and the node starts."""
    for name in ("ENDPOINT", f"{signal.upper()}_ENDPOINT"):
        caplog.clear()
        assert collector(Telemetry(), {f"OTEL_EXPORTER_OTLP_{name}": url}, signal) is None
        (line,) = caplog.records
        assert f"{signal} are not exported" in line.getMessage()
        assert "w0rd" not in line.getMessage()


def test_collector_hides_its_headers() -> None:
    """The repr of a collector does not show its token."""
    assert "t0ken" not in repr(Collector("http://c:4317", "grpc", {"x-token": "t0ken"}))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_the_variables_say_in_confidence_is_in_no_line(
    protocol: Literal["grpc", "http"], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SDK logs fields that it cannot parse; edge's log has none of their values, and no password of a URL."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api key=sk-0123456789,authorization=Bearer%20tk-9876543210",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "also wrong=mk-5555555555",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://edge:pass-w0rd-word@127.0.0.1:9",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    logs.set_up("control", form="json")
    url = "http://127.0.0.1:9" if protocol == "grpc" else "http://127.0.0.1:9/v1/traces"
    exports = [
        open_export(Collector(url, protocol), lambda _: [], environ),
        open_metric_export(Collector(url, protocol), environ),
    ]
    logs.say(logs.INFO, "exported", collector=environ["OTEL_EXPORTER_OTLP_ENDPOINT"], token="tk-9876543210")
    for export in exports:
        export.stop()
    said = capsys.readouterr().err
    assert said.count("Header format invalid") == 2
    for secret in ("0123456789", "9876543210", "5555555555", "w0rd"):
        assert secret not in said


def test_a_sandbox_that_fixes_priorities_costs_no_telemetry(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a system call filter forbids lower priorities, a line says so, and everything is exported."""

    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    exporter = Collected()
    exporter.gate.set()
    export = Export(exporter, bundle)
    export.take([record()])
    export.stop(limit_s=10)
    assert export.counts == Sent(sent=1)
    assert "cannot lower the priority of the telemetry thread" in caplog.text


def test_names_are_those_of_the_conventions() -> None:
    """Every attribute and metric that is not edge's own is in the installed semantic conventions."""
    import importlib
    import pkgutil

    known = set()
    for package in (stable, incubating, stable_metrics, incubating_metrics):
        for module in pkgutil.iter_modules(package.__path__):
            found = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            known |= {value for value in found.values() if isinstance(value, str)}
    ours = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and "." in value and not value.startswith("edge.")
    }
    assert len(ours) > 15
    assert ours - known == set()


def built(**more: Any) -> list[ReadableSpan]:
    """Return the spans of a record."""
    return SpanBuilder(snapshot()).spans(record(**more))


@pytest.mark.parametrize(
    ("more", "code", "error"),
    [
        ({"status": 200}, StatusCode.UNSET, None),
        ({"status": 404}, StatusCode.UNSET, None),
        ({"status": 503}, StatusCode.ERROR, "503"),
        ({"status": 0}, StatusCode.ERROR, "broken"),
        ({"status": -1}, StatusCode.UNSET, None),
        ({"status": 200, "grpc": True, "grpc_status": 14}, StatusCode.ERROR, "UNAVAILABLE"),
        ({"status": 200, "grpc": True, "grpc_status": 5}, StatusCode.UNSET, None),
        ({"status": 200, "grpc": True, "grpc_status": 0}, StatusCode.UNSET, None),
    ],
)
def test_status_of_a_server(more: dict[str, Any], code: StatusCode, error: str | None) -> None:
    """Faults and departures of the client are no errors of the SERVER span; failures of edge are."""
    span = built(**more)[0]
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is code
    assert (span.attributes or {}).get(names.ERROR) == error


def test_status_of_attempts() -> None:
    """A failed attempt has its reason; its siblings are counted; a circuit that it opened is an event."""
    failed = attempt(outcome="fail_status", detail="status 500", status=500, tripped=True)
    spans = built(attempts=(failed, attempt(span_id="b" * 16)))
    _, first, second = spans
    assert [span.kind for span in spans[1:]] == [SpanKind.CLIENT] * 2
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "status 500"
    assert (first.attributes or {})[names.ERROR] == "fail_status"
    assert [event.name for event in first.events] == [names.CIRCUIT_OPENED]
    assert second.status.status_code is StatusCode.UNSET
    assert (second.attributes or {})[names.RESEND] == 1
    assert first.parent == second.parent == spans[0].context


def test_unknown_methods_collapse() -> None:
    """Unknown methods of HTTP and gRPC do not create new span names."""
    assert built(method="BREW", operation="", kind="")[0].name == "HTTP"
    for span in built(method="BREW", operation="", kind="service"):
        assert span.name.split()[0] == "HTTP"
        assert (span.attributes or {})["http.request.method"] == "_OTHER"
    assert built(grpc=True, path="/a.B/Invented", kind="service", status=200, grpc_status=12)[0].name == "grpc"


def test_link() -> None:
    """A restarted trace links to the caller's trace."""
    (link,) = built(link=f"{'c' * 32}-{'d' * 16}")[0].links
    assert (link.context.trace_id, link.context.span_id) == (int("c" * 32, 16), int("d" * 16, 16))


def bundle(records: Sequence[ExchangeRecord]) -> Batch:
    """Return the spans of records, as a node has them."""
    return Batch(records, SpanEncoder(SpanBuilder(snapshot())))


class Collected(SpanExporter):
    """An exporter that takes spans only when it is allowed to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait for the gate, then take the spans."""
        self.gate.wait(30)
        if isinstance(self.result, SpanExportResult):
            self.spans += spans
            return self.result
        raise OSError("nothing there")

    def shutdown(self) -> None:
        """Open the gate."""
        self.gate.set()


def settled(export: Export, count: int) -> Sent:
    """Wait until this many records have been exported or dropped."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        counts = export.counts
        if counts.sent + counts.failed >= count:
            return counts
        time.sleep(0.01)
    raise AssertionError(export.counts)


def test_a_slow_collector_costs_records_and_no_time() -> None:
    """With a hanging collector, adding records stays fast; dropped records are counted, the rest is sent."""
    exporter = Collected()
    export = Export(exporter, bundle, queue=100, batch=10, delay_s=0.01)
    began = time.monotonic()
    for _ in range(1000):
        export.take((record(), record()))
    took_s = time.monotonic() - began
    dropped = export.counts.dropped
    assert 2000 - 110 <= dropped <= 2000 - 100
    assert took_s < 15
    exporter.gate.set()
    assert settled(export, 2000 - dropped) == Sent(sent=2000 - dropped, dropped=dropped, failed=0)
    export.stop()
    assert len(exporter.spans) == 2 * (2000 - dropped)


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None])
def test_a_collector_that_refuses_is_counted(result: Any) -> None:
    """A refusal, or an exporter that raises, is counted and does not end the thread."""
    exporter = Collected()
    exporter.gate.set()
    exporter.result = result
    export = Export(exporter, bundle, delay_s=0.01)
    export.take((record(),))
    assert settled(export, 1) == Sent(sent=0, dropped=0, failed=1)
    exporter.result = SpanExportResult.SUCCESS
    export.take((record(),))
    assert settled(export, 2) == Sent(sent=1, dropped=0, failed=1)
    export.stop()


def test_what_waits_is_sent_at_the_end() -> None:
    """A stop sends the queued records, and returns in time even if the collector hangs."""
    exporter = Collected()
    exporter.gate.set()
    export = Export(exporter, bundle, delay_s=60)
    export.take((record(), record()))
    export.stop()
    assert len(exporter.spans) == 4
    took_s = []
    for _ in range(3):
        hanging = Export(Collected(), bundle, delay_s=0.01)
        hanging.take((record(),))
        began = time.monotonic()
        hanging.stop(0.1)
        took_s.append(time.monotonic() - began)
    assert statistics.median(took_s) < 2  # without a limit it waits for ever


def test_targets_of_a_new_snapshot_are_known() -> None:
    """A new target has its address in spans; a removed target still has its name."""
    plan = snapshot()
    builder = SpanBuilder(plan)
    builder.learn(structs.replace(plan, targets=()))
    span = builder.spans(record(attempts=(attempt(target=plan.targets[0].id),)))[1]
    assert (span.attributes or {})[names.TARGET] == plan.targets[0].id
    assert names.ADDRESS not in (span.attributes or {})
