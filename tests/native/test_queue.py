"""Waiters are served in the right order, and are counted exactly while they wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.balance.queue import Queue, Waiter
from native.state.counters import RouteCounter
from native.state.shared_state import SharedState

MS = 1_000_000
S = 1_000_000_000
DEED = st.tuples(st.sampled_from(["add", "add", "serve", "leave", "push"]), st.integers(0, 1), st.integers(0, 100))


@given(st.integers(0, 6), st.lists(DEED, max_size=60))
def test_a_queue_is_sorted_lists(limit: int, deeds: list[tuple[str, int, int]]) -> None:
    """After any sequence of calls, order, overtaking and counts agree with plain lists."""
    shared_state = SharedState.create(1, 1, 2)
    queue = Queue(shared_state, 0, limit, S)
    model: list[tuple[int, int, Waiter]] = []  # class, number, waiter
    joined = 0
    for number, (deed, priority, choice) in enumerate(deeds):
        if deed == "add":
            waiter = queue.add(number, priority, number % 2, number)
            assert (waiter is None) == (len(model) >= limit)
            if waiter is not None:
                joined += 1
                model.append((priority, number, waiter))
        elif deed == "push":
            lower = [entry for entry in model if entry[0] > priority]
            expected = max(lower, key=lambda entry: entry[:2], default=None)
            assert queue.push_out(priority, number) == (None if expected is None else expected[1])
            if expected is not None:
                model.remove(expected)
        elif model:
            gone = min(model, key=lambda entry: entry[:2]) if deed == "serve" else model[choice % len(model)]
            if deed == "serve":
                assert queue.next() == gone[1]
            queue.remove(gone[2], number)
            queue.remove(gone[2], number)
            model.remove(gone)
        assert queue.count == len(model)
        assert queue.next() == min((entry[:2] for entry in model), default=(0, None))[1]
        assert [queue.blocked(each) for each in range(3)] == [any(e[0] <= each for e in model) for each in range(3)]
        view = shared_state.read_route(0)
        assert view["counts"][RouteCounter.R_WAITING] == len(model)
        assert view["counts"][RouteCounter.R_QUEUED] == joined
        assert sum(view["queue_hist"]) == joined - len(model)


def test_waiting_is_measured(shared_state: SharedState) -> None:
    """Two seconds in the queue are two seconds in the histogram, also for waiters that gave up."""
    queue = Queue(shared_state, 1, 4, 5 * S)
    waiter = queue.add("a", 0, 0, 10 * S)
    assert waiter is not None
    queue.remove(waiter, 12 * S)
    assert shared_state.read_route(1)["queue_sum_us"] == 2_000_000


def test_a_dead_workers_waiters_are_cleared(shared_state: SharedState) -> None:
    """Waiters are counted per worker: a killed worker's count is cleared, and the others stay."""
    queue = Queue(shared_state, 0, 4, S)
    queue.add("a", 1, 0, 0)
    queue.add("b", 1, 1, 0)
    shared_state.clear_worker(0)
    assert shared_state.read_route(0)["counts"][RouteCounter.R_WAITING] == 1


def test_strangers_are_refused(shared_state: SharedState) -> None:
    """A class or a worker that does not exist is refused."""
    queue = Queue(shared_state, 0, 4, S)
    with pytest.raises(IndexError):
        queue.add("a", 3, 0, 0)
    with pytest.raises(IndexError):
        queue.add("a", 0, 64, 0)
