"""Detection of changes of the configuration file, by polling once a second.

The check follows symlinks. So a swapped link (as Kubernetes updates a mounted ConfigMap) and a file that is renamed
over another show by their inode, and an edit in place shows by time and size. A file is read only after two checks
agree, because a file that is still being written differs from check to check.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.control.ledger import Mark


def mark_of(path: str) -> Mark | None:
    """Return the identity of a file's content; None if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116  # one quick call per second
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


class FileWatch:
    """Remembers the file's mark at the last poll."""

    def __init__(self) -> None:
        self._last: Mark | None = None

    def poll(self, mark: Mark | None, read: Mark | None) -> bool:
        """Return whether the file should be read now.

        Args:
            mark: the file's mark now.
            read: its mark when it was last read.
        """
        still = mark == self._last
        self._last = mark
        return still and mark is not None and mark != read
