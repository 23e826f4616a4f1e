"""The budget of hedges: a share of requests and a burst, whatever the order and the number of workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.state.hedge_budget import HEDGE_BURST, HedgeBudget
from native.state.shared_state import SharedState


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.001, 0.05, 0.5, 1.0]))
def test_never_more_than_the_share_and_the_burst(requests: list[bool], share: float) -> None:
    """Hedges stay within share x requests + burst at every moment, and none is refused while one is left."""
    budget = HedgeBudget(SharedState.create(1, 1, 1), 0)
    made = 0
    for asked, wants in enumerate(requests, 1):
        budget.deposit(share)
        left = budget.read()
        if wants and budget.withdraw():
            made += 1
        elif wants:
            assert left < 1.0
        assert made <= share * asked + HEDGE_BURST


def test_it_is_full_at_the_start_and_never_fuller() -> None:
    """A route may make its burst at once; a million quiet requests save no more than that."""
    budget = HedgeBudget(SharedState.create(1, 1, 1), 0)
    assert budget.read() == HEDGE_BURST
    for _ in range(1000):
        budget.deposit(1.0)
    assert [budget.withdraw() for _ in range(HEDGE_BURST + 1)] == [True] * HEDGE_BURST + [False]


def test_a_share_comes_back_request_by_request() -> None:
    """At 5%, the twentieth request after the burst pays for the next hedge, and the nineteenth does not."""
    budget = HedgeBudget(SharedState.create(1, 1, 1), 0)
    while budget.withdraw():
        pass
    for _ in range(19):
        budget.deposit(0.05)
    assert not budget.withdraw()
    budget.deposit(0.05)
    assert budget.withdraw()
    assert budget.read() == pytest.approx(0.0)


def test_all_workers_share_it() -> None:
    """What one process takes is gone for another that has attached to the same memory."""
    state = SharedState.create(1, 1, 2)
    one, two = HedgeBudget(state, 0), HedgeBudget(SharedState(state.fd), 0)
    for _ in range(HEDGE_BURST // 2):
        assert one.withdraw()
        assert two.withdraw()
    assert not one.withdraw()
    assert not two.withdraw()
