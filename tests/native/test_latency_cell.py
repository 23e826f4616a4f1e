"""The average latency of a target: peaks count at once and fade, penalties are told apart from measurements."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.balance.latency import Cell
from native.balance.target import Target
from native.state.shared_state import SharedState
from tests.native.pools import MS, START, S
from tests.reference import balancer as twin


@given(
    st.lists(
        st.tuples(st.integers(0, 100 * S), st.one_of(st.integers(0, 60 * S), st.just(0)), st.booleans()), max_size=30
    )
)
def test_the_latency_cell_is_its_twin(samples: list[tuple[int, int, bool]]) -> None:
    """Peaks, decay, idle decay and penalties agree with the reference model to the last bit of a float32."""
    target, model = Target(SharedState.create(1, 0, 1), 0, "a"), twin.PeakEwma()
    now = START
    for step, latency, failed in samples:
        now += step
        target.record(Cell.CELL_STREAM, now, latency, failed)
        model.observe(now, latency, failed=failed)
        assert target.latency_ms(Cell.CELL_STREAM, now) == model.read(now)
        assert target.latency_ms(Cell.CELL_STREAM, now + step) == model.read(now + step)


def test_a_peak_counts_at_once_and_fades() -> None:
    """A slow answer raises the average to itself; ten seconds later a third of it is left."""
    target = Target(SharedState.create(1, 0, 1), 0, "a")
    target.record(0, START, 100 * MS)
    target.record(0, START, 4_000 * MS)
    assert target.latency_ms(0, START) == 4000.0
    assert target.latency_ms(0, START + 10 * S) == pytest.approx(4000 / 2.718281828, rel=1e-6)


def test_a_quick_failure_is_recorded_as_slow() -> None:
    """A 500 after 3 ms counts as five seconds; a 500 after twenty seconds counts as twenty seconds."""
    shared_state = SharedState.create(2, 0, 1)
    quick, late = Target(shared_state, 0, "a"), Target(shared_state, 1, "b")
    quick.record(0, START, 3 * MS, failed=True)
    late.record(0, START, 20_000 * MS, failed=True)
    assert (quick.latency_ms(0, START), late.latency_ms(0, START)) == (5000.0, 20000.0)


def test_cells_are_apart_and_failures_leave_the_baseline() -> None:
    """Streams do not change the cell of complete answers, and only successes change the baseline."""
    shared_state = SharedState.create(1, 0, 1)
    target = Target(shared_state, 0, "a")
    target.record(Cell.CELL_STREAM, START, 200 * MS)
    target.record(Cell.CELL_STREAM, START + S, 9 * MS, failed=True)
    view = shared_state.read_target(0, START)
    assert (view["ewma_ms"][1], view["baseline_ms"][1]) == (0.0, 0.0)
    assert view["baseline_ms"][0] == 200.0


def test_the_baseline_is_an_average_without_peaks() -> None:
    """An outlier after an hour of 100 ms hardly moves the baseline."""
    shared_state = SharedState.create(1, 0, 1)
    target = Target(shared_state, 0, "a")
    for second in range(3600):
        target.record(0, START + second * S, 100 * MS)
    target.record(0, START + 3600 * S, 10_000 * MS)
    assert 100 < shared_state.read_target(0, START)["baseline_ms"][0] < 120


def test_what_is_shown_as_a_latency_was_measured() -> None:
    """Failures change the cost but not the measured average, which follows the successes of the last ten seconds."""
    shared_state = SharedState.create(1, 0, 1)
    target = Target(shared_state, 0, "a")
    now = START
    for _ in range(100):
        now += S
        target.record(0, now, 120 * MS)
        target.record(0, now, 3 * MS, failed=True)
    view = shared_state.read_target(0, now)
    assert view["measured_ms"] == (pytest.approx(120.0), 0.0)
    assert view["ewma_ms"][0] >= 5000
    for _ in range(50):
        now += S
        target.record(0, now, 200 * MS)
    assert shared_state.read_target(0, now)["measured_ms"][0] == pytest.approx(200.0, rel=0.01)


def test_a_penalty_is_told_apart_from_the_measurement() -> None:
    """The part of the cost that a failure added is reported; it decays as the cost does, and never exceeds it."""
    shared_state = SharedState.create(1, 0, 1)
    target = Target(shared_state, 0, "a")
    target.record(0, START, 100 * MS)
    assert shared_state.read_target(0, START)["penalty_ms"] == (0.0, 0.0)
    target.record(0, START + S, 3 * MS, failed=True)
    assert shared_state.read_target(0, START + S)["penalty_ms"] == (5000.0, 0.0)
    shown = []
    for second in range(2, 120):
        now = START + second * S
        target.record(0, now, 100 * MS)
        view = shared_state.read_target(0, now)
        penalty = view["penalty_ms"][0]
        assert penalty == (pytest.approx(5000 * math.exp((1 - second) / 10), abs=1e-3) if penalty else 0.0)
        assert 0 < view["ewma_ms"][0] - penalty <= 100.01
        shown.append(penalty)
    assert (shown[40] > 50, shown[-1], view["ewma_ms"][0]) == (True, 0.0, 100.0)
    target.record(0, now, 3 * MS, failed=True)
    assert shared_state.read_target(0, now + 21 * S)["penalty_ms"][0] == 0.0, "an idle cell is forgotten whole"


def test_a_peak_that_was_measured_is_no_penalty() -> None:
    """A success that sets a new peak clears a penalty; a smaller failure does not replace the rest of a larger one."""
    shared_state = SharedState.create(1, 0, 1)
    target = Target(shared_state, 0, "a")
    target.record(0, START, 30 * S, failed=True)
    target.record(0, START + S, 3 * MS, failed=True)
    left = 30_000 * math.exp(-0.1)
    assert shared_state.read_target(0, START + S)["penalty_ms"][0] == pytest.approx(left, rel=1e-4)
    target.record(0, START + 2 * S, 29 * S)
    view = shared_state.read_target(0, START + 2 * S)
    assert (view["penalty_ms"][0], view["ewma_ms"][0], view["measured_ms"][0]) == (0.0, 29000.0, 29000.0)


def test_stamps_wrap_without_a_jump() -> None:
    """When the 32-bit stamps wrap after 49 days, an average ages only by the time that has passed."""
    target = Target(SharedState.create(1, 0, 1), 0, "a")
    turn = 2**32 * MS
    target.record(0, turn - 5 * S, 1000 * MS)
    assert target.latency_ms(0, turn + 5 * S) == pytest.approx(1000 / 2.718281828, rel=1e-6)
    target.record(0, turn + 5 * S, 1000 * MS)
    assert target.latency_ms(0, turn + 4 * S) == 1000.0, "a reader whose clock is behind sees it as fresh"


def test_the_later_rest_wins() -> None:
    """After two 429s with different Retry-After the target gets no traffic until the later of the two times."""
    shared_state = SharedState.create(1, 0, 1)
    target = Target(shared_state, 0, "a")
    target.set_rate_limited(START + 9 * S)
    target.set_rate_limited(START + 3 * S)
    assert shared_state.read_target(0, START)["rate_limited_until_ns"] == START + 9 * S
