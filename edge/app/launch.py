"""What is each process of the node told when it starts?  The descriptors it inherits and the facts that never change.

The supervisor keeps a Launch in shared memory and gives children its number: nothing secret stands in a command line,
and a restarted child is told exactly what its predecessor was, whatever became of files on disk.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct

from edge.control.memfd_cell import MemfdCell
from edge.telemetry import logs
from edge.terms.snapshot import Listener, Snapshot

if TYPE_CHECKING:
    import argparse


class Launch(Struct, frozen=True):
    """How this node was started. Descriptors are numbers that hold in every child (``pass_fds`` keeps them)."""

    supervisor: int  # process id
    workers: int  # columns of the shared state in use, at least 1
    listeners: tuple[Listener, ...]  # ports resolved
    admin_host: str
    admin_port: int
    control_path: str  # where workers connect
    control_fd: int  # the same socket, listening; control accepts on it
    shared_state_fd: int
    snapshot_fd: int
    supervisor_state_fd: int
    ledger_fd: int  # the checked configuration and its history; control alone inherits it
    pulse_fd: int  # where control alone says that it lives
    grace_s: float  # how long exchanges in flight may take to end when the node stops
    drain_grace_s: float = 0.0  # how long it says that it is not ready, before it stops to accept
    state_dir: str = ""  # where the last good configuration is kept; "" = nowhere
    log_level: str = "info"
    log_form: logs.Form = "auto"
    log_lines: int = 0  # most of one kind a second; 0 = all


def recall_launch(fd: int) -> Launch:
    """Return what the supervisor wrote before it started this process.

    Raises:
        SystemExit: the descriptor holds nothing of the kind; someone else started this process.
    """
    try:
        launch = MemfdCell(fd, Launch).recall()
    except OSError:  # no such descriptor, or none of a file
        launch = None
    if launch is None:
        raise SystemExit("edge: this process is started by `edge run`, not by hand")
    return launch


def set_up_logs(who: str, launch: Launch) -> None:
    """Let this process speak as the node was told to."""
    logs.set_up(who, level=launch.log_level, form=launch.log_form, per_second=launch.log_lines)


def snapshot_cell(fd: int) -> MemfdCell[Snapshot]:
    """Return the place of the last Snapshot."""
    return MemfdCell(fd, Snapshot)


def child_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every child is given."""
    parser.add_argument("--launch", type=int, required=True, help="descriptor of the Launch")
    parser.add_argument("--ready", type=int, default=-1, help="descriptor to write one byte to when serving")


def say_ready(fd: int) -> None:
    """Tell the supervisor that this process serves. A supervisor that is gone is told nothing."""
    if fd < 0:
        return
    try:
        os.write(fd, b"1")
    except BrokenPipeError:
        logs.say(logs.DEBUG, "nobody waits for this process to be ready")
    os.close(fd)
