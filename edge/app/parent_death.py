"""Who takes a process of edge down when its supervisor dies?  The kernel: PR_SET_PDEATHSIG.

Our own processes call :func:`die_with_parent` first thing. A foreign command is started through this module, which
puts the parent-death signal on and then becomes that command (the setting survives exec):

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
    """Have the kernel send ``death`` to this process when ``parent`` dies; exit at once if it already has.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died between starting us and the line above: no signal will come
        sys.exit(f"edge: process {parent}, which started this one, is gone")


def main(argv: list[str]) -> None:
    """Put the parent-death signal on, then become ``python ARGUMENTS``."""
    parent, death, *arguments = argv
    die_with_parent(int(parent), signal.Signals(int(death)))
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # becoming that command is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
