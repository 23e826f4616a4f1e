"""A reading of all metrics at one moment: samples by family, independent of the output format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.telemetry.metric import Metric


class Histogram(Struct, frozen=True):
    """Counts by size. ``buckets`` are not cumulative; there is one more than ``bounds``, which are inclusive maxima."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self.buckets)


def quantile_bucket(share: float, buckets: Sequence[int]) -> int | None:
    """Return the index of the bucket that holds a quantile (``share`` of the observations); None without data."""
    total, below = sum(buckets), 0
    for place, count in enumerate(buckets):
        below += count
        if total and below >= share * total:
            return place
    return None


class Total(Struct, frozen=True):
    """The count and the sum of a summary."""

    count: int
    sum: float


Value = float | Histogram | Total


class Sample(Struct, frozen=True):
    """One value; ``labels`` are in the order of the metric's label names."""

    labels: tuple[str, ...]
    value: Value


class Reading:
    """Samples by family, in the order in which the families were first added."""

    def __init__(self) -> None:
        self._families: dict[Metric, list[Sample]] = {}

    def add(self, metric: Metric, labels: Sequence[str], value: Value) -> None:
        """Add one sample; raise ValueError if the number of labels is not the metric's."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not the values {labels}")
        self._families.setdefault(metric, []).append(Sample(tuple(labels), value))

    def of(self, metric: Metric) -> list[Sample]:
        """Return the samples of a family."""
        return self._families.get(metric, [])

    def __iter__(self) -> Iterator[tuple[Metric, list[Sample]]]:
        return iter(self._families.items())
