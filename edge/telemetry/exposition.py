"""Rendering of metrics for Prometheus: text format 0.0.4, or OpenMetrics 1.0 with exemplars.

Sources: prometheus.io/docs/instrumenting/exposition_formats; OpenMetrics 1.0 (RFC draft richih-opsawg-openmetrics-00).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.telemetry import catalog
from edge.telemetry.reading import Histogram, Total

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.telemetry.metric import Metric
    from edge.telemetry.reading import Reading, Sample

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exemplar(Struct, frozen=True):
    """A request that fell into a bucket: its trace, its duration in seconds, and its Unix time."""

    trace_id: str
    value: float
    when: float


Exemplars = Mapping[tuple[str, tuple[str, ...], int], Exemplar]
"""Exemplars by name of the metric, values of its labels, and index of the bucket."""


def form_of(accept: str) -> str:
    """Return the content type for an ``Accept`` field: OpenMetrics if it is named there, else text format 0.0.4."""
    for item in accept.lower().split(","):
        words = [word.strip() for word in item.split(";")]
        if words[0] == "application/openmetrics-text" and not any(
            word.startswith("q=0") and not word[2:].strip("0.") for word in words[1:]
        ):
            return OPENMETRICS
    return PROMETHEUS


def prometheus(reading: Reading) -> str:
    """Return the page in text format 0.0.4."""
    out: list[str] = []
    for metric in catalog.ALL:
        samples = reading.of(metric)
        if samples:
            out += (f"# HELP {metric.name} {_escape_help(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
            out += (line for sample in samples for line in _lines(metric, sample, {}))
    return "\n".join(out) + "\n"


def openmetrics(reading: Reading, exemplars: Exemplars) -> str:
    """Return the page in OpenMetrics 1.0: families without ``_total``, exemplars on histograms, a final ``# EOF``."""
    out: list[str] = []
    for metric in catalog.ALL:
        samples = reading.of(metric)
        if samples:
            family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
            kind: str = metric.kind
            if family.endswith("_info"):
                family, kind = family.removesuffix("_info"), "info"
            out += (f"# TYPE {family} {kind}", f"# HELP {family} {_escape(metric.help)}")
            out += (line for sample in samples for line in _lines(metric, sample, exemplars))
    return "\n".join([*out, "# EOF"]) + "\n"


def _lines(metric: Metric, sample: Sample, exemplars: Exemplars) -> Iterator[str]:
    value, labels = sample.value, sample.labels
    pairs = [f'{name}="{_escape(label)}"' for name, label in zip(metric.labels, labels, strict=True)]
    if isinstance(value, Histogram):
        count = 0
        for place, (bucket, bound) in enumerate(zip(value.buckets, (*value.bounds, None), strict=True)):
            count += bucket
            le = f'le="{"+Inf" if bound is None else float(bound)}"'
            line = f"{metric.name}_bucket{_set([*pairs, le])} {count}"
            exemplar = exemplars.get((metric.name, labels, place)) if exemplars else None
            if exemplar is not None and bucket:
                line += f' # {{trace_id="{exemplar.trace_id}"}} {exemplar.value:.9g} {exemplar.when:.3f}'
            yield line
        yield f"{metric.name}_sum{_set(pairs)} {value.sum:.10g}"
        yield f"{metric.name}_count{_set(pairs)} {count}"
    elif isinstance(value, Total):
        yield f"{metric.name}_sum{_set(pairs)} {value.sum:.10g}"
        yield f"{metric.name}_count{_set(pairs)} {value.count}"
    else:
        yield f"{metric.name}{_set(pairs)} {_number(value)}"


def _number(value: float) -> str:
    """Return a number as text; integers keep all digits, because a counter of bytes exceeds ten digits in a day."""
    return str(int(value)) if value == int(value) else f"{value:.10g}"


def _set(pairs: Sequence[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(sentence: str) -> str:
    return sentence.replace("\\", "\\\\").replace("\n", "\\n")
