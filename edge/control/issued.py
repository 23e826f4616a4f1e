"""Persistence of the table of ids, so that a restart of the node does not forget who issued them.

While the node runs, shared memory has the table, and workers write it. Control copies it to a small file beside the
last good configuration, every ten seconds if it has changed, and at the end; a node that is killed forgets the ids of
its last seconds, and asks each provider for them. The file holds no id, only SHA-256 of ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.control.kept_file import KeptFile, StateUnusableError, name_for
from edge.telemetry import logs

if TYPE_CHECKING:
    import asyncio

    from edge.control.ledger import Ledger
    from edge.native import IssuedIds

EVERY_S: Final = 10.0
SHARE: Final = 20
"""After a write there is none for so many times as long as it took: a large table must not keep the disk busy."""

PER_PART: Final = 65_536
"""Records that are held in memory at a time."""

LONGEST: Final = 1 << 30
"""Bytes of the largest table (``limits.issued_ids``) and more: 2^24 records of 40 bytes."""
_EVERY_NS: Final = int(EVERY_S * 1e9)
_MAGIC: Final = b"edge-issued 1\n"


class IssuedFile:
    """The file, in ``folder``, with the ids of the node whose configuration file is ``source``."""

    def __init__(self, folder: Path, source: str) -> None:
        self._file = KeptFile(folder / name_for("issued", source), _MAGIC, "table of ids", LONGEST)

    @property
    def path(self) -> str:
        """Path of the file."""
        return str(self._file.path)

    def write(self, table: IssuedIds) -> None:
        """Replace the content; OSError: the disk is full or read-only, or permission is denied."""
        self._file.write(table.dump(first, PER_PART) for first in range(0, table.capacity, PER_PART))

    def read(self) -> bytes:
        """Return what was written; empty if there is no file.

        Raises:
            StateUnusableError: the file is damaged, of another version, or could have been written by others.
        """
        return self._file.read() or b""


def issued_file(state_dir: str, ledger: Ledger | None) -> IssuedFile | None:
    """Return the file of a node; None: it keeps no state."""
    return IssuedFile(Path(state_dir), ledger.source) if state_dir and ledger is not None and ledger.source else None


def restore_ids(table: IssuedIds, file: IssuedFile) -> None:
    """Put the ids of a file into a new table; a file that cannot be used is a warning."""
    try:
        table.restore(file.read())
    except (StateUnusableError, ValueError) as error:
        logs.say(logs.WARNING, f"{error}; ids that were issued before are asked for at each provider")


class IssuedKeeper:
    """Keeps the node's table of ids on disk, if it has a ``file``. Nothing that serves requests waits for it."""

    def __init__(self, table: IssuedIds, file: IssuedFile | None) -> None:
        self.table = table
        self._file = file
        self._written = 0  # of what an earlier control has written nothing is known
        self._due_ns = clock.now_ns() + _EVERY_NS
        self._running: asyncio.Task[None] | None = None
        self._failed = False

    def poll(self, now_ns: int) -> None:
        """Write the table if ten seconds have passed, it has changed and no write is in progress."""
        if now_ns < self._due_ns or (self._running is not None and not self._running.done()):
            return
        self._due_ns = now_ns + _EVERY_NS
        if self._file is not None and self.table.changes != self._written:
            import asyncio  # noqa: PLC0415  # the supervisor imports this module, and runs no event loop

            self._running = asyncio.get_running_loop().create_task(self._write(self._file))

    async def stop(self) -> None:
        """Write the last changes."""
        if self._running is not None:
            await self._running
        if self._file is not None and self.table.changes != self._written:
            await self._write(self._file)

    async def _write(self, file: IssuedFile) -> None:
        changes, began_ns = self.table.changes, clock.now_ns()
        import asyncio  # noqa: PLC0415  # as above

        try:
            await asyncio.to_thread(file.write, self.table)
        except OSError as error:
            if not self._failed:  # once, not every ten seconds
                reason = error.strerror or str(error)
                logs.say(logs.WARNING, "the table of ids cannot be written to disk", path=file.path, error=reason)
            self._failed = True
        else:
            self._written, self._failed = changes, False
            ended_ns = clock.now_ns()
            self._due_ns = max(self._due_ns, ended_ns + SHARE * (ended_ns - began_ns))
