"""Addresses in a JSON file, which is read again when it changes.

The file is looked at twice a second and read when two looks agree, because a file that is still being written differs
from look to look. A link that is swapped, as Kubernetes updates a mounted ConfigMap, shows by its inode.
"""

from __future__ import annotations

import os
from typing import Final

from edge.config.files import read_file
from edge.discovery.source import Source, SourceError
from edge.discovery.written import endpoints_of

LOOK_S: Final = 0.5
LONGEST: Final = 4 * 1024 * 1024

Mark = tuple[int, int, int, int]


class FileSource(Source):
    """Follows ``file:///PATH``."""

    _read: Mark | None = None  # of the content that was read last, good or not
    _looked: Mark | None = None

    async def _follow(self) -> None:
        path = self.url.removeprefix("file://")
        try:
            found = os.stat(path)  # noqa: PTH116  # one quick call twice a second
        except OSError as error:
            self._read = self._looked = None
            raise SourceError(f"cannot be read: {error.strerror}") from error
        mark = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        settled, self._looked = mark == self._looked or self._read is None, mark
        if mark == self._read:
            self.confirm()
        elif settled:
            self._read = mark
            self.take(endpoints_of(_content(path)))
        await self._clock.sleep(LOOK_S)


def _content(path: str) -> bytes:
    try:
        content = read_file(path, LONGEST + 1)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or os.strerror(error.errno or 0)}") from error
    if len(content) > LONGEST:
        raise SourceError(f"the file has more than {LONGEST} bytes")
    return content
