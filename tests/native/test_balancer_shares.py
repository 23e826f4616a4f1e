"""Classes of callers share a crowded pool, and a canary gets its share by weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from native.balance.balancer import Barred, TargetPool
from native.balance.target import Target
from native.state.shared_state import SharedState
from tests.native.pools import MS, PERMIT, POLICY, START, Bench, S

if TYPE_CHECKING:
    from edge.terms.snapshot import Breaker

SHARES = (0.5, 0.3, 0.2)


def crowd(cap: int, *inflight: int, shares: tuple[float, ...] | None = SHARES) -> tuple[TargetPool, Target]:
    """A pool of one target with a limit of ``cap`` that has these numbers in flight of each class, high first."""
    shared_state = SharedState.create(1, 0, 2)
    target = Target(shared_state, 0, "a", cap)
    for priority, count in enumerate(inflight):
        for _ in range(count):
            target.enter(priority % 2, priority)
    return TargetPool([target], [1], [1.0], POLICY, workers=2, permit_ns=PERMIT, shares=shares), target


@pytest.mark.parametrize(
    ("inflight", "usable"),
    [
        ((0, 0, 79), (True, True, True)),  # not crowded: the low class may have it all
        ((0, 0, 80), (True, True, False)),  # crowded: it has more than its share
        ((50, 11, 19), (True, True, True)),  # crowded, and each class has less than its share
        ((50, 30, 5), (True, False, True)),
        ((0, 80, 20), (False, False, False)),  # at the limit nobody may
        ((99, 0, 0), (True, True, True)),
        ((100, 0, 0), (False, False, False)),
    ],
)
def test_shares_count_only_when_it_is_crowded(inflight: tuple[int, ...], usable: tuple[bool, ...]) -> None:
    """Which class gets the next place at a target with a limit of a hundred, by what each class has in flight."""
    pool, _ = crowd(100, *inflight)
    assert tuple(pool.why(0, START, 0, priority) == Barred.USABLE for priority in range(3)) == usable


def test_without_classes_nothing_is_set_aside() -> None:
    """If all callers are of one class, they may have the last place too."""
    pool, _ = crowd(100, 0, 99, 0, shares=None)
    assert pool.choose(START, 1)[0] == 0


def test_a_small_cap_is_usable_by_everybody() -> None:
    """With a limit of one, shares do not exclude two of the classes for good."""
    pool, _ = crowd(1)
    assert [pool.why(0, START, 0, priority) for priority in range(3)] == [Barred.USABLE] * 3


def test_what_spills_of_the_low_class_is_ramped(usual: Breaker) -> None:
    """If the better tier is down, high and normal continue at once; low starts with a tenth and grows with use."""
    bench = Bench(usual, [1, 2], caps=60)
    bench.shared_state.set_manual(0, 1)

    def admitted(now: int, priority: int) -> int:
        count = 0
        while bench.pool.choose(now, 5, 0, 0, priority)[0] == 1 and count < 100:
            bench.targets[1].enter(0, priority)
            count += 1
        return count

    assert admitted(START, 2) == 6
    assert bench.pool.why(1, START, 0, 2) == Barred.BARRED_RAMP
    assert admitted(START + 4 * S, 2) == 0
    assert admitted(START + 6 * S, 2) == 3
    assert admitted(START + 7 * S, 0) == 51, "all that is left"
    for _ in range(51):
        bench.targets[1].leave(0, 0)
    assert admitted(START + 12 * S, 2) == 4
    assert bench.pool.why(1, START + 12 * S, 0, 1) == Barred.USABLE


def test_what_spills_of_the_low_class_leaves_a_fifth(usual: Breaker) -> None:
    """However large the ramp is, the low class does not use the last fifth of a later tier."""
    bench = Bench(usual, [1, 2], caps=20)
    bench.shared_state.set_manual(0, 1)
    for _ in range(16):
        bench.targets[1].enter(0, 1)
    assert bench.choose(START)[0] == 1
    assert bench.pool.why(1, START, 0, 2) == Barred.BARRED_FULL


def test_a_full_tier_spills_to_the_next(usual: Breaker) -> None:
    """Requests go to the next tier while a tier is full, and come back when it has room again."""
    bench = Bench(usual, [1, 2], caps=2)
    for _ in range(2):
        bench.targets[0].enter(0)
    assert bench.choose(START)[0] == 1
    bench.targets[0].leave(0)
    assert bench.choose(START)[0] == 0
    assert bench.pool.limit(0, START) == 2


def test_strange_classes_and_shares_are_refused(usual: Breaker) -> None:
    """There are three classes, and each share is between 0 and 1."""
    bench = Bench(usual, [1])
    with pytest.raises(ValueError, match="a priority is 0"):
        bench.pool.choose(START, 1, 0, 0, 3)
    with pytest.raises(ValueError, match="shares"):
        TargetPool([], [], [], usual, workers=1, permit_ns=1, shares=(0.5, 0.5, 0.5))
    with pytest.raises(IndexError):
        bench.targets[0].enter(0, 3)


# --- canaries ---------------------------------------------------------------------------------------------------------


def canary_pool(canaries: list[int], tiers: list[int], weights: list[float]) -> Bench:
    """Return a pool whose members 0 to 2 differ in latency a thousandfold."""
    bench = Bench(POLICY, tiers, weights)
    bench.pool = TargetPool(bench.targets, tiers, weights, POLICY, workers=4, permit_ns=PERMIT, canaries=canaries)
    for target, ms in zip(bench.targets, (2, 2, 2_000), strict=False):
        target.record(0, START, ms * MS)
    return bench


@pytest.mark.parametrize("slow_one", [0.05, 1.0])
def test_a_canary_has_its_share_whatever_its_latency(slow_one: float) -> None:
    """A slow version that got nothing would never be found to be slow; it gets what its weight says, and no more."""
    shares = canary_pool([2], [1, 1, 1], [1.0, 1.0, slow_one]).shares(START)
    assert shares[2] == pytest.approx(slow_one / (2 + slow_one), abs=0.02)
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    quick = canary_pool([0], [1, 1, 1], [slow_one, 1.0, 1.0]).shares(START)
    assert quick[0] == pytest.approx(slow_one / (2 + slow_one), abs=0.02)


def test_a_canary_keeps_to_its_tier_and_stands_in_for_the_others() -> None:
    """It has no share beside a better tier; alone it has all, and two without others are balanced as usual."""
    assert canary_pool([2], [1, 1, 2], [1.0] * 3).shares(START)[2] == 0
    bench = canary_pool([2], [1, 1, 1], [1.0, 1.0, 0.001])
    assert {bench.choose(START, tried=0b011)[0] for _ in range(100)} == {2}
    two = canary_pool([0, 1], [1, 1, 2], [1.0] * 3).shares(START)
    assert (two[0], two[1]) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.5, abs=0.02))
    for index in (0, 1):
        bench.trip(index, START)
    assert {bench.choose(START)[0] for _ in range(100)} == {2}


def test_a_canary_that_is_not_there() -> None:
    """A place beyond the members is refused."""
    with pytest.raises(IndexError, match="no member 3"):
        canary_pool([3], [1, 1, 1], [1.0] * 3)
