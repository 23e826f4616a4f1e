"""The token bucket agrees with its reference model, and never admits more than rate and burst, on any clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.terms.snapshot import Breaker
from native.balance.balancer import Barred, TargetPool
from native.balance.target import Target
from native.state.allowance import Allowance, Bound
from native.state.counters import TargetCounter
from native.state.shared_state import SharedState
from native.state.token_bucket import Bucket
from tests.reference import balancer, breaker
from tests.reference.bucket import Bucket as Twin
from tests.snapshots import allowance as plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

S = 1_000_000_000
START = 10**15
INTERVALS = (1, 60, 1_000_003, S // 10, 8_571_428_572)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "wait", "settle", "lower", "remaining", "reset_ns"]),
        st.integers(0, 4 * S),
        st.integers(0, 40),
        st.integers(0, 20),
    ),
    max_size=60,
)


def bucket(interval_ns: int, burst: int) -> Bucket:
    """An empty record's bucket of requests."""
    return Bucket(SharedState.create(0, 0, 1, allowance_capacity=1), 0, interval_ns, burst)


@given(STEPS, st.sampled_from(INTERVALS), st.integers(1, 12))
def test_a_bucket_is_its_twin(steps: list[tuple[str, int, int, int]], interval_ns: int, burst: int) -> None:
    """Every result agrees with the model to the nanosecond, for any calls and any passage of time."""
    fast, slow, now = bucket(interval_ns, burst), Twin(interval_ns, burst), START
    for deed, gap, number, wait in steps:
        now += gap * interval_ns // S if number % 2 else gap
        match deed:
            case "take" | "wait":
                assert getattr(fast, deed)(now, number) == getattr(slow, deed)(now, number)
            case "settle":
                fast.settle(now, number - 20)
                slow.settle(now, number - 20)
            case "lower":
                said = number // 4, wait * interval_ns
                assert fast.lower(now, *said) == slow.lower(now, *said)
            case _:
                assert getattr(fast, deed)(now) == getattr(slow, deed)(now)


def never_more(admitted: Sequence[tuple[int, int]], interval_ns: int, burst: int) -> None:
    """Assert that no interval has more admissions than its time and one burst allow."""
    in_order = sorted(admitted)
    for first in range(len(in_order)):
        total = 0
        for now, cost in in_order[first:]:
            total += cost
            assert total * interval_ns <= now - in_order[first][0] + burst * interval_ns


@given(
    st.lists(st.tuples(st.integers(-3 * S, 3 * S), st.integers(1, 6)), max_size=120),
    st.sampled_from(INTERVALS),
    st.integers(6, 12),
)
def test_never_more_than_rate_and_burst(asked: list[tuple[int, int]], interval_ns: int, burst: int) -> None:
    """Even if the processes' clocks differ, no interval admits more than rate x time + burst."""
    fast, now, admitted = bucket(interval_ns, burst), START, []
    for step, cost in asked:
        now += step * interval_ns // S
        if fast.take(now, cost) == 0:
            admitted.append((now, cost))
    never_more(admitted, interval_ns, burst)


@given(st.integers(1, 50), st.integers(1, 10), st.sampled_from(INTERVALS))
def test_the_wait_is_exact(cost: int, burst: int, interval_ns: int) -> None:
    """A nanosecond before the end of the wait the cost is refused, and then it is admitted."""
    fast = bucket(interval_ns, burst)
    assert fast.take(START, burst) == 0
    wait = fast.take(START, cost)
    assert wait == min(cost, burst) * interval_ns
    assert fast.take(START + wait - 1, cost) == 1
    assert fast.take(START + wait, cost) == 0


def test_more_than_a_burst_needs_a_full_bucket() -> None:
    """A cost above the burst is admitted, because it cannot be split, and all requests wait until the debt is paid."""
    fast = bucket(S, 10)
    assert fast.take(START, 1) == 0
    assert fast.take(START, 25) == S
    assert fast.take(START + S, 25) == 0
    assert fast.remaining(START + S) == 0
    assert fast.wait(START + S, 1) == 16 * S
    assert fast.reset_ns(START + S) == 25 * S


def test_what_others_say_only_lowers() -> None:
    """A provider's report can only lower the bucket."""
    fast = bucket(S, 10)
    assert fast.lower(START, 4)
    assert not fast.lower(START, 9)
    assert fast.remaining(START) == 4
    assert fast.lower(START, 0, 7 * S)
    assert fast.wait(START) == 7 * S


CALM = Breaker(
    consecutive_failures=3,
    failure_ratio=0.5,
    window_ns=10 * S,
    min_requests=5,
    slow_ratio=0.0,
    slow_threshold_ns=10 * S,
    slow_adaptive=False,
    open_duration_ns=S,
    open_duration_max_ns=8 * S,
    slow_start_ns=0,
)
MINUTE = 60


@given(
    st.lists(st.tuples(st.integers(0, 2 * S), st.integers(0, 2**64 - 1), st.booleans()), max_size=80),
    st.lists(st.integers(0, 8), min_size=1, max_size=4),
)
def test_bucket_breaker_and_balancer_together(asked: list[tuple[int, int, bool]], bursts: list[int]) -> None:
    """Picks with allowances agree with the models, and no credential is used beyond its rate and burst."""
    shared_state = SharedState.create(len(bursts), 1, 1, allowance_capacity=len(bursts))
    targets = [Target(shared_state, slot, f"t{slot}") for slot in range(len(bursts))]
    members = [balancer.Member(breaker.Circuit(CALM, 5 * S)) for _ in bursts]
    for slot, burst in enumerate(bursts):
        if burst:  # 0: nothing is known of its credential
            targets[slot].allowance = Allowance(
                shared_state, plan(slot, requests_per_minute=MINUTE, requests_burst=burst)
            )
            members[slot].grant = Twin(S, burst)
    pool = TargetPool(targets, [1] * len(bursts), [1.0] * len(bursts), CALM, workers=1, permit_ns=5 * S)
    now, admitted = START, {slot: [] for slot in range(len(bursts))}
    for gap, rnd, failed in asked:
        now += gap
        for slot, member in enumerate(members):
            assert pool.why(slot, now) == member.barred(now, tried=False)
        index, admit, generation = pool.choose(now, rnd)
        assert (index, admit, generation) == balancer.pick(members, now, rnd, 0, 0)
        if index < 0:
            continue
        allowance, grant = targets[index].allowance, members[index].grant
        if allowance is not None and grant is not None:
            assert allowance.take(now) == (Bound.UNBOUND, 0)
            assert grant.take(now) == 0
            admitted[index].append((now, 1))
        trial = admit == 2
        pool.report(index, now, generation, failed, trial)
        members[index].circuit.report(now, generation, failed=failed, trial=trial)
    for slot, burst in enumerate(bursts):
        if burst:
            never_more(admitted[slot], S, burst)


def test_an_exhausted_credential_is_passed_over_and_its_return_foretold() -> None:
    """It is never waited for while another is left; when nobody is, the date is the earliest refill."""
    shared_state = SharedState.create(2, 1, 1, allowance_capacity=2)
    targets = [Target(shared_state, slot, f"t{slot}") for slot in range(2)]
    for slot, target in enumerate(targets):
        target.allowance = Allowance(shared_state, plan(slot, requests_per_minute=MINUTE, requests_burst=slot + 1))
    pool = TargetPool(targets, [1, 2], [1.0, 1.0], CALM, workers=1, permit_ns=S)
    taken = []
    for _ in range(3):
        index, _, _ = pool.choose(START, 0)
        assert targets[index].allowance.take(START)[0] == 0
        taken.append(index)
    assert taken == [0, 1, 1]
    assert pool.choose(START, 0)[0] == -1
    assert [pool.why(slot, START) for slot in range(2)] == [Barred.BARRED_EXHAUSTED] * 2
    assert pool.earliest(START) == START + S
    assert shared_state.read_target(0, START)["counts"][TargetCounter.T_EXHAUSTED] == 3
    assert pool.choose(START + S, 0)[0] == 0


HAMMER = """
import time
from edge import clock
from edge.terms.snapshot import Allowance as Plan
from native.state.allowance import Allowance
number, rate, burst, seconds = int(sys.argv[1]), 200, 100, SECONDS
allowance = Allowance(shared_state, Plan(0, rate * 60, 0, burst, 0, shared=False))
gap_ns = 4_000_000_000 // (10 * rate)
began = clock.now_ns()
due, taken = began + number * gap_ns // 4, 0
while due < began + seconds * 1_000_000_000:
    now = clock.now_ns()
    if now < due:
        time.sleep((due - now) / 1e9)
    taken += allowance.take(clock.now_ns())[0] == 0
    due += gap_ns
print(taken, began, clock.now_ns())
"""


@pytest.mark.parametrize("seconds", [4, pytest.param(20, marks=pytest.mark.prove)])
def test_four_workers_keep_one_limit(
    run_in_processes: Callable[[SharedState, str, int], list[str]], seconds: int
) -> None:
    """Four processes that ask for ten times a key's limit get rate x time + burst, to a hundredth."""
    shared_state = SharedState.create(0, 0, 4, allowance_capacity=1)
    script = HAMMER.replace("SECONDS", str(seconds))
    said = [[int(word) for word in line.split()] for line in run_in_processes(shared_state, script, 4)]
    lasted = (max(end for _, _, end in said) - min(began for _, began, _ in said)) / S
    taken, allowed = sum(each[0] for each in said), 200 * lasted + 100
    assert allowed * 0.99 <= taken <= allowed + 1, (taken, allowed)
