"""Termination of a process when its parent dies, by the kernel's PR_SET_PDEATHSIG.

Edge's own processes call :func:`die_with_parent` first. Other commands are started through this module, which sets the
parent-death signal and then executes the command (the setting survives exec):

    python -m edge.app.parent_death PARENT_PID SIGNAL -m edge sim provider --port 9101
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with_parent(parent: int, death: signal.Signals = signal.SIGTERM) -> None:
    """Make the kernel send ``death`` to this process when ``parent`` dies; exit at once if ``parent`` is already dead.

    Raises:
        OSError: prctl failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before prctl: the kernel will send no signal
        sys.exit(f"edge: process {parent}, which started this one, is gone")


def main(argv: list[str]) -> None:
    """Set the parent-death signal, then execute ``python ARGUMENTS``."""
    parent, death, *arguments = argv
    die_with_parent(int(parent), signal.Signals(int(death)))
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # executing the command is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
