"""Start parameters that the supervisor passes to its children: inherited descriptors and constant facts.

The supervisor keeps a Launch in shared memory and passes children its descriptor. So no secret appears in a command
line, and a restarted child gets the same parameters as its predecessor, whatever happened to files on disk.
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
    """Start parameters of a node. Descriptors are valid in every child, because ``pass_fds`` keeps their numbers."""

    supervisor: int  # process id
    workers: int  # columns of the shared state in use, at least 1
    listeners: tuple[Listener, ...]  # with actual ports
    admin_host: str
    admin_port: int
    control_path: str  # path of the socket that workers connect to
    control_fd: int  # the same socket, listening; control accepts on it
    shared_state_fd: int
    answers_fd: int  # of the node's AnswerStore; inherited by workers only
    issued_fd: int  # of the node's IssuedIds
    snapshot_fd: int
    supervisor_state_fd: int
    ledger_fd: int  # the checked configuration and its history; inherited by control only
    pulse_fd: int  # heartbeat of control; inherited by control only
    status_fd: int  # what clients may know of outages; control writes it
    grace_s: float  # seconds that exchanges in flight get to end when the node stops
    drain_grace_s: float = 0.0  # seconds for which the node reports not ready before it stops accepting
    state_dir: str = ""  # folder of the last good configuration; "" = none is stored
    ticket_secret: bytes | None = None  # 32 bytes that the workers seal TLS session tickets with
    keys_fds: tuple[int, int] | None = None  # the cluster's keys (edge.control.key_cells); None: there are none
    log_level: str = "info"
    log_form: logs.Form = "auto"
    log_lines: int = 0  # lines of one kind per second; 0 = unlimited


def recall_launch(fd: int) -> Launch:
    """Return the Launch that the supervisor wrote before it started this process.

    Raises:
        SystemExit: the descriptor holds no Launch, because something else started this process.
    """
    try:
        launch = MemfdCell(fd, Launch).recall()
    except OSError:  # the descriptor is closed, or not a file
        launch = None
    if launch is None:
        raise SystemExit("edge: this process is started by `edge run`, not directly")
    return launch


def set_up_logs(who: str, launch: Launch) -> None:
    """Set up logging as the node's parameters say."""
    logs.set_up(who, level=launch.log_level, form=launch.log_form, per_second=launch.log_lines)


def snapshot_cell(fd: int) -> MemfdCell[Snapshot]:
    """Return the cell that holds the last Snapshot."""
    return MemfdCell(fd, Snapshot)


def child_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every child takes."""
    parser.add_argument("--launch", type=int, required=True, help="descriptor of the Launch")
    parser.add_argument("--ready", type=int, default=-1, help="descriptor to write one byte to when serving")


def say_ready(fd: int) -> None:
    """Report to the supervisor that this process serves; a supervisor that is gone is ignored."""
    if fd < 0:
        return
    try:
        os.write(fd, b"1")
    except BrokenPipeError:
        logs.say(logs.DEBUG, "the supervisor no longer waits for this process to be ready")
    os.close(fd)
