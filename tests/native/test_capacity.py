"""Does a target get as many requests as it takes, and not many more, without being asked what it takes?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.balance.capacity import Capacity
from native.state.shared_state import SharedState
from tests.reference import capacity as twin

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
S = 1_000_000_000
START = 1_000 * S

EVENT = st.tuples(
    st.sampled_from(["first", "first", "first", "whole", "refused", "spilled"]),
    st.one_of(st.just(0), st.integers(0, 50 * MS), st.integers(0, 2 * S), st.integers(0, 40 * S)),
    st.integers(0, 3_000_000),
    st.integers(0, 300),
)


@settings(max_examples=300)
@given(
    bounds=st.tuples(st.integers(1, 20), st.integers(20, 80), st.integers(80, 5000)),
    events=st.lists(EVENT, max_size=200),
)
def test_a_limit_is_its_twin(bounds: tuple[int, int, int], events: list[tuple[str, int, int, int]]) -> None:
    """Any history of first tokens, refusals and spilled requests leads both to the same limit, floor and ramp."""
    least, initial, most = bounds
    shared_state = SharedState.create(1, 0, 1)
    kernel, model = Capacity(shared_state, 0, initial, least, most), twin.Capacity(initial, least, most)
    now = START
    for event, step, number, inflight in events:
        now += step
        if event == "refused":
            kernel.refused(now)
            model.refused(now)
        elif event == "spilled":
            assert kernel.spill(now, inflight) == model.spill(now, inflight)
            kernel.spilled(now, inflight)
            model.spilled(now, inflight)
        else:
            kernel.first(now, number, inflight, event == "first")
            model.first(now, number, inflight, measured=event == "first")
        assert kernel.limit() == model.limit()
        assert least <= kernel.limit() <= most
        view = shared_state.read_target(0, now)
        assert (view["limit_floor_ms"], view["limit_seen_ms"]) == (model.floor or 0.0, model.seen or 0.0)


class Provider:
    """A target of a known capacity: more than it at once makes everybody wait, half as much again is refused."""

    def __init__(self, shared_state: SharedState, capacity: float, base_ms: float = 200.0) -> None:
        self.limit = Capacity(shared_state, 0, 64, 4, 5000)
        self.capacity = capacity
        self.base_ms = base_ms

    def play(self, now: int, seconds: float, wanted: float) -> tuple[int, list[float]]:
        """Offer so many at once for a while, in steps of 50 ms; return when it ended and the limit over time."""
        limits = []
        for _ in range(int(seconds * 20)):
            inflight = int(min(wanted, self.limit.limit()))
            first_ms = self.base_ms * max(1.0, inflight / self.capacity)
            for number in range(max(1, int(inflight * 50 / first_ms))):
                self.limit.first(now + number, int(first_ms * 1000), inflight)
            if inflight > 1.5 * self.capacity:
                self.limit.refused(now)
            limits.append(self.limit.limit())
            now += 50 * MS
        return now, limits


@pytest.mark.parametrize("capacity", [12, 30, 100, 700])
def test_the_limit_settles_near_what_the_target_takes(capacity: int) -> None:
    """Under endless demand the limit comes to what the target takes, plus its tolerance and a window's growth."""
    provider = Provider(SharedState.create(1, 0, 1), capacity)
    _, limits = provider.play(START, 60, 10_000)
    settled = limits[len(limits) // 2 :]
    assert 0.7 * capacity <= min(settled)
    assert max(settled) <= 1.5 * capacity + 2 * math.sqrt(1.5 * capacity)


def test_what_nobody_presses_against_does_not_grow() -> None:
    """Ten at once of a limit of 64 prove nothing about the 65th."""
    provider = Provider(SharedState.create(1, 0, 1), 1000)
    _, limits = provider.play(START, 30, 10)
    assert set(limits) == {64.0}


def test_slowness_that_is_not_ours_takes_nothing() -> None:
    """A provider that turns slow for everybody, while we use little of the limit, keeps its limit."""
    provider = Provider(SharedState.create(1, 0, 1), 1000)
    now, _ = provider.play(START, 10, 10)
    provider.base_ms = 2000.0
    _, limits = provider.play(now, 20, 10)
    assert set(limits) == {64.0}


def test_an_outage_costs_one_step(shared_state: SharedState) -> None:
    """A target that answers nobody is the breaker's business: hundreds of refusals take one tenth, not everything."""
    limit = Capacity(shared_state, 0, 64, 4, 5000)
    limit.first(START, 1000, 5)
    for step in range(300):
        limit.refused(START + step * 200 * MS)
    assert limit.limit() == pytest.approx(57.6)


def test_a_refused_stranger_keeps_its_limit(shared_state: SharedState) -> None:
    """Before the first answer a refusal says nothing: the address may be wrong."""
    limit = Capacity(shared_state, 0, 64, 4, 5000)
    limit.refused(START)
    assert limit.limit() == 64


def test_refusals_between_answers_take_a_tenth_every_100_ms(shared_state: SharedState) -> None:
    """Ten refusals in one instant are one; answers between them show that it is load that is refused."""
    limit = Capacity(shared_state, 0, 64, 4, 5000)
    for step in range(3):
        now = START + step * 120 * MS
        limit.first(now, 1000, 5)
        for _ in range(10):
            limit.refused(now + MS)
    assert limit.limit() == pytest.approx(64 * 0.9**3)


def test_the_ramp_grows_while_it_is_used_and_starts_again_after_rest() -> None:
    """Six, then half as much again every five seconds; after thirty idle seconds six again."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 60, 4, 5000)
    allowed = []
    now = START
    for _ in range(4):
        low = int(limit.spill(now, 0)) - 1
        limit.spilled(now, low if allowed else 0)
        allowed.append(round(limit.spill(now, low), 2))
        now += 5 * S
    assert allowed == [6.0, 9.0, 13.5, 20.25]
    assert limit.spill(now + 40 * S, 0) == 6.0


def test_the_ramp_gives_way_when_the_target_slows_down() -> None:
    """First tokens twice as late as usual: fewer of the lowest class, step by step."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 64, 4, 5000)
    for step in range(30):
        limit.first(START + step * 100 * MS, 200_000, 10)
    limit.spilled(START + 3 * S, 20)
    before = limit.spill(START + 3 * S, 20)
    for step in range(30):
        limit.first(START + 3 * S + step * 100 * MS, 400_000, 10)
    assert limit.spill(START + 6 * S, 20) == pytest.approx(15.0)
    assert before > 20


def test_four_processes_lose_no_decrease(
    shared_state: SharedState, hammer: Callable[[SharedState, str, int], list[str]]
) -> None:
    """Windows end once however many processes see their end, and the limit stays within its bounds throughout."""
    script = """
from native.balance.capacity import Capacity
limit = Capacity(shared_state, 0, 64, 4, 5000)
worst = 0.0
for step in range(20000):
    limit.first(1_000_000_000_000 + step * 1_000_000, 200_000 + step % 7, 60)
    if step % 50 == 0:
        limit.refused(1_000_000_000_000 + step * 1_000_000)
    worst = max(worst, limit.limit())
print(worst <= 5000)
"""
    assert hammer(shared_state, script, 4) == ["True"] * 4
    assert 4 <= shared_state.read_target(0, 0)["limit"] <= 5000
    assert shared_state.read_target(0, 0)["limit_floor_ms"] == pytest.approx(200, rel=0.01)


def test_bounds_that_contradict_themselves_are_refused(shared_state: SharedState) -> None:
    """An initial limit outside of its bounds is a mistake."""
    with pytest.raises(ValueError, match="least <= initial"):
        Capacity(shared_state, 0, 64, 100, 5000)
