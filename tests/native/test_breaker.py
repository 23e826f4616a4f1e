"""The circuit opens when it must, closes only after a success, and nothing else moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.terms.snapshot import Breaker
from native.balance.balancer import TargetPool
from native.balance.breaker import Admit, TripReason
from native.balance.target import Target
from native.state.counters import TargetCounter
from native.state.shared_state import SharedState
from tests.reference.breaker import Circuit, Remote

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
S = 1_000_000_000
START = 1_000 * S
PERMIT = 30 * S
HALF = 2**63  # random bits that leave the wait as it is


def make_pool(shared_state: SharedState, breaker: Breaker, **changes: Any) -> TargetPool:
    """One target in slot 0, under the given policy with some fields changed."""
    policy = msgspec.structs.replace(breaker, **changes)
    return TargetPool([Target(shared_state, 0, "only/one")], [1], [1.0], policy, workers=4, permit_ns=PERMIT)


def fail(pool: TargetPool, now: int, times: int, key: int = -1, generation: int = 0) -> int:
    """Report this many failures; return the last result."""
    return [pool.report(0, now, generation, failed=True, key=key, rnd=HALF) for _ in range(times)][-1]


def trip(pool: TargetPool, now: int = START) -> int:
    """Open the circuit by consecutive failures; return the generation afterwards."""
    assert fail(pool, now, 5) == TripReason.TRIP_CONSECUTIVE
    return pool.targets[0].shared_state.read_target(0, now)["generation"]


def state(pool: TargetPool, now: int) -> str:
    """Return the circuit's state by name."""
    return pool.targets[0].shared_state.read_target(0, now)["state"]


POLICIES = st.builds(
    Breaker,
    consecutive_failures=st.integers(0, 6),
    failure_ratio=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    window_ns=st.integers(1, 10).map(lambda seconds: seconds * S),
    min_requests=st.integers(0, 12),
    slow_ratio=st.sampled_from([0.0, 0.5, 1.0]),
    slow_threshold_ns=st.just(S),
    slow_adaptive=st.just(False),
    open_duration_ns=st.integers(1, 3 * S),
    open_duration_max_ns=st.integers(1, 60 * S),
    slow_start_ns=st.integers(0, 20 * S),
)
STEPS = st.one_of(st.just(0), st.integers(0, 3 * S), st.integers(0, 90 * S), st.integers(0, 40_000 * S))
KINDS = st.sampled_from(["take", "last resort", "ok", "ok", "fail", "fail", "fail", "slow", "return", "hint", "said"])
CALL = st.tuples(
    KINDS,
    STEPS,
    st.integers(0, 3),  # which of the permits still held reports: the newest, or an older one
    st.integers(-1, 130),  # key
    st.sampled_from([0, 0, 0, 1, 5 * S, 400 * S]),  # Retry-After
    st.integers(0, 2**64 - 1),
)


@settings(max_examples=500)
@given(policy=POLICIES, calls=st.lists(CALL, max_size=80))
def test_the_circuit_is_its_twin(policy: Breaker, calls: list[tuple[str, int, int, int, int, int]]) -> None:
    """Any order of takes, outcomes of old and new permits, hints and returns has the same effect in both models."""
    shared_state = SharedState.create(1, 0, 1)
    pool = TargetPool([Target(shared_state, 0, "only/one")], [1], [1.0], policy, workers=1, permit_ns=PERMIT)
    twin = Circuit(policy, PERMIT)
    held: list[tuple[int, bool]] = [(0, False)]
    now = START
    for kind, step, age, key, retry_after, rnd in calls:
        now += step
        generation, trial = held[-1 - min(age, len(held) - 1)]
        if kind in ("take", "last resort"):
            admit, generation = pool.take_one(0, now, last_resort=kind == "last resort")
            assert (admit, generation if admit else 0) == twin.take(now, last_resort=kind == "last resort")
            if admit:
                held.append((generation, admit == Admit.ADMIT_TRIAL))
        elif kind == "slow":
            expected = twin.overdue(now, generation, trial=trial, rnd=rnd)
            assert pool.overdue(0, now, generation, trial, rnd) == expected
        elif kind == "return":
            pool.give_back(0, now, generation)
            twin.give_back(now, generation)
        elif kind == "said":
            twin.remote = Remote(0.1, age, now)
            shared_state.set_remote(0, 0.1, age, now)
        elif kind == "hint":
            assert shared_state.hint(0, now) == twin.hint(now)
        else:
            failed = kind == "fail"
            expected = twin.report(
                now, generation, failed=failed, trial=trial, key=key, retry_after_ns=retry_after, rnd=rnd
            )
            assert pool.report(0, now, generation, failed, trial, key, retry_after, rnd) == expected
        view = shared_state.read_target(0, now)
        assert (view["state"], view["generation"], view["until_ns"]) == (
            twin.state,
            twin.generation,
            twin.until_ms * MS,
        )
        assert (view["opened_ns"], view["trial_ns"], view["opens"]) == (twin.opened_ns, twin.trial_ns, twin.opens)
        assert (view["consecutive"], view["trip_reason"]) == (twin.consecutive, twin.trip_reason)
        assert view["window"] == twin.window.read(now)
        assert [view["counts"][place] for place in (17, 18, 22)] == [twin.trips, twin.trials, twin.slow_calls]
        assert pool.slow_start(0, now) == twin.slow_start(now)


def test_consecutive_failures_open_and_a_success_between_starts_over(shared_state: SharedState, usual: Breaker) -> None:
    """Four failures, a success and four more failures do not open; a fifth in a row does."""
    pool = make_pool(shared_state, usual, failure_ratio=0.0)
    assert fail(pool, START, 4) == 0
    assert pool.report(0, START, 0, failed=False) == 0
    assert fail(pool, START, 4) == 0
    assert fail(pool, START, 1) == TripReason.TRIP_CONSECUTIVE


def test_a_ratio_opens_only_with_volume(shared_state: SharedState, usual: Breaker) -> None:
    """Five failures of nine do not open, five of ten do, whichever outcome completes the volume."""
    pool = make_pool(shared_state, usual, consecutive_failures=0)
    answers = [pool.report(0, START, 0, failed=turn % 2 == 0) for turn in range(10)]
    assert answers == [0] * 9 + [TripReason.TRIP_RATIO]


def test_a_tight_burst_opens_at_once(shared_state: SharedState, usual: Breaker) -> None:
    """After an hour of success, ten failures within a millisecond open; an average would hide them."""
    pool = make_pool(shared_state, usual, consecutive_failures=0)
    for second in range(3600):
        pool.report(0, START + second * S, 0, failed=False)
    later = START + 3620 * S
    assert [pool.report(0, later + turn * 100_000, 0, failed=True) for turn in range(10)][-1] == TripReason.TRIP_RATIO


def test_two_targets_are_enough(shared_state: SharedState, usual: Breaker) -> None:
    """The bad target of two is opened, which no outlier detection by deviation from the mean could do."""
    pool = TargetPool(
        [Target(shared_state, i, str(i)) for i in range(2)], [1, 1], [1.0, 1.0], usual, workers=1, permit_ns=PERMIT
    )
    for _ in range(20):
        pool.report(0, START, 0, failed=True)
        pool.report(1, START, 0, failed=False)
    assert [shared_state.read_target(slot, START)["state"] for slot in (0, 1)] == ["open", "closed"]


def test_a_black_hole_opens_on_calls_that_never_ended(shared_state: SharedState, usual: Breaker) -> None:
    """Ten overdue calls open the circuit although no call has ended."""
    pool = make_pool(shared_state, usual)
    assert [pool.overdue(0, START, 0) for _ in range(10)] == [0] * 9 + [TripReason.TRIP_SLOW]


def test_slow_answers_open_at_half(shared_state: SharedState, usual: Breaker) -> None:
    """The circuit opens if every other answer is late, although none has failed."""
    pool = make_pool(shared_state, usual)
    said = []
    for turn in range(12):
        if turn % 2:
            said.append(pool.overdue(0, START, 0))
        said.append(pool.report(0, START, 0, failed=False))
    assert [word for word in said if word] == [TripReason.TRIP_SLOW]


def test_old_slowness_is_forgotten(shared_state: SharedState, usual: Breaker) -> None:
    """Nine slow calls eleven seconds ago and one now count as one."""
    pool = make_pool(shared_state, usual)
    for _ in range(9):
        pool.overdue(0, START, 0)
    assert pool.overdue(0, START + 11 * S, 0) == 0


def test_one_permit_and_a_success_closes(shared_state: SharedState, usual: Breaker) -> None:
    """When the wait is over, exactly one attempt is admitted; its success closes the circuit with an empty window."""
    pool = make_pool(shared_state, usual)
    trip(pool)
    assert pool.take_one(0, START + S - MS)[0] == Admit.ADMIT_NO
    admit, generation = pool.take_one(0, START + S)
    assert admit == Admit.ADMIT_TRIAL
    assert pool.take_one(0, START + S)[0] == Admit.ADMIT_NO
    assert pool.take_one(0, START + S, last_resort=True)[0] == Admit.ADMIT_NO
    assert pool.report(0, START + 2 * S, generation, failed=False, trial=True) == -1
    view = shared_state.read_target(0, START + 2 * S)
    assert (view["state"], view["window"], view["consecutive"]) == ("closed", (0, 0, 0), 0)


def test_a_success_forgets_the_penalties_of_the_outage(shared_state: SharedState, usual: Breaker) -> None:
    """A recovery clears the penalties of failures, so that only new samples and slow start count."""
    pool = make_pool(shared_state, usual)
    pool.targets[0].record(0, START, 5 * MS, failed=True)
    trip(pool)
    _, generation = pool.take_one(0, START + S)
    pool.report(0, START + S, generation, failed=False, trial=True)
    assert pool.targets[0].latency_ms(0, START + S) == 0.0
    pool.targets[0].record(0, START + S, 80 * MS)
    view = shared_state.read_target(0, START + S)
    assert (view["measured_ms"][0], view["penalty_ms"][0]) == (80.0, 0.0)


@pytest.mark.parametrize("how", ["failed", "slow", "rate limited"])
def test_a_trial_that_disappoints_doubles_the_wait(shared_state: SharedState, usual: Breaker, how: str) -> None:
    """A failed, slow or rate-limited trial reopens the circuit: waits of 1, 2, 4, 8 s, up to the maximum."""
    pool = make_pool(shared_state, usual, open_duration_max_ns=8 * S)
    trip(pool)
    now, waits = START, []
    for _ in range(5):
        due = shared_state.read_target(0, now)["until_ns"]
        waits.append(due - now)
        now = due
        _, generation = pool.take_one(0, now)
        if how == "slow":
            assert pool.overdue(0, now, generation, trial=True, rnd=HALF) == TripReason.TRIP_TRIAL
        else:
            hint = 1 if how == "rate limited" else 0
            reason = pool.report(0, now, generation, failed=True, trial=True, retry_after_ns=hint, rnd=HALF)
            assert reason == (TripReason.TRIP_RETRY_AFTER if hint else TripReason.TRIP_TRIAL)
    assert waits == [1 * S, 2 * S, 4 * S, 6_400 * MS, 6_400 * MS]  # four fifths of the cap, before jitter


@given(rnd=st.integers(0, 2**64 - 1), opens=st.integers(0, 12))
def test_jitter_is_a_quarter_and_never_over_the_cap(rnd: int, opens: int) -> None:
    """Every wait is within a quarter of its nominal length and at most open_duration_max."""
    shared_state = SharedState.create(1, 0, 1)
    breaker = Breaker(5, 0.5, 10 * S, 10, 0.5, S, False, S, 60 * S, 10 * S)
    pool = make_pool(shared_state, breaker)
    trip(pool)
    now = START
    for _ in range(opens):
        now = shared_state.read_target(0, now)["until_ns"]
        _, generation = pool.take_one(0, now)
        pool.report(0, now, generation, failed=True, trial=True, rnd=rnd)
    nominal = min(2**opens, 48) * S
    wait = shared_state.read_target(0, now)["until_ns"] - now
    if opens:
        assert nominal * 3 // 4 <= wait <= min(nominal * 5 // 4, 60 * S) + MS


def test_jitter_spreads_at_the_cap(shared_state: SharedState, usual: Breaker) -> None:
    """At the maximum the waits still differ, so that many edges do not come back in the same instant."""
    waits = set()
    for turn in range(50):
        shared_state.clear_target(0)
        pool = make_pool(shared_state, usual, open_duration_ns=60 * S)
        generation = shared_state.read_target(0, START)["generation"]
        for _ in range(5):
            pool.report(0, START, generation, failed=True, rnd=turn * (2**64 // 50))
        waits.add(shared_state.read_target(0, START)["until_ns"])
    assert len(waits) == 50


def test_retry_after_is_a_floor_with_a_cap(shared_state: SharedState, usual: Breaker) -> None:
    """Retry-After may lengthen a wait beyond open_duration_max, up to five minutes, but never shortens it."""
    for wish, expected in ((100 * S, 100 * S), (MS, 1 * S), (86_400 * S, 300 * S)):
        shared_state.clear_target(0)
        pool = make_pool(shared_state, usual)
        generation = shared_state.read_target(0, START)["generation"]
        for _ in range(5):
            pool.report(0, START, generation, failed=True, retry_after_ns=wish, rnd=HALF)
        assert shared_state.read_target(0, START)["until_ns"] - START == expected


def test_stragglers_move_nothing(shared_state: SharedState, usual: Breaker) -> None:
    """Outcomes of calls from before the trip neither close the circuit, nor use up the permit, nor reopen it later."""
    pool = make_pool(shared_state, usual)
    trip(pool)
    for failed in (True, False):
        assert pool.report(0, START + MS, 0, failed) == 0
        assert pool.overdue(0, START + MS, 0) == 0
    assert state(pool, START) == "open"
    _, generation = pool.take_one(0, START + S)
    assert pool.report(0, START + S, 0, failed=False) == 0
    assert state(pool, START) == "half_open"
    pool.report(0, START + S, generation, failed=False, trial=True)
    for _ in range(50):  # the black hole's calls time out only now
        assert pool.report(0, START + 2 * S, 0, failed=True) == 0
        assert pool.overdue(0, START + 2 * S, 0) == 0
    view = shared_state.read_target(0, START + 2 * S)
    assert (view["state"], view["window"], view["consecutive"]) == ("closed", (0, 0, 0), 0)


def test_a_killed_workers_permit_lapses(shared_state: SharedState, usual: Breaker) -> None:
    """Without a report another attempt gets the permit after permit_ns, and a late report of the first is ignored."""
    pool = make_pool(shared_state, usual)
    trip(pool)
    _, lost = pool.take_one(0, START + S)
    assert pool.take_one(0, START + S + PERMIT - MS)[0] == Admit.ADMIT_NO
    admit, generation = pool.take_one(0, START + S + PERMIT)
    assert admit == Admit.ADMIT_TRIAL
    assert pool.report(0, START + S + PERMIT, lost, failed=False, trial=True) == 0
    assert state(pool, START) == "half_open"
    assert pool.report(0, START + S + PERMIT, generation, failed=False, trial=True) == -1


def test_a_permit_given_back_is_free_at_once(shared_state: SharedState, usual: Breaker) -> None:
    """If the client of a trial leaves early, the next attempt is the trial, without a longer wait."""
    pool = make_pool(shared_state, usual)
    trip(pool)
    _, generation = pool.take_one(0, START + S)
    pool.give_back(0, START + S, generation)
    assert pool.take_one(0, START + S)[0] == Admit.ADMIT_TRIAL
    assert shared_state.read_target(0, START)["opens"] == 1


def test_the_last_resort_is_a_trickle(shared_state: SharedState, usual: Breaker) -> None:
    """An open target far from its time is tried at most once per open_duration_ns, whatever the number of requests."""
    pool = make_pool(shared_state, usual)
    for _ in range(5):
        pool.report(0, START, 0, failed=True, retry_after_ns=300 * S)
    trials = 0
    for step in range(10_000):  # ten seconds, a thousand requests a second
        now = START + step * MS
        admit, generation = pool.take_one(0, now, last_resort=True)
        if admit:
            assert admit == Admit.ADMIT_TRIAL
            trials += 1
            pool.report(0, now, generation, failed=True, trial=True, retry_after_ns=300 * S)
    assert trials == 9  # not in the second right after the trip


def test_a_last_resort_waits_a_second_at_most(shared_state: SharedState, usual: Breaker) -> None:
    """With long open periods the last usable target is still tried once a second."""
    pool = make_pool(shared_state, usual, open_duration_ns=40 * S)
    trip(pool)
    assert pool.take_one(0, START + S - MS, last_resort=True)[0] == Admit.ADMIT_NO
    assert pool.take_one(0, START + S)[0] == Admit.ADMIT_NO
    assert pool.take_one(0, START + S, last_resort=True)[0] == Admit.ADMIT_TRIAL


@pytest.mark.parametrize("better", ["first", "second"])
def test_others_join_a_long_trial_as_a_last_resort(shared_state: SharedState, usual: Breaker, better: str) -> None:
    """Once a second another request may join a trial, and the first success closes the circuit."""
    pool = make_pool(shared_state, usual)
    trip(pool)
    _, first = pool.take_one(0, START + S)
    joined = [pool.take_one(0, START + S + step * 100 * MS, last_resort=True) for step in range(1, 25)]
    assert [step for step, (admit, _) in enumerate(joined, 1) if admit == Admit.ADMIT_TRIAL] == [10, 20]
    second = joined[9][1]
    one, other = (first, second) if better == "first" else (second, first)
    assert pool.report(0, START + 4 * S, one, failed=False, trial=True) == -1
    assert pool.report(0, START + 4 * S, other, failed=False, trial=True) == 0
    assert shared_state.read_target(0, START + 4 * S)["state"] == "closed"


def test_who_joined_a_trial_that_failed_decides_nothing(shared_state: SharedState, usual: Breaker) -> None:
    """The first outcome decides a trial: a later outcome neither closes the circuit nor extends its wait."""
    pool = make_pool(shared_state, usual)
    trip(pool)
    _, first = pool.take_one(0, START + S)
    _, second = pool.take_one(0, START + 2 * S, last_resort=True)
    assert pool.report(0, START + 3 * S, first, failed=True, trial=True) == TripReason.TRIP_TRIAL
    opens = shared_state.read_target(0, START + 3 * S)["opens"]
    assert pool.report(0, START + 3 * S, second, failed=True, trial=True) == 0
    assert pool.report(0, START + 3 * S, second, failed=False, trial=True) == 0
    view = shared_state.read_target(0, START + 3 * S)
    assert (view["state"], view["opens"]) == ("open", opens)


def test_a_hint_brings_the_trial_forward_but_not_before_a_quarter(shared_state: SharedState, usual: Breaker) -> None:
    """Ten hints have the same effect as one hint."""
    pool = make_pool(shared_state, usual, open_duration_ns=40 * S)
    trip(pool)
    assert shared_state.hint(0, START + S)
    assert not any(shared_state.hint(0, START + S + turn * MS) for turn in range(10))
    assert pool.take_one(0, START + 10 * S - MS)[0] == Admit.ADMIT_NO
    assert pool.take_one(0, START + 10 * S)[0] == Admit.ADMIT_TRIAL


def test_a_hint_late_in_the_wait_means_now(shared_state: SharedState, usual: Breaker) -> None:
    """After a quarter of the wait, a hint makes the trial due at once."""
    pool = make_pool(shared_state, usual, open_duration_ns=40 * S)
    trip(pool)
    assert shared_state.hint(0, START + 20 * S)
    assert pool.take_one(0, START + 20 * S)[0] == Admit.ADMIT_TRIAL


def test_a_hint_means_nothing_to_a_circuit_that_is_not_open(shared_state: SharedState, usual: Breaker) -> None:
    """A hint changes neither a closed nor a half-open circuit."""
    pool = make_pool(shared_state, usual)
    assert not shared_state.hint(0, START)
    trip(pool)
    pool.take_one(0, START + S)
    assert not shared_state.hint(0, START + S)
    assert state(pool, START + S) == "half_open"


def test_a_recovering_target_ramps(shared_state: SharedState, usual: Breaker) -> None:
    """The share grows from a tenth over slow_start_ns, and is whole if the circuit never opened."""
    pool = make_pool(shared_state, usual)
    assert pool.slow_start(0, START) == 1.0
    trip(pool)
    _, generation = pool.take_one(0, START + S)
    pool.report(0, START + S, generation, failed=False, trial=True)
    shares = [pool.slow_start(0, START + S + step * S) for step in (0, 1, 3, 5, 10, 100)]
    assert shares == [0.1, 0.1, 0.3, 0.5, 1.0, 1.0]


def test_a_ramp_of_nothing_is_no_ramp(shared_state: SharedState, usual: Breaker) -> None:
    """Without slow start the share is whole at once, even for a process whose clock is behind the recovery."""
    pool = make_pool(shared_state, usual, slow_start_ns=0)
    trip(pool)
    _, generation = pool.take_one(0, START + S)
    pool.report(0, START + S, generation, failed=False, trial=True)
    assert (pool.slow_start(0, START + S), pool.slow_start(0, START + S - 5 * MS)) == (1.0, 1.0)


def test_the_back_off_starts_over_after_health(shared_state: SharedState, usual: Breaker) -> None:
    """A trip soon after recovery doubles the wait; after half of open_duration_max the first wait is used again."""
    for healthy_for, expected in ((20 * S, 2 * S), (31 * S, 1 * S)):
        shared_state.clear_target(0)
        pool = make_pool(shared_state, usual)
        generation = shared_state.read_target(0, START)["generation"]
        fail(pool, START, 5, generation=generation)
        _, generation = pool.take_one(0, START + S)
        pool.report(0, START + S, generation, failed=False, trial=True)
        now = START + S + healthy_for
        assert fail(pool, now, 5, generation=generation) == TripReason.TRIP_CONSECUTIVE
        assert shared_state.read_target(0, now)["until_ns"] - now == expected


def test_one_key_cannot_eject_a_provider_for_the_others(shared_state: SharedState, usual: Breaker) -> None:
    """If only key 7 fails while key 9 succeeds, the circuit stays closed until 9 fails too."""
    pool = make_pool(shared_state, usual)
    pool.report(0, START, 0, failed=False, key=9)
    assert fail(pool, START, 100, key=7) == 0
    assert fail(pool, START, 1, key=9) == TripReason.TRIP_CONSECUTIVE


def test_a_lone_key_is_believed(shared_state: SharedState, usual: Breaker) -> None:
    """If only one key is active, or keys are not in use, its failures open the circuit."""
    pool = make_pool(shared_state, usual)
    assert fail(pool, START, 5, key=7) == TripReason.TRIP_CONSECUTIVE


def test_a_key_that_has_left_does_not_shield_a_dead_provider(shared_state: SharedState, usual: Breaker) -> None:
    """Two epochs after the other key was last seen, the failures of one key open again."""
    pool = make_pool(shared_state, usual)
    pool.report(0, START, 0, failed=False, key=9)
    assert fail(pool, START + 10 * S, 20, key=7) == 0
    assert fail(pool, START + 20 * S, 1, key=7) == TripReason.TRIP_CONSECUTIVE


def test_slowness_needs_no_second_key(shared_state: SharedState, usual: Breaker) -> None:
    """Overdue calls of a single key open the circuit, because a caller cannot make a provider slow."""
    pool = make_pool(shared_state, usual)
    pool.report(0, START, 0, failed=False, key=9)
    pool.report(0, START, 0, failed=False, key=7)
    assert TripReason.TRIP_SLOW in [pool.overdue(0, START, 0) for _ in range(10)]


def test_other_regions_lower_the_failure_threshold(shared_state: SharedState, usual: Breaker) -> None:
    """With a remote threshold of two, two failures in a row open with that reason; a success in between resets."""
    pool = make_pool(shared_state, usual)
    shared_state.set_remote(0, 1.0, 2, START)
    assert fail(pool, START, 1) == 0
    pool.report(0, START, 0, failed=False)
    assert fail(pool, START, 1) == 0
    assert fail(pool, START, 1) == TripReason.TRIP_REMOTE


def test_what_other_regions_said_is_forgotten_after_15_s(shared_state: SharedState, usual: Breaker) -> None:
    """A low threshold expires if control has died, and can be cleared at once."""
    pool = make_pool(shared_state, usual)
    shared_state.set_remote(0, 0.1, 1, START)
    assert fail(pool, START + 15_001 * MS, 4) == 0
    shared_state.set_remote(0, 0.1, 1, START + 16 * S)
    shared_state.clear_remote(0)
    pool.report(0, START + 16 * S, 0, failed=False)
    assert fail(pool, START + 16 * S, 4) == 0


def test_with_a_low_failure_threshold_few_overdue_calls_are_enough(shared_state: SharedState, usual: Breaker) -> None:
    """With a remote threshold of two, two hanging calls open the circuit, and not ten."""
    pool = make_pool(shared_state, usual)
    shared_state.set_remote(0, 1.0, 2, START)
    assert pool.overdue(0, START, 0) == 0
    assert pool.overdue(0, START, 0) == TripReason.TRIP_SLOW


def test_two_processes_never_hold_the_permit_together(
    shared_state: SharedState, run_in_processes: Callable[[SharedState, str, int], list[str]]
) -> None:
    """Four processes compete for the permit of one target: trials never overlap, and each is counted once."""
    script = """
import time
from types import SimpleNamespace
from native.balance.balancer import TargetPool
from native.balance.target import Target
policy = SimpleNamespace(consecutive_failures=1, failure_ratio=0.0, window_ns=10_000_000_000, min_requests=1,
                         slow_ratio=0.0, slow_threshold_ns=1, slow_adaptive=False, open_duration_ns=1,
                         open_duration_max_ns=1, slow_start_ns=0)
target, inside = Target(shared_state, 0, "ill"), Target(shared_state, 1, "inside")
pool = TargetPool([target], [1], [1.0], policy, workers=4, permit_ns=60_000_000_000)
pool.report(0, time.monotonic_ns(), 0, failed=True)
trials = together = 0
end = time.monotonic_ns() + 1_000_000_000
while (now := time.monotonic_ns()) < end:
    admit, generation = pool.take_one(0, now)
    if admit == 2:
        inside.enter(0)
        trials += 1
        together += shared_state.read_target(1, now)["inflight"] != 1
        inside.leave(0)
        pool.report(0, time.monotonic_ns(), generation, failed=True, trial=True)
print(trials, together)
"""
    said = [tuple(map(int, line.split())) for line in run_in_processes(shared_state, script, 4)]
    counts = shared_state.read_target(0, 0)["counts"]
    assert sum(together for _, together in said) == 0
    assert sum(trials for trials, _ in said) == counts[TargetCounter.T_TRIALS] > 100
    assert counts[TargetCounter.T_TRIPS] == counts[TargetCounter.T_TRIALS] + 1
    assert (
        shared_state.read_target(0, 0)["generation"] == counts[TargetCounter.T_TRIALS] + counts[TargetCounter.T_TRIPS]
    )
