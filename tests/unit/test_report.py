"""A target's report has the right state, for the right reason, until the right time."""

from __future__ import annotations

import typing

import pytest
from msgspec import structs

from edge.balance.report import RouteReport, Use, report
from edge.native import Outcome, SharedState, TripReason
from tests.breakers import USUAL

if typing.TYPE_CHECKING:
    from edge.native import TargetView
    from edge.terms.target_state import Label

S = 1_000_000_000
NOW = 1000 * S
POLICY = structs.replace(USUAL, slow_threshold_ns=3 * S)
USES = (Use("chat", 1, 1.0, POLICY),)


def view(**changes: object) -> TargetView:
    """Return an unused record, with changes."""
    return typing.cast("TargetView", {**SharedState.create(1, 1, 1).read_target(0, NOW), **changes})


def test_untouched_is_closed() -> None:
    """An unused target is closed, usable, and has no reason."""
    now = report(view(), now_ns=NOW, uses=USES)
    assert (now.state, now.usable, now.why, now.until_s, now.attempts) == ("usable", True, "", None, {})
    assert now.latency_ms == now.penalty_ms == {"stream": None, "whole": None}


CASES: list[tuple[dict[str, object], Label, bool, float | None]] = [
    ({"state": "open", "until_ns": NOW + 3 * S}, "open", False, 3.0),
    ({"state": "open", "until_ns": NOW - S}, "open", True, 0.0),
    ({"state": "half_open", "until_ns": NOW + 2 * S}, "half_open", False, 2.0),
    ({"state": "half_open", "until_ns": NOW - 1}, "half_open", True, 0.0),
    ({"until_ns": NOW - 4 * S}, "slow_start", True, 6.0),
    ({"until_ns": NOW - 10 * S}, "usable", True, None),
    ({"rate_limited_until_ns": NOW + 5 * S}, "rate_limited", False, 5.0),
    ({"rate_limited_until_ns": NOW}, "usable", True, None),
    ({"quarantine_reason": 11, "quarantined_until_ns": NOW + 60 * S}, "quarantined", False, 60.0),
    ({"quarantine_reason": 11, "quarantined_until_ns": NOW}, "usable", True, None),
    ({"manual": 1}, "manual", False, None),
    ({"manual": 2}, "manual", False, None),
]


@pytest.mark.parametrize(("changes", "state", "usable", "until_s"), CASES)
def test_states(changes: dict[str, object], state: str, usable: bool, until_s: float | None) -> None:
    """Each condition of a record gives one state, which ends exactly with the condition."""
    now = report(view(**changes), now_ns=NOW, uses=USES)
    assert (now.state, now.usable, now.until_s) == (state, usable, until_s)
    assert bool(now.why) == (state != "usable")


def test_what_would_remain_is_named() -> None:
    """Manual precedes quarantined, quarantined precedes open; an open, rate-limited target has the later end."""
    opened = {"state": "open", "until_ns": NOW + S, "rate_limited_until_ns": NOW + 9 * S}
    out = {"quarantine_reason": 12, "quarantined_until_ns": NOW + 60 * S}
    assert report(view(**opened), now_ns=NOW, uses=USES).until_s == 9.0
    assert report(view(**opened, **out), now_ns=NOW, uses=USES).state == "quarantined"
    assert report(view(**opened, **out, manual=1), now_ns=NOW, uses=USES).state == "manual"


def test_reasons_are_told_apart() -> None:
    """Every reason of a trip has its own sentence, and the two that need an operator say what to do."""
    sentences = {
        report(view(state="open", until_ns=NOW + S, trip_reason=reason), now_ns=NOW, uses=USES).why
        for reason in TripReason
    }
    assert len(sentences) == len(TripReason)
    for reason, word in (
        (Outcome.REFUSED_CREDENTIAL, "check the provider's key"),
        (Outcome.MISCONFIGURED, "check the target"),
    ):
        now = report(view(quarantine_reason=reason, quarantined_until_ns=NOW + S), now_ns=NOW, uses=USES)
        assert word in now.why


def test_numbers() -> None:
    """Ratios are those of the window; outcomes with a count of 0 are left out."""
    counts = [0] * 32
    counts[Outcome.OK], counts[Outcome.FAIL_RESET], counts[17] = 7, 3, 2
    now = report(
        view(window=(10, 3, 1), counts=tuple(counts), measured_ms=(120.04, 0.0), inflight=4), now_ns=NOW, uses=USES
    )
    assert (now.error_ratio, now.slow_ratio, now.volume, now.trips, now.inflight) == (0.3, 0.1, 10, 2, 4)
    assert now.attempts == {"ok": 7, "fail_reset": 3}
    assert now.latency_ms == {"stream": 120.0, "whole": None}


def test_each_route_has_its_own_tier_and_slow_start() -> None:
    """A target of two routes is listed for each, with its tier, weight and state there."""
    quick = structs.replace(POLICY, slow_start_ns=2 * S)
    uses = (Use("chat", 3, 1.0, quick), Use("spare", 1, 0.5, POLICY))
    now = report(view(until_ns=NOW - 4 * S), now_ns=NOW, uses=uses)
    assert now.routes == (RouteReport("chat", 3, 1.0, "usable"), RouteReport("spare", 1, 0.5, "slow_start"))
    assert (now.state, now.until_s) == ("slow_start", 6.0)
    out = report(view(quarantine_reason=11, quarantined_until_ns=NOW + S), now_ns=NOW, uses=uses)
    assert [route.state for route in out.routes] == ["quarantined", "quarantined"]


def test_a_threshold_is_named_where_the_routes_agree_on_it() -> None:
    """An open circuit's threshold is the configured one, and is left out if two routes differ."""
    record = view(state="open", until_ns=NOW + S, trip_reason=TripReason.TRIP_CONSECUTIVE)
    agreed = report(record, now_ns=NOW, uses=(*USES, Use("spare", 2, 1.0, POLICY)))
    assert agreed.why == "too many consecutive failures (consecutive_failures: 5)"
    other = structs.replace(POLICY, consecutive_failures=2)
    assert report(record, now_ns=NOW, uses=(*USES, Use("spare", 2, 1.0, other))).why == "too many consecutive failures"


def test_a_latency_is_a_measurement_and_a_penalty_stands_beside_it() -> None:
    """The penalty of failures is no latency; a penalty below a millisecond is not shown."""
    record = view(ewma_ms=(5000.0, 41.0), measured_ms=(80.0, 40.0), penalty_ms=(4321.09, 0.9))
    now = report(record, now_ns=NOW, uses=USES)
    assert now.latency_ms == {"stream": 80.0, "whole": 40.0}
    assert now.penalty_ms == {"stream": 4321.1, "whole": None}


def test_the_shortest_latency_is_shown_as_one() -> None:
    """A first byte within 20 microseconds is shown as 0.1 ms, and not as missing."""
    now = report(view(measured_ms=(0.02, 0.0)), now_ns=NOW, uses=USES)
    assert now.latency_ms == {"stream": 0.1, "whole": None}
