"""Detection of changes of the configuration file, by polling once a second.

The check follows symlinks. So a swapped link (as Kubernetes updates a mounted ConfigMap) and a file that is renamed
over another show by their inode, and an edit in place shows by time and size. A file is read only after two checks
agree, because a file that is still being written differs from check to check.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.control.ledger import Mark


def mark_of(path: str) -> Mark | None:
    """Return the identity of a file's content; None if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116  # one quick call per second
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


class FilesWatch:
    """Remembers the marks of several files at the last poll, and those of what is in use."""

    def __init__(self) -> None:
        self._used: dict[str, Mark | None] | None = None
        self._last: dict[str, Mark | None] = {}

    def poll(self, files: Iterable[str]) -> bool:
        """Return whether the files have changed since they were read, and two polls agree.

        Other files than at the last poll have just been read.
        """
        marks = {file: mark_of(file) for file in files}
        still, self._last = marks == self._last, marks
        if self._used is None or self._used.keys() != marks.keys():
            self._used = marks
        if not still or marks == self._used:
            return False
        self._used = marks
        return True


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
