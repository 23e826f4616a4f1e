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

# Routes come from the configuration; this many buckets are more than any has, so that old routes cannot pile up.
_MOST: Final = 100_000


class ExemplarBook:
    """Remembers one exemplar per bucket of the request histograms; :meth:`take` is given what workers recorded."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, tuple[str, ...], int], Exemplar] = {}

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Learn from a batch."""
        for record in records:
            if record.sampled and record.route:
                ended = (record.began_ns + record.duration_ns) / 1e9
                self._note(catalog.ROUTE_TOTAL, record, record.duration_ns, ended)
                if record.first_ns >= 0:
                    self._note(catalog.ROUTE_FIRST, record, record.first_ns, ended)

    def _note(self, metric: Metric, record: ExchangeRecord, took_ns: int, when: float) -> None:
        value = took_ns / 1e9
        # as the Board counts: whole microseconds, and a bound is in its bucket
        place = bisect_left(HIST_BOUNDS_S, took_ns // 1000 / 1e6)
        if len(self.found) >= _MOST:
            self.found.clear()
        bound = HIST_BOUNDS_S[place] if place < len(HIST_BOUNDS_S) else value
        self.found[metric.name, (record.route,), place] = Exemplar(record.trace_id, min(value, bound), when)
