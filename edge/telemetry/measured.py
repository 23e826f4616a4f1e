"""Conversion of a reading into OpenTelemetry's metrics, with the names of its semantic conventions where they apply.

A family in ``CONVENTIONS`` takes the name and the attributes of a convention; those of GenAI apply only to targets that
are models. Tokens keep edge's own name, because the convention requires a histogram per request and only the sum is
known. Every other family gets its Prometheus name with dots, without unit and ``_total``, which a collector adds again.

Sources: OpenTelemetry semantic conventions 1.44 (HTTP and GenAI metrics), compatibility/prometheus_and_openmetrics.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from edge.telemetry import catalog, names
from edge.telemetry.reading import Histogram, Total
from edge.telemetry.spans import resource
from edge.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

    from edge.telemetry.metric import Metric
    from edge.telemetry.reading import Reading, Sample
    from edge.terms.snapshot import Snapshot, Target

_SCOPE: Final = InstrumentationScope("edge", VERSION)
_CUMULATIVE: Final = otel.AggregationTemporality.CUMULATIVE
_UNITS: Final = {"_seconds": "s", "_bytes": "By", "_ratio": "1"}
_UNKNOWN: Final = cast("Any", None)  # minimum and maximum, which the shared state does not keep


class Convention(Struct, frozen=True):
    """The name of a family for targets that are models, and for all others; "": the default name."""

    model: str
    other: str


CONVENTIONS: Final[dict[Metric, Convention]] = {
    catalog.ROUTE_TOTAL: Convention(names.SERVER_DURATION, names.SERVER_DURATION),
    catalog.REQUESTS_INFLIGHT: Convention(names.SERVER_ACTIVE, names.SERVER_ACTIVE),
    catalog.TARGET_TOTAL: Convention(names.MODEL_DURATION, names.CLIENT_DURATION),
    catalog.ATTEMPT_TIME_TO_FIRST_TOKEN: Convention(names.MODEL_FIRST_CHUNK, ""),
}


class Moment(Struct, frozen=True):
    """A reading with what is needed to convert it. Times are Unix nanoseconds."""

    reading: Reading
    snapshot: Snapshot
    started_ns: int  # when the counters were 0
    now_ns: int


def tell(moment: Moment) -> otel.MetricsData:
    """Return a reading as OpenTelemetry's metrics."""
    targets = {target.id: target for target in moment.snapshot.targets}
    found: dict[str, tuple[Metric, str, list[Any]]] = {}
    for metric, samples in moment.reading:
        for sample in samples:
            target = targets.get(sample.labels[0]) if metric.labels[:1] == catalog.TARGET else None
            name, unit = _name(metric, target)
            points = found.setdefault(name, (metric, unit, []))[2]
            points.append(_point(sample, _attributes(metric, sample, target), moment))
    metrics = [
        otel.Metric(name=name, description=metric.help, unit=unit, data=_data(metric, points))
        for name, (metric, unit, points) in found.items()
    ]
    own = resource(moment.snapshot.region, moment.snapshot.node)
    return otel.MetricsData([otel.ResourceMetrics(own, [otel.ScopeMetrics(_SCOPE, metrics, "")], "")])


def _name(metric: Metric, target: Target | None) -> tuple[str, str]:
    """Return the name and the unit of a family."""
    name = metric.name.removesuffix("_total")
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    convention = CONVENTIONS.get(metric)
    if convention is not None:
        said = convention.model if target is not None and target.kind == "model" else convention.other
        if said:
            return said, unit or "{request}"
    for ending in _UNITS:
        name = name.removesuffix(ending)
    return name.replace("_", "."), unit


def _attributes(metric: Metric, sample: Sample, target: Target | None) -> Attributes:
    found: dict[str, str | int] = dict(zip(metric.labels, sample.labels, strict=True))
    if metric in CONVENTIONS and "route" in found:
        found = {names.ROUTE: sample.labels[0]}
    if target is not None:
        found[names.TARGET] = found.pop("target")
        if target.kind == "model":
            found |= {
                names.PROVIDER: names.PROVIDERS.get(target.provider, target.provider),
                names.MODEL: target.model,
                names.ADDRESS: target.host,
            }
        else:
            found |= {names.ADDRESS: target.host, names.PORT: target.port}
    if "kind" in found:
        found[names.TOKEN_TYPE] = {"prompt": "input"}.get(str(found["kind"]), str(found["kind"]))
        del found["kind"]
    return found


def _point(sample: Sample, attributes: Attributes, moment: Moment) -> Any:
    value = sample.value
    if isinstance(value, Histogram | Total):
        return otel.HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=moment.started_ns,
            time_unix_nano=moment.now_ns,
            count=value.count,
            sum=value.sum,
            bucket_counts=list(value.buckets) if isinstance(value, Histogram) else [value.count],
            explicit_bounds=list(value.bounds) if isinstance(value, Histogram) else [],
            min=_UNKNOWN,
            max=_UNKNOWN,
        )
    number = int(value) if value == int(value) else float(value)
    return otel.NumberDataPoint(attributes, moment.started_ns, moment.now_ns, number)


def _data(metric: Metric, points: list[Any]) -> otel.DataT:
    if metric.kind == "counter":
        return otel.Sum(points, _CUMULATIVE, is_monotonic=True)
    if metric.kind == "gauge":
        return otel.Gauge(points)
    return otel.Histogram(points, _CUMULATIVE)
