"""Small files that survive power cuts and full disks: written atomically, with a checksum, readable by edge alone.

A file holds a magic line, the SHA-256 of the body, and the body. Its mode is 0600; it is replaced by an atomic rename
after fsync. A file that is damaged, or that somebody else could have written, is rejected with a remedy.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CHECKSUM: Final = hashlib.sha256().digest_size
LONGEST: Final = 256 * 1024 * 1024
"""A longer body is none of these: a Snapshot of ten thousand targets has about 5 MiB."""


class StateUnusableError(EdgeError):
    """A file cannot be used; the message says why."""

    kind = "state_unusable"


def name_for(what: str, source: str) -> str:
    """Return the file name for data of kind ``what`` of the node whose configuration file is ``source``."""
    return f"{what}-{hashlib.sha256(source.encode(errors='surrogateescape')).hexdigest()[:16]}"


class KeptFile:
    """The file at ``path``, whose kind ``magic`` identifies; messages name it ``called``.

    ``longest`` is the most bytes that its body may have.
    """

    def __init__(self, path: Path, magic: bytes, called: str, longest: int = LONGEST) -> None:
        self.path = path
        self._magic = magic
        self._called = called
        self._longest = longest

    def write(self, body: bytes | Iterable[bytes]) -> None:
        """Replace the content, by that of all parts; if that fails, the previous content stays.

        Raises:
            OSError: the disk is full or read-only, or permission is denied.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123  # opens a descriptor
                os.fchmod(fd, 0o600)
                self._put(file, (body,) if isinstance(body, bytes) else body)
                file.flush()
                os.fsync(fd)
            partial.replace(self.path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # makes the rename durable
        finally:
            os.close(folder)

    def _put(self, file: BinaryIO, parts: Iterable[bytes]) -> None:
        digest = hashlib.sha256()
        file.write(self._magic + bytes(_CHECKSUM))
        for part in parts:
            digest.update(part)
            file.write(part)
        file.seek(len(self._magic))
        file.write(digest.digest())

    def read(self) -> bytes | None:
        """Return the last content; None if there is no file.

        Raises:
            StateUnusableError: it is damaged, of another version of edge, or could have been written by others.
        """
        try:
            data = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusableError(f"the {self._called} {self.path} cannot be read: {error.strerror}") from error
        head = len(self._magic) + _CHECKSUM
        if not data.startswith(self._magic):
            raise StateUnusableError(f"{self.path} is not a {self._called} file of this version of edge; remove it")
        body = memoryview(data)[head:]
        if hashlib.sha256(body).digest() != data[len(self._magic) : head]:
            raise StateUnusableError(f"the {self._called} {self.path} is damaged (wrong checksum); remove it")
        return bytes(body)

    def _read(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123  # opens a descriptor
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise StateUnusableError(
                    f"the {self._called} {self.path} could have been written by others: it must be owned by edge's "
                    "user, with mode 0600"
                )
            longest = len(self._magic) + _CHECKSUM + self._longest
            if found.st_size > longest:
                raise StateUnusableError(
                    f"the {self._called} {self.path} has {found.st_size} bytes, so edge did not write it"
                )
            return file.read(longest)
