"""The command line of this process as ``ps`` shows it, which a process may rewrite.

A forked process has its parent's. Tools and operators tell a node's processes apart by it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_STAT: Final = Path("/proc/self/stat")
_CMDLINE: Final = Path("/proc/self/cmdline")
# proc(5): arg_start and arg_end are the fields 48 and 49; the state, which comes after the name, is field 3.
_ARG_START: Final = 48 - 3


def words() -> list[str]:
    """Return the words of this process's command line."""
    return [word.decode(errors="surrogateescape") for word in _CMDLINE.read_bytes().rstrip(b"\0").split(b"\0")]


def show(shown: Sequence[str]) -> None:
    """Show these words; what does not fit into the room of the words that the process was executed with is cut off.

    Where the kernel does not tell the room, nothing is changed.
    """
    fields = _STAT.read_text().rpartition(")")[2].split()
    start, end = (int(field) for field in fields[_ARG_START : _ARG_START + 2])
    if not 0 < start < end:
        return
    text = "\0".join(shown).encode(errors="surrogateescape")[: end - start - 1]  # a last zero marks the end for procfs
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
