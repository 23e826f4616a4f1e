"""retry.same_target and retry.wait: what is asked again, or waited for, before another target is asked."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from conversing import Conversing, Talk, target_of, text_of

from edge.native import set_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

TIERS = ["a, tier: 1", "b, tier: 2"]


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


def world(retry: str) -> Conversing:
    """Return a world of two tiers with this policy of retries, which keeps no conversation."""
    return Conversing(text_of(TIERS, affinity="none", extra=f"    retry: {{{retry}}}"))


@pytest.mark.parametrize(("same", "target"), [(0, "b"), (1, "a"), (2, "a")])
def test_a_fast_failure_is_repeated_at_the_same_target(same: int, target: str) -> None:
    """With same_target a target that refused once is asked again, and answers; without, the next tier answers."""
    outside = world(f"same_target: {same}")
    outside.flaky["a"] = 1
    assert Talk(outside, "one").turn() == target
    assert outside.refused["a"] == 1


def test_an_attempt_is_left_for_another_target() -> None:
    """A target that keeps failing is repeated only as long as an attempt is left for the next."""
    outside = world("same_target: 5, attempts: 3")
    outside.flaky["a"] = 9
    assert Talk(outside, "one").turn() == "b"
    assert outside.refused["a"] == 2


def test_a_slow_failure_is_not_repeated() -> None:
    """A refusal that takes two seconds leads to the next target."""
    outside = world("same_target: 2")
    outside.refusal = (503, 0, 2.0)
    outside.flaky["a"] = 1
    assert Talk(outside, "one").turn() == "b"


def test_a_rate_limit_is_not_repeated() -> None:
    """A target that rate-limits is left alone for the time that it says."""
    outside = world("same_target: 2")
    outside.refusal = (429, 5, 0.01)
    outside.flaky["a"] = 1
    assert Talk(outside, "one").turn() == "b"


@pytest.mark.parametrize(
    ("wait", "target", "least", "most"),
    [("0s", "b", 0.9, 1.2), ("1s", "b", 0.9, 1.2), ("10s", "a", 2.5, 4.2)],
)
def test_a_better_tier_that_rests_is_waited_for(wait: str, target: str, least: float, most: float) -> None:
    """A request waits for a rate-limited target of a better tier, if that comes back within the time that it may."""
    outside = world(f"wait: {wait}, attempts: 1")
    outside.refusal = (429, 3, 0.01)
    outside.flaky["a"] = 1
    outside.ask(Talk(outside, "first").body)
    outside.run(0.05)
    call = outside.ask(Talk(outside, "second").body)
    outside.run(6)
    assert target_of(call) == target
    assert least <= (call.ended_ns - call.begun_ns) / 1e9 <= most


def test_a_failing_tier_is_not_waited_for() -> None:
    """A target whose circuit is open is not waited for: nobody says that it comes back."""
    outside = world("wait: 10s")
    outside.flaky["a"] = 50
    for number in range(8):
        assert Talk(outside, f"{number}").turn() == "b"
    call = outside.ask(Talk(outside, "last").body)
    outside.run(3)
    assert target_of(call) == "b"
    assert (call.ended_ns - call.begun_ns) / 1e9 < 1.5


def test_all_that_wait_are_answered() -> None:
    """Many requests that wait for the same target are all answered by it, and a client that leaves is forgotten."""
    outside = world("wait: 10s, attempts: 1")
    outside.refusal = (429, 3, 0.01)
    outside.flaky["a"] = 1
    outside.ask(Talk(outside, "first").body)
    outside.run(0.05)
    calls = [outside.ask(Talk(outside, str(number)).body) for number in range(10)]
    calls.pop().leave()
    outside.run(8)
    assert Counter(target_of(call) for call in calls) == {"a": 9}
