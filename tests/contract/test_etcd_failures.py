"""When etcd loses members, its majority, space or data, edge notices, and recovers soon after.

Bounds are what the code promises (a deadline of 2 s, 3 s of silence, a longest wait of 5 s, elections of 1-2 s). On a
busy machine they grow with a reference that is measured in the same run: etcd's own election, or a sleep beside.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest
from soon import until
from worlds import InEtcd, following, running_etcd

from edge.errors import LeaseGoneError, StoreUnavailableError
from edge.sim.etcd import EtcdCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from edge.sim.etcd import Member


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Run three members that tests may break, and repair them."""
    with running_etcd(tmp_path_factory.mktemp("fragile")) as cluster:
        yield cluster


@pytest.fixture
async def broken(fragile: EtcdCluster) -> AsyncIterator[InEtcd]:
    """Return clients; afterwards all members run again."""
    made = InEtcd(fragile)
    yield made
    await made.close()
    for member in fragile.members:
        if member.running():
            member.resume()
    fragile.spawn()
    await asyncio.to_thread(fragile.wait)


async def put_until_done(store: Any, key: str, value: bytes, seconds: float = 60) -> None:
    """Put as an edge does: retry each half second while the store is away."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await store.put(key, value)
            except StoreUnavailableError:
                await asyncio.sleep(0.5)
            else:
                return


def election_s(survivors: list[Member], former: str) -> float:
    """Wait until each of these members has a leader that is not the former one; return the seconds that it took."""
    began = time.monotonic()
    for member in survivors:
        while member.status().get("leader", "0") in {"0", former}:
            time.sleep(0.02)
    return time.monotonic() - began


async def slept_s(seconds: float) -> float:
    """Sleep; return how long it took on this machine."""
    began = time.monotonic()
    await asyncio.sleep(seconds)
    return time.monotonic() - began


def leader_first(cluster: EtcdCluster, leader: Member) -> tuple[str, ...]:
    """Return the endpoints with the leader first, the worst case when it fails."""
    return (leader.url, *(url for url in cluster.endpoints if url != leader.url))


@pytest.mark.parametrize("how", ["stall", "kill"])
async def test_a_leader_that_goes_is_left_within_seconds(broken: InEtcd, how: str) -> None:
    """If the leader in use is stopped or killed, writes and the watch move to the other members."""
    cluster = broken.cluster
    leader = await asyncio.to_thread(cluster.leader)
    endpoints = leader_first(cluster, leader)
    store, other = broken.client(endpoints=endpoints), broken.client(endpoints=endpoints)
    await store.put("a", b"1")
    former = leader.status()["header"]["member_id"]
    survivors = [member for member in cluster.members if member is not leader]
    async with following(other) as follower:
        getattr(leader, how)()
        began = time.monotonic()
        election = asyncio.create_task(asyncio.to_thread(election_s, survivors, former))
        await put_until_done(store, "a", b"2")
        took = await until(lambda: follower.held["a"].value == b"2", 60)
        left_s = time.monotonic() - began
        assert left_s <= max(15.0, 8 * await election), took
        # From here on nothing waits for the member that is gone.
        puts_s = []
        for number in range(5):
            assert store._members.pick() != 0
            asked = time.monotonic()
            await store.put("b", b"%d" % number)
            puts_s.append(time.monotonic() - asked)
        assert statistics.median(puts_s) <= 1.5
        await until(lambda: "b" in follower.held and follower.held["b"].value == b"4", 60)
        if how == "stall":
            leader.resume()
            await asyncio.to_thread(cluster.wait)
            await put_until_done(store, "c", b"")
            await until(lambda: "c" in follower.held, 60)


async def test_every_call_ends_in_time_while_all_are_stalled(broken: InEtcd) -> None:
    """With every member stopped each call fails within its deadline, and the watch within some seconds."""
    store = broken.client()
    lease = await store.grant(60)
    await store.put("a", b"")
    async with following(broken.client()) as follower:
        for member in broken.cluster.members:
            member.stall()
        calls = (
            store.get("a"),
            store.list(""),
            store.put("a", b""),
            store.delete("a"),
            store.txn((), ()),
            store.grant(5),
            store.keep(lease),
            store.revoke(lease),
        )
        began = time.monotonic()
        beside = asyncio.create_task(slept_s(2.0))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        took_s = time.monotonic() - began
        assert took_s <= 2 * await beside  # the deadline is two seconds
        assert {type(end) for end in ends} == {StoreUnavailableError}
        await until(lambda: not follower.connected, 60)
        assert set(follower.held) == {"a"}
        await asyncio.sleep(1)
        assert follower.age_s() >= 1
        for member in broken.cluster.members:
            member.resume()
        await until(lambda: follower.connected and follower.age_s() <= 2, 60)


async def test_majority_lost_and_found(broken: InEtcd) -> None:
    """With one of three members writes fail at once and the watch ends; both recover by themselves."""
    cluster = broken.cluster
    store = broken.client()
    await store.put("a", b"1")
    async with following(broken.client()) as follower:
        for member in cluster.members[1:]:
            member.kill()
        await until(lambda: not follower.connected, 60)
        with pytest.raises(StoreUnavailableError):
            await store.put("a", b"2")
        assert follower.held["a"].value == b"1"
        cluster.spawn()
        await asyncio.to_thread(cluster.wait)
        await put_until_done(store, "a", b"3")
        await until(lambda: follower.connected and follower.held["a"].value == b"3", 60)


async def test_all_data_wiped(broken: InEtcd) -> None:
    """Members that return empty are accepted, and new writes are followed from small revisions on."""
    store = broken.client()
    lease = await store.grant(60)
    for number in range(50):
        await store.put(f"n/{number}", b"", lease=lease)
    async with following(broken.client()) as follower:
        assert len(follower.held) == 50
        broken.cluster.wipe()
        await until(lambda: follower.held == {}, 60)
        with pytest.raises(LeaseGoneError):
            await store.keep(lease)
        await put_until_done(store, "new", b"1")
        await until(lambda: set(follower.held) == {"new"}, 60)


async def test_no_room(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A full store refuses writes with a remedy, and can be read and watched; after the repair everything works."""
    cluster = EtcdCluster(
        tmp_path_factory.mktemp("full"), 1, flags=["--quota-backend-bytes=4000000", "--auto-compaction-retention=0"]
    )
    world = InEtcd(cluster)
    try:
        cluster.spawn()
        await asyncio.to_thread(cluster.wait)
        store = world.client()
        await store.put("small", b"1")
        async with following(world.client()) as follower:
            with pytest.raises(StoreUnavailableError, match=r"out of space .*disarm"):
                await fill(store)
            with pytest.raises(StoreUnavailableError, match="out of space"):
                await store.put("small", b"2")
            with pytest.raises(StoreUnavailableError, match="out of space"):
                await store.grant(5)
            assert (await store.get("small")).value == b"1"
            await until(lambda: follower.connected and follower.age_s() <= 2, 60)
            assert await store.delete("large")
            await until(lambda: set(follower.held) == {"small"}, 60)
            await world.compact((await store.list("")).revision)
            await asyncio.to_thread(cluster.members[0].make_room)
            await put_until_done(store, "small", b"3")
            await until(lambda: follower.held["small"].value == b"3", 60)
    finally:
        await world.close()
        cluster.stop()


async def fill(store: Any) -> None:
    """Write until the store is full."""
    for number in range(50):
        await store.put("large", bytes(500_000) + b"%d" % number)


async def test_compaction_under_a_follower(broken: InEtcd) -> None:
    """A follower that was away during a compaction lists again, and finds the deletions."""
    store = broken.client()
    await store.put("a", b"1")
    away = broken.client()
    async with following(away) as follower:
        await store.put("b", b"1")
        await until(lambda: set(follower.held) == {"a", "b"}, 60)
        for member in broken.cluster.members:
            member.stall()
        await until(lambda: not follower.connected, 60)
        for member in broken.cluster.members:
            member.resume()
        await put_until_done(store, "c", b"1")
        await store.delete("a")
        await broken.compact((await store.list("")).revision)
        await until(lambda: follower.connected and set(follower.held) == {"b", "c"}, 60)


async def test_the_nearest_is_used_again(broken: InEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute at another member the first of the list is used again."""
    cluster = broken.cluster
    store = broken.client()
    await store.put("a", b"")
    cluster.members[0].kill()
    await put_until_done(store, "a", b"")
    assert store._members.pick() != 0
    cluster.spawn()
    await asyncio.to_thread(cluster.wait)
    await store.put("a", b"")
    assert store._members.pick() != 0
    monkeypatch.setattr("edge.cluster.members.RETURN_S", 0.3)
    async with asyncio.timeout(40):
        while store._members._current != 0:
            await asyncio.sleep(0.35)
            await put_until_done(store, "a", b"")


async def test_writes_are_counted_by_etcd(etcd: InEtcd) -> None:
    """The metrics of etcd count a node's writes: one per put, none for a kept lease."""
    store = etcd.client()
    lease = await store.grant(60)
    before = await asyncio.to_thread(etcd.cluster.puts)
    for _ in range(10):
        await store.put("a", b"", lease=lease)
        await store.keep(lease)
    # Members apply what was agreed a moment after it was answered.
    deadline = time.monotonic() + 30
    while (now := await asyncio.to_thread(etcd.cluster.puts)) < before + 10:
        assert time.monotonic() < deadline
    await asyncio.sleep(0.2)
    assert await asyncio.to_thread(etcd.cluster.puts) == now == before + 10
