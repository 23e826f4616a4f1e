"""The traffic of a target that replaces a better tier grows with its answers, so a failover does not overload it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.balance.capacity import Capacity
from native.balance.spill import Spill
from native.state.shared_state import SharedState
from tests.reference import capacity as twin

MS = 1_000_000
S = 1_000_000_000
START = 1_000 * S

EVENT = st.tuples(
    st.sampled_from(["first", "first", "used", "low", "note"]),
    st.one_of(st.just(0), st.integers(0, 2 * S), st.integers(0, 40 * S)),
    st.integers(0, 3_000_000),
    st.integers(0, 300),
)


@settings(max_examples=300)
@given(events=st.lists(EVENT, max_size=150), limit=st.integers(4, 300))
def test_allowance_and_ramp_are_their_twins(events: list[tuple[str, int, int, int]], limit: int) -> None:
    """Any history of requests, first tokens and numbers in flight gives kernel and model the same limits."""
    shared_state = SharedState.create(1, 0, 1)
    kernel, capacity, model = Spill(shared_state, 0), Capacity(shared_state, 0, 4), twin.Capacity(4)
    now = START
    for event, step, number, inflight in events:
        now += step
        if event == "first":
            capacity.first(now, number, inflight)
            model.first(now, number, inflight)
        elif event == "used":
            kernel.used(now)
            model.spill.used(now)
        elif event == "low":
            kernel.ramp_used(now, limit, inflight)
            model.spill.low_used(now, limit, inflight)
        else:
            kernel.note(now, inflight)
            model.spill.highest.note(now, inflight)
        assert kernel.allowance(now) == model.spill.allowance(now)
        assert kernel.ramp(now, limit, inflight) == model.spill.low(now, limit, inflight)


# --- the allowance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("highest", "allowance"), [(0, 64), (32, 64), (33, 66), (500, 1000)])
def test_it_starts_from_what_the_target_has_shown(highest: int, allowance: float) -> None:
    """The allowance starts at twice the recent highest number in flight, and at least 64."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.note(START, highest)
    assert spill.allowance(START) == allowance


@pytest.mark.parametrize(("later_s", "allowance"), [(0, 1000), (60, 1000), (79, 1000), (80, 64)])
def test_what_was_shown_is_remembered_for_a_minute_at_least(later_s: int, allowance: float) -> None:
    """START is 40 s into its minute, so the following minute ends 80 s after START."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.note(START, 500)
    assert spill.allowance(START + later_s * S) == allowance


def test_it_does_not_follow_what_it_lets_in() -> None:
    """Requests in flight are no evidence: before their first tokens the allowance stays."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.used(START)
    for inflight in range(64):
        spill.note(START, inflight)
    assert spill.allowance(START) == 64


def test_it_doubles_in_a_round_of_first_tokens() -> None:
    """As many first tokens as the allowance double it, while it is in use; the next doubling needs twice as many."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.used(START)
    for _ in range(64):
        spill.first(START + S, 64)
    assert spill.allowance(START + S) == 128
    for _ in range(128):
        spill.first(START + 2 * S, 128)
    assert spill.allowance(START + 2 * S) == 256


def test_it_grows_only_while_half_of_it_is_in_use() -> None:
    """A failover with little traffic says nothing about much traffic."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.used(START)
    spill.first(START + S, 31)
    assert spill.allowance(START + S) == 64
    spill.first(START + S, 32)
    assert spill.allowance(START + S) == 65


def test_it_does_not_grow_while_the_target_is_slow() -> None:
    """First tokens at twice their usual time stop the growth."""
    shared_state = SharedState.create(1, 0, 1)
    spill, capacity = Spill(shared_state, 0), Capacity(shared_state, 0, 4)
    for step in range(220):
        capacity.first(START + step * 10 * MS, (200 if step < 110 else 400) * 1000, 20)
    spill.used(START + 3 * S)
    spill.first(START + 3 * S, 64)
    assert spill.allowance(START + 3 * S) == 64


@pytest.mark.parametrize(("idle_s", "allowance"), [(29, 100), (30, 80)])
def test_it_starts_again_after_rest(idle_s: int, allowance: float) -> None:
    """After 30 s without a request in place of a better tier, the allowance starts again."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.used(START)
    for _ in range(36):
        spill.first(START, 64)
    spill.note(START, 40)
    assert spill.allowance(START + idle_s * S) == allowance


def test_a_busy_failover_does_not_rest() -> None:
    """The allowance is kept as long as it is in use."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    spill.used(START)
    for _ in range(36):
        spill.first(START, 64)
    for second in range(300):
        spill.used(START + second * S)
    assert spill.allowance(START + 300 * S) == 100


# --- the ramp of the low class ----------------------------------------------------------------------------------------


def test_the_ramp_grows_while_it_is_used_and_starts_again_after_rest() -> None:
    """Six, then half as much again every five seconds; six again after thirty idle seconds."""
    spill = Spill(SharedState.create(1, 0, 1), 0)
    allowed = []
    now = START
    for _ in range(4):
        low = int(spill.ramp(now, 60, 0)) - 1
        spill.ramp_used(now, 60, low if allowed else 0)
        allowed.append(round(spill.ramp(now, 60, low), 2))
        now += 5 * S
    assert allowed == [6.0, 9.0, 13.5, 20.25]
    assert spill.ramp(now + 40 * S, 60, 0) == 6.0


def test_the_ramp_gives_way_when_the_target_slows_down() -> None:
    """First tokens twice as late as usual reduce the ramp of the low class step by step."""
    shared_state = SharedState.create(1, 0, 1)
    spill, capacity = Spill(shared_state, 0), Capacity(shared_state, 0, 4)
    for step in range(30):
        capacity.first(START + step * 100 * MS, 200_000, 10)
    spill.ramp_used(START + 3 * S, 64, 20)
    before = spill.ramp(START + 3 * S, 64, 20)
    for step in range(30):
        capacity.first(START + 3 * S + step * 100 * MS, 400_000, 10)
    assert spill.ramp(START + 6 * S, 64, 20) == pytest.approx(15.0)
    assert before > 20
