# Chooses the target of an attempt.

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from native.balance.target import Target

class Barred(IntEnum):
    USABLE = 0
    BARRED_OPEN = 1
    BARRED_TRIAL = 2
    BARRED_RATE_LIMITED = 3
    BARRED_QUARANTINED = 4
    BARRED_FULL = 5
    BARRED_MANUAL = 6
    BARRED_TRIED = 7
    BARRED_EXHAUSTED = 8
    BARRED_RAMP = 9
    BARRED_CAPABILITY = 12
    ASIDE_SLOW_START = 10
    ASIDE_REGIONS = 11
    ASIDE_KEPT = 13

class BreakerPlan(Protocol):
    # The attributes of ``edge.terms.snapshot.Breaker`` that a TargetPool reads.
    @property
    def consecutive_failures(self) -> int: ...
    @property
    def failure_ratio(self) -> float: ...
    @property
    def window_ns(self) -> int: ...
    @property
    def min_requests(self) -> int: ...
    @property
    def slow_ratio(self) -> float: ...
    @property
    def slow_threshold_ns(self) -> int: ...
    @property
    def open_duration_ns(self) -> int: ...
    @property
    def open_duration_max_ns(self) -> int: ...
    @property
    def slow_start_ns(self) -> int: ...

class TargetPool:
    # The targets that can answer a route, in tiers; at most 64.
    def __init__(
        self,
        targets: Sequence[Target],
        tiers: Sequence[int],
        weights: Sequence[float],
        breaker: BreakerPlan,
        *,
        workers: int,
        permit_ns: int,
        retry_after_max_ns: int = ...,
        shares: Sequence[float] | None = None,
        canaries: Sequence[int] = (),
    ) -> None: ...
    @property
    def targets(self) -> list[Target]: ...
    @property
    def size(self) -> int: ...
    def choose(
        self, now_ns: int, rnd: int, tried: int = 0, latency_cell: int = 0, priority: int = 1, kept: int = -1
    ) -> tuple[int, int, int]: ...
    def why(self, index: int, now_ns: int, tried: int = 0, priority: int = 1) -> int: ...
    def limit(self, index: int, now_ns: int) -> float: ...
    def earliest(self, now_ns: int) -> int | None: ...
    def report(
        self,
        index: int,
        now_ns: int,
        generation: int,
        failed: bool,
        trial: bool = False,
        key: int = -1,
        retry_after_ns: int = 0,
        rnd: int = 0,
    ) -> int: ...
    def overdue(self, index: int, now_ns: int, generation: int, trial: bool = False, rnd: int = 0) -> int: ...
    def give_back(self, index: int, now_ns: int, generation: int) -> None: ...
    def take_one(self, index: int, now_ns: int, last_resort: bool = False) -> tuple[int, int]: ...
    def decide(self, times: int, now_ns: int, step_ns: int) -> int: ...
    def slow_start(self, index: int, now_ns: int) -> float: ...
