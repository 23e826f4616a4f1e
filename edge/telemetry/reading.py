"""What was read at one moment?  Samples of the catalogue's families, before anyone decides how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.telemetry.catalog import Metric


class Histogram(Struct, frozen=True):
    """Counts by size: ``buckets`` has one more than ``bounds`` (upper, inclusive), and does not add up."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)


class Total(Struct, frozen=True):
    """How many there were and what they come to: of a summary."""

    count: int
    sum: float


Value = float | Histogram | Total


class Sample(Struct, frozen=True):
    """One value; ``labels`` stand in the order of the metric's."""

    labels: tuple[str, ...]
    value: Value


class Reading:
    """Samples by family, in the order in which the families were first met."""

    def __init__(self) -> None:
        self._families: dict[Metric, list[Sample]] = {}

    def add(self, metric: Metric, labels: Sequence[str], value: Value) -> None:
        """Add one sample; ValueError when it has not exactly the metric's labels."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not the values {labels}")
        self._families.setdefault(metric, []).append(Sample(tuple(labels), value))

    def of(self, metric: Metric) -> list[Sample]:
        """Return what was read of one family."""
        return self._families.get(metric, [])

    def __iter__(self) -> Iterator[tuple[Metric, list[Sample]]]:
        return iter(self._families.items())
