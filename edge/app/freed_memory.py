"""Lets the C library of a worker keep memory that it frees, because the next requests take it again.

By default glibc gives the end of its memory back beyond 128 KiB, and the kernel clears and maps the same pages again
for each longer prompt.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# malloc.h: the parameters M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, and the variables by which an operator sets them.
_BOUNDS: Final = {"MALLOC_TRIM_THRESHOLD_": (-1, 8 << 20), "MALLOC_MMAP_THRESHOLD_": (-3, 1 << 20)}


def keep_freed_memory(environ: Mapping[str, str]) -> None:
    """Raise glibc's bounds for this process, except those that the environment sets; other libraries have none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for variable, (parameter, size) in _BOUNDS.items():
        if variable not in environ:
            mallopt(parameter, size)
