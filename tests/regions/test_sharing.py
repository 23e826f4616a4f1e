"""What nodes of several regions do to each other's shared state, and what they write to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from edge.cluster.follow import Held
from edge.cluster.memory import MemoryCluster
from edge.control.membership import MOST_NODES, Membership
from edge.control.name_conflict import NameConflict
from edge.control.sharing import Sharing
from edge.control.sharing_deps import NothingSharedError
from edge.errors import StoreUnavailableError
from edge.regions import digest as told
from edge.regions.digest import ManualOverride
from edge.regions.verdicts import HEARSAY_THRESHOLD
from edge.terms.places import Peer
from tests.regions.sharing_world import Regions
from tests.snapshots import allowance
from tests.snapshots import key as a_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from edge.terms.ports import Change, Unchanged, Write

import asyncio

S = 1_000_000_000


@pytest.fixture
async def regions() -> AsyncIterator[Regions]:
    """An empty world, whose loops end with the test."""
    world = Regions()
    yield world
    await world.end()


def start(world: Regions) -> None:
    """Let every node follow the store."""
    for node in world.nodes:
        node.sharing.follow()


async def test_a_provider_that_is_dead_everywhere_is_known_everywhere_within_two_seconds(regions: Regions) -> None:
    """The first region's failures lower the second's threshold; both lower the third's, and its weight."""
    eu, us, ap = (regions.add(region, "p/m", "q/m") for region in ("eu", "us", "ap"))
    start(regions)
    await regions.pass_by(8)
    assert us.remote() == (0, 0)
    eu.fail()
    await regions.pass_by(1.5)
    assert (us.remote(), ap.remote()) == ((1000, 2), (1000, 2))
    assert eu.remote() == (0, 0)
    us.fail()
    await regions.pass_by(1.5)
    assert ap.remote() == (100, 1)
    assert regions.nodes[2].sharing.verdicts["p/m"].why == "found failing by eu, us"
    assert ap.shared_state.read_target(0, 0)["state"] == "closed", "local evidence opens, nothing else"


async def test_a_region_that_doubts_itself_is_asked_last(regions: Regions) -> None:
    """A suspect region's edges get a tenth of their traffic until it recovers; circuits are not affected."""
    eu = regions.add("eu", "p/m", "q/m", "there")
    us = regions.add("us", "p/m", "q/m")
    edge_of_us = structs.replace(eu.snapshot.targets[2], kind="region", provider="us", id="region:us/us:1")
    eu.snapshot = structs.replace(eu.snapshot, targets=(*eu.snapshot.targets[:2], edge_of_us))
    start(regions)
    await regions.pass_by(8)
    us.fail(0)
    await regions.pass_by(2)
    assert eu.remote(2) == (0, 0)
    us.fail(1)
    await regions.pass_by(2)
    assert eu.sharing.pictures["us"].suspect
    assert eu.remote(2) == (100, 0)
    assert eu.sharing.verdicts["region:us/us:1"].why == "most providers look failing from us"
    regions.nodes.remove(us)
    us.sharing.cancel_tasks()
    await regions.pass_by(20)
    assert eu.remote(2) == (0, 0), "who is silent says nothing of itself"


async def test_a_region_that_falls_silent_is_heard_no_more(regions: Regions) -> None:
    """Fifteen seconds after its last heartbeat a region's reports and addresses are dropped."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    start(regions)
    await regions.pass_by(8)
    eu.fail()
    await regions.pass_by(2)
    assert us.remote() == (1000, 2)
    assert us.peers == (Peer("eu", "eu:1"),)
    regions.nodes.remove(eu)
    await regions.pass_by(25)
    assert us.remote() == (0, 0)
    assert us.peers == ()
    eu.sharing.cancel_tasks()


async def test_an_address_that_is_none_is_left_out(regions: Regions) -> None:
    """An invalid address of one node stops neither heartbeats nor discovery."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    start(regions)
    await regions.pass_by(2)
    wrong = told.Digest("ap", "n", "i", "1", ("nonsense", ":80", "h:0", "ap:1"), 0)
    await us.store.put(told.node_key("ap", "n"), told.encode(wrong))
    await us.store.put(told.node_key("sa", "n"), b"noise")
    writes = eu.sharing.writes
    await regions.pass_by(8)
    assert set(eu.peers) == {Peer("us", "us:1"), Peer("ap", "ap:1")}
    assert eu.sharing.writes > writes
    assert eu.sharing.state().unread == 1


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "noise",
    [
        b'{"v":1,"x":' + DEEP,
        b'{"v":1,"region":"\xff","node":"n","instance":"i","version":"1","addresses":[],"load":0}',
        b'{"v":1,"region":"ap","node":"n","instance":"i","version":"1","addresses":[],"load":0,"targets":'
        b'[["p/m","model","usable",1,1' + b"0" * 400 + b",0,0,0,0]]}",
    ],
    ids=["deep", "no text", "huge"],
)
async def test_one_bad_document_stops_nobody(regions: Regions, noise: bytes) -> None:
    """Whatever another client writes to the store, heartbeats, reports and overrides work."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    await us.store.put(told.node_key("ap", "n"), noise)
    await us.store.put(told.OVERRIDES + "p/m", b'{"code":2,"reason":"r","since":1.0,"by":"b","x":' + DEEP)
    start(regions)
    await regions.pass_by(8)
    await us.store.put(told.node_key("ap", "n"), noise + b" ")
    writes = eu.sharing.writes
    eu.fail()
    await regions.pass_by(8)
    assert eu.sharing.writes > writes
    assert us.remote() == (1000, 2)
    hand = ManualOverride(2, "wrong answers", 5.0, "eu/n")
    await eu.sharing.by_hand.override("p/m", hand)
    await regions.pass_by(1)
    assert us.overrides == {"p/m": hand}
    assert us.sharing.state().unread >= 2


async def test_only_addresses_that_may_be_called_are_met(regions: Regions) -> None:
    """Forbidden addresses and invalid region names are skipped, and the regions' addresses take turns."""
    eu = regions.add("eu", "p/m")
    start(regions)
    await regions.pass_by(2)
    many = tuple(f"10.0.0.{number}:1" for number in range(16))
    for region, node, addresses in (
        ("ap", "a", ("169.254.169.254:80", "metadata.google.internal:80", "[fe80::1]:80", "0.0.0.0:80", "10.1.1.1:1")),
        ("a,b", "a", ("10.2.2.2:1",)),
        *(("us", f"n{number}", tuple(each.replace(".0.0.", f".3.{number}.") for each in many)) for number in range(9)),
        ("zz", "z", ("10.4.4.4:1",)),
    ):
        document = told.Digest(region, node, "i", "1", addresses, 0)
        await eu.store.put(told.node_key(region, node), told.encode(document))
    await regions.pass_by(2)
    assert len(eu.peers) == 64
    assert [peer for peer in eu.peers if peer.region != "us"] == [Peer("ap", "10.1.1.1:1"), Peer("zz", "10.4.4.4:1")]


async def test_a_store_that_takes_no_writes_is_told(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full store still answers reads, so the node reports that its writes fail."""
    eu = regions.add("eu", "p/m")
    start(regions)
    await regions.pass_by(8)

    def full(*_: object, **__: object) -> None:
        raise StoreUnavailableError("etcd is out of space")

    with caplog.at_level("INFO", "edge"), monkeypatch.context() as away:
        away.setattr(regions.cluster, "write", full)
        await regions.pass_by(25)
        state = eu.sharing.state()
        assert (state.connected, state.unwritten) == (True, "etcd is out of space")
        assert state.write_failures > 1
        away.undo()
        await regions.pass_by(5)
    assert eu.sharing.state().unwritten == ""
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the shared store answers reads but rejects writes: this node looks silent to the others",
        "the shared store accepts writes again",
    ]


def test_no_more_nodes_than_many_are_heard() -> None:
    """If the prefix is full of keys, the number of nodes is limited, and removed names are dropped."""
    known = Membership("eu/n")

    def key(number: int) -> str:
        return told.node_key("us", f"n{number}")

    for wave in range(4):
        numbers = range(wave * 2_500, wave * 2_500 + 2_500)
        known.take(
            {
                key(number): Held(told.encode(told.Digest("us", f"n{number}", "i", "1", (), 0)), number + 1, wave)
                for number in numbers
            }
        )
        assert len(known.heard(10)) == MOST_NODES
        known.take(dict.fromkeys(map(key, numbers)))
        assert known.heard(10) == []
    assert len(known._last) <= 2 * MOST_NODES


class Restored(MemoryCluster):
    """A store in place of another, whose watches end."""

    ended = False

    def since(self, prefix: str, revision: int) -> tuple[Sequence[tuple[Change, ...]], int]:
        """Return the changes since a revision; the first call fails, as the watch has ended."""
        if not self.ended:
            self.ended = True
            raise StoreUnavailableError("the watch ended")
        return super().since(prefix, revision)


async def test_a_restored_store_raises_no_dead(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup's reports of a gone region do not count, and a node's own old digest is not another node's."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    start(regions)
    await regions.pass_by(8)
    eu.fail()
    await regions.pass_by(2)
    assert us.remote() == (1000, 2)
    backup = {item.key: item.value for item in regions.cluster.list("").items}
    regions.nodes.remove(eu)
    eu.sharing.cancel_tasks()
    await regions.pass_by(25)
    assert us.remote() == (0, 0)
    us.sharing._instance = "started-again"
    us.sharing._name_conflict = NameConflict("us/n", "started-again")
    await regions.pass_by(6)
    restored = Restored(regions.time)
    for key, value in backup.items():
        await restored.client().put(key, value)
    monkeypatch.setattr(us.store, "cluster", restored)
    regions.cluster.wake()
    for _ in range(20):
        await regions.pass_by(1)
        assert us.remote() == (0, 0)
    assert us.sharing.state().name_conflict is False
    assert us.sharing.state().connected is True
    assert {picture.region for picture in us.sharing.pictures.values()} == {"eu", "us"}


async def test_without_the_store_everything_goes_on(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the store reports expire and addresses stay; when it is back, so is everything."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    start(regions)
    await regions.pass_by(8)
    eu.fail()
    await regions.pass_by(2)

    with regions.away(monkeypatch):
        await regions.pass_by(20)
        state = us.sharing.state()
        assert (state.connected, us.remote()) == (False, (0, 0))
        assert state.view_age_s is not None
        assert state.view_age_s > 15
        assert us.peers == (Peer("eu", "eu:1"),)
    await regions.pass_by(12)
    assert us.sharing.state().connected is True
    assert us.sharing.state().regions_fresh == 2


async def test_what_a_person_does_everywhere_is_done_everywhere(regions: Regions) -> None:
    """Every node applies an override of all regions, with its reason and end."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    start(regions)
    await regions.pass_by(2)
    hand = ManualOverride(2, "wrong answers", 5.0, "eu/n")
    await eu.sharing.by_hand.override("p/m", hand)
    assert eu.overrides == {"p/m": hand}
    await regions.pass_by(1)
    assert us.overrides == {"p/m": hand}
    await us.sharing.by_hand.override("p/m", None)
    await regions.pass_by(1)
    assert (eu.overrides, us.overrides) == ({}, {})
    alone = Sharing(eu.shared_state, eu.sharing._deps, None, region="x", node="n", instance="i", clock=regions.time)
    with pytest.raises(NothingSharedError, match="shares nothing"):
        await alone.by_hand.override("p/m", hand)


@pytest.mark.parametrize("back", [False, True])
async def test_what_the_watch_tells_while_the_store_answers_stays(regions: Regions, *, back: bool) -> None:
    """Concurrent overrides of two operators are kept on all nodes, even if one answer is late."""
    eu, us = regions.add("eu", "p/a", "p/b"), regions.add("us", "p/a", "p/b")
    start(regions)
    await regions.pass_by(2)
    first, second = ManualOverride(2, "a is bad", 5.0, "us/n"), ManualOverride(1, "b is bad", 6.0, "eu/n")
    eu_store, answers = eu.store, asyncio.Event()
    write = eu_store.txn

    async def late(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        done = await write(conditions, writes)
        if any(each.key.startswith(told.OVERRIDES) for each in writes):
            await answers.wait()
        return done

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(eu_store, "txn", late)
        acting = asyncio.create_task(eu.sharing.by_hand.override("p/b", second))
        await regions.pass_by(1)
        await us.sharing.by_hand.override("p/a", first)
        if back:
            await us.sharing.by_hand.override("p/b", None)
        await regions.pass_by(1)
        answers.set()
        await acting
    expected = {"p/a": first} if back else {"p/a": first, "p/b": second}
    assert (eu.overrides, us.overrides) == (expected, expected)


@pytest.mark.parametrize("gone", [False, True])
async def test_what_is_done_by_hand_holds_here_before_the_watch_tells(regions: Regions, *, gone: bool) -> None:
    """An answer before the watch adds its own override to the others, and removes only its own."""
    eu, us = regions.add("eu", "p/a", "p/b"), regions.add("us", "p/a", "p/b")
    start(regions)
    await regions.pass_by(2)
    first, second = ManualOverride(2, "a is bad", 5.0, "us/n"), ManualOverride(1, "b is bad", 6.0, "eu/n")
    await us.sharing.by_hand.override("p/b", second)
    await regions.pass_by(1)
    write = eu.store.txn

    async def meanwhile(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        await us.sharing.by_hand.override("p/a", first)
        for _ in range(12):
            await asyncio.sleep(0)
        return await write(conditions, writes)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(eu.store, "txn", meanwhile)
        await eu.sharing.by_hand.override("p/b", None if gone else first)
    assert eu.overrides == ({"p/a": first} if gone else {"p/a": first, "p/b": first})


async def test_a_rest_is_told_on_once_and_only_for_a_common_credential(regions: Regions) -> None:
    """The later rate limit wins elsewhere, and regions do not prolong each other's."""
    eu, us, other = (
        regions.add("eu", "p/m", shared=True),
        regions.add("us", "p/m", shared=True),
        regions.add("ap", "p/m"),
    )
    start(regions)
    await regions.pass_by(8)
    until_ns = regions.time.now_ns() + 10 * S
    eu.shared_state.set_rate_limited(0, until_ns)
    await regions.pass_by(2)
    assert us.shared_state.read_target(0, 0)["rate_limited_until_ns"] == pytest.approx(until_ns, abs=S // 2)
    assert other.shared_state.read_target(0, 0)["rate_limited_until_ns"] == 0
    await regions.pass_by(12)
    assert eu.shared_state.read_target(0, 0)["rate_limited_until_ns"] == until_ns
    assert us.shared_state.read_target(0, 0)["rate_limited_until_ns"] < regions.time.now_ns()


async def test_a_common_limit_is_divided_on_the_boards(regions: Regions) -> None:
    """Without demand each node has an equal part; an active node gets nearly all, until a time."""
    eu, us = regions.add("eu", "p/m", shared=True), regions.add("us", "p/m", shared=True)
    start(regions)
    await regions.pass_by(12)
    views = [node.shared_state.read_allowance(0) for node in (eu, us)]
    assert sum(view["requests_share"] for view in views) <= 600_000
    assert min(view["share_until_ns"] for view in views) > regions.time.now_ns()
    assert {view["share_nodes"] for view in views} == {2}
    assert eu.sharing.shares()["credential/p"]["of_requests_per_minute"] == 600
    regions.nodes.remove(us)
    us.sharing.cancel_tasks()
    await regions.pass_by(30)
    assert eu.shared_state.read_allowance(0)["requests_share"] <= 600_000
    assert us.shared_state.read_allowance(0)["share_until_ns"] < regions.time.now_ns()


async def test_requests_at_once_are_divided_on_the_boards(regions: Regions) -> None:
    """Four concurrent requests over two nodes are two each without demand, for workers and in reports."""
    nodes = [regions.add(name, "p/m") for name in ("eu", "us")]
    key = a_key("team", "aa" * 32, 0, allowance=allowance(0, shared=True), concurrent=4)
    for node in nodes:
        node.snapshot = structs.replace(node.snapshot, keys=(key,))
    start(regions)
    await regions.pass_by(12)
    words = [node.shared_state.read_allowance(0)["concurrent_share"] for node in nodes]
    assert words == [1 + 2, 1 + 2]
    assert nodes[0].sharing.facts().places == {"key/team": 2}
    assert nodes[0].sharing.shares()["key/team"]["of_concurrent"] == 4


async def test_two_nodes_of_one_name_say_so_and_hold_back(regions: Regions, caplog: pytest.LogCaptureFixture) -> None:
    """Both overwrite each other's digest, log it once a minute, and use one part of shared limits."""
    one, two = (regions.add("eu", "p/m", shared=True, instance=name) for name in ("one", "two"))
    us = regions.add("us", "p/m", shared=True)
    start(regions)
    await regions.pass_by(25)
    assert [node.sharing.state().name_conflict for node in (one, two, us)] == [True, True, False]
    assert [node.sharing.facts().name_conflict for node in (one, us)] == [True, False]
    shares = [node.shared_state.read_allowance(0)["requests_share"] for node in (one, two)]
    assert sum(shares) <= 300_000
    await regions.pass_by(40)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "another node has the name of this one: both hold back; give each its own node.name"
    ] * 2
    regions.nodes.remove(two)
    two.sharing.cancel_tasks()
    await regions.pass_by(20)
    assert one.sharing.state().name_conflict is False
    assert one.shared_state.read_allowance(0)["requests_share"] >= 300_000


async def test_a_node_that_is_started_again_is_no_twin(regions: Regions, caplog: pytest.LogCaptureFixture) -> None:
    """The digest of a restarted node's earlier life is not taken for another node's."""
    before = regions.add("eu", "p/m", instance="before")
    start(regions)
    await regions.pass_by(8)
    late = told.encode(before.sharing._own)
    before.sharing.cancel_tasks()
    regions.nodes.remove(before)
    after = regions.add("eu", "p/m", instance="after")
    after.sharing.follow()
    await regions.pass_by(1)
    assert after.sharing.writes == 1
    await before.store.put(told.node_key("eu", "n"), late)
    for _ in range(6):
        await regions.pass_by(5)
        assert after.sharing.state().name_conflict is False
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_node_that_drains_leaves_its_name_to_its_successor(
    regions: Regions, caplog: pytest.LogCaptureFixture
) -> None:
    """A new node of the same name during a drain is no name conflict."""
    old = regions.add("eu", "p/m", instance="old")
    us = regions.add("us", "p/m")
    start(regions)
    await regions.pass_by(8)
    old.leaving = True
    new = regions.add("eu", "p/m", instance="new")
    new.sharing.follow()
    await regions.pass_by(12)
    writes = old.sharing.writes
    await regions.pass_by(12)
    assert (old.sharing.state().name_conflict, new.sharing.state().name_conflict, old.sharing.writes) == (
        False,
        False,
        writes,
    )
    regions.nodes.remove(old)
    await old.sharing._end()
    await regions.pass_by(1)
    assert us.peers == (Peer("eu", "eu:1"),)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("count", [3, 30])
async def test_a_node_writes_the_same_however_many_there_are(regions: Regions, count: int) -> None:
    """With 200 targets a node writes every five seconds, and once a second during changes."""
    names = [f"p{number}/m" for number in range(200)]
    for number in range(count):
        regions.add(f"r{number}", *names)
    start(regions)
    await regions.pass_by(3)
    for steady, most in ((True, 0.3), (False, 1.1)):
        before = [node.sharing.writes for node in regions.nodes]
        for step in range(10):
            if not steady:
                for node in regions.nodes:
                    node.shared_state.set_quarantine(step, 11, regions.time.now_ns() + 2 * S)
            await regions.pass_by(1)
        rates = [(node.sharing.writes - then) / 10 for node, then in zip(regions.nodes, before, strict=True)]
        assert max(rates) <= most
        assert min(rates) >= (0.1 if steady else 0.9)
    largest = max(len(item.value) for item in regions.cluster.list(told.NODES).items)
    print(f"{count} nodes: {rates[0]:.2f} writes/s each while things change; largest digest {largest} bytes")  # noqa: T201


async def test_a_page_shortens_the_fuse_and_no_more() -> None:
    """While a provider's page speaks of an outage two failures open its circuits; its traffic stays, others' too."""
    world = Regions()
    node = world.add("eu", "p/m", "q/m")
    node.sharing.follow()
    await world.pass_by(1)
    assert node.remote(0) == (0, 0)
    node.dark_pages = ("p",)
    await world.pass_by(1)
    assert (node.remote(0), node.remote(1)) == ((1000, HEARSAY_THRESHOLD), (0, 0))
    assert node.sharing.verdicts["p/m"].why == "the provider's status page speaks of an outage"
    node.dark_pages = ()
    await world.pass_by(1)
    assert node.remote(0) == (0, 0)
    await world.end()
