"""What does choosing a target and reporting how it went cost?  ``python -m bench.micro.pick [--json]``.

One decision of the data path is one pick and one report: P2C over the latency cells, the circuit, the window.
"""

from __future__ import annotations

import itertools
from functools import partial

from bench.micro.measure import Row, main, per_call
from edge.terms.snapshot import Breaker
from native.balancer import Pool, Target
from native.board import Board
from native.window import Window

MS = 1_000_000
S = 1000 * MS
USUAL = Breaker(
    consecutive=5,
    ratio=0.5,
    window_s=10,
    min_requests=10,
    slow=0.5,
    slow_after_ns=10 * S,
    slow_adaptive=False,
    open_ns=S,
    open_max_ns=60 * S,
    ramp_ns=10 * S,
)
STEP = 2654435761  # Knuth's multiplicative hash: cheap numbers that are spread well enough to choose by


def pool(members: int, workers: int) -> Pool:
    """Build a pool of warm, healthy targets in one tier."""
    board = Board.create(members, 1, workers)
    targets = [Target(board, slot, f"sim/{slot}") for slot in range(members)]
    for slot, target in enumerate(targets):
        target.record(0, S, (20 + slot) * MS)
        target.enter(0)
    return Pool(targets, [1] * members, [1.0] * members, USUAL, workers=workers, permit_ns=30 * S)


def exchange(chosen: Pool, ticks: itertools.count[int]) -> None:
    """Pick, and report a success: what an exchange does once."""
    tick = next(ticks)
    now = S + tick * 50_000
    index, _, generation = chosen.choose(now, tick * STEP)
    chosen.report(index, now, generation, failed=False)


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
    window = Window(Board.create(1, 1, 1), 0)
    measured.append(Row("window: add", per_call(partial(window.add, 5 * S))))
    measured.append(Row("window: read ten seconds", per_call(partial(window.read, 5 * S))))
    return measured


if __name__ == "__main__":
    main("pick", rows)
