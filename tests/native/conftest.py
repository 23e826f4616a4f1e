"""Fixtures of the kernel tests: an empty shared state, a default breaker, and processes that write to one block."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from native.state.shared_state import SharedState
from tests.breakers import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.terms.snapshot import Breaker

ROOT = Path(__file__).parents[2]
S = 1_000_000_000


@pytest.fixture
def shared_state() -> SharedState:
    """Eight targets, four routes and four workers, all empty."""
    return SharedState.create(8, 4, 4)


@pytest.fixture
def usual() -> Breaker:
    """The defaults of edge.yaml, with a slow start of ten seconds."""
    return USUAL


@pytest.fixture
def run_in_processes() -> Iterator[Callable[[SharedState, str, int], list[str]]]:
    """Run a script in several processes, each attached to the block as ``shared_state``; return what they printed."""
    running: list[subprocess.Popen[str]] = []

    def run(shared_state: SharedState, script: str, processes: int) -> list[str]:
        attach = (
            "import sys\nfrom native.state.shared_state import SharedState\n"
            f"shared_state = SharedState({shared_state.fd})\n"
        )
        running.extend(
            subprocess.Popen(
                [sys.executable, "-c", attach + script, str(number)],
                pass_fds=[shared_state.fd],
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
