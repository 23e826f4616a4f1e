"""Is the configuration file another one than was last read?  Asked once a second, answered when it has stood still.

A look follows symlinks, so that a swapped link (as Kubernetes updates a mounted ConfigMap) and a file renamed over
another are seen by their inode, and an edit in place by its time and size. A file in the middle of being written looks
different again at the next look: it is read only after two looks that agree.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.control.ledger import Mark


def mark_of(path: str) -> Mark | None:
    """Return by what the file is known; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # one call, once a second
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


class FileWatch:
    """Remembers the last look."""

    def __init__(self) -> None:
        self._last: Mark | None = None

    def look(self, mark: Mark | None, read: Mark | None) -> bool:
        """Tell whether to read the file now.

        Args:
            mark: what it looks like now.
            read: what it looked like when it was last read.
        """
        still = mark == self._last
        self._last = mark
        return still and mark is not None and mark != read
