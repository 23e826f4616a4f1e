"""The program of the supervisor: ``edge run`` executes it once the node is set up (``edge.app.handover``).

It imports what a worker needs before it forks the workers, so that all processes of the node share these pages and each
worker serves within some tens of milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app import banner, command_line, worker
from edge.app.children import Child, program
from edge.app.handover import take_over
from edge.app.launch import Launch, set_up_logs
from edge.app.private_memory import keep_memory_private
from edge.app.supervisor import Supervisor
from edge.app.supervisor_state import SupervisorState
from edge.control.memfd_cell import MemfdCell
from edge.native import SharedState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.app.handover import Handover


def main(argv: Sequence[str] | None = None) -> int:
    """Run a node until it is stopped; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--handover", type=int, required=True, help="descriptor of the Handover")
    given, _ = parser.parse_known_args(argv)
    handover = take_over(given.handover)
    launch = handover.launch
    keep_memory_private(launch)
    set_up_logs("edge", launch)
    command_line.show(handover.words)
    try:
        return _supervise(handover)
    finally:
        shutil.rmtree(Path(launch.control_path).parent, ignore_errors=True)
        if handover.ready_file is not None:
            Path(handover.ready_file).unlink(missing_ok=True)


def _supervise(handover: Handover) -> int:
    launch = handover.launch
    launched = MemfdCell.create("launch", Launch)
    launched.keep(launch)

    def up() -> None:
        banner.show(handover.banner)
        if handover.ready_file is not None:
            banner.write_ready_file(Path(handover.ready_file), handover.facts)
        banner.notify(os.environ)

    control, workers = _children(launch, launched.fd)
    others = [program(name, words) for name, words in handover.others]
    supervisor = Supervisor(
        SharedState(launch.shared_state_fd),
        workers,
        [control, *others],
        MemfdCell(launch.supervisor_state_fd, SupervisorState),
        MemfdCell(launch.pulse_fd, int),
        grace_s=launch.grace_s,
        notice_s=launch.drain_grace_s,
        up=up,
    )
    gc.collect()
    gc.freeze()  # a collection would write to, and so copy, every page with an object that it traverses
    return supervisor.run()


def _children(launch: Launch, launch_fd: int) -> tuple[Child, list[Child]]:
    """Return control and the workers."""
    own_fds = (launch.shared_state_fd, launch.snapshot_fd, launch.status_fd, launch.issued_fd)
    shared = (launch_fd, *own_fds, *(launch.keys_fds or ()))

    def arguments(child: Child) -> list[str]:
        given = ["--launch", str(launch_fd), "--ready", str(child.ready_write)]
        if child.index < 0:
            return ["-m", "edge.app.control", *given]
        return ["-m", "edge.app.worker", "--index", str(child.index), *given]

    own = (launch.control_fd, launch.ledger_fd, launch.supervisor_state_fd, launch.pulse_fd)
    control = Child("control", arguments, (*shared, *own), main=_control)
    workers = [
        Child(f"worker {index}", arguments, (*shared, launch.answers_fd), index, main=worker.main)
        for index in range(launch.workers)
    ]
    return control, workers


def _control(argv: Sequence[str]) -> None:
    """Run control, whose own modules no other process needs."""
    importlib.import_module("edge.app.control").main(argv)


if __name__ == "__main__":
    sys.exit(main())
