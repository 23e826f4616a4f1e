"""What does a node start from when its configuration is gone?  The last good one, which control leaves on disk.

The file holds the checked configuration and the Snapshot made of it, credentials included: mode 0600, a checksum,
replaced by an atomic rename after fsync. It is named after the configuration file it stands in for, so that two nodes
of one machine do not meet, and it is refused, with a sentence, when it is damaged or somebody else's.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge.config.schema import Config  # noqa: TC001  # msgspec reads the annotation at run time
from edge.control.keepsake import packed, unpacked
from edge.errors import EdgeError
from edge.terms.snapshot import Snapshot  # noqa: TC001  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC: Final = b"edge-state 1\n"
_CHECKSUM: Final = hashlib.sha256().digest_size
_SYSTEM: Final = Path("/var/lib/edge")
# More than this is not one of ours: a Snapshot of ten thousand targets is about 5 MiB.
_LONGEST: Final = 256 * 1024 * 1024


class StateUnusableError(EdgeError):
    """The state on disk cannot be used; the sentence says why."""

    kind = "state_unusable"


class Stored(Struct, frozen=True):
    """What a node that was well left behind. ``written`` is Unix time."""

    source: str
    written: float
    config: Config
    snapshot: Snapshot


def default_folder(environ: Mapping[str, str]) -> Path | None:
    """Return ``$XDG_STATE_HOME/edge``, else /var/lib/edge where that can be written, else None."""
    home = environ.get("XDG_STATE_HOME", "")
    if home:
        return Path(home) / "edge"
    there = _SYSTEM if _SYSTEM.exists() else _SYSTEM.parent
    return _SYSTEM if os.access(there, os.W_OK | os.X_OK) else None


class StateFile:
    """The state of the node that is configured by the file ``source``, in ``folder``."""

    def __init__(self, folder: Path, source: str) -> None:
        self.path = folder / f"snapshot-{hashlib.sha256(source.encode(errors='surrogateescape')).hexdigest()[:16]}"
        self._source = source

    def write(self, config: Config, snapshot: Snapshot, now: float) -> None:
        """Replace what is there; what was there stays whole when this fails.

        Raises:
            OSError: the disk is full, read-only, or not ours.
        """
        body = packed(Stored(self._source, now, config, snapshot))
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123  # of a descriptor
                os.fchmod(fd, 0o600)
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
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

    def read(self) -> Stored | None:
        """Return what was written last; None when nothing ever was.

        Raises:
            StateUnusableError: it is damaged, of another version of edge, or somebody else could have written it.
        """
        try:
            data = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusableError(f"the state {self.path} cannot be read: {error.strerror}") from error
        head = len(_MAGIC) + _CHECKSUM
        if not data.startswith(_MAGIC):
            raise StateUnusableError(f"{self.path} is no state of this version of edge; remove it")
        if hashlib.sha256(data[head:]).digest() != data[len(_MAGIC) : head]:
            raise StateUnusableError(f"the state {self.path} is damaged: its checksum is wrong; remove it")
        try:
            stored = unpacked(data[head:], Stored)
        except msgspec.MsgspecError as error:
            raise StateUnusableError(
                f"the state {self.path} was written by another version of edge: {error}"
            ) from error
        if stored.source != self._source:
            raise StateUnusableError(f"the state {self.path} is that of {stored.source}, not of {self._source}")
        return stored

    def _read(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123  # of a descriptor
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                sentence = f"the state {self.path} could have been written by others: it must be ours, with mode 0600"
                raise StateUnusableError(sentence)
            if found.st_size > _LONGEST:
                raise StateUnusableError(f"the state {self.path} has {found.st_size} bytes; that is none of ours")
            return file.read(_LONGEST)
