"""Persistence of each key's spending this month, so that a restart of the node does not reset budgets.

While the node runs, the shared state has the current spending: workers add to it and refuse requests by it. Control
writes changes to a small file beside the last good configuration, every ten seconds and at the end; a node that is
killed forgets the spending of its last seconds. At the start, before any worker serves, the spending is restored where
the shared state has none. Keys are identified by name, so a new secret under the same name continues the budget. The
file also holds the spending that other nodes published for shared budgets, for a start without the store.

A wrong clock loses no money: spending recorded for a future month counts as spent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge import clock
from edge.control.kept_file import KeptFile, StateUnusableError, name_for
from edge.control.memfd_cell import packed, unpacked
from edge.telemetry import logs
from edge.telemetry.usage import month_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from pathlib import Path

    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

EVERY_S: Final = 10.0
# Clocks that are wrong at the start are usually corrected within minutes. A clock that says for this long that a
# recorded month is in the future is believed, and the spending is moved to the current month.
BELIEVED_S: Final = 3600.0
_MAGIC: Final = b"edge-spend 1\n"
_AT: Final = (
    "@"  # separator in KEY@REGION/NODE; names of keys cannot contain it, but those of members, KEY/IDENTITY, can
)


class Spent(Struct, frozen=True):
    """Spending of a key in a month: months since year 0, US dollars * 1e9."""

    month: int
    nano: int


class SpendFile:
    """The file, in ``folder``, with the spending of the node whose configuration file is ``source``."""

    def __init__(self, folder: Path, source: str) -> None:
        self._file = KeptFile(folder / name_for("spend", source), _MAGIC, "spending")

    @property
    def path(self) -> str:
        """Path of the file."""
        return str(self._file.path)

    def write(self, spent: Mapping[str, Spent]) -> None:
        """Replace the content.

        Raises:
            OSError: the disk is full or read-only, or permission is denied.
        """
        self._file.write(packed(dict(spent)))

    def read(self) -> dict[str, Spent]:
        """Return the spending by key name; empty if there is no file.

        Raises:
            StateUnusableError: the file is damaged, of another version, or could have been written by others.
        """
        body = self._file.read()
        if body is None:
            return {}
        try:
            return unpacked(body, dict[str, Spent])
        except msgspec.MsgspecError as error:
            raise StateUnusableError(f"the spending {self.path} was written by another version: {error}") from error

    def read_or_warn(self) -> dict[str, Spent]:
        """Return the spending by key name; empty, with a warning, if the file cannot be used."""
        try:
            return self.read()
        except StateUnusableError as error:
            logs.say(logs.WARNING, f"{error}; the budgets of this month start from zero")
            return {}


def put_back(shared_state: SharedState, snapshot: Snapshot, spent: Mapping[str, Spent]) -> None:
    """Restore the spending of keys for which the shared state has none."""
    for key in snapshot.keys:
        known = spent.get(key.name)
        if known is not None and key.allowance is not None:
            shared_state.set_spent(key.allowance.slot, known.month, known.nano)


class Spending:
    """Keeps the spending of keys on disk. Nothing that serves requests waits for it.

    Args:
        shared_state: the node's shared state, which counts spending.
        file: the file.
    """

    def __init__(self, shared_state: SharedState, file: SpendFile) -> None:
        self._shared_state = shared_state
        self._file = file
        self._known = file.read_or_warn()
        self._written = dict(self._known)
        self.elsewhere = {name: spent for name, spent in self._known.items() if _is_elsewhere(name)}
        """Spending of other nodes on shared budgets, by KEY@REGION/NODE."""
        self._read_ns = clock.now_ns()
        self._ahead_ns: dict[str, int] = {}  # keys whose recorded month is in the future, and when that was first seen
        self._running: asyncio.Task[None] | None = None
        self._failed = False

    def put_back(self, snapshot: Snapshot) -> None:
        """Restore the spending of keys that are configured again; call before the Snapshot is published."""
        put_back(self._shared_state, snapshot, self._known)

    def of(self, name: str) -> Spent | None:
        """Return what a key has spent, as far as it was written or restored."""
        return self._known.get(name)

    def poll(self, snapshot: Snapshot, now_ns: int) -> None:
        """Write changes if ten seconds have passed and no write is in progress. Called once a second."""
        if now_ns - self._read_ns < EVERY_S * 1e9 or (self._running is not None and not self._running.done()):
            return
        self._read_ns = now_ns
        self._read(snapshot)
        if self._known != self._written:
            import asyncio  # noqa: PLC0415  # the supervisor imports this module, and runs no event loop

            self._running = asyncio.get_running_loop().create_task(self._write())

    async def stop(self, snapshot: Snapshot) -> None:
        """Write the last changes."""
        if self._running is not None:
            await self._running
        self._read(snapshot)
        if self._known != self._written:
            await self._write()

    def _read(self, snapshot: Snapshot) -> None:
        month, now_ns, ahead_ns = month_of(clock.wall()), clock.now_ns(), {}
        for key in snapshot.keys:
            if key.allowance is None:
                continue
            record = self._shared_state.read_allowance(key.allowance.slot)
            if record["spent_month"] > month:
                ahead_ns[key.name] = self._ahead_ns.get(key.name, now_ns)
                if now_ns - ahead_ns[key.name] >= BELIEVED_S * 1e9:
                    self._shared_state.turn_back(key.allowance.slot, month)
                    record = self._shared_state.read_allowance(key.allowance.slot)
            if record["spent_month"]:
                self._known[key.name] = Spent(record["spent_month"], record["spent_nano"])
        own = {name: spent for name, spent in self._known.items() if not _is_elsewhere(name)}
        self._known = {**own, **self.elsewhere}
        self._ahead_ns = ahead_ns
        self._known = {name: spent for name, spent in self._known.items() if spent.month >= month}

    async def _write(self) -> None:
        spent = dict(self._known)
        import asyncio  # noqa: PLC0415  # as above

        try:
            await asyncio.to_thread(self._file.write, spent)
        except OSError as error:
            if not self._failed:  # once, not every ten seconds
                reason = error.strerror or str(error)
                logs.say(logs.WARNING, "spending cannot be written to disk", path=self._file.path, error=reason)
            self._failed = True
        else:
            self._written, self._failed = spent, False


def _is_elsewhere(name: str) -> bool:
    """Return whether a name in the file is KEY@REGION/NODE, and not a key or KEY/IDENTITY, such as team/ann@x.test."""
    key, at, _ = name.partition(_AT)
    return bool(at) and "/" not in key
