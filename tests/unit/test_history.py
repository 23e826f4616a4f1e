"""The history counts what the shared state counted, stays small, and survives a disk that refuses it."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from plans import shared_state_for, snapshot

from edge.config.load import read_text
from edge.control.chronicle import chronicle_for
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.incidents import history as history_module
from edge.incidents.database import Action, Database, Wanted
from edge.incidents.history import Entry, History
from edge.incidents.minutes import Minute, MinuteBook, Series, joined, quantile_s
from edge.incidents.packing import pack_hour, points, unpack_hour
from edge.incidents.records import COLUMNS, page
from edge.native import Capability, Outcome, RouteCounter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SERIES = Series("target", "p", "m", "eu")


def minute(at: int, requests: int = 3, **given: Any) -> Minute:
    """Return a minute with a few values."""
    facts = {"failures": {"fail_status": 1}, "first": {5: 2}, "total": {9: 2}, "prompt": 10, "output": 20}
    return Minute(at, requests, **{**facts, "cost_nano": 7000, "open_s": 1.5, **given})


def entry(at: int, **given: Any) -> Entry:
    """Return one row to write."""
    return Entry(row=(SERIES, minute(at, **given)))


class Counters:
    """Records of a target and of a route whose counters a test raises."""

    def __init__(self) -> None:
        self.plan = snapshot()
        self.state = shared_state_for(self.plan)
        self.target = dict.fromkeys(Outcome, 0)
        self.route = dict.fromkeys(RouteCounter, 0)
        self.first = [0] * 24
        self.vision = 0  # requests that need it, all of them good
        self.book = MinuteBook(self._read_target, self._read_route)

    def _read_target(self, slot: int) -> Any:
        if slot != next(each.slot for each in self.plan.targets if each.id == "one/small"):
            return {}
        chats = use([self.target[outcome] for outcome in Outcome], self.first)
        return {Capability.C_CHAT: chats} | ({Capability.C_VISION: use([self.vision])} if self.vision else {})

    def _read_route(self, slot: int) -> Any:
        if slot != next(each.slot for each in self.plan.routes if each.name == "chat"):
            return {}
        return {Capability.C_CHAT: use([self.route[each] for each in list(RouteCounter)[: RouteCounter.R_BROKEN + 1]])}


def use(counts: Sequence[int], first: Sequence[int] = (0,) * 24) -> dict[str, Any]:
    """Return the counters of one capability as the shared state reads them."""
    whole = (*counts, *([0] * (16 - len(counts))))
    empty = {"total_hist": (0,) * 24, "prompt_tokens": 0, "output_tokens": 0, "cost_nano": 0}
    return {"counts": whole, "first_hist": tuple(first), **empty}


def test_a_minute_holds_what_was_counted_in_it() -> None:
    """Rows are the growth of the counters between two ends of a minute, by reason, and the seconds out of rotation."""
    counters = Counters()
    counters.target[Outcome.OK] = 100  # before this control process began
    assert counters.book.look(counters.plan, {}, 600.0) == []
    counters.target[Outcome.OK] = 104
    counters.target[Outcome.FAIL_STATUS] = 2
    counters.target[Outcome.CLIENT_FAULT] = 1
    counters.first[3] = 4
    counters.route[RouteCounter.R_2XX] = 6
    counters.route[RouteCounter.R_5XX] = 1
    for second in range(601, 606):
        assert counters.book.look(counters.plan, {"one/small": "open"}, float(second)) == []
    rows = dict(counters.book.look(counters.plan, {}, 660.0))
    target = rows[Series("target", "one", "small", "test", "chat")]
    assert (target.at, target.requests, target.failures) == (10, 7, {"fail_status": 2, "client_fault": 1})
    assert (target.faults, target.first, target.open_s) == (2, {3: 4}, 5.0)
    route = rows[Series("route", "", "chat", "test", "chat")]
    assert (route.requests, route.failures, route.faults) == (7, {"5xx": 1}, 1)
    assert len(rows) == 2  # nothing happened to the others
    assert counters.book.look(counters.plan, {}, 720.0) == []


def test_a_record_that_starts_again_is_not_counted_backwards() -> None:
    """A target whose record was cleared counts from zero, and loses nothing that came after."""
    counters = Counters()
    counters.target[Outcome.OK] = 50
    counters.book.look(counters.plan, {}, 600.0)
    counters.target[Outcome.OK] = 8
    rows = dict(counters.book.look(counters.plan, {}, 660.0))
    assert rows[Series("target", "one", "small", "test", "chat")].requests == 8


def test_each_capability_has_its_rows_and_only_if_it_is_asked_for() -> None:
    """What is first asked for later is counted from zero; an outage of a target is one of all that it is asked for."""
    counters = Counters()
    counters.target[Outcome.OK] = 50
    counters.book.look(counters.plan, {}, 600.0)
    assert counters.book.look(counters.plan, {}, 660.0) == []
    counters.vision = 3
    ((series, part),) = counters.book.look(counters.plan, {}, 720.0)
    assert (series.capability, part.requests) == ("vision", 3)
    for second in range(721, 724):
        counters.book.look(counters.plan, {"one/small": "open"}, float(second))
    for second in range(724, 728):
        counters.book.look(counters.plan, {"one/small#vision": "open", "gone/m#vision": "open"}, float(second))
    rows = {series.capability: part.open_s for series, part in counters.book.look(counters.plan, {}, 780.0)}
    assert rows == {"chat": 3.0, "vision": 7.0}


def test_a_file_of_the_format_before_loses_nothing(tmp_path: Path) -> None:
    """Format 1 told no capabilities apart: its rows stay, under none, and newer ones stand beside them."""
    path = tmp_path / "h.db"
    db = Database(path)
    old, service = Series("target", "p", "m", "eu", "chat"), Series("target", "s", "10.0.0.1:80", "eu")
    twin, plain = Series("route", "", "both", "eu", "chat"), Series("route", "", "both", "eu")
    db.write([(each, minute(100)) for each in (old, service, twin, plain)])
    db.write([(old, minute(3))])
    db.tidy(1000, 10_000)
    db._db.execute("PRAGMA user_version = 1")
    db.close()
    db = Database(path)
    rows = page(db, between(0, 2000))["rows"]
    assert sum(row[COLUMNS.index("requests")] for row in rows) == 15
    assert {(row[2], row[3], row[5]) for row in rows} == {
        ("p", "m", ""), ("s", "10.0.0.1:80", ""), ("", "both", "chat"), ("", "both", ""),
    }  # fmt: skip
    db.write([(old, minute(200))])
    assert [row[5] for row in page(db, Wanted(150, 300, capability="chat"))["rows"]] == ["chat"]
    db.close()
    assert Database(path)._db.execute("PRAGMA user_version").fetchone() == (2,)


def test_the_rest_of_a_minute_is_not_lost() -> None:
    """A node that stops writes the minute that it is in; two parts of a minute add up."""
    counters = Counters()
    counters.book.look(counters.plan, {}, 600.0)
    counters.target[Outcome.OK] = 5
    ((_, rest),) = counters.book.rest(counters.plan)
    assert (rest.at, rest.requests) == (10, 5)
    whole = joined(rest, minute(10, requests=2, open_s=59.0))
    assert (whole.requests, whole.failures, whole.open_s) == (7, {"fail_status": 1}, 59.0)


def test_quantiles_are_bounds_of_buckets() -> None:
    """A percentile is the upper bound of its bucket; nothing has none; the last bucket has twice the last bound."""
    assert quantile_s({}, 0.5) is None
    assert quantile_s({5: 90, 9: 10}, 0.5) == 0.03
    assert quantile_s({5: 90, 9: 10}, 0.95) == 0.15
    assert quantile_s({23: 1}, 0.99) == 240.0


def test_a_packed_hour_reads_back() -> None:
    """Packing keeps each minute's counts, money and percentiles, and the hour's histograms."""
    minutes = [minute(120), minute(125, first={}, failures={})]
    packed = unpack_hour(pack_hour(minutes))
    first, second = points(120, packed)
    assert (first.at, first.requests, first.failures, first.cost_nano) == (120, 3, {"fail_status": 1}, 7000)
    assert (first.first_s, second.first_s) == ((0.03, 0.03, 0.03), (None, None, None))
    assert (second.at, second.open_s, packed.first, packed.total) == (125, 1.5, {5: 2}, {9: 4})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Minutes, packed or not, actions and incidents come back; the same minute twice adds up."""
    db = Database(tmp_path / "state" / "h.db")
    db.write([(SERIES, minute(100)), (SERIES, minute(101)), (SERIES, minute(900))], [], [])
    db.write([(SERIES, minute(101))], [Action(6000.0, "drain", "p/m", "why", "eu/n")], [("i1", 5.0, 0.0, b"{}")])
    before = page(db, between(0, 2000))["rows"]
    db.tidy(1000, 10_000)
    assert page(db, between(0, 2000))["rows"] == before
    assert [(row[0], row[COLUMNS.index("requests")]) for row in before] == [(6000, 3), (6060, 6), (54000, 3)]
    assert [action.reason for action in db.actions(0, 1e9, 10)] == ["why"]
    assert db.incidents(0, 1e9, 10) == [b"{}"]
    assert db.incident("i1") == b"{}"
    db.write([(SERIES, minute(102))], taken=[("us/n", "first", 102)])
    db.write([(SERIES, minute(103))], taken=[("us/n", "second", 103)])
    assert db.taken() == [("us/n", "second", 103)]
    assert (tmp_path / "state" / "h.db").stat().st_mode & 0o077 == 0
    db.close()


def between(start: int, end: int) -> Wanted:
    """Return a wish for all series between two minutes."""
    return Wanted(start, end)


def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    """After ``keep`` minutes a row is gone, and so are closed incidents and actions; an open incident stays."""
    db = Database(tmp_path / "h.db")
    incidents = [("old", 1.0, 2.0, b'"old"'), ("open", 1.0, 0.0, b'"open"')]
    db.write([(SERIES, minute(10)), (SERIES, minute(5000))], [Action(1.0, "reload", "", "", "eu/n")], incidents)
    db.tidy(5000, 1440)
    assert [row[0] for row in page(db, between(0, 6000))["rows"]] == [5000 * 60]
    assert (db.actions(0, 1e9, 10), db.incidents(0, 1e9, 10)) == ([], [b'"open"'])


def test_a_page_ends_and_names_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long answer is cut at an hour and says where to go on; the parts together are the whole."""
    db = Database(tmp_path / "h.db")
    db.write([(SERIES, minute(at)) for at in range(0, 240, 20)], [], [])
    monkeypatch.setattr("edge.incidents.records.MOST_ROWS", 4)
    rows, start = [], 0
    while start is not None:
        part = page(db, between(start, 240))
        rows += part["rows"]
        start = part["next"]
    assert [row[0] // 60 for row in rows] == list(range(0, 240, 20))


def test_a_year_of_hundreds_of_models_stays_small(tmp_path: Path) -> None:
    """400 days of 200 busy series take less than 2 GB: measured on a part of them, and scaled."""
    chance = random.Random(7)
    path = tmp_path / "h.db"
    db = Database(path)
    days, count = 1, 4
    for number in range(count):
        rows = []
        for at in range(days * 1440):
            requests = chance.randrange(10, 60)
            buckets = [min(max(int(chance.gauss(12, 1.5)), 0), 23) for _ in range(requests)]
            first = {place: buckets.count(place) for place in set(buckets)}
            failures = {"fail_status": 1} if chance.random() < 0.2 else {}
            tokens = chance.randrange(20_000), chance.randrange(9_000)
            row = Minute(at, requests, failures, first, first, *tokens, tokens[1] * 600, 0.0)
            rows.append((Series("target", "p", str(number), "eu"), row))
        db.write(rows, [], [])
    db.tidy(days * 1440 + 500, 10**6)
    db._db.execute("VACUUM")
    db.close()
    Database(tmp_path / "empty.db").close()
    size = path.stat().st_size - (tmp_path / "empty.db").stat().st_size
    assert size * (400 / days) * (200 / count) < 2e9
    assert size > 10_000


async def test_a_full_disk_is_told_once_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the disk is full rows wait, the log says it once, and all of them are written when there is room again."""
    history = History(tmp_path / "h.db", 10**9)
    history.keep([entry(1)])
    await history.flushed()
    await history.read(lambda db: db._db.execute("PRAGMA max_page_count = 1").fetchone())
    caplog.clear()
    for at in range(2, 400):
        history.keep([Entry(row=(Series("target", "p", "m" * 200, f"r{at}"), minute(at)))])
        await history.flushed()
    assert "full" in history.state.error
    assert history.state.waiting > 300
    assert len([line for line in caplog.records if "cannot be written" in line.message]) == 1
    await history.read(lambda db: db._db.execute("PRAGMA max_page_count = 100000").fetchone())
    await history.flushed()
    assert (history.state.error, history.state.waiting, history.state.lost) == ("", 0, 0)
    rows = await history.read(lambda db: page(db, between(0, 500))["rows"])
    assert len(rows) == 399
    await history.stop()


async def test_what_cannot_be_written_at_all_keeps_nothing_from_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that no database holds is lost with those beside it, and told; what comes later is written and read."""
    history = History(tmp_path / "h.db", 10**9)
    history.keep([entry(5, requests=2**70), entry(6)])
    await history.flushed()
    assert history.state.lost == 2
    assert "cannot be written, and are lost" in caplog.text
    history.keep([entry(7)])
    await history.flushed()
    found = await history.read(lambda db: page(db, between(0, 100)))
    assert [each[0] for each in found["rows"]] == [7 * 60]
    await history.stop()


async def test_a_damaged_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no database is kept under another name, a new history begins, and the log says so once."""
    (tmp_path / "h.db").write_bytes(b"not a database at all, whatever its name says" * 100)
    history = History(tmp_path / "h.db", 10**9)
    for at in range(3):
        history.keep([entry(at)])
        await history.flushed()
    assert (history.state.error, history.state.lost) == ("", 0)
    assert len(await history.read(lambda db: page(db, between(0, 10))["rows"])) == 3
    assert (tmp_path / "h.db.damaged").read_bytes().startswith(b"not a database")
    assert len([line for line in caplog.records if "damaged" in line.message]) == 1
    await history.stop()


async def test_pages_that_rot_inside_are_put_aside(tmp_path: Path) -> None:
    """A database whose content was overwritten while it was closed gives way to a new one, and writing goes on."""
    path = tmp_path / "h.db"
    history = History(path, 10**9)
    history.keep([Entry(row=(Series("target", "p", str(at), "eu"), minute(at))) for at in range(500)])
    await history.flushed()
    await history.stop()
    body = bytearray(path.read_bytes())
    body[8192:] = b"\xff" * (len(body) - 8192)
    path.write_bytes(body)
    again = History(path, 10**9)
    again.keep([entry(7)])
    await again.flushed()
    await again.flushed()
    assert again.state.error == ""
    assert len(await again.read(lambda db: page(db, between(0, 10))["rows"])) == 1
    await again.stop()


async def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place to write rows wait up to a bound, older ones are counted as lost, and reading says why."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(history_module, "MOST_WAITING", 10)
    history = History(tmp_path / "file" / "h.db", 10**9)
    for at in range(25):
        history.keep([entry(at)])
        await history.flushed()
    assert (history.state.waiting, history.state.lost) == (10, 15)
    assert len([line for line in caplog.records if "cannot be written" in line.message]) == 1
    with pytest.raises(history_module.HistoryUnavailableError, match="cannot be read"):
        await history.read(lambda db: db.actions(0, 1, 1))
    await history.stop()


async def test_writing_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    """While another process holds the file, ``flush`` returns, and the write is done when the file is free."""
    history = History(tmp_path / "h.db", 10**9)
    history.keep([entry(1)])
    await history.flushed()
    other = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    history.keep([entry(2)])
    history.flush()
    assert history.state.waiting == 1  # and this line was reached
    other.execute("COMMIT")
    other.close()
    await history.flushed()
    assert history.state.waiting == 0
    await history.stop()


def test_where_a_node_keeps_its_history(tmp_path: Path) -> None:
    """The file stands in the state folder by default, where the configuration says, or nowhere."""
    plan = snapshot()
    node = Node(shared_state_for(plan), Publisher(plan), 1, dict)

    def path(text: str, folder: str) -> str:
        config = read_text(text, "edge.yaml", tmp_path, {}).config
        return chronicle_for(node, config, folder, "/etc/edge.yaml").history.state.path

    assert path("{}", str(tmp_path)).startswith(f"{tmp_path}/history-")
    assert path("{}", "") == ""
    assert path("history: {path: h.db}", str(tmp_path)) == f"{tmp_path}/h.db"
    assert path('history: {path: ""}', str(tmp_path)) == ""


def test_actions_read_back_as_json() -> None:
    """An action's fields are the names that the API shows."""
    action = Action(1.0, "drain", "p/m", "the bill", "eu/n", "ana")
    assert msgspec.to_builtins(action) == {
        "at": 1.0, "what": "drain", "subject": "p/m", "reason": "the bill", "where": "eu/n", "by": "ana",
    }  # fmt: skip
