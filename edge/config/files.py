"""Which files may a configuration be, or name?  Regular ones: who reads a pipe waits for whoever writes to it.

Control reads them on its loop, where nobody may be waited for.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # nothing here waits, whatever it is


def read_file(path: str | os.PathLike[str], most: int = -1) -> bytes:
    """Return what stands in a file, the first ``most`` bytes of it if that is not negative.

    Raises:
        OSError: it cannot be read, or is no regular file; ``strerror`` says so.
    """
    fd = os.open(path, _FLAGS)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file; write what it holds to one, and name that")
        with open(fd, "rb", closefd=False) as file:  # of a descriptor
            return file.read(most)
    finally:
        os.close(fd)


def check_name(text: str) -> str:
    """Return a file's name as it is.

    Raises:
        ValueError: no file can have it.
    """
    try:
        if b"\0" not in os.fsencode(text):
            return text
    except UnicodeEncodeError:  # half of a character, which YAML can write
        pass
    raise ValueError(f"no file can be called {text!r}; remove what cannot stand in a name")
