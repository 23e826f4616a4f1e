"""What do the tests of the kernels share?  An empty Board, a usual breaker, and processes that hammer one Board."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.terms.snapshot import Breaker
from native.state.shared_state import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
S = 1_000_000_000


@pytest.fixture
def board() -> Board:
    """Eight targets, four routes, four workers; nothing known yet."""
    return Board.create(8, 4, 4)


@pytest.fixture
def usual() -> Breaker:
    """The defaults of edge.yaml, with a ramp of ten seconds."""
    return Breaker(
        consecutive=5,
        ratio=0.5,
        window_s=10,
        min_requests=10,
        slow=0.5,
        slow_after_ns=10 * S,
        slow_adaptive=False,
        open_ns=1 * S,
        open_max_ns=60 * S,
        ramp_ns=10 * S,
    )


@pytest.fixture
def hammer() -> Iterator[Callable[[Board, str, int], list[str]]]:
    """Run a script in several processes at once, each attached to the Board as ``board``; give what they printed."""
    running: list[subprocess.Popen[str]] = []

    def run(board: Board, script: str, processes: int) -> list[str]:
        attach = f"import sys\nfrom native.state.shared_state import Board\nboard = Board({board.fd})\n"
        running.extend(
            subprocess.Popen(
                [sys.executable, "-c", attach + script, str(number)],
                pass_fds=[board.fd],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for number in range(processes)
        )
        said = [process.communicate(timeout=40)[0].strip() for process in running]
        assert [process.returncode for process in running] == [0] * processes
        return said

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=5)
