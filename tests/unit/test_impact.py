"""What an incident counts is of the routes that it touches, whatever else their targets answer."""

from __future__ import annotations

import pytest

from edge.incidents.incident import Impact
from edge.incidents.tally import RouteTally, Tally, TargetTally, add_impact
from edge.native import Outcome, RouteCounter, TargetCounter

TARGETS = ("p/m", "q/m", "r/m")


def tally(answered: tuple[int, int, int], ok: tuple[int, int, int], members: tuple[str, ...] = TARGETS) -> Tally:
    """Return counters: how often each target answered the alias, and how often it answered anything."""
    counts = [0] * 48
    counts[RouteCounter.R_2XX] = sum(answered)
    targets = {}
    for name, count in zip(TARGETS, ok, strict=True):
        own = [0] * 32
        own[Outcome.OK] = count
        targets[name] = TargetTally(tuple(own), 0.0, 0.0)
    return Tally(targets, {"chat": RouteTally(tuple(counts), members, answered)})


def test_a_target_that_answers_another_alias_did_not_take_over() -> None:
    """Q took the requests over; r answered only an alias that the outage does not touch, and q that one as well."""
    impact = Impact()
    add_impact(impact, tally((9, 2, 0), (9, 12, 30)), tally((9, 7, 0), (9, 40, 80)), ["p/m"])
    assert (impact.requests, impact.answered_by) == (5, {"q/m": 5})


def test_after_a_reload_places_are_not_compared() -> None:
    """Places of a route with other members are those of other targets: then what the targets answered counts."""
    impact = Impact()
    before = tally((9, 2, 0), (9, 12, 30), ("q/m", "p/m", "r/m"))
    add_impact(impact, before, tally((9, 7, 0), (9, 40, 30)), ["p/m"])
    assert impact.answered_by == {"q/m": 28}


def test_the_money_of_another_alias_is_no_cost_of_the_outage() -> None:
    """Of what q cost, the part counts that it cost for the requests that it took over: 5 of its 20 answers."""

    def at(answered: int, ok: int, nano: int, tokens: int) -> Tally:
        own = [0] * 48
        own[Outcome.OK] = ok
        own[TargetCounter.T_COST_NANO], own[TargetCounter.T_PROMPT_TOKENS] = nano, tokens
        ill = TargetTally((0,) * 48, 1.0, 1.0)
        route = RouteTally((0,) * 48, ("p/m", "q/m"), (0, answered))
        return Tally({"p/m": ill, "q/m": TargetTally(tuple(own), 2.0, 2.0)}, {"chat": route})

    impact = Impact()
    add_impact(impact, at(0, 0, 0, 0), at(5, 20, 4_000_000_000, 1_000_000), ["p/m"])
    assert impact.answered_by == {"q/m": 5}
    assert impact.extra_usd == pytest.approx((4.0 - 1.0) * 5 / 20)
    add_impact(impact, at(5, 20, 4_000_000_000, 1_000_000), at(5, 90, 9_000_000_000, 2_000_000), ["p/m"])
    assert impact.extra_usd == pytest.approx((4.0 - 1.0) * 5 / 20), "it took nothing over"
