"""How does a small file survive power cuts, full disks and strangers?  Written whole or not at all, and checked.

A magic line, the SHA-256 of what follows, then the body; mode 0600; replaced by an atomic rename after fsync. What is
damaged, or could have been written by somebody else, is refused with a sentence that says what to do.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from pathlib import Path

_CHECKSUM: Final = hashlib.sha256().digest_size
# More than this is not one of ours: a Snapshot of ten thousand targets is about 5 MiB.
_LONGEST: Final = 256 * 1024 * 1024


class StateUnusableError(EdgeError):
    """The state on disk cannot be used; the sentence says why."""

    kind = "state_unusable"


def name_for(what: str, source: str) -> str:
    """Return the file name of ``what`` a node keeps whose configuration is the file ``source``."""
    return f"{what}-{hashlib.sha256(source.encode(errors='surrogateescape')).hexdigest()[:16]}"


class KeptFile:
    """The file at ``path``, of a kind that ``magic`` tells; ``called`` is what sentences call it."""

    def __init__(self, path: Path, magic: bytes, called: str) -> None:
        self.path = path
        self._magic = magic
        self._called = called

    def write(self, body: bytes) -> None:
        """Replace what is there; what was there stays whole when this fails.

        Raises:
            OSError: the disk is full, read-only, or not ours.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123  # of a descriptor
                os.fchmod(fd, 0o600)
                file.write(self._magic + hashlib.sha256(body).digest() + body)
                file.flush()
                os.fsync(fd)
            partial.replace(self.path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the rename itself
        finally:
            os.close(folder)

    def read(self) -> bytes | None:
        """Return what was written last; None when nothing ever was.

        Raises:
            StateUnusableError: it is damaged, of another version of edge, or somebody else could have written it.
        """
        try:
            data = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusableError(f"the {self._called} {self.path} cannot be read: {error.strerror}") from error
        head = len(self._magic) + _CHECKSUM
        if not data.startswith(self._magic):
            raise StateUnusableError(f"{self.path} is no {self._called} of this version of edge; remove it")
        if hashlib.sha256(data[head:]).digest() != data[len(self._magic) : head]:
            raise StateUnusableError(f"the {self._called} {self.path} is damaged: its checksum is wrong; remove it")
        return data[head:]

    def _read(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123  # of a descriptor
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise StateUnusableError(
                    f"the {self._called} {self.path} could have been written by others: it must be ours, with mode 0600"
                )
            if found.st_size > _LONGEST:
                raise StateUnusableError(
                    f"the {self._called} {self.path} has {found.st_size} bytes; that is none of ours"
                )
            return file.read(_LONGEST)
