"""What ``edge run`` hands to the program that supervises the node, and how it becomes that program.

The process that reads the configuration replaces its own image by one that knows no more than the Launch. So the
supervisor, and the processes that it forks, hold neither the memory of reading and checking nor the secrets that it
has seen, the admin token among them. The process id, and with it what a service manager watches, stays the same.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from msgspec import Struct

from edge.app import command_line
from edge.app.banner import Ready  # noqa: TC001  # msgspec reads the annotations at run time
from edge.app.launch import Launch  # noqa: TC001  # as above
from edge.control.memfd_cell import MemfdCell

# They wait from the last moment of one image until the supervisor of the other one handles them.
WAITING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
PROGRAM: Final = "edge.app.supervise"


class Handover(Struct, frozen=True):
    """A node that is set up and not started."""

    launch: Launch
    words: tuple[str, ...]  # of the command line that the supervisor shows
    banner: tuple[str, ...]  # lines, shown once every process serves
    facts: Ready
    ready_file: str | None
    others: tuple[tuple[str, tuple[str, ...]], ...]  # name and arguments of the interpreter, of simulated providers


def hand_over(handover: Handover) -> NoReturn:
    """Execute the supervisor's program, with every descriptor that is open.

    Raises:
        OSError: it cannot be executed.
    """
    cell = MemfdCell.create("handover", Handover)
    cell.keep(handover)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    set_inheritable(inheritable=True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WAITING)
    try:
        program = [sys.executable, "-m", PROGRAM, "--handover", str(cell.fd), *command_line.words()]
        os.execv(sys.executable, program)  # noqa: S606  # our own interpreter, our own module
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        set_inheritable(inheritable=False)


def take_over(fd: int) -> Handover:
    """Return what was handed over; executed children do not inherit the descriptors that came with it.

    Raises:
        SystemExit: the descriptor holds no Handover, because something else started this process.
    """
    try:
        handover = MemfdCell(fd, Handover).recall()
    except OSError:  # the descriptor is closed, or not a file
        handover = None
    if handover is None:
        raise SystemExit("edge: this program is started by `edge run`, not directly")
    os.close(fd)
    set_inheritable(inheritable=False)
    return handover


def set_inheritable(*, inheritable: bool) -> None:
    """Let the next program have, or not have, all descriptors but the standard streams."""
    for fd in sorted(int(place.name) for place in Path("/proc/self/fd").iterdir()):
        try:
            if fd > 2:  # noqa: PLR2004  # stdin, stdout, stderr
                os.set_inheritable(fd, inheritable)
        except OSError:  # the one that read the folder is closed
            continue
