"""The copy of a prefix becomes correct whatever its watch did, and reports its age."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cluster.follow import FOREVER_NS, Follower
from edge.cluster.memory import MemoryCluster
from edge.sim.store import FaultyStore
from edge.sim.time import VirtualClock, settle
from edge.terms.ports import Change, Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from edge.cluster.follow import Held


class World:
    """A cluster, a writer, and a follower behind a store with faults."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = VirtualClock(seed=seed)
        self.cluster = MemoryCluster(self.clock)
        self.writer = self.cluster.client()
        self.store = FaultyStore(self.cluster.client(), self.clock)
        self.told: list[dict[str, bytes | None]] = []
        self.follower = Follower(self.store, "nodes/", self._on_change, clock=self.clock)

    def _on_change(self, changed: Mapping[str, Held | None]) -> None:
        self.told.append({name: held.value if held else None for name, held in changed.items()})

    def held(self) -> dict[str, bytes]:
        """Return what the follower holds."""
        return {name: held.value for name, held in self.follower.held.items()}

    def truth(self) -> dict[str, bytes]:
        """Return the cluster's content."""
        return {item.key.removeprefix("nodes/"): item.value for item in self.cluster.list("nodes/").items}

    @asynccontextmanager
    async def following(self) -> AsyncIterator[World]:
        """Run the follower."""
        task = asyncio.create_task(self.follower.run())
        try:
            await settle()
            yield self
        finally:
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled(), task


async def test_lists_then_follows() -> None:
    """Existing keys are reported at once, then each change by name; other prefixes are not reported."""
    world = World()
    await world.writer.put("nodes/a", b"1")
    await world.writer.put("other/a", b"1")
    async with world.following():
        await world.writer.put("nodes/b", b"2")
        await settle()
        await world.writer.delete("nodes/a")
        await world.writer.put("other/b", b"2")
        await settle()
        assert world.told == [{"a": b"1"}, {"b": b"2"}, {"a": None}]
        assert world.held() == {"b": b"2"}


async def test_a_transaction_is_told_at_once() -> None:
    """Keys that changed together are reported together."""
    world = World()
    async with world.following():
        await world.writer.txn((), (Write("nodes/a", b"1"), Write("nodes/b", b"2")))
        await settle()
        assert world.told == [{"a": b"1", "b": b"2"}]


async def test_age_and_seen_are_of_our_own_clock() -> None:
    """The age grows only while the store is silent; a key is as old as its last write, not as its lease."""
    world = World()
    assert world.follower.age_s() == math.inf
    await world.writer.put("nodes/a", b"1")
    async with world.following():
        began = world.clock.now_ns()
        await world.clock.advance(30)
        assert world.follower.connected
        assert world.follower.age_s() <= 1.0
        assert world.follower.held["a"].seen_ns == began
        await world.writer.put("nodes/a", b"1")
        await world.clock.advance(0.5)
        assert world.clock.now_ns() - world.follower.held["a"].seen_ns <= 500_000_000
        world.store.cut = True
        await world.clock.advance(100)
        assert not world.follower.connected
        assert world.follower.error == "no answer in time"
        assert 98 <= world.follower.age_s() <= 102
        assert world.held() == {"a": b"1"}


async def test_comes_back_by_itself() -> None:
    """After an outage of any length, the copy is correct within the longest wait and a call."""
    world = World()
    await world.writer.put("nodes/a", b"1")
    async with world.following():
        world.store.refusing = True
        world.store.break_watches()
        await world.clock.advance(600)
        assert not world.follower.connected
        await world.writer.delete("nodes/a")
        await world.writer.put("nodes/b", b"2")
        world.store.refusing = False
        await world.clock.advance(5.1)
        assert world.held() == {"b": b"2"}
        assert world.told[-1] == {"a": None, "b": b"2"}
        assert world.follower.connected
        assert world.follower.error == ""


async def test_an_outage_is_no_storm() -> None:
    """While the store is away it is tried about every 2.5 seconds, with growing waits before."""
    world = World()
    async with world.following():
        world.store.refusing = True
        await world.clock.advance(10)
        before = world.store.calls
        await world.clock.advance(600)
        assert 150 <= world.store.calls - before <= 400


async def test_edges_do_not_come_back_together() -> None:
    """Two followers that lost the store together retry at different moments."""
    moments = []
    for seed in (1, 2):
        world = World(seed)
        async with world.following():
            world.store.refusing = True
            world.store.break_watches()
            await world.clock.advance(30)
            world.store.refusing = False
            while not world.follower.connected:
                await world.clock.advance(0.01)
            moments.append(world.clock.now_ns())
    assert abs(moments[0] - moments[1]) >= 20_000_000


async def test_relists_each_minute_give_or_take_a_fifth() -> None:
    """The copy is compared about once a minute, even without errors."""
    world = World()
    async with world.following():
        await world.clock.advance(3600)
        assert 50 <= world.follower.relists <= 76
        assert world.follower.errors == 0


async def test_lost_events_are_found_within_a_minute() -> None:
    """Lost events of a watch are found by the next comparison."""
    world = World()
    await world.writer.put("nodes/a", b"1")
    async with world.following():
        world.store.bend = lambda _batch: ((),)
        await world.writer.put("nodes/b", b"2")
        await world.writer.delete("nodes/a")
        await world.clock.advance(30)
        assert world.held() == {"a": b"1"}
        await world.clock.advance(45)
        assert world.held() == {"b": b"2"}


async def test_events_that_come_twice_or_late_change_nothing() -> None:
    """An event with a revision that is held already is ignored, a late deletion too."""
    world = World()
    await world.writer.put("nodes/a", b"1")
    await world.writer.delete("nodes/a")
    await world.writer.put("nodes/a", b"3")
    past = (Change("nodes/a", None, 3), Change("nodes/a", b"1", 2), Change("nodes/ghost", b"", 2))
    async with world.following():
        world.store.bend = lambda batch: (batch, batch, past)
        await world.writer.put("nodes/b", b"2")
        await world.clock.advance(10)
        assert world.held() == {"a": b"3", "b": b"2"}
        assert world.told == [{"a": b"3"}, {"b": b"2"}]


async def test_compaction_lists_again_and_finds_deletions() -> None:
    """After a compaction, deletions are found by comparison."""
    world = World()
    await world.writer.put("nodes/a", b"1")
    async with world.following():
        world.store.bend = lambda _batch: ((),)
        await world.writer.delete("nodes/a")
        await world.clock.advance(2)
        world.store.bend = None
        world.store.break_watches(compacted=True)
        await world.clock.advance(3)
        assert world.held() == {}
        assert world.follower.relists == 2


async def test_a_store_that_was_wiped_is_believed() -> None:
    """An empty store with a small revision replaces the copy."""
    world = World()
    for number in range(20):
        await world.writer.put(f"nodes/{number}", b"")
    async with world.following():
        assert len(world.held()) == 20
        world.store._store = (empty := MemoryCluster(world.clock)).client()
        world.store.break_watches()
        await world.clock.advance(6)
        assert world.held() == {}
        await empty.client().put("nodes/new", b"1")
        await settle()
        assert world.held() == {"new": b"1"}


async def test_how_old_a_key_may_be_is_told() -> None:
    """A watch reports new keys; a key of a listing may be as old as the last time that the copy was right.

    Of what the first listing finds, and of a store that has gone back, nothing is known.
    """
    world = World()
    await world.writer.put("nodes/first", b"1")
    async with world.following():
        await world.writer.put("nodes/watched", b"1")
        await settle()
        blind = {name: held.blind_ns for name, held in world.follower.held.items()}
        assert blind == {"first": FOREVER_NS, "watched": 0}
        world.store.cut = True
        await world.clock.advance(30)
        await world.writer.put("nodes/missed", b"1")
        world.store.cut = False
        await world.clock.advance(8)
        assert 29e9 <= world.follower.held["missed"].blind_ns <= 40e9
        assert world.follower.held["watched"].blind_ns == 0, "it has not changed"
        world.store._store = (restored := MemoryCluster(world.clock)).client()
        await restored.client().put("nodes/old", b"1")
        world.store.break_watches()
        await world.clock.advance(6)
        assert world.follower.held["old"].blind_ns == FOREVER_NS
        await restored.client().put("nodes/old", b"2")
        await settle()
        assert world.follower.held["old"].blind_ns == 0


async def test_leases_that_run_out_are_deletions() -> None:
    """A key whose lease expires is deleted."""
    world = World()
    lease = await world.writer.grant(5)
    await world.writer.put("nodes/a", b"1", lease=lease)
    async with world.following():
        await world.clock.advance(4)
        await world.writer.keep(lease)
        await world.clock.advance(4)
        assert world.held() == {"a": b"1"}
        await world.clock.advance(1.5)
        assert world.held() == {}


async def test_a_listener_that_breaks_does_not_end_the_copy(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the owner's callback is logged, and the copy goes on."""
    world = World()

    def broken(_changed: object) -> None:
        raise RuntimeError("a defect")

    world.follower._on_change = broken
    async with world.following():
        await world.writer.put("nodes/a", b"1")
        await world.writer.put("nodes/b", b"1")
        await settle()
        assert world.held() == {"a": b"1", "b": b"1"}
    assert [record.message for record in caplog.records].count("handling a change of the shared store failed") == 2


async def test_says_once_that_the_store_is_away_and_once_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    """An outage of an hour gives two log lines."""
    world = World()
    with caplog.at_level("INFO", "edge"):
        async with world.following():
            world.store.refusing = True
            world.store.break_watches()
            await world.clock.advance(3600)
            world.store.refusing = False
            await world.clock.advance(6)
    assert [record.message for record in caplog.records] == [
        "the shared store does not respond; using the last known state",
        "the shared store responds again",
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcd"), st.binary(max_size=2)),
        st.tuples(st.just("delete"), st.sampled_from("abcd")),
        st.tuples(st.just("lose")),
        st.tuples(st.just("twice")),
        st.tuples(st.just("past"), st.integers(0, 5)),
        st.tuples(st.just("break")),
        st.tuples(st.just("compact")),
        st.tuples(st.just("wait"), st.sampled_from((0.1, 1.0, 7.0))),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_the_watch_did_the_copy_is_right_a_minute_later(steps: Sequence[tuple[object, ...]]) -> None:
    """After lost, doubled, outdated and broken watches, one comparison corrects the copy and reports all changes."""
    asyncio.run(_lie(steps))


async def _lie(steps: Sequence[tuple[object, ...]]) -> None:
    world = World()
    past: list[tuple[Change, ...]] = []
    bends = {
        "lose": lambda _batch: ((),),
        "twice": lambda batch: (batch, batch),
    }
    async with world.following():
        for step in steps:
            match step:
                case ("put", str(name), bytes(value)):
                    revision = await world.writer.put(f"nodes/{name}", value)
                    past.append((Change(f"nodes/{name}", value, revision),))
                case ("delete", str(name)):
                    await world.writer.delete(f"nodes/{name}")
                case ("past", int(back)):
                    old = past[-back:][:1]
                    world.store.bend = lambda batch, old=old: (batch, *old)
                case ("break",):
                    world.store.break_watches()
                case ("compact",):
                    world.cluster.compact(world.cluster.revision)
                    world.store.break_watches(compacted=True)
                case ("wait", float(seconds)):
                    await world.clock.advance(seconds)
                case (str(kind),):
                    world.store.bend = bends[kind]
        world.store.bend = None
        await world.clock.advance(80)
        assert world.held() == world.truth()
        assert {name: held.revision for name, held in world.follower.held.items()} == {
            item.key.removeprefix("nodes/"): item.revision for item in world.cluster.list("nodes/").items
        }
        told: dict[str, bytes | None] = {}
        for changed in world.told:
            told |= changed
        assert {name: value for name, value in told.items() if value is not None} == world.truth()
        assert world.follower.age_s() <= 1.0


def test_held_is_frozen() -> None:
    """A receiver cannot change the copy."""
    world = World()
    with pytest.raises(TypeError):
        world.follower.held["a"] = None  # type: ignore[index]
