"""Exemplars for the latency histograms: the latest recorded trace of each bucket.

Only sampled traces are used, because others were not sent to the tracing backend.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from edge.native import HIST_BOUNDS_S
from edge.telemetry import catalog
from edge.telemetry.exposition import Exemplar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.telemetry.metric import Metric
    from edge.terms.trace import ExchangeRecord

# As in the shared state: whole microseconds, and an upper bound belongs to its bucket.
_BOUNDS_US: Final = tuple(round(bound * 1e6) for bound in HIST_BOUNDS_S)
# Far more buckets than any configuration has; prevents routes of old configurations from accumulating.
_MOST: Final = 100_000


class ExemplarBook:
    """Keeps one exemplar per bucket of the request histograms; :meth:`take` receives the records of workers."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, tuple[str, ...], int], Exemplar] = {}

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Update the exemplars from a batch of records, whose last one is the newest."""
        whole: dict[tuple[str, int], ExchangeRecord] = {}
        first: dict[tuple[str, int], ExchangeRecord] = {}
        for record in records:
            route = record.route
            if record.sampled and route:
                whole[route, bisect_left(_BOUNDS_US, record.duration_ns // 1000)] = record
                if record.first_ns >= 0:
                    first[route, bisect_left(_BOUNDS_US, record.first_ns // 1000)] = record
        for (route, place), record in whole.items():
            self._note(catalog.ROUTE_TOTAL, route, place, record, record.duration_ns)
        for (route, place), record in first.items():
            self._note(catalog.TIME_TO_FIRST_TOKEN, route, place, record, record.first_ns)

    def _note(self, metric: Metric, route: str, place: int, record: ExchangeRecord, took_ns: int) -> None:
        value = took_ns / 1e9
        if len(self.found) >= _MOST:
            self.found.clear()
        bound = HIST_BOUNDS_S[place] if place < len(HIST_BOUNDS_S) else value
        ended = (record.started_ns + record.duration_ns) / 1e9
        self.found[metric.name, (route,), place] = Exemplar(record.trace_id, min(value, bound), ended)
