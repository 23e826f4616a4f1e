"""Each attempt goes to the best usable target, and every target gets its share."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.balance.balancer import Barred, TargetPool
from native.balance.breaker import Admit
from native.balance.capacity import Capacity
from native.balance.latency import Cell
from native.balance.target import Target
from native.state.shared_state import SharedState
from tests.native.pools import MS, PERMIT, POLICY, START, Bench, S
from tests.reference import balancer as twin
from tests.reference.breaker import Circuit, Remote

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.terms.snapshot import Breaker

MEMBERS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 25)), min_size=0, max_size=6
)
CALL = st.tuples(
    st.sampled_from(
        [
            "pick",
            "pick",
            "pick",
            "ok",
            "fail",
            "late",
            "enter",
            "enter",
            "leave",
            "refused",
            "rest",
            "out",
            "manual",
            "said",
        ]
    ),
    st.one_of(st.just(0), st.integers(0, S), st.integers(0, 30 * S)),
    st.integers(0, 5),
    st.integers(0, 2**64 - 1),
    st.integers(0, 63),
)


@settings(max_examples=400)
@given(
    members=MEMBERS, calls=st.lists(CALL, max_size=60), shares=st.sampled_from([None, (0.5, 0.3, 0.2), (1.0, 0.0, 0.0)])
)
def test_a_pool_is_its_twin(
    members: list[tuple[int, float, int]],
    calls: list[tuple[str, int, int, int, int]],
    shares: tuple[float, float, float] | None,
) -> None:
    """After any history both models make the same choice for the same reason."""
    shared_state = SharedState.create(8, 0, 4)
    plans = [
        SimpleNamespace(adaptive=cap % 2 == 1, min_concurrency=2.0, price=None, media="openai", model_prices={})
        for _, _, cap in members
    ]
    targets = [
        Target(shared_state, slot, f"t{slot}", cap // 2, plans[slot]) for slot, (_, _, cap) in enumerate(members)
    ]
    tiers, weights = [tier for tier, _, _ in members], [weight for _, weight, _ in members]
    pool = TargetPool(targets, tiers, weights, POLICY, workers=4, permit_ns=PERMIT, shares=shares)
    model = [
        twin.Member(Circuit(POLICY, PERMIT), tier, weight, cap // 2, adaptive=cap % 2 == 1)
        for tier, weight, cap in members
    ]
    best = min(tiers, default=0)
    now = START
    for call, step, place, rnd, bits in calls:
        now += step
        if call == "pick":
            tried = bits if rnd % 3 == 0 else 0
            priority = bits % 3
            expected = twin.pick(model, now, rnd, tried, bits & 1, priority=priority, shares=shares)
            assert pool.choose(now, rnd, tried, bits & 1, priority) == expected
        elif place < len(members):
            act(shared_state, pool, model, now, (call, place, rnd, bits))
        for priority in range(3):
            barred = [member.barred(now, tried=False, priority=priority, shares=shares, best=best) for member in model]
            assert [pool.why(index, now, 0, priority) for index in range(pool.size)] == barred


def act(
    shared_state: SharedState, pool: TargetPool, model: list[twin.Member], now: int, deed: tuple[str, int, int, int]
) -> None:
    """Do the same to a member in both models."""
    call, place, rnd, bits = deed
    member, target = model[place], pool.targets[place]
    generation, trial = member.circuit.generation, member.circuit.state == "half_open"
    if call in ("ok", "fail"):
        member.cells[bits & 1].observe(now, rnd % (2 * S), failed=call == "fail")
        target.record(bits & 1, now, rnd % (2 * S), call == "fail")
        expected = member.circuit.report(now, generation, failed=call == "fail", trial=trial, rnd=rnd)
        if expected == -1:
            for cell in member.cells:
                cell.ms = 0.0  # the usual latency stays
        assert pool.report(place, now, generation, call == "fail", trial, -1, 0, rnd) == expected
    elif call == "late":
        expected = member.circuit.overdue(now, generation, trial=trial, rnd=rnd)
        assert pool.overdue(place, now, generation, trial, rnd) == expected
    elif call in ("enter", "leave", "refused"):
        load(shared_state, target, member, now, deed)
    elif call == "rest":
        member.rate_limited_until_ns = max(member.rate_limited_until_ns, now + rnd % (5 * S))
        target.set_rate_limited(now + rnd % (5 * S))
    elif call == "out":
        member.quarantined_until_ns = now + rnd % (5 * S)
        shared_state.set_quarantine(place, 11, member.quarantined_until_ns)
    elif call == "said":
        member.circuit.remote = Remote(0.1 * (1 + bits % 10), bits % 3, now)
        shared_state.set_remote(place, 0.1 * (1 + bits % 10), bits % 3, now)
    elif call == "manual":
        member.manual = bits % 3
        shared_state.set_manual(place, member.manual)


def load(
    shared_state: SharedState, target: Target, member: twin.Member, now: int, deed: tuple[str, int, int, int]
) -> None:
    """Begin, end or refuse attempts for load, in both models."""
    call, place, rnd, bits = deed
    if call == "enter":
        for _ in range((1, 2, 3, 40)[rnd % 4]):
            member.inflight += 1
            member.classes[bits % 3] += 1
            target.enter(bits & 3, bits % 3)
            member.capacity.first(now, rnd % 3_000_000, member.inflight)
            Capacity(shared_state, place, 2).first(now, rnd % 3_000_000, member.inflight)
    elif call == "leave" and member.classes[bits % 3]:
        member.inflight -= 1
        member.classes[bits % 3] -= 1
        worker = next(worker for worker in range(4) if column(shared_state, place, worker) > 0)
        target.leave(worker, bits % 3)
    elif call == "refused":
        for _ in range(1 + rnd % 4):
            member.capacity.refused(now, member.inflight)
            Capacity(shared_state, place, 2).refused(now, member.inflight)


def column(shared_state: SharedState, slot: int, worker: int) -> int:
    """Return how many attempts a worker has in flight at a target."""
    before = shared_state.read_target(slot, 0)["inflight"]
    probe = Target(shared_state, slot, "probe")
    probe.leave(worker)
    after = shared_state.read_target(slot, 0)["inflight"]
    probe.enter(worker)
    return before - after


def test_equals_share_equally(usual: Breaker) -> None:
    """Three idle targets of one tier get a third each, because the random pair is uniform."""
    shares = Bench(usual, [1, 1, 1]).shares(START)
    assert [round(shares[index], 1) for index in range(3)] == [0.3, 0.3, 0.3]
    assert shares[-1] == 0


@pytest.mark.parametrize("size", [2, 3, 5, 64])
def test_every_pair_is_equally_likely(usual: Breaker, size: int) -> None:
    """Two different members are compared, and each pair is equally likely: the more loaded one is never chosen."""
    bench = Bench(usual, [1] * size)
    for index, target in enumerate(bench.targets):
        target.record(0, START, 100 * MS)
        for _ in range(index):
            target.enter(0)
    shares = bench.shares(START, 40_000)
    for index in range(size):  # member i wins exactly the pairs with the busier ones
        expected = 2 * (size - 1 - index) / (size * (size - 1))
        assert shares[index] == pytest.approx(expected, abs=0.015)


def test_the_faster_of_two_takes_it_until_it_is_busier(usual: Breaker) -> None:
    """At a quarter of the latency a target is chosen until it has four requests in flight, and the other none."""
    bench = Bench(usual, [1, 1])
    bench.targets[0].record(0, START, 100 * MS)
    bench.targets[1].record(0, START, 400 * MS)
    assert bench.shares(START, 100)[0] == 1
    for worker in range(4):
        bench.targets[0].enter(worker)
    assert bench.shares(START, 100)[1] == 1


def test_weight_divides_load(usual: Breaker) -> None:
    """With a weight of three, a target has three times as many in flight before the other is chosen."""
    bench = Bench(usual, [1, 1], [3.0, 1.0])
    load = Counter({0: 0, 1: 0})
    for target in bench.targets:
        target.record(0, START, 100 * MS)
    for _ in range(40):
        index = bench.choose(START)[0]
        bench.targets[index].enter(0)
        load[index] += 1
    assert 28 <= load[0] <= 32


def test_a_target_that_fails_fast_does_not_draw_the_traffic(usual: Breaker) -> None:
    """A target that fails in 5 ms does not attract the traffic of a busy target that works (breaker off)."""
    bench = Bench(msgspec.structs.replace(usual, consecutive_failures=0, failure_ratio=0.0, slow_ratio=0.0), [1, 1])
    now, chosen, failing, working = START, Counter(), 0, 1
    pending: list[tuple[int, int]] = []
    for _ in range(4000):
        now += 10 * MS
        while pending and pending[0][0] <= now:
            _, index = pending.pop(0)
            bench.targets[index].leave(0)
            bench.targets[index].record(0, now, 600 * MS if index == working else 5 * MS, failed=index == failing)
            bench.pool.report(index, now, 0, failed=index == failing)
        index = bench.choose(now)[0]
        chosen[index] += 1
        bench.targets[index].enter(0)
        pending.append((now + (600 if index == working else 5) * MS, index))
        pending.sort()
    assert chosen[failing] < 0.05 * sum(chosen.values())
    assert chosen[failing] > 0, "it is still tried now and then"


def test_a_new_target_is_tried_but_not_flooded(usual: Breaker) -> None:
    """A target without data gets one attempt at once, and no second attempt before the first has ended."""
    bench = Bench(usual, [1, 1])
    bench.targets[0].record(0, START, MS)
    assert bench.shares(START, 100)[1] == 1
    bench.targets[1].enter(0)
    assert bench.shares(START, 1000)[1] == 0


def test_what_is_known_of_streams_helps_whole_answers(usual: Breaker) -> None:
    """The latency of streams is used for complete answers if the target has had none of those."""
    bench = Bench(usual, [1, 1])
    bench.targets[0].record(Cell.CELL_WHOLE, START, 500 * MS)
    bench.targets[1].record(Cell.CELL_STREAM, START, 100 * MS)
    bench.targets[1].enter(0)
    assert bench.choose(START, latency_cell=Cell.CELL_WHOLE)[0] == 1


def test_a_later_tier_waits_until_it_is_needed(usual: Breaker) -> None:
    """Tier 2 gets no traffic while tier 1 has a usable target, and all traffic otherwise."""
    bench = Bench(usual, [2, 1, 1])
    assert bench.shares(START, 500)[0] == 0
    bench.shared_state.set_manual(1, 1)
    assert bench.shares(START, 500)[2] == 1
    bench.shared_state.set_manual(2, 2)
    assert bench.shares(START, 500)[0] == 1


def test_each_bar_has_its_reason(usual: Breaker) -> None:
    """Every reason that bars a target is reported, and a barred target is never chosen, not even as the last resort."""
    bench = Bench(usual, [1] * 6, caps=1)
    bench.shared_state.set_manual(0, 1)
    bench.shared_state.set_quarantine(1, 11, START + S)
    bench.targets[2].set_rate_limited(START + S)
    bench.targets[3].enter(0)
    bench.trip(4, START)
    bench.pool.take_one(4, START + 2 * S)
    bench.trip(5, START + 2 * S)
    bench.shared_state.set_quarantine(1, 11, START + 9 * S)
    bench.targets[2].set_rate_limited(START + 9 * S)
    now = START + 2 * S
    assert [bench.pool.why(index, now) for index in range(6)] == [
        Barred.BARRED_MANUAL, Barred.BARRED_QUARANTINED, Barred.BARRED_RATE_LIMITED,
        Barred.BARRED_FULL, Barred.BARRED_TRIAL, Barred.BARRED_OPEN,
    ]  # fmt: skip
    assert bench.pool.why(5, now, tried=1 << 5) == Barred.BARRED_TRIED
    assert bench.choose(now) == (-1, Admit.ADMIT_NO, 0)


def test_never_the_same_target_twice_while_another_is_left(usual: Breaker) -> None:
    """Three attempts go to three targets, and a fourth attempt gets none."""
    bench = Bench(usual, [1, 1, 2])
    tried, order = 0, []
    for _ in range(4):
        index = bench.choose(START, tried)[0]
        order.append(index)
        tried |= 1 << index if index >= 0 else 0
    assert sorted(order[:2]) == [0, 1]
    assert order[2:] == [2, -1]


# --- recovery ---------------------------------------------------------------------------------------------------------


def test_a_target_due_for_its_trial_gets_the_next_request_and_no_other(usual: Breaker) -> None:
    """One request is the trial and the next goes elsewhere; a retry is no trial while another target works."""
    bench = Bench(usual, [1, 2])
    bench.trip(0, START)
    now = START + 2 * S
    assert bench.choose(now, tried=1 << 5)[0] == 1, "a retry"
    assert bench.choose(now)[:2] == (0, Admit.ADMIT_TRIAL)
    assert bench.choose(now)[:2] == (1, Admit.ADMIT_YES)


def test_a_trial_is_taken_on_a_retry_when_nobody_else_is_left(usual: Breaker) -> None:
    """A retry is used as a trial if there is no other target, because the alternative is a 503."""
    bench = Bench(usual, [1, 1])
    bench.trip(1, START)
    assert bench.choose(START + 2 * S, tried=1)[:2] == (1, Admit.ADMIT_TRIAL)


def test_a_lone_primary_ramps_against_the_next_tier(usual: Breaker) -> None:
    """After recovery the only target of tier 1 takes a tenth, then half, then all; tier 2 takes the rest."""
    bench = Bench(usual, [1, 2])
    bench.trip(0, START)
    bench.recover(0, START + 2 * S)
    shares = [bench.shares(START + 2 * S + step * S)[0] for step in (0, 5, 10)]
    assert shares[0] == pytest.approx(0.1, abs=0.01)
    assert shares[1] == pytest.approx(0.5, abs=0.02)
    assert shares[2] == 1


def test_what_other_regions_find_ill_stands_aside(usual: Breaker) -> None:
    """With a weight of a tenth a target gets a tenth, against its own or a later tier; after 15 s it gets all."""
    for tiers, before in (([1, 2], 1.0), ([1, 1], 0.5)):
        bench = Bench(usual, tiers)
        assert bench.shares(START)[0] == pytest.approx(before, abs=0.02)
        bench.shared_state.set_remote(0, 0.1, 1, START)
        assert bench.shares(START)[0] == pytest.approx(before / 10, abs=0.01)
        assert bench.shares(START + 15_001 * MS)[0] == pytest.approx(before, abs=0.02)


def test_the_last_usable_target_is_used_whatever_other_regions_say(usual: Breaker) -> None:
    """Reports of other regions lower a weight, but remove no target."""
    bench = Bench(usual, [1, 2])
    bench.shared_state.set_remote(0, 0.001, 1, START)
    bench.shared_state.set_manual(1, 2)
    assert bench.shares(START, 500)[0] == 1


def test_a_recovering_target_does_not_wait_for_one_that_is_worse_placed(usual: Breaker) -> None:
    """A target stands aside only for usable targets of its own or a later tier."""
    bench = Bench(usual, [1])
    bench.trip(0, START)
    bench.recover(0, START + 2 * S)
    assert bench.shares(START + 2 * S, 500)[0] == 1
    both = Bench(usual, [1, 2])
    for index in (0, 1):
        both.trip(index, START)
        both.recover(index, START + 2 * S)
    shares = both.shares(START + 2 * S)
    assert shares[0] + shares[1] == 1
    assert shares[0] > 0.85, "both ramp: the better tier is preferred unless the other alone drew a go"


def test_a_recovering_target_grows_beside_its_equals(usual: Breaker) -> None:
    """In its own tier too, a recovering target's share grows from about a tenth to its full share in slow start."""
    bench = Bench(usual, [1, 1])
    bench.trip(0, START)
    bench.recover(0, START + 2 * S)
    for target in bench.targets:
        target.record(0, START + 2 * S, 100 * MS)
    shares = [bench.shares(START + 2 * S + step * S)[0] for step in (0, 5, 10)]
    assert shares == [pytest.approx(0.05, abs=0.01), pytest.approx(0.25, abs=0.02), pytest.approx(0.5, abs=0.02)]


def test_the_last_usable_target_is_trickled_not_ejected(usual: Breaker) -> None:
    """With all circuits open for five minutes, about one request a second and target still goes through as a trial."""
    bench = Bench(usual, [1, 2])
    for index in (0, 1):
        bench.trip(index, START, retry_after_ns=300 * S)
    trials = Counter()
    for step in range(10_000):
        now = START + step * MS
        index, admit, generation = bench.choose(now)
        if index >= 0:
            assert admit == Admit.ADMIT_TRIAL
            trials[index] += 1
            bench.pool.report(index, now, generation, failed=True, trial=True, retry_after_ns=300 * S)
    assert trials == {0: 9, 1: 9}


def test_an_outage_and_the_way_back(usual: Breaker) -> None:
    """A primary that is dead for 20 s gets few requests, then none, and all requests again soon after."""
    bench = Bench(usual, [1, 2])
    now, met, served = START, 0, Counter()
    dead_from, alive_from, end = START + 5 * S, START + 25 * S, START + 60 * S
    while now < end:
        now += 50 * MS
        tried = 0
        for _ in range(2):
            index, admit, generation = bench.choose(now, tried)
            failed = index == 0 and dead_from <= now < alive_from
            bench.targets[index].record(0, now, 300 * MS, failed)
            rnd = bench.chance.getrandbits(64)
            bench.pool.report(index, now, generation, failed, admit == Admit.ADMIT_TRIAL, rnd=rnd)
            if not failed:
                break
            met += 1
            tried |= 1 << index
        served[index, now >= end - 5 * S] += 1
    assert met <= 0.05 * 400, "at most one in twenty of the outage's requests"
    assert served[1, True] == 0, "back in full before the end"


def test_the_earliest_recovery(usual: Breaker) -> None:
    """The earliest end of rate limit, quarantine and circuit; 0 if a target is usable; None if unknown."""
    bench = Bench(usual, [1, 1, 1])
    assert bench.pool.earliest(START) == 0
    bench.targets[0].set_rate_limited(START + 7 * S)
    bench.shared_state.set_quarantine(1, 11, START + 5 * S)
    bench.shared_state.set_manual(2, 1)
    assert bench.pool.earliest(START) == START + 5 * S
    bench.targets[1].set_rate_limited(START + 20 * S)
    assert bench.pool.earliest(START) == START + 7 * S, "both must be over"
    bench.shared_state.set_manual(0, 1)
    bench.shared_state.set_manual(1, 1)
    assert bench.pool.earliest(START) is None
    assert Bench(usual, []).pool.earliest(START) is None


def test_the_earliest_recovery_of_open_circuits(usual: Breaker) -> None:
    """An open circuit is due at its time; the result of a running trial is expected within an open period."""
    bench = Bench(usual, [1])
    bench.trip(0, START, rnd=2**63)
    assert bench.pool.earliest(START) == START + S
    assert bench.pool.earliest(START + S) == 0
    bench.choose(START + S)
    assert bench.pool.earliest(START + S) == START + 2 * S


def test_an_empty_pool_chooses_nobody(usual: Breaker) -> None:
    """A pool without members chooses none, and does not crash."""
    assert Bench(usual, []).choose(START) == (-1, 0, 0)


def test_impossible_pools_are_refused(usual: Breaker, shared_state: SharedState) -> None:
    """More than 64 members, unequal lengths, weights of 0 and windows out of range are refused with a reason."""

    def build(size: int = 1, weight: float = 1.0, tiers: int = 1, **changes: Any) -> TargetPool:
        policy = msgspec.structs.replace(usual, **changes)
        targets = [Target(shared_state, 0, "a")] * size
        return TargetPool(targets, [1] * tiers * size, [weight] * size, policy, workers=1, permit_ns=1)

    for changes, reason in (
        ({"size": 65}, "at most 64"),
        ({"tiers": 2}, "one tier and one weight"),
        ({"weight": 0.0}, "above 0"),
        ({"weight": float("nan")}, "above 0"),
        ({"window_ns": 11 * S}, "1 to 10 seconds"),
    ):
        with pytest.raises(ValueError, match=reason):
            build(**changes)
    with pytest.raises(ValueError, match="workers"):
        TargetPool([], [], [], usual, workers=65, permit_ns=1)
    with pytest.raises(IndexError, match="no member"):
        build().why(1, 0)
    with pytest.raises(IndexError, match="no worker"):
        Target(shared_state, 0, "a").enter(64)


def test_processes_share_what_they_learn(
    shared_state: SharedState, run_in_processes: Callable[[SharedState, str, int], list[str]]
) -> None:
    """In-flight counts add up over workers, and one process's latency changes another's choice."""
    script = """
import sys
from native.balance.target import Target
target = Target(shared_state, 0, "a")
for _ in range(1000):
    target.enter(int(sys.argv[1]))
target.record(0, 5_000_000_000, 700_000_000)
"""
    run_in_processes(shared_state, script, 4)
    view = shared_state.read_target(0, 0)
    assert (view["inflight"], view["ewma_ms"][0]) == (4000, 700.0)
