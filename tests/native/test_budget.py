"""The retry budget agrees with its reference model, and never grants more than its share and its reserve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.state.retry_budget import Budget
from native.state.shared_state import SharedState
from tests.reference import budget as twin

MS = 1_000_000
STEPS = st.lists(
    st.tuples(st.sampled_from(["deposit", "withdraw"]), st.sampled_from([0, 1, 3, 50, 999, 7000, 40_000])), max_size=300
)


@given(STEPS, st.sampled_from([0.0, 0.2, 1.0]))
def test_agrees(steps: list[tuple[str, int]], share: float) -> None:
    """Kernel and model grant the same retries, for any order of calls and any gaps."""
    shared_state = SharedState.create(1, 1, 1)
    fast, slow, now_ms = Budget(shared_state, 0), twin.Budget(), 5_000_000
    for action, gap in steps:
        now_ms += gap
        if action == "deposit":
            fast.deposit(now_ms * MS, share)
            slow.deposit(now_ms, share)
        else:
            assert fast.withdraw(now_ms * MS) == slow.withdraw(now_ms)


@given(st.integers(1, 2000), st.sampled_from([0.1, 0.2]))
def test_bounded(requests: int, share: float) -> None:
    """In one instant, n requests allow n times the share beyond the reserve, and no more."""
    fast = Budget(SharedState.create(1, 1, 1), 0)
    now_ns = 10**15
    for _ in range(requests):
        fast.deposit(now_ns, share)
    granted = 0
    while fast.withdraw(now_ns):
        granted += 1
        assert granted <= 5000
    assert granted <= 100 + requests * share
    assert granted >= 99 + int(requests * share) - 1


def test_refills() -> None:
    """A spent budget gives ten retries a second again."""
    fast = Budget(SharedState.create(1, 1, 1), 0)
    now_ns = 10**15
    while fast.withdraw(now_ns):
        pass
    assert sum(fast.withdraw(now_ns + 1000 * MS) for _ in range(50)) in (9, 10)


@pytest.mark.parametrize("days", [1, 24, 25, 30, 49])
def test_refills_after_a_long_calm(days: int) -> None:
    """After any time without retries, a spent budget is full again."""
    fast = Budget(SharedState.create(1, 1, 1), 0)
    now_ns = 10**15
    while fast.withdraw(now_ns):
        pass
    assert fast.read(now_ns + days * 86_400_000 * MS) == 100
