"""A target gets as many requests as it can take; until there is evidence of a limit, it gets all requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.balance.capacity import Capacity
from native.balance.spill import Spill
from native.state.shared_state import SharedState
from tests.reference import capacity as twin

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
S = 1_000_000_000
START = 1_000 * S

EVENT = st.tuples(
    st.sampled_from(["first", "first", "first", "whole", "refused", "refused"]),
    st.one_of(st.just(0), st.integers(0, 50 * MS), st.integers(0, 2 * S), st.integers(0, 90 * S)),
    st.integers(0, 3_000_000),
    st.integers(0, 300),
)


@settings(max_examples=300)
@given(least=st.integers(1, 20), events=st.lists(EVENT, max_size=200))
def test_a_limit_is_its_twin(least: int, events: list[tuple[str, int, int, int]]) -> None:
    """Any history of first tokens and refusals gives kernel and model the same limit and floor."""
    shared_state = SharedState.create(1, 0, 1)
    kernel, model = Capacity(shared_state, 0, least), twin.Capacity(least)
    now = START
    for event, step, number, inflight in events:
        now += step
        if event == "refused":
            kernel.refused(now, inflight)
            model.refused(now, inflight)
        else:
            kernel.first(now, number, inflight, event == "first")
            model.first(now, number, inflight, measured=event == "first")
        assert kernel.limit(now, number % 300) == model.limit(now, number % 300)
        assert kernel.binding(now, number % 300) == model.binding(now, number % 300)
        view = shared_state.read_target(0, now)
        assert (view["limit_floor_ms"], view["limit_seen_ms"]) == (model.delay.floor or 0.0, model.delay.seen or 0.0)


class Provider:
    """A target of a known capacity: above it requests wait, and above one and a half times of it they are refused."""

    def __init__(self, capacity: float, base_ms: float = 200.0) -> None:
        self.limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
        self.capacity = capacity
        self.base_ms = base_ms

    def play(self, now: int, seconds: float, wanted: float) -> tuple[int, list[float]]:
        """Offer this many concurrent requests, in steps of 50 ms; return the end time and the limits over time."""
        limits = []
        inflight = 0
        for _ in range(int(seconds * 20)):
            limit = self.limit.limit(now, inflight)
            inflight = int(min(wanted, limit or wanted))
            first_ms = self.base_ms * max(1.0, inflight / self.capacity)
            for number in range(max(1, int(inflight * 50 / first_ms))):
                self.limit.first(now + number, int(first_ms * 1000), inflight)
                if number % 4 == 0 and inflight > 1.5 * self.capacity:
                    self.limit.refused(now + number, inflight)
            limits.append(self.limit.limit(now, inflight))
            now += 50 * MS
        return now, limits


@pytest.mark.parametrize("capacity", [12, 30, 100, 700])
def test_the_limit_settles_near_what_the_target_takes(capacity: int) -> None:
    """Under unlimited demand the limit reaches the capacity, plus the tolerance and a window's growth."""
    _, limits = Provider(capacity).play(START, 50, 2_000)
    settled = limits[len(limits) // 2 :]
    assert 0.7 * capacity <= min(settled)
    assert max(settled) <= 1.5 * capacity + 2 * math.sqrt(1.5 * capacity)


def test_a_target_that_takes_everything_has_no_limit() -> None:
    """Without evidence of saturation there is no limit, however large or sudden the load."""
    provider = Provider(1_000_000)
    now, quiet = provider.play(START, 10, 10)
    _, busy = provider.play(now, 10, 9_500)
    assert set(quiet + busy) == {0.0}


def test_slowness_that_is_not_ours_sets_no_limit() -> None:
    """A provider that becomes slow while this node has only a few requests there gets no limit."""
    provider = Provider(1_000_000)
    now, _ = provider.play(START, 10, 31)
    provider.base_ms = 2000.0
    _, limits = provider.play(now, 20, 31)
    assert set(limits) == {0.0}


@pytest.mark.parametrize(("inflight", "limit"), [(31, 0), (32, 32), (49, 0), (50, 50)])
def test_slowness_with_less_than_usual_sets_no_limit(inflight: int, limit: float) -> None:
    """With fewer than 32 in flight, or than half of the recent highest, the requests are not the cause of slowness."""
    shared_state = SharedState.create(1, 0, 1)
    Spill(shared_state, 0).note(START, 100 if inflight > 32 else 0)
    capacity = Capacity(shared_state, 0, 4)
    for step in range(500):
        capacity.first(START + step * 10 * MS, (200 if step < 110 else 900) * 1000, inflight)
    assert capacity.limit(START + 5 * S, inflight) == limit


def test_sustained_delay_sets_the_limit_to_what_is_in_flight() -> None:
    """Two slow windows are a burst; with the third the limit is the number in flight, and the next one lowers it."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
    limit.first(START, 200_000, 40)
    now, seen = START, []
    for first_ms in (200, 900, 900, 200, 900, 900, 900, 900):
        for _ in range(100):  # a second, which ends a window
            now += 10 * MS
            limit.first(now, first_ms * 1000, 40)
        seen.append(limit.limit(now, 40))
    assert seen[:7] == [0, 0, 0, 0, 0, 0, 40]
    assert 20 <= seen[7] < 40


def test_milliseconds_are_no_delay() -> None:
    """A target that answers in 5 ms, and in 50 ms under load, is not full."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
    for step in range(300):
        limit.first(START + step * 100 * MS, 5_000 if step < 50 else 50_000, 500)
    assert limit.limit(START + 30 * S, 500) == 0


# --- what is refused --------------------------------------------------------------------------------------------------


def after(*events: str, inflight: int = 40, apart_ms: int = 1) -> float:
    """Return the limit after first tokens (F) and refusals (R)."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
    now = START
    for event in "".join(events):
        now += apart_ms * MS
        if event == "F":
            limit.first(now, 200_000, inflight)
        else:
            limit.refused(now, inflight)
    return limit.limit(now, inflight)


@pytest.mark.parametrize(
    ("events", "limit"),
    [
        ("F" * 50 + "R", 0),
        ("FRFR", 0),  # two may be chance
        ("FRFRFR", 36),
        ("RRFR", 36),
        ("RRR", 0),  # an answer that came before them may be from before an outage
        ("FRRR", 0),
        ("F" * 50 + "R" * 50, 0),  # it answers nobody any more: it is ill, not full
        ("R" * 50, 0),
        ("R" + "F" * 27 + "RR", 36),  # 3 of 30
        ("R" + "F" * 28 + "RR", 0),
        ("R" + "F" * 28 + "RRR", 36),
    ],
)
def test_refusals_between_answers_are_evidence(events: str, limit: float) -> None:
    """Three refusals, a tenth of the requests, between answers set a limit of nine tenths of the number in flight."""
    assert after(events) == pytest.approx(limit)


def test_refusals_far_apart_are_chance() -> None:
    """A third refusal five seconds after the first one begins a new count."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
    for at_ms, last in ((4999, 36), (5000, 0)):
        limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
        limit.refused(START, 40)
        limit.first(START + MS, 200_000, 40)
        limit.refused(START + 2 * MS, 40)
        limit.refused(START + at_ms * MS, 40)
        assert limit.limit(START + at_ms * MS, 40) == pytest.approx(last)


def test_stray_refusals_of_a_busy_target_set_no_limit() -> None:
    """A target that fails one in a hundred requests for an hour gets no limit."""
    assert after(("F" * 99 + "R") * 300, apart_ms=10) == 0


def test_the_limit_falls_by_a_tenth_every_100_ms() -> None:
    """The limit falls once per 100 ms, however many refusals come in between."""
    limit = full()
    fell = []
    for step in range(30):
        now = START + step * 10 * MS
        for event in "RFRR":
            (limit.first(now, 1000, 5) if event == "F" else limit.refused(now, 40))
        fell.append(round(limit.limit(now, 40), 3))
    assert fell == [36.0] * 10 + [32.4] * 10 + [29.16] * 10


def test_an_outage_costs_nothing_more() -> None:
    """If a full target stops answering, hundreds of refusals do not lower the limit further."""
    limit = full()
    for step in range(100):
        limit.refused(START + step * 200 * MS, 40)
    assert limit.limit(START + 20 * S, 40) == pytest.approx(36)


def test_the_limit_keeps_to_its_least() -> None:
    """The limit never falls below the configured minimum."""
    assert after("FRFRFR", inflight=3) == 4


# --- evidence grows old -----------------------------------------------------------------------------------------------


def full(inflight: int = 40) -> Capacity:
    """A target that was full at START, with a limit of nine tenths of its requests in flight."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
    for event in "RRFR":
        (limit.first(START, 1000, inflight) if event == "F" else limit.refused(START, inflight))
    return limit


@pytest.mark.parametrize(("age_ms", "inflight", "limit"), [(59_999, 0, 36), (60_000, 17, 0), (60_000, 18, 36)])
def test_old_evidence_is_void_where_it_does_not_matter(age_ms: int, inflight: int, limit: float) -> None:
    """A minute after its last fall, a limit of which less than half is in use is dropped."""
    assert full().limit(START + age_ms * MS, inflight) == pytest.approx(limit)


def test_a_void_limit_stays_void() -> None:
    """A dropped limit does not come back when the target gets busy."""
    limit = full()
    assert limit.limit(START + 60 * S, 0) == 0
    assert limit.limit(START + 60 * S, 5_000) == 0


def test_a_limit_in_use_doubles_in_a_round_when_it_is_old() -> None:
    """An old limit that is in use grows by one with each first token, and does not vanish at once."""
    limit = full()
    now = START + 61 * S
    for count in range(36):
        limit.first(now, 1000, 18 + count)
    assert limit.limit(now, 36) == pytest.approx(72)
    limit.first(now, 1000, 35)
    assert limit.limit(now, 36) == pytest.approx(72), "less than half of it is in use"


def test_a_limit_grows_slowly_while_its_evidence_is_new() -> None:
    """A first token adds 1/limit, and only while four fifths of the limit are in use."""
    limit = full()
    limit.first(START + S, 1000, 28)
    assert limit.limit(START + S, 28) == pytest.approx(36)
    limit.first(START + S, 1000, 29)
    assert limit.limit(START + S, 29) == pytest.approx(36 + 1 / 36)


def test_status_shows_no_limit_that_is_void() -> None:
    """Reports show the limit that applies."""
    shared_state = SharedState.create(1, 0, 1)
    limit = Capacity(shared_state, 0, 4)
    for event in "RRFR":
        (limit.first(START, 1000, 40) if event == "F" else limit.refused(START, 40))
    assert shared_state.read_target(0, START + S)["limit"] == pytest.approx(36)
    assert shared_state.read_target(0, START + 60 * S)["limit"] == 0


def test_four_processes_lose_no_decrease(
    shared_state: SharedState, run_in_processes: Callable[[SharedState, str, int], list[str]]
) -> None:
    """A window ends once, however many processes see its end, and the limit always obeys the rules."""
    script = """
from native.balance.capacity import Capacity
limit = Capacity(shared_state, 0, 4)
now = 1_000_000_000_000
least, most = 1e9, 0.0
for step in range(20000):
    now += 1_000_000
    limit.first(now, 200_000 + step % 7, 60)
    if step % 5 == 0:
        limit.refused(now, 60)
    value = limit.limit(now, 60)
    least, most = min(least, value or 1e9), max(most, value)
print(4 <= least and most <= 120)
"""
    assert run_in_processes(shared_state, script, 4) == ["True"] * 4
    view = shared_state.read_target(0, 1_000_000_000_000 + 20_000_000_000)
    assert 4 <= view["limit"] <= 120
    assert view["limit_floor_ms"] == pytest.approx(200, rel=0.01)


def test_a_least_limit_of_nothing_is_refused(shared_state: SharedState) -> None:
    """A minimum of 0 is refused, because it could exclude a target for good."""
    with pytest.raises(ValueError, match="above 0"):
        Capacity(shared_state, 0, 0)
