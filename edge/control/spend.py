"""What has each key spent this month, and who remembers it when the node is started again?  Control, on disk.

The shared state holds what counts while the node runs: workers add to it and refuse by it. Every ten seconds in which
something changed, and at the end, control writes it to a small file beside the last good configuration; what a node
that was killed spent in its last seconds is forgotten. At the start, before anybody serves, it is put back where the
shared state knows nothing yet. A key is known by its name, so that a new secret for the same name goes on with its
budget. Beside it stands what other nodes told of budgets that they share, for a start at which they cannot be heard.

While the clock is wrong no money is forgotten: what stands for a month that has not come counts as spent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge import clock
from edge.admission.report import month_of
from edge.control.kept_file import KeptFile, StateUnusableError, name_for
from edge.control.memfd_cell import packed, unpacked
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

EVERY_S: Final = 10.0
# Clocks that are wrong at a start are mended within minutes. One that says for so long that a month has not come is
# believed, and what stands for that month was spent in this one.
BELIEVED_S: Final = 3600.0
_MAGIC: Final = b"edge-spend 1\n"
_AT: Final = "@"  # no key's name has one


class Spent(Struct, frozen=True):
    """What a key spent in a month: months since year 0, US dollars * 1e9."""

    month: int
    nano: int


class SpendFile:
    """What the keys of the node spent that is configured by the file ``source``; in ``folder``."""

    def __init__(self, folder: Path, source: str) -> None:
        self._file = KeptFile(folder / name_for("spend", source), _MAGIC, "spending")

    @property
    def path(self) -> str:
        """The file."""
        return str(self._file.path)

    def write(self, spent: Mapping[str, Spent]) -> None:
        """Replace what is there.

        Raises:
            OSError: the disk is full, read-only, or not ours.
        """
        self._file.write(packed(dict(spent)))

    def read(self) -> dict[str, Spent]:
        """Return what each key spent, by its name; nothing when nothing was ever written.

        Raises:
            StateUnusableError: it is damaged, of another version, or somebody else could have written it.
        """
        body = self._file.read()
        if body is None:
            return {}
        try:
            return unpacked(body, dict[str, Spent])
        except msgspec.MsgspecError as error:
            raise StateUnusableError(f"the spending {self.path} was written by another version: {error}") from error

    def read_or_warn(self) -> dict[str, Spent]:
        """Return what each key spent; nothing, with a warning, when the file cannot be used."""
        try:
            return self.read()
        except StateUnusableError as error:
            logs.say(logs.WARNING, f"{error}; the budgets of this month begin anew")
            return {}


def put_back(shared_state: SharedState, snapshot: Snapshot, spent: Mapping[str, Spent]) -> None:
    """Put back what keys spent, where the shared state knows nothing of it yet."""
    for key in snapshot.keys:
        known = spent.get(key.name)
        if known is not None and key.allowance is not None:
            shared_state.set_spent(key.allowance.slot, known.month, known.nano)


class Spending:
    """Keeps what keys spend on disk. Nothing that serves waits for it.

    Args:
        shared_state: where it is counted.
        file: where it is kept.
    """

    def __init__(self, shared_state: SharedState, file: SpendFile) -> None:
        self._shared_state = shared_state
        self._file = file
        self._known = file.read_or_warn()
        self._written = dict(self._known)
        self.elsewhere = {name: spent for name, spent in self._known.items() if _AT in name}
        """What other nodes spent of budgets that they share with this one, by KEY@REGION/NODE."""
        self._looked_ns = clock.now_ns()
        self._ahead_ns: dict[str, int] = {}  # keys whose month has not come, and since when that was seen
        self._running: asyncio.Task[None] | None = None
        self._failed = False

    def put_back(self, snapshot: Snapshot) -> None:
        """Give keys that come back what they had spent; before the Snapshot is published."""
        put_back(self._shared_state, snapshot, self._known)

    def look(self, snapshot: Snapshot, now_ns: int) -> None:
        """Write what changed, if it is time and nothing is being written. Called once a second."""
        if now_ns - self._looked_ns < EVERY_S * 1e9 or (self._running is not None and not self._running.done()):
            return
        self._looked_ns = now_ns
        self._read(snapshot)
        if self._known != self._written:
            self._running = asyncio.get_running_loop().create_task(self._write())

    async def stop(self, snapshot: Snapshot) -> None:
        """Write the last of it."""
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
        own = {name: spent for name, spent in self._known.items() if _AT not in name}
        self._known = {**own, **self.elsewhere}
        self._ahead_ns = ahead_ns
        self._known = {name: spent for name, spent in self._known.items() if spent.month >= month}

    async def _write(self) -> None:
        told = dict(self._known)
        try:
            await asyncio.to_thread(self._file.write, told)
        except OSError as error:
            if not self._failed:  # once, not every ten seconds
                said = error.strerror or str(error)
                logs.say(logs.WARNING, "what keys spent cannot be kept on disk", path=self._file.path, error=said)
            self._failed = True
        else:
            self._written, self._failed = told, False
