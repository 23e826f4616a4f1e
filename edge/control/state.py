"""The stored state of a node: its last good configuration on disk, from which it starts if its file is unusable.

The file holds the checked configuration and its Snapshot, credentials included; so it has mode 0600, a checksum, and is
replaced atomically. Its name derives from the path of the configuration file, so that two nodes of one machine do not
collide. A file that is damaged or not edge's own is rejected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge.config.schema import Config  # noqa: TC001  # msgspec reads the annotation at run time
from edge.control.kept_file import KeptFile, StateUnusableError, name_for
from edge.control.memfd_cell import packed, unpacked
from edge.terms.snapshot import Snapshot  # noqa: TC001  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC: Final = b"edge-state 1\n"
_SYSTEM: Final = Path("/var/lib/edge")


class Stored(Struct, frozen=True):
    """The stored configuration and Snapshot. ``written`` is Unix time."""

    source: str
    written: float
    config: Config
    snapshot: Snapshot


def default_folder(environ: Mapping[str, str]) -> Path | None:
    """Return ``$XDG_STATE_HOME/edge``, else /var/lib/edge if it is writable, else None."""
    home = environ.get("XDG_STATE_HOME", "")
    if home:
        return Path(home) / "edge"
    there = _SYSTEM if _SYSTEM.exists() else _SYSTEM.parent
    return _SYSTEM if os.access(there, os.W_OK | os.X_OK) else None


class StateFile:
    """The stored state, in ``folder``, of the node whose configuration file is ``source``."""

    def __init__(self, folder: Path, source: str) -> None:
        self.path = folder / name_for("snapshot", source)
        self._file = KeptFile(self.path, _MAGIC, "state")
        self._source = source

    def write(self, config: Config, snapshot: Snapshot, now: float) -> None:
        """Replace the content; if that fails, the previous content stays.

        Raises:
            OSError: the disk is full or read-only, or permission is denied.
        """
        self._file.write(packed(Stored(self._source, now, config, snapshot)))

    def read(self) -> Stored | None:
        """Return the stored state; None if there is none.

        Raises:
            StateUnusableError: the file is damaged, of another version of edge, or could have been written by others.
        """
        body = self._file.read()
        if body is None:
            return None
        try:
            stored = unpacked(body, Stored)
        except msgspec.MsgspecError as error:
            raise StateUnusableError(
                f"the state {self.path} was written by another version of edge: {error}"
            ) from error
        if stored.source != self._source:
            raise StateUnusableError(f"the state {self.path} belongs to {stored.source}, not to {self._source}")
        return stored
