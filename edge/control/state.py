"""What does a node start from when its configuration is gone?  The last good one, which control leaves on disk.

The file holds the checked configuration and the Snapshot made of it, credentials included: mode 0600, a checksum,
replaced by an atomic rename after fsync. It is named after the configuration file it stands in for, so that two nodes
of one machine do not meet, and it is refused, with a sentence, when it is damaged or somebody else's.
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
        self.path = folder / name_for("snapshot", source)
        self._file = KeptFile(self.path, _MAGIC, "state")
        self._source = source

    def write(self, config: Config, snapshot: Snapshot, now: float) -> None:
        """Replace what is there; what was there stays whole when this fails.

        Raises:
            OSError: the disk is full, read-only, or not ours.
        """
        self._file.write(packed(Stored(self._source, now, config, snapshot)))

    def read(self) -> Stored | None:
        """Return what was written last; None when nothing ever was.

        Raises:
            StateUnusableError: it is damaged, of another version of edge, or somebody else could have written it.
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
            raise StateUnusableError(f"the state {self.path} is that of {stored.source}, not of {self._source}")
        return stored
