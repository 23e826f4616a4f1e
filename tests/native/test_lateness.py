"""When an attempt is late: 4 x p99 with a minimum, and larger minimums until there are enough samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from native.balance.latency import Cell
from native.balance.lateness import Lateness
from native.state.shared_state import SharedState

MS = 1_000_000
S = 1_000_000_000


def fresh() -> Lateness:
    """A target without samples."""
    return Lateness(SharedState.create(1, 1, 1), 0)


def test_an_unknown_target_gets_ten_seconds_or_a_minute() -> None:
    """Without samples a stream is late after 10 s, and a complete answer after 60 s."""
    lateness = fresh()
    assert lateness.late_after(Cell.CELL_STREAM) == 10 * S
    assert lateness.late_after(Cell.CELL_WHOLE) == 60 * S


def test_a_hundred_samples_are_enough() -> None:
    """With a hundred samples, and not with 99, the minimum is 2 s."""
    lateness = fresh()
    for _ in range(99):
        lateness.observe(Cell.CELL_STREAM, 50_000)
    assert (lateness.known(Cell.CELL_STREAM), lateness.late_after(Cell.CELL_STREAM)) == (False, 10 * S)
    lateness.observe(Cell.CELL_STREAM, 50_000)
    assert (lateness.known(Cell.CELL_STREAM), lateness.late_after(Cell.CELL_STREAM)) == (True, 2 * S)
    assert lateness.late_after(Cell.CELL_WHOLE) == 60 * S


def test_one_answer_of_a_reasoner_makes_room_for_the_next() -> None:
    """A single sample of 40 s puts lateness beyond the default deadline of two minutes."""
    lateness = fresh()
    lateness.observe(Cell.CELL_STREAM, 40_000_000)
    assert lateness.late_after(Cell.CELL_STREAM) >= 160 * S


@given(st.lists(st.integers(4_000, 200_000_000), min_size=100, max_size=600))
def test_the_bound_is_four_times_the_percentile(samples: list[int]) -> None:
    """The bound is between 4 x p99 and a quarter above (the width of a bucket), or at its minimum."""
    lateness = fresh()
    for us in samples:
        lateness.observe(Cell.CELL_STREAM, us)
    while len(samples) % 16:  # the percentile is reckoned with every sixteenth sample
        lateness.observe(Cell.CELL_STREAM, samples[-1])
        samples.append(samples[-1])
    exact_ms = sorted(us // 1000 for us in samples)[-(-len(samples) * 99 // 100) - 1]
    late_ns = lateness.late_after(Cell.CELL_STREAM)
    assert max(4 * exact_ms * MS, 2 * S) <= late_ns
    assert late_ns <= max(4 * (exact_ms * 5 // 4 + 2) * MS, 2 * S)


def test_old_samples_are_forgotten() -> None:
    """After an improvement the percentile follows within some thousand samples."""
    lateness = fresh()
    for _ in range(1_500):
        lateness.observe(Cell.CELL_STREAM, 30_000_000)
    for _ in range(20_000):
        lateness.observe(Cell.CELL_STREAM, 10_000)
    assert lateness.late_after(Cell.CELL_STREAM) == 2 * S


def test_a_percentile_needs_samples_beyond_it() -> None:
    """20 samples are enough for p95, 100 for p99, 1,000 for p99.9; before that there is none."""
    for share, enough in ((0.5, 20), (0.95, 20), (0.99, 100), (0.999, 1000)):
        lateness = fresh()
        for _ in range(enough - 1):
            lateness.observe(Cell.CELL_STREAM, 50_000)
        assert lateness.percentile(Cell.CELL_STREAM, share) == 0
        lateness.observe(Cell.CELL_STREAM, 50_000)
        assert 50 * MS <= lateness.percentile(Cell.CELL_STREAM, share) <= 62 * MS
        assert lateness.percentile(Cell.CELL_WHOLE, share) == 0


def test_a_percentile_leaves_the_slow_ones_out() -> None:
    """With 4 of 100 answers after 5 s p95 is that of the quick ones, and with 6 of 100 it is not."""
    lateness = fresh()
    for number in range(100):
        lateness.observe(Cell.CELL_WHOLE, 5_000_000 if number < 4 else 100_000)
    assert 100 * MS <= lateness.percentile(Cell.CELL_WHOLE, 0.95) <= 125 * MS
    for _ in range(3):
        lateness.observe(Cell.CELL_WHOLE, 5_000_000)
    assert 5 * S <= lateness.percentile(Cell.CELL_WHOLE, 0.95) <= 6.25 * S
