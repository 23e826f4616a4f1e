"""Pools of targets for tests, in shared state of their own."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Final

from edge.terms.snapshot import Breaker
from native.balance.balancer import TargetPool
from native.balance.target import Target
from native.state.shared_state import SharedState

MS: Final = 1_000_000
S: Final = 1_000_000_000
START: Final = 1_000 * S
PERMIT: Final = 30 * S
POLICY: Final = Breaker(
    consecutive_failures=2,
    failure_ratio=0.5,
    window_ns=5 * S,
    min_requests=4,
    slow_ratio=0.5,
    slow_threshold_ns=S,
    slow_adaptive=False,
    open_duration_ns=S,
    open_duration_max_ns=20 * S,
    slow_start_ns=10 * S,
)


class Bench:
    """A pool of targets in its own shared state, with a seeded source of random numbers."""

    def __init__(self, breaker: Breaker, tiers: list[int], weights: list[float] | None = None, caps: int = 0) -> None:
        self.shared_state = SharedState.create(len(tiers), 0, 4)
        self.targets = [Target(self.shared_state, slot, f"t{slot}", caps) for slot in range(len(tiers))]
        self.pool = TargetPool(self.targets, tiers, weights or [1.0] * len(tiers), breaker, workers=4, permit_ns=PERMIT)
        self.chance = random.Random(7)

    def choose(self, now: int, tried: int = 0, latency_cell: int = 0) -> tuple[int, int, int]:
        """Choose a member with the next random number."""
        return self.pool.choose(now, self.chance.getrandbits(64), tried, latency_cell)

    def shares(self, now: int, picks: int = 20_000) -> dict[int, float]:
        """Return how often each member is chosen at one instant."""
        counts = Counter(self.choose(now)[0] for _ in range(picks))
        return {index: counts[index] / picks for index in range(-1, self.pool.size)}

    def trip(self, index: int, now: int, **said: Any) -> None:
        """Open a member's circuit by five failures."""
        generation = self.shared_state.read_target(index, now)["generation"]
        for _ in range(5):
            self.pool.report(index, now, generation, failed=True, **said)
        assert self.shared_state.read_target(index, now)["state"] == "open"

    def recover(self, index: int, now: int) -> None:
        """Close a member's circuit by a successful trial."""
        _, generation = self.pool.take_one(index, now)
        assert self.pool.report(index, now, generation, failed=False, trial=True) == -1
