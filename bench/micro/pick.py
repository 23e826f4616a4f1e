"""Measures picking a target and reporting the outcome: ``python -m bench.micro.pick [--json]``.

The data path makes one pick and one report per decision: power of two choices over the latency cells, the circuit, the
window. Rows "in compiled code" exclude the calls from Python: a call makes a thousand decisions, and the result is
divided by that.
"""

from __future__ import annotations

import itertools
from functools import partial

from bench.micro.measure import Row, main, per_call
from edge.terms.snapshot import Allowance as Plan
from edge.terms.snapshot import Breaker
from native.balance.balancer import TargetPool
from native.balance.target import Target
from native.state.allowance import Allowance
from native.state.shared_state import SharedState
from native.state.window import Window

MS = 1_000_000
S = 1000 * MS
USUAL = Breaker(
    consecutive_failures=5,
    failure_ratio=0.5,
    window_ns=10 * S,
    min_requests=10,
    slow_ratio=0.5,
    slow_threshold_ns=10 * S,
    slow_adaptive=False,
    open_duration_ns=S,
    open_duration_max_ns=60 * S,
    slow_start_ns=10 * S,
)
DECISIONS = 1000
STEP = 2654435761  # Knuth's multiplicative hash: cheap numbers that are spread well enough


def pool(members: int, workers: int) -> TargetPool:
    """Return a pool of warm, healthy targets in one tier."""
    shared_state = SharedState.create(members, 1, workers)
    targets = [Target(shared_state, slot, f"sim/{slot}") for slot in range(members)]
    for slot, target in enumerate(targets):
        target.record(0, S, (20 + slot) * MS)
        target.enter(0)
    return TargetPool(targets, [1] * members, [1.0] * members, USUAL, workers=workers, permit_ns=30 * S)


def exchange(chosen: TargetPool, ticks: itertools.count[int]) -> None:
    """Pick a target and report a success, as an exchange does."""
    tick = next(ticks)
    now = S + tick * 50_000
    index, _, generation = chosen.choose(now, tick * STEP)
    chosen.report(index, now, generation, failed=False)


def granted(members: int, workers: int) -> TargetPool:
    """Return such a pool whose targets share a credential that is far from its limits."""
    shared_state = SharedState.create(members, 1, workers, allowance_capacity=1)
    allowance = Allowance(shared_state, Plan(0, 60_000_000, 0, 60_000_000, 0, shared=False))
    targets = [Target(shared_state, slot, f"sim/{slot}") for slot in range(members)]
    for slot, target in enumerate(targets):
        target.allowance = allowance
        target.record(0, S, (20 + slot) * MS)
        target.enter(0)
    return TargetPool(targets, [1] * members, [1.0] * members, USUAL, workers=workers, permit_ns=30 * S)


def compiled(chosen: TargetPool) -> float:
    """Return the nanoseconds per decision of a call that makes a thousand."""
    ticks = itertools.count(1)
    return per_call(lambda: chosen.decide(DECISIONS, S + next(ticks) * DECISIONS * 50_000, 50_000)) / DECISIONS


def rows() -> list[Row]:
    """Measure picks by the size of the pool, then the parts of a report."""
    measured = []
    for members, workers in ((1, 2), (2, 2), (8, 2), (64, 2), (8, 16)):
        chosen = pool(members, workers)
        case = f"pick, {members} of {members} usable, {workers} workers"
        measured.append(Row(case, per_call(partial(chosen.choose, 2 * S, STEP << 20))))
    chosen = pool(8, 2)
    all_but_two = (1 << 6) - 1
    measured.append(Row("pick, 2 of 8 left to try", per_call(partial(chosen.choose, 2 * S, STEP << 20, all_but_two))))
    measured.append(Row("report of a success", per_call(partial(chosen.report, 0, 2 * S, 0, failed=False))))
    measured.append(Row("pick and report, 8 targets", per_call(partial(exchange, chosen, itertools.count()))))
    for members in (2, 8):
        plain, each = pool(members, 2), granted(members, 2)
        measured.append(Row(f"in compiled code: pick and report, {members} targets", compiled(plain)))
        measured.append(Row(f"in compiled code: pick, bucket, report, {members}", compiled(each)))
    window = Window(SharedState.create(1, 1, 1), 0)
    measured.append(Row("window: add", per_call(partial(window.add, 5 * S))))
    measured.append(Row("window: read ten seconds", per_call(partial(window.read, 5 * S))))
    return measured


if __name__ == "__main__":
    main("pick", rows)
