"""Which trace stands for a bucket of a histogram?  The last one that was recorded and fell into it.

Only traces that were sampled are offered: others cannot be looked up where traces go.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from edge.native import HIST_BOUNDS_S
from edge.telemetry import catalog
from edge.telemetry.exposition import Exemplar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.telemetry.catalog import Metric
    from edge.terms.trace import ExchangeRecord

# As the shared state counts: whole microseconds, and a bound is in its bucket.
_BOUNDS_US: Final = tuple(round(bound * 1e6) for bound in HIST_BOUNDS_S)
# Routes come from the configuration; this many buckets are more than any has, so that old routes cannot pile up.
_MOST: Final = 100_000


class ExemplarBook:
    """Remembers one exemplar per bucket of the request histograms; :meth:`take` is given what workers recorded."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, tuple[str, ...], int], Exemplar] = {}

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Learn from a batch, the last of which is the newest."""
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
            self._note(catalog.ROUTE_FIRST, route, place, record, record.first_ns)

    def _note(self, metric: Metric, route: str, place: int, record: ExchangeRecord, took_ns: int) -> None:
        value = took_ns / 1e9
        if len(self.found) >= _MOST:
            self.found.clear()
        bound = HIST_BOUNDS_S[place] if place < len(HIST_BOUNDS_S) else value
        ended = (record.started_ns + record.duration_ns) / 1e9
        self.found[metric.name, (route,), place] = Exemplar(record.trace_id, min(value, bound), ended)
