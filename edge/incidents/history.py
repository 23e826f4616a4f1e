"""The history of a node: what is written waits in memory, a thread of its own writes it, and reading happens there too.

Nothing that serves requests waits for the disk, and control's event loop does not either. While the file cannot be
written (a full disk, a read-only folder), what waits is kept for an hour, then counted as lost; the log says once that
it began and once that it is over. A damaged file is put aside, and a new one begun.
"""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct

from edge import clock
from edge.errors import EdgeError
from edge.incidents.database import Action, Damaged, Database, Said
from edge.incidents.minutes import MINUTE_S
from edge.incidents.rehearsed import Rehearsed  # noqa: TC001  # msgspec reads the annotation at run time
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.incidents.minutes import Row

T = TypeVar("T")

# Rows that wait for the disk: an hour of a thousand series.
MOST_WAITING: Final = 60_000
# In memory the history would grow without a disk to bound it.
MOST_IN_MEMORY_MINUTES: Final = 7 * 24 * 60
TIDY_EVERY_MINUTES: Final = 60
_STOP_S: Final = 3.0
_FAILURES: Final = (sqlite3.Error, OSError, Damaged, msgspec.MsgspecError, zlib.error)


class HistoryUnavailableError(EdgeError):
    """The history cannot be read now."""

    kind = "history_unavailable"
    retry = "same"


class HistoryState(Struct, frozen=True):
    """The state of the history. ``written`` is Unix time, 0: never; ``error`` "": the last write succeeded."""

    path: str  # "": in memory
    written: float
    lost: int  # rows, actions and incidents that were never written
    waiting: int
    error: str


class Entry(Struct, frozen=True):
    """One thing to write: a minute of a series, an action, an incident as (id, opened, closed, JSON), and so on."""

    row: Row | None = None
    action: Action | None = None
    incident: tuple[str, float, float, bytes] | None = None
    said: Said | None = None
    rehearsed: Rehearsed | None = None
    taken: tuple[str, str, int] | None = None  # see Database.write


class History:
    """Writes and reads the history.

    Args:
        path: the file; None keeps it in memory, for at most a week.
        keep_minutes: how long it is kept.
    """

    def __init__(self, path: Path | None, keep_minutes: int) -> None:
        self._path = path
        self._keep = keep_minutes if path is not None else min(keep_minutes, MOST_IN_MEMORY_MINUTES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._db: Database | None = None
        self._waiting: deque[Entry] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._in_flight = 0  # how many of the oldest entries are being written
        self._tidied = 0
        self._written = 0.0
        self._lost = 0
        self._error = ""

    @property
    def state(self) -> HistoryState:
        """What the status shows of it."""
        path = "" if self._path is None else str(self._path)
        return HistoryState(path, self._written, self._lost, len(self._waiting), self._error)

    def keep(self, entries: Sequence[Entry]) -> None:
        """Take what is to be written with the next :meth:`flush`; the oldest is lost if too much waits."""
        self._waiting.extend(entries)
        excess = len(self._waiting) - MOST_WAITING
        for _ in range(excess):
            self._waiting.popleft()
            if self._in_flight:
                self._in_flight -= 1
            else:
                self._lost += 1

    def flush(self) -> None:
        """Begin to write what waits, unless a write is in progress. Returns at once."""
        if self._waiting and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def flushed(self) -> None:
        """Write what waits, and wait for it."""
        if self._writing is not None:
            await self._writing
        if self._waiting:
            await self._write()

    async def stop(self) -> None:
        """Write what waits, for at most some seconds, and close the file; what then still waits is lost."""
        try:
            async with asyncio.timeout(_STOP_S):
                await self.flushed()
                await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        except TimeoutError:
            logs.say(logs.WARNING, "the history did not end in time", path=str(self._path), waiting=len(self._waiting))
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def read(self, query: Callable[[Database], T]) -> T:
        """Run a query in the thread of the history, after a write that is in progress.

        Raises:
            HistoryUnavailableError: the file cannot be opened or read.
        """
        if self._writing is not None:
            await asyncio.shield(self._writing)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: query(self._open()))
        except _FAILURES as error:
            raise HistoryUnavailableError(f"the history {self._path or ''} cannot be read: {error}") from error

    async def _write(self) -> None:
        """Write until nothing waits, or a write fails."""
        while self._waiting and await self._write_batch():
            continue

    async def _write_batch(self) -> bool:
        batch = tuple(self._waiting)
        self._in_flight = len(batch)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._put, batch)
        except _FAILURES as error:
            said = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if not self._error:
                sentence = "the history cannot be written; it is kept in memory for an hour, then lost"
                logs.say(logs.WARNING, sentence, path=str(self._path), error=said)
            self._error = said
            self._lost += len(batch) - self._in_flight  # given up during the write, which might have succeeded
            self._in_flight = 0
            return False
        except Exception as error:  # noqa: BLE001  # what cannot be written at all must not keep the rest from the disk
            logs.say_failure("entries of the history cannot be written, and are lost", error, entries=len(batch))
            self._lost += len(batch)
            for _ in range(self._in_flight):
                self._waiting.popleft()
            self._in_flight = 0
            return True
        for _ in range(self._in_flight):
            self._waiting.popleft()
        self._in_flight = 0
        if self._error:
            logs.say(logs.INFO, "the history is written again", path=str(self._path), lost=self._lost)
        self._error, self._written = "", clock.wall()
        return True

    def _put(self, batch: tuple[Entry, ...]) -> None:
        """Write a batch (in the thread)."""
        db = self._open()
        try:
            db.write(
                [entry.row for entry in batch if entry.row is not None],
                [entry.action for entry in batch if entry.action is not None],
                [entry.incident for entry in batch if entry.incident is not None],
                said=[entry.said for entry in batch if entry.said is not None],
                rehearsed=[entry.rehearsed for entry in batch if entry.rehearsed is not None],
                taken=[entry.taken for entry in batch if entry.taken is not None],
            )
            minute = int(clock.wall() // MINUTE_S)
            if abs(minute - self._tidied) >= TIDY_EVERY_MINUTES:
                db.tidy(minute, self._keep)
                self._tidied = minute
        except sqlite3.OperationalError:
            db.forget_numbers()  # a full disk or a lock: the file is sound
            raise
        except (sqlite3.DatabaseError, Damaged, msgspec.MsgspecError, zlib.error) as error:
            self._put_aside(error)
            raise
        except BaseException:
            db.forget_numbers()
            raise

    def _open(self) -> Database:
        """Return the open database; a damaged file is put aside first."""
        if self._db is None:
            try:
                self._db = Database(self._path)
            except Damaged as error:
                self._put_aside(error)
                self._db = Database(self._path)
        return self._db

    def _put_aside(self, why: Exception) -> None:
        self._close()
        if self._path is None:
            return
        aside = self._path.with_name(self._path.name + ".damaged")
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._path.replace(aside)
        sentence = "the history is damaged: it is put aside, and a new one begins"
        logs.say(logs.ERROR, sentence, path=str(self._path), aside=str(aside), error=str(why))

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
