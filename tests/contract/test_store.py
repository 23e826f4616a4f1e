"""The contract of every store: the same tests against memory, which is the specification, and real etcd."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from edge.errors import CompactedError, LeaseGoneError, StoreUnavailableError
from edge.terms.ports import Change, Unchanged, Write

if TYPE_CHECKING:
    from edge.terms.ports import Store


async def changes_until(store: Store, prefix: str, revision: int, count: int) -> list[tuple[Change, ...]]:
    """Return the first non-empty batches of a watch, until they have this many changes."""
    batches: list[tuple[Change, ...]] = []
    async with asyncio.timeout(60), aclosing(store.watch(prefix, revision)) as stream:
        async for batch in stream:
            if batch:
                batches.append(batch)
            if sum(map(len, batches)) >= count:
                break
    return batches


async def test_what_is_put_is_got(world: Any) -> None:
    """A key reads back with its value, its lease and the revision of its put; before, it is None."""
    store = world.client()
    assert await store.get("a") is None
    revision = await store.put("a", b"\x00\xff")
    item = await store.get("a")
    assert (item.key, item.value, item.revision, item.lease) == ("a", b"\x00\xff", revision, 0)


async def test_names_are_any_text(world: Any) -> None:
    """Names may have slashes, spaces and any letters, and a value may be empty."""
    store = world.client()
    for name in ("nodes/eu west/ä", "models/a:b*c", "日本"):
        await store.put(name, b"")
        item = await store.get(name)
        assert (item.key, item.value) == (name, b"")


async def test_every_client_sees_the_same(world: Any) -> None:
    """A write of one client can be read by another at once."""
    one, other = world.client(), world.client()
    for value in (b"1", b"2"):
        await one.put("a", value)
        assert (await other.get("a")).value == value


async def test_revisions_grow_with_every_write_and_only_then(world: Any) -> None:
    """Each write has a larger revision than all before; reads and failed deletions have none."""
    store = world.client()
    revisions = [await store.put(f"k{number}", b"") for number in range(5)]
    assert revisions == list(range(revisions[0], revisions[0] + 5))
    assert await store.delete("nothing") is False
    assert (await store.list("")).revision == revisions[-1]


async def test_list_is_by_prefix_and_by_key(world: Any) -> None:
    """A listing has the keys with the prefix, in order, and the revision of the whole store."""
    store = world.client()
    for name in ("b/2", "a/1", "b/10", "b", "c/1"):
        last = await store.put(name, name.encode())
    listing = await store.list("b/")
    assert [(item.key, item.value) for item in listing.items] == [("b/10", b"b/10"), ("b/2", b"b/2")]
    assert listing.revision == last
    assert [item.key for item in (await store.list("")).items] == ["a/1", "b", "b/10", "b/2", "c/1"]
    assert (await store.list("nothing")).items == ()


async def test_delete_says_whether_there_was_one(world: Any) -> None:
    """A deleted key is gone, and a second deletion is no error."""
    store = world.client()
    await store.put("a", b"")
    assert [await store.delete("a"), await store.delete("a")] == [True, False]
    assert await store.get("a") is None


async def test_txn_makes_all_or_nothing(world: Any) -> None:
    """If the conditions hold all writes have one revision; otherwise nothing changes and the answer is None."""
    store = world.client()
    first = await store.put("a", b"1")
    await store.put("gone", b"")
    made = await store.txn(
        (Unchanged("a", first), Unchanged("b", 0)), (Write("a", b"2"), Write("b", b"3"), Write("gone", None))
    )
    assert made == first + 2
    items = (await store.list("")).items
    assert [(item.key, item.value, item.revision) for item in items] == [("a", b"2", made), ("b", b"3", made)]
    for failing in (Unchanged("a", first), Unchanged("b", 0), Unchanged("none", made)):
        assert await store.txn((Unchanged("a", made), failing), (Write("a", b"9"), Write("c", b"9"))) is None
    assert (await store.list("")).items == items


async def test_of_many_that_want_the_same_one_wins(world: Any) -> None:
    """Of ten clients that create the same key, one succeeds; shared limits rely on this."""
    clients = [world.client() for _ in range(10)]
    taken = await asyncio.gather(
        *(client.txn((Unchanged("share", 0),), (Write("share", b"%d" % n),)) for n, client in enumerate(clients))
    )
    won = [number for number, revision in enumerate(taken) if revision is not None]
    assert len(won) == 1
    assert (await clients[0].get("share")).value == b"%d" % won[0]


async def test_what_no_store_can_hold_is_refused(world: Any) -> None:
    """Too long, too large, too many, or twice the same: an error at once, and nothing is written."""
    store = world.client()
    many = tuple(Write(f"k{number}", b"") for number in range(129))
    for call in (
        store.put("", b""),
        store.put("a" * 4097, b""),
        store.put("a", bytes(1024**2 + 1)),
        store.txn((), many),
        store.txn((), (Write("a", b"1"), Write("a", b"2"))),
        store.txn((), (Write("a", bytes(1024**2 + 1)),)),
        store.get(""),
        store.delete(""),
        store.grant(0),
        store.grant(float("inf")),
    ):
        with pytest.raises(ValueError):
            await call
    assert (await store.list("")).items == ()
    assert await store.txn((), many[:128]) is not None
    await store.put("large", bytes(1024**2))
    assert len((await store.get("large")).value) == 1024**2


async def test_a_lease_takes_its_keys_along(world: Any) -> None:
    """A lease expires after its time, not before, and its keys are deleted; others stay."""
    store, other = world.client(), world.client()
    lease = await store.grant(2)
    revision = await store.put("leased", b"", lease=lease)
    await store.put("free", b"")
    assert (await other.get("leased")).lease == lease
    loop = asyncio.get_running_loop()
    began = loop.time()
    batches = await changes_until(other, "leased", revision + 1, 1)
    assert 1.5 <= loop.time() - began <= 30
    assert [(change.key, change.value) for change in batches[0]] == [("leased", None)]
    assert [item.key for item in (await store.list("")).items] == ["free"]
    with pytest.raises(LeaseGoneError):
        await store.keep(lease)
    with pytest.raises(LeaseGoneError):
        await store.put("leased", b"", lease=lease)
    assert await store.get("leased") is None


async def test_a_lease_that_is_kept_lasts(world: Any) -> None:
    """A lease that is kept gets its whole time again."""
    store = world.client()
    lease = await store.grant(4)
    await store.put("a", b"", lease=lease)
    for _ in range(5):
        await asyncio.sleep(1.0)
        await store.keep(lease)
    assert await store.get("a") is not None


async def test_a_lease_that_is_revoked_is_gone_at_once(world: Any) -> None:
    """Its keys are deleted in one change; a second revocation is no error."""
    store = world.client()
    lease = await store.grant(60)
    await store.put("b", b"", lease=lease)
    last = await store.put("a", b"", lease=lease)
    await store.revoke(lease)
    assert (await store.list("")).items == ()
    batches = await changes_until(store, "", last + 1, 2)
    assert batches == [(Change("a", None, last + 1), Change("b", None, last + 1))]
    await store.revoke(lease)


async def test_the_last_write_decides_the_lease(world: Any) -> None:
    """A key that is rewritten without a lease outlives its old lease; leases of transactions count too."""
    store = world.client()
    lease = await store.grant(60)
    await store.txn((), (Write("a", b"1", lease), Write("b", b"1", lease)))
    await store.put("a", b"2")
    await store.revoke(lease)
    assert [item.key for item in (await store.list("")).items] == ["a"]


async def test_a_watch_begins_where_it_is_told(world: Any) -> None:
    """From an old revision all later changes come in order and without duplicates, then new ones."""
    store = world.client()
    first = await store.put("n/a", b"1")
    await store.put("other", b"")
    await store.delete("n/a")
    await store.txn((), (Write("n/b", b"2"), Write("n/c", b"3"), Write("m", b"")))
    last = first + 3

    async def later() -> None:
        await asyncio.sleep(0.3)
        await store.put("n/d", b"4")

    writing = asyncio.create_task(later())
    batches = await changes_until(world.client(), "n/", first, 5)
    await writing
    assert batches == [
        (Change("n/a", b"1", first),),
        (Change("n/a", None, first + 2),),
        (Change("n/b", b"2", last), Change("n/c", b"3", last)),
        (Change("n/d", b"4", last + 1),),
    ]


async def test_list_and_watch_leave_no_gap(world: Any) -> None:
    """A write between a listing and a watch from the next revision is in exactly one of the two."""
    store, other = world.client(), world.client()

    async def write() -> None:
        for number in range(60):
            await store.put(f"n/{number:02}", b"")

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.02)
    listing = await other.list("n/")
    missing = 60 - len(listing.items)
    batches = await changes_until(other, "n/", listing.revision + 1, missing) if missing else []
    await writing
    names = [item.key for item in listing.items] + [change.key for batch in batches for change in batch]
    assert names == [f"n/{number:02}" for number in range(60)]


async def test_a_silent_watch_shows_that_it_lives(world: Any) -> None:
    """Without changes an empty batch comes about every second."""
    store = world.client()
    alive = 0
    async with asyncio.timeout(60), aclosing(store.watch("n/", (await store.list("")).revision + 1)) as stream:
        async for batch in stream:
            assert batch == ()
            alive += 1
            if alive == 4:
                break


async def test_a_watch_into_forgotten_history_says_so(world: Any) -> None:
    """A watch from before a compaction fails at once; a watch from there on works."""
    store = world.client()
    first = await store.put("a", b"1")
    await store.put("a", b"2")
    last = await store.put("a", b"3")
    await world.compact(last)
    with pytest.raises(CompactedError):
        await changes_until(store, "a", first, 1)
    assert await changes_until(store, "a", last, 1) == [(Change("a", b"3", last),)]


async def test_a_watch_that_is_left_leaves_nothing(world: Any) -> None:
    """A cancelled watch leaves no task and no stream, and the store goes on."""
    store = world.client()
    revision = (await store.list("")).revision + 1

    async def follow() -> None:
        async with aclosing(store.watch("", revision)) as stream:
            async for _ in stream:
                pass

    tasks = [asyncio.create_task(follow()) for _ in range(5)]
    await asyncio.sleep(0.3)
    before = len(asyncio.all_tasks())
    for task in tasks:
        task.cancel()
    assert {type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) <= before - 5
    await store.put("a", b"")


async def test_a_closed_store_says_so(world: Any) -> None:
    """After close every call fails at once, an open watch ends with an error, and closing again is no error."""
    store = world.client()
    watching = asyncio.create_task(changes_until(store, "", (await store.list("")).revision + 1, 1))
    await asyncio.sleep(0.3)
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await watching
    for call in (store.get("a"), store.put("a", b""), store.list(""), store.grant(5), store.txn((), ())):
        with pytest.raises(StoreUnavailableError, match="closed"):
            await call
    await store.close()
