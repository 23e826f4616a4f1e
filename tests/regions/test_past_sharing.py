"""Nodes exchange their minutes: nothing is lost over a lost store, nothing counted twice, and no document does harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge.cluster.follow import Held
from edge.control.past_sharing import MOST_SERIES, Mark, PastSharing
from edge.incidents.database import Wanted
from edge.incidents.history import Entry, History
from edge.incidents.minutes import Minute, Series
from edge.incidents.records import page
from edge.incidents.told_minutes import LARGEST, MOST_ROWS, TellRow, decode, encode, told
from edge.terms.ports import Write
from tests.regions.sharing_world import Regions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.incidents.minutes import Row
    from tests.regions.sharing_world import Node


class Told:
    """What a node has taken from the others."""

    def __init__(self, node: Node, marks: dict[str, Mark] | None = None) -> None:
        self.rows: list[Row] = []
        self.marks: dict[str, Mark] = dict(marks or {})
        assert node.sharing.past is not None
        self.past: PastSharing = node.sharing.past
        self.past.begin(self.marks, self._take)

    def _take(self, rows: Sequence[Row], mark: Mark) -> None:
        self.rows += rows
        self.marks[mark.node] = mark

    def requests(self) -> dict[tuple[str, int], int]:
        """Return the requests by region and minute; one that was taken twice counts twice."""
        found: dict[tuple[str, int], int] = {}
        for series, minute in self.rows:
            found[series.region, minute.at] = found.get((series.region, minute.at), 0) + minute.requests
        return found


def row(at: int, requests: int = 3, model: str = "m", region: str = "eu") -> Row:
    """Return a row as a node's own history has it."""
    minute = Minute(at, requests, {"fail_status": 1}, {5: 2}, {9: 2}, 10, 20, 7000, 1.5)
    return Series("target", "p", model, region), minute


def minute_of(world: Regions) -> int:
    """Return the minute that a node's clock shows."""
    return int(world.time.wall() // 60)


async def test_each_region_takes_the_minutes_of_the_others_once() -> None:
    """A row arrives everywhere, as of the region that told it, whole, and once although it is told again."""
    world = Regions()
    eu, us = world.add("eu", "p/m"), world.add("us", "p/m")
    here, there = Told(eu), Told(us)
    for node in (eu, us):
        node.sharing.follow()
    await world.pass_by(6)
    now = minute_of(world)
    here.past.offer([row(now)])
    await world.pass_by(12)
    ((series, minute),) = there.rows
    assert (series, minute) == row(now)
    here.past.offer([row(now + 1, 4)])
    await world.pass_by(12)
    assert there.requests() == {("eu", now): 3, ("eu", now + 1): 4}
    assert there.marks == {"eu/n": Mark("eu/n", "eu", now + 1)}
    assert here.rows == []
    await world.end()


async def test_a_lost_store_delays_the_minutes_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node could not tell for half an hour comes when the store is back; its heartbeat was not touched."""
    world = Regions()
    eu, us = world.add("eu", "p/m"), world.add("us", "p/m")
    here, there = Told(eu), Told(us)
    for node in (eu, us):
        node.sharing.follow()
    await world.pass_by(6)
    began = minute_of(world)
    with world.away(monkeypatch):
        for _ in range(30):
            await world.pass_by(60)
            here.past.offer([row(minute_of(world) - 1)])
    await world.pass_by(30)
    assert sum(there.requests().values()) == 30 * 3
    assert len(there.requests()) == 30
    assert min(at for _, at in there.requests()) >= began - 1
    assert us.sharing.state().regions_fresh == 2
    await world.end()


async def test_nothing_is_counted_twice_over_a_restart() -> None:
    """A reader that starts again with its marks takes nothing twice; a writer that does is another instance."""
    world = Regions()
    eu, us = world.add("eu", "p/m"), world.add("us", "p/m")
    here, there = Told(eu), Told(us)
    for node in (eu, us):
        node.sharing.follow()
    await world.pass_by(6)
    now = minute_of(world)
    here.past.offer([row(now)])
    await world.pass_by(12)
    again = world.add("us", "p/m", instance="us-again")
    later = Told(again, there.marks)
    again.sharing.follow()
    await world.pass_by(12)
    assert later.rows == []
    new = world.add("eu", "p/m", instance="eu-again")  # in the same minute: it counts what the first did not
    newer = Told(new)
    new.sharing.follow()
    world.nodes.remove(eu)
    newer.past.offer([row(now, 5)])
    await world.pass_by(12)
    assert later.requests() == {("eu", now): 5}
    await world.end()


WELL = {"instance": "i", "rows": [[0, "target", "p", "m", "chat", 1, {}, {}, {}, 1, 1, 1, 0.0]], "v": 2}


def changed(**given: Any) -> bytes:
    """Return a good document with other values; a key of a row by its place."""
    rows = [list(WELL["rows"][0])]  # type: ignore[index]
    for name, value in given.items():
        if name.startswith("at"):
            rows[0][int(name[2:])] = value
    return json.dumps({**WELL, "rows": rows, **{name: value for name, value in given.items() if name in WELL}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        changed(v=3),
        changed(instance=""),
        changed(rows=7),
        changed(at1="other"),
        changed(at2="x" * 300),
        changed(at3="a\x1b[31m"),
        changed(at5=-1),
        changed(at5=2**60),
        changed(at6={"a\nb": 1}),
        changed(at7={"99": 1}),
        changed(at7={"x": 1}),
        changed(at12=61.0),
    ],
)
def test_a_document_that_is_none_is_not_read(body: bytes) -> None:
    """Wrong shapes, unprintable texts, impossible numbers and other versions are no document."""
    assert decode(changed()) is not None
    assert decode(body) is None


def test_a_node_of_the_version_before_does_not_tell_capabilities_apart() -> None:
    """Its "chat" is everything that a model was asked for; a service has no capability in either version."""
    for version, capability, expected in ((1, "chat", ""), (1, "", ""), (2, "chat", "chat"), (2, "vision", "vision")):
        document = decode(changed(v=version, at4=capability))
        assert document is not None
        assert [row.capability for row in document.rows] == [expected]


async def test_what_others_write_is_bounded() -> None:
    """Rows of the far past, of the future and of too many series are left; a name without a region is none."""
    world = Regions()
    us = world.add("us", "p/m")
    there = Told(us)
    world.time.true_ns += 100_000 * 1_000_000_000
    us.sharing.follow()
    await world.pass_by(6)
    now = minute_of(world)
    store = world.cluster.client()

    async def tell(name: str, rows: list[Row], instance: str = "i") -> None:
        await store.txn((), (Write(f"history/{name}", encode(instance, told(rows))),))
        await world.pass_by(1)

    await tell("eu/a", [row(now - 500), row(now), row(now + 60)])
    assert there.requests() == {("eu", now): 3}
    await tell("eu", [row(now)])
    await tell("/a", [row(now)])
    assert len(there.rows) == 1
    per = MOST_SERIES // 10
    for number in range(12):
        await tell(f"eu/{number}", [row(now, model=f"{number}-{each}") for each in range(per)])
    assert len({series for series, _ in there.rows}) == MOST_SERIES
    assert us.sharing.state().unread > 0
    await world.end()


async def test_numbers_of_others_cannot_end_the_history(tmp_path: Path) -> None:
    """A minute that is told again and again, with the greatest numbers and ever other reasons, stays one that fits."""
    world = Regions()
    us = world.add("us", "p/m")
    there, now = Told(us), minute_of(world)
    history = History(tmp_path / "h.db", 10**9)
    for instance in range(8):
        reasons = {f"{instance}-{place}": 2**53 for place in range(64)}
        huge = TellRow(now, "target", "p", "m", "chat", 2**53, reasons, {5: 2**53}, {63: 2**53}, *[2**53] * 3, 60.0)
        there.past.take({"history/eu/n": Held(encode(f"i{instance}", [huge] * 60), 1, 0)})
    assert len(there.rows) == 480
    history.keep([Entry(row=row) for row in [*there.rows * 6, row(now, model="other")]])
    await history.flushed()
    assert (history.state.lost, history.state.error) == (0, "")
    found = await history.read(lambda db: page(db, Wanted(now, now + 1)))
    assert {each[3]: each[6] for each in found["rows"]} == {"m": 2**53, "other": 3}
    await history.stop()
    await world.end()


def test_a_document_never_grows_too_large() -> None:
    """Beyond its bounds the oldest whole minutes are left out, and the youngest stay."""
    rows = told([row(at, model=f"m{number}" * 20) for at in range(20) for number in range(200)])
    body = encode("i", rows)
    assert len(body) <= LARGEST
    kept = decode(body)
    assert kept is not None
    minutes = {each.at for each in kept.rows}
    assert minutes == set(range(min(minutes), 20))
    assert len(kept.rows) == 200 * len(minutes)
    many = [TellRow(1, "route", "", "m", "", 1, {}, {}, {}, 0, 0, 0, 0.0)] * (MOST_ROWS + 1)
    assert decode(encode("i", many)) is not None
