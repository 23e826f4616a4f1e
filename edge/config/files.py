"""Reading of the configuration file and of the files that it names: regular files only.

Control reads them on its event loop, which a pipe without a writer would block.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # open never blocks, whatever the file is


def read_file(path: str | os.PathLike[str], most: int = -1) -> bytes:
    """Return the content of a file, or its first ``most`` bytes if that is not negative.

    Raises:
        OSError: the file cannot be read or is not a regular file; ``strerror`` says which.
    """
    fd = os.open(path, _FLAGS)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file; copy its content to one and name that")
        with open(fd, "rb", closefd=False) as file:  # the descriptor is closed below
            return file.read(most)
    finally:
        os.close(fd)


def content_of(*paths: str | None) -> str:
    """Return a text that changes with the content of these files; None and what cannot be read count as empty."""
    digest = hashlib.sha256()
    held = False
    for path in paths:
        content = b""
        if path is not None:
            with contextlib.suppress(OSError):
                content = read_file(path)
        held = held or bool(content)
        digest.update(b"%d:" % len(content) + content)
    return digest.hexdigest()[:32] if held else ""


def check_name(text: str) -> str:
    """Return a file name unchanged.

    Raises:
        ValueError: no file can have this name.
    """
    try:
        if b"\0" not in os.fsencode(text):
            return text
    except UnicodeEncodeError:  # half a surrogate pair, which YAML can express
        pass
    raise ValueError(f"no file can have the name {text!r}; remove its invalid characters")
