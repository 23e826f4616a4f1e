"""The window is exact: it has every sample of the last ten seconds and nothing else, whoever wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from native.state.shared_state import SharedState
from native.state.window import Window
from tests.reference import window as twin

if TYPE_CHECKING:
    from collections.abc import Callable

S = 1_000_000_000
# steps of the clock: within a second, over a border, over the window, days; and a little back (another process's clock)
STEPS = st.one_of(
    st.just(0),
    st.integers(0, S),
    st.integers(S - 2, S + 2),
    st.integers(0, 12 * S),
    st.integers(0, 86_400 * S),
    st.integers(-25 * S, 0),
)
CALLS = st.tuples(st.sampled_from(["add", "fail", "slow", "clear"]), STEPS, st.integers(1, 10))


@settings(max_examples=300)
@given(start=st.integers(30 * S, 2**50), calls=st.lists(CALLS, max_size=60))
def test_the_window_is_its_twin(start: int, calls: list[tuple[str, int, int]]) -> None:
    """With any clock, even one that jumps days ahead or half a minute back, kernel and model count the same."""
    fast, slow = Window(SharedState.create(1, 0, 1), 0), twin.Window()
    now = start
    for call, step, seconds in calls:
        now = max(start, now + step)
        for window in (fast, slow):
            if call == "clear":
                window.clear()
            elif call == "slow":
                window.slow(now)
            else:
                window.add(now, call == "fail")
        assert fast.read(now, seconds) == slow.read(now, seconds)
        assert fast.read(now) == slow.read(now)


def test_a_burst_counts_in_full(shared_state: SharedState) -> None:
    """A thousand failures in one instant are a thousand failures: the ratio does not depend on the rate."""
    window = Window(shared_state, 0)
    for _ in range(1000):
        window.add(77 * S, failed=True)
    assert window.read(77 * S) == (1000, 1000, 0)


def test_a_sample_leaves_after_ten_seconds(shared_state: SharedState) -> None:
    """A sample counts through the tenth second, and no longer in the eleventh."""
    window = Window(shared_state, 0)
    window.add(100 * S, failed=True)
    assert window.read(110 * S - 1) == (1, 1, 0)
    assert window.read(110 * S) == (0, 0, 0)


def test_a_gap_longer_than_the_window_clears_it(shared_state: SharedState) -> None:
    """A sample after a long gap is the only one."""
    window = Window(shared_state, 0)
    for second in range(10):
        window.add((100 + second) * S, failed=True)
    window.add(100_000 * S)
    assert window.read(100_000 * S) == (1, 0, 0)


def test_a_writer_with_a_clock_far_behind_does_not_erase_the_present(shared_state: SharedState) -> None:
    """The old sample of a process that was stopped for a minute is dropped and overwrites nothing."""
    window = Window(shared_state, 0)
    window.add(160 * S)
    window.add(100 * S, failed=True)
    assert window.read(160 * S) == (1, 0, 0)


def test_counts_stop_instead_of_running_over(shared_state: SharedState) -> None:
    """Four million failures in one second saturate a bucket, and do not spill into another field."""
    window = Window(shared_state, 0)
    limit = 2**22 - 1
    for _ in range(limit + 3):
        window.add(5 * S, True)
    assert window.read(5 * S) == (limit, limit, 0)


def test_targets_do_not_share_a_window(shared_state: SharedState) -> None:
    """One target's failures do not count for another."""
    Window(shared_state, 0).add(5 * S, failed=True)
    assert Window(shared_state, 1).read(5 * S) == (0, 0, 0)


def test_four_processes_lose_no_sample(
    shared_state: SharedState, run_in_processes: Callable[[SharedState, str, int], list[str]]
) -> None:
    """4 x 50,000 samples written at once count as 200,000, a quarter of them failures."""
    script = """
from native.state.window import Window
window = Window(shared_state, 2)
for turn in range(50_000):
    window.add(9_000_000_000, turn % 4 == 0)
    if turn % 10 == 0:
        window.slow(9_000_000_000)
"""
    run_in_processes(shared_state, script, 4)
    assert Window(shared_state, 2).read(9 * S) == (200_000, 50_000, 20_000)


def test_four_processes_crossing_borders_lose_no_sample(
    shared_state: SharedState, run_in_processes: Callable[[SharedState, str, int], list[str]]
) -> None:
    """The window is exact even if buckets turn over while processes write."""
    script = """
from native.state.window import Window
window = Window(shared_state, 2)
for second in range(100, 140):
    for turn in range(500):
        window.add(second * 1_000_000_000, turn % 2 == 0)
"""
    run_in_processes(shared_state, script, 4)
    total, failed, _ = Window(shared_state, 2).read(139 * S)
    # A process that falls ten seconds behind may find its bucket taken; it loses samples, it never adds one.
    assert total <= 10 * 500 * 4
    assert failed * 2 <= total + 4 * 10
    total, failed, _ = Window(shared_state, 2).read(139 * S, 1)
    assert (total, failed) == (2000, 1000)
