"""The history in SQLite: tables, writing, packing of past hours, deletion of what is too old, and reading.

Calls block; ``edge.incidents.history`` makes them in a thread. The tables:

    series       what is counted together, by number
    minutes      rows of the last hours, one per series and minute
    hours        packed hours, one per series and hour
    incidents    one JSON document per incident
    actions      what operators did, in order
    pages        what providers' status pages said, whenever that changed
    drills       results of drills that were sent to the node
    taken        up to which minute the rows of other nodes are in the tables
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge.incidents.minutes import MINUTE_S, Minute, Row, Series, joined
from edge.incidents.packing import (
    HOUR,
    Packed,
    Point,
    pack_hour,
    pack_minute,
    point,
    points,
    unpack_hour,
    unpack_minute,
)
from edge.incidents.rehearsed import decode as decode_rehearsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge.incidents.rehearsed import Rehearsed

VERSION: Final = 2
# Format 1 did not tell capabilities apart: everything that a model was asked for stands in one series, "chat". Where
# there is a series of the same name without a capability, the old one keeps its name: nothing is lost.
_FROM_1: Final = "UPDATE OR IGNORE series SET capability = '' WHERE capability = 'chat'"
# Minutes stay single for this long, so that a clock that is set back a little, or a late writer, meets them.
SINGLE_MINUTES: Final = 3 * HOUR
_BUSY_S: Final = 5.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, kind TEXT, provider TEXT, model TEXT, region TEXT, capability TEXT,
    UNIQUE (kind, provider, model, region, capability));
CREATE TABLE IF NOT EXISTS minutes (
    at INTEGER, series INTEGER, body BLOB, PRIMARY KEY (at, series)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hours (
    series INTEGER, at INTEGER, body BLOB, PRIMARY KEY (series, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incidents (id TEXT PRIMARY KEY, opened REAL, closed REAL, body BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS actions (id INTEGER PRIMARY KEY, at REAL, body BLOB);
CREATE INDEX IF NOT EXISTS actions_at ON actions (at);
CREATE TABLE IF NOT EXISTS pages (id INTEGER PRIMARY KEY, at REAL, provider TEXT, body BLOB);
CREATE TABLE IF NOT EXISTS drills (id INTEGER PRIMARY KEY, at REAL, body BLOB);
CREATE TABLE IF NOT EXISTS taken (node TEXT PRIMARY KEY, instance TEXT, at INTEGER) WITHOUT ROWID;
"""

_NEW_ACTION: Final = """INSERT INTO actions (at, body)
    SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM actions WHERE at = ?1 AND body = ?2)"""


class Action(Struct, frozen=True):
    """What an operator did. ``at`` is Unix time.

    ``what`` is drain, eject, restore, reload, reload_refused, leave, acknowledge, note or forget.
    """

    at: float
    what: str
    subject: str  # the target, the incident or the other node, "" for the node
    reason: str
    where: str  # REGION/NODE
    by: str = ""  # the operator, as they call themselves; "": unknown


class Said(Struct, frozen=True):
    """What a provider's status page said from ``at`` (Unix time) on."""

    at: float
    provider: str
    state: str
    text: str


class Wanted(Struct, frozen=True):
    """Which part of the history to read: minutes from ``start`` to before ``end``; "" stands for any."""

    start: int
    end: int
    kind: str = ""
    provider: str = ""
    model: str = ""
    region: str = ""
    capability: str = ""


class Damaged(Exception):  # noqa: N818  # a finding about the file, not a failure of the call
    """The file is not a history that this version can read."""


class Database:
    """One connection; ``path`` None keeps everything in memory.

    Raises:
        Damaged: the file is no database, is damaged, or was written by a later version.
        sqlite3.Error, OSError: it cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            ":memory:" if path is None else path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(path)
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise Damaged(str(error)) from error
        except BaseException:
            self._db.close()
            raise
        self._numbers: dict[Series, int] = {}

    def _set_up(self, path: Path | None) -> None:
        self._db.execute("PRAGMA page_size = 8192")
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last minute, never the file
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, 1, VERSION):
            raise Damaged(f"it has format {version}, and this version of edge knows {VERSION}")
        self._db.executescript(_TABLES)
        with _transaction(self._db):
            if version == 1:
                self._db.execute(_FROM_1)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        if path is not None:
            path.chmod(0o600)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def write(
        self,
        rows: Iterable[Row],
        actions: Iterable[Action] = (),
        incidents: Iterable[tuple[str, float, float, bytes]] = (),
        *,
        said: Iterable[Said] = (),
        rehearsed: Iterable[Rehearsed] = (),
        taken: Iterable[tuple[str, str, int]] = (),
    ) -> None:
        """Write everything, or nothing if it fails.

        Args:
            rows: minutes; one that exists already is added to.
            actions: what operators did.
            incidents: (id, opened, closed, JSON); closed 0: it is open. One that exists is replaced.
            said: what providers' pages said.
            rehearsed: drills that were sent.
            taken: (node, instance, minute) up to which rows of another node are among ``rows``.
        """
        with _transaction(self._db):
            for series, minute in rows:
                number = self._number(series)
                known = self._db.execute(
                    "SELECT body FROM minutes WHERE at = ? AND series = ?", (minute.at, number)
                ).fetchone()
                whole = minute if known is None else joined(unpack_minute(known[0]), minute)
                self._db.execute("REPLACE INTO minutes VALUES (?, ?, ?)", (minute.at, number, pack_minute(whole)))
            for action in actions:  # other nodes tell theirs again, also to a control process that was started again
                body = msgspec.json.encode(action)
                self._db.execute(_NEW_ACTION, (action.at, body))
            self._db.executemany("REPLACE INTO incidents VALUES (?, ?, ?, ?)", incidents)
            self._db.executemany(
                "INSERT INTO pages (at, provider, body) VALUES (?, ?, ?)",
                [(one.at, one.provider, msgspec.json.encode(one)) for one in said],
            )
            self._db.executemany(
                "INSERT INTO drills (at, body) VALUES (?, ?)", [(one.at, msgspec.json.encode(one)) for one in rehearsed]
            )
            self._db.executemany("REPLACE INTO taken VALUES (?, ?, ?)", taken)

    def tidy(self, now_minute: int, keep_minutes: int) -> None:
        """Pack hours that are over, and delete what is older than ``keep_minutes``."""
        packed_before = (now_minute - SINGLE_MINUTES) // HOUR * HOUR
        oldest = now_minute - keep_minutes
        with _transaction(self._db):
            self._pack(packed_before)
            self._db.execute("DELETE FROM minutes WHERE at < ?", (oldest,))
            self._db.execute("DELETE FROM taken WHERE at < ?", (oldest,))
            self._db.execute("DELETE FROM hours WHERE at < ?", (oldest - HOUR,))
            oldest_s = oldest * MINUTE_S
            self._db.execute("DELETE FROM incidents WHERE closed > 0 AND closed < ?", (oldest_s,))
            self._db.execute("DELETE FROM actions WHERE at < ?", (oldest_s,))
            self._db.execute("DELETE FROM pages WHERE at < ?", (oldest_s,))
            self._db.execute("DELETE FROM drills WHERE at < ?", (oldest_s,))

    def _pack(self, before: int) -> None:
        waiting: dict[tuple[int, int], list[Minute]] = {}
        query = "SELECT at, series, body FROM minutes WHERE at < ? ORDER BY at"
        for at, number, body in self._db.execute(query, (before,)):
            waiting.setdefault((number, at // HOUR * HOUR), []).append(unpack_minute(body))
        for (number, hour), minutes in waiting.items():
            # Minutes of an hour that is packed already came late, because the clock was set back: they stay single.
            packed = self._db.execute(
                "INSERT OR IGNORE INTO hours VALUES (?, ?, ?)", (number, hour, pack_hour(minutes))
            ).rowcount
            if packed:
                gone = (number, hour, hour + HOUR)
                self._db.execute("DELETE FROM minutes WHERE series = ? AND at >= ? AND at < ?", gone)

    def series(self, wanted: Wanted) -> list[tuple[int, Series]]:
        """Return the series that are asked for, with their numbers."""
        query = """SELECT id, kind, provider, model, region, capability FROM series
                   ORDER BY kind, provider, model, region, capability"""
        found = [(number, Series(*fields)) for number, *fields in self._db.execute(query)]
        return [
            (number, series)
            for number, series in found
            if all(
                not asked or asked == given
                for asked, given in (
                    (wanted.kind, series.kind),
                    (wanted.provider, series.provider),
                    (wanted.model, series.model),
                    (wanted.region, series.region),
                    (wanted.capability, series.capability),
                )
            )
        ]

    def read(self, number: int, wanted: Wanted) -> Iterator[tuple[list[Point], dict[int, int], dict[int, int]]]:
        """Yield the minutes of a series in order, by parts, each with the histograms of that part.

        The histograms of an hour are those of the whole hour, also where only some of its minutes are wanted.
        """
        for hour, packed in self.hours(number, wanted):
            found = [one for one in points(hour, packed) if wanted.start <= one.at < wanted.end]
            if found:
                yield found, packed.first, packed.total
        for minute in self.minutes(number, wanted):
            yield [point(minute)], minute.first, minute.total

    def hours(self, number: int, wanted: Wanted) -> Iterator[tuple[int, Packed]]:
        """Yield the packed hours of a series that have wanted minutes, each after its first minute, in order."""
        first = wanted.start // HOUR * HOUR
        query = "SELECT at, body FROM hours WHERE series = ? AND at >= ? AND at < ? ORDER BY at"
        for hour, body in self._db.execute(query, (number, first, wanted.end)):
            yield hour, unpack_hour(body)

    def minutes(self, number: int, wanted: Wanted) -> Iterator[Minute]:
        """Yield the wanted minutes of a series that are not packed, in order."""
        query = "SELECT body FROM minutes WHERE at >= ? AND at < ? AND series = ? ORDER BY at"
        for (body,) in self._db.execute(query, (wanted.start, wanted.end, number)):
            yield unpack_minute(body)

    def actions(self, start: float, end: float, most: int) -> list[Action]:
        """Return what operators did from ``start`` to before ``end``, oldest first, at most the last ``most``."""
        query = "SELECT body FROM actions WHERE at >= ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?"
        found = [msgspec.json.decode(body, type=Action) for (body,) in self._db.execute(query, (start, end, most))]
        return found[::-1]

    def said(self, start: float, end: float, most: int) -> list[Said]:
        """Return what pages said from ``start`` to before ``end``, oldest first, at most the last ``most``."""
        query = "SELECT body FROM pages WHERE at >= ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?"
        found = [msgspec.json.decode(body, type=Said) for (body,) in self._db.execute(query, (start, end, most))]
        return found[::-1]

    def taken(self) -> list[tuple[str, str, int]]:
        """Return (node, instance, minute): up to where the rows of other nodes are in this history."""
        return self._db.execute("SELECT node, instance, at FROM taken").fetchall()

    def rehearsed(self, most: int) -> list[Rehearsed]:
        """Return the last results of drills, newest first."""
        query = "SELECT body FROM drills ORDER BY id DESC LIMIT ?"
        return [decode_rehearsed(body) for (body,) in self._db.execute(query, (most,))]

    def incidents(self, start: float, end: float, most: int) -> list[bytes]:
        """Return the documents of incidents that were open between two times, newest first."""
        query = """SELECT body FROM incidents WHERE opened < ? AND (closed = 0 OR closed >= ?)
                   ORDER BY opened DESC LIMIT ?"""
        return [body for (body,) in self._db.execute(query, (end, start, most))]

    def open_incidents(self, most: int) -> list[bytes]:
        """Return the documents of incidents that are not closed, oldest first."""
        query = "SELECT body FROM incidents WHERE closed = 0 ORDER BY opened LIMIT ?"
        return [body for (body,) in self._db.execute(query, (most,))]

    def incident(self, name: str) -> bytes | None:
        """Return the document of one incident."""
        found = self._db.execute("SELECT body FROM incidents WHERE id = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def _number(self, series: Series) -> int:
        known = self._numbers.get(series)
        if known is not None:
            return known
        fields = (series.kind, series.provider, series.model, series.region, series.capability)
        self._db.execute(
            "INSERT OR IGNORE INTO series (kind, provider, model, region, capability) VALUES (?, ?, ?, ?, ?)", fields
        )
        query = "SELECT id FROM series WHERE kind=? AND provider=? AND model=? AND region=? AND capability=?"
        (number,) = self._db.execute(query, fields).fetchone()
        self._numbers[series] = int(number)
        return int(number)

    def forget_numbers(self) -> None:
        """Look series up again: a write that failed may have undone the insertion of some."""
        self._numbers.clear()


class _transaction:  # noqa: N801  # used as a statement
    """``with _transaction(db):`` commits at the end, or undoes everything."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")
