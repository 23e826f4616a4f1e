"""``edge top`` shows what happened between two readings, and nothing of what came before."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs
from rich.console import Console
from test_meters import everything, page

from edge.admin.views import metrics_view
from edge.cli import rates, top
from edge.native import HIST_BOUNDS_S
from edge.telemetry import catalog
from edge.telemetry.reading import Histogram, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.telemetry.metric import Metric

Changes = dict[tuple["Metric", tuple[str, ...]], float]


def reading(
    changes: Mapping[tuple[Metric, tuple[str, ...]], float], first: Mapping[int, int] | None = None
) -> rates.Page:
    """Return a node's response with these numbers: ``first`` are buckets of the time to first content."""
    plan, shared_state = everything()
    changed = Reading()
    for metric, samples in page(shared_state, plan):
        for sample in samples:
            value: Any = changes.get((metric, sample.labels), sample.value)
            if isinstance(value, Histogram) and metric in (
                catalog.TIME_TO_FIRST_TOKEN,
                catalog.ATTEMPT_TIME_TO_FIRST_TOKEN,
            ):
                buckets = [(first or {}).get(place, 0) for place in range(len(HIST_BOUNDS_S) + 1)]
                value = structs.replace(value, buckets=tuple(buckets))
            changed.add(metric, sample.labels, value)
    said: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(metrics_view(changed)))
    return rates.page_of(said)


BEFORE = {
    (catalog.REQUESTS, ("chat",)): 1000,
    (catalog.RESPONSES, ("chat", "2xx")): 900,
    (catalog.ATTEMPTS, ("one/small", "ok")): 900,
}
NOW = {
    (catalog.REQUESTS, ("chat",)): 1050,
    (catalog.RESPONSES, ("chat", "2xx")): 930,
    (catalog.RESPONSES, ("chat", "5xx")): 8,
    (catalog.RESPONSES, ("chat", "broken")): 2,
    (catalog.REQUESTS_INFLIGHT, ("chat",)): 7,
    (catalog.RATE_LIMITED_REQUESTS, ("chat",)): 5,
    (catalog.SHED, ("chat", "low")): 5,
    (catalog.ROUTE_TOKENS, ("chat", "output")): 500,
    (catalog.ROUTE_COST, ("chat",)): 0.5,
    (catalog.ATTEMPTS_STARTED, ("one/small",)): 60,
    (catalog.ATTEMPTS, ("one/small", "ok")): 930,
    (catalog.ATTEMPTS, ("one/small", "fail_status")): 10,
    (catalog.ATTEMPTS, ("one/small", "cancelled")): 100,
    (catalog.STATE, ("one/small", "rate_limited")): 0,
    (catalog.STATE, ("one/small", "quarantined")): 1,
}


def test_rates_are_of_what_happened_in_between() -> None:
    """Rates are per second between two readings, cost is in dollars per hour; gauges are the current values."""
    before, now = reading(BEFORE, {0: 1000}), reading(NOW, {0: 1000, 3: 90, 7: 10})
    (chat,) = [route for route in rates.routes(before, now, 5.0) if route.name == "chat"]
    assert chat == rates.Route("chat", 10.0, 0.25, 7, 0, 2.0, HIST_BOUNDS_S[3], HIST_BOUNDS_S[7], 100.0, 360.0)
    small = rates.targets(before, now, 5.0)[0]
    assert (small.name, small.attempts, small.failed) == ("one/small", 12.0, 0.25)
    assert small.state == "quarantined"


def test_nothing_happened() -> None:
    """Without requests there is no share and no quantile, and no division by zero."""
    now = reading(NOW, {0: 5})
    for route in rates.routes(now, now, 1.0):
        assert (route.requests, route.failed, route.first_p50, route.first_p95) == (0.0, None, None, None)


def test_a_node_that_was_restarted() -> None:
    """Counters that are lower than before have restarted: no rate is negative."""
    for route in rates.routes(reading(NOW, {0: 9}), reading({}, {1: 2}), 1.0):
        assert route.requests >= 0
        assert route.first_p50 in (None, HIST_BOUNDS_S[1])


def test_the_last_bucket_has_no_bound() -> None:
    """A quantile in the last bucket is shown as at least the last bound."""
    now = reading({}, {len(HIST_BOUNDS_S): 4})
    assert rates.quantile(0.5, {}, now, "edge_time_to_first_token_seconds", ("chat",)) == HIST_BOUNDS_S[-1]


def test_it_is_shown() -> None:
    """Both tables are shown, the busiest row first, on a narrow terminal too."""
    from collections import deque

    for width in (160, 60):
        out = io.StringIO()
        seen = deque([(0.0, reading(BEFORE)), (5.0, reading(NOW, {3: 9}))])
        Console(file=out, width=width).print(top._shown(seen))
        text = out.getvalue()
        assert "chat" in text
        assert "one/small" in text
        if width == 160:
            assert "10.0" in text
            assert "25.0%" in text
            assert "quarantined" in text
