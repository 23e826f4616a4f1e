"""Keeps the memory of edge's processes, which holds credentials and prompts, out of core dumps and of other programs.

A core dump would put provider keys, peers' token and prompts on a disk or into a collector of crashes. A process that
is not dumpable can also not be read by other programs of the same user (ptrace, /proc/PID/mem).
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.app.launch import Launch

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def keep_memory_private(launch: Launch) -> None:
    """Let the kernel write no core of this process, and let no program of the same user read its memory.

    With the log level ``debug`` nothing is changed, so that a debugger can attach. Children inherit the limit; each
    must call this function itself, because executing a program makes a process dumpable again.

    Raises:
        OSError: prctl failed.
    """
    if launch.log_level == "debug":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_DUMPABLE)")
