"""Nodes tell each other who issued an id and for which key: batched, bounded, and over every loss of the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.cluster.follow import Held
from edge.control.issued_sharing import IssuedSharing
from edge.native import IssuedIds, word
from edge.regions.id_ring import RECORD, SEGMENT, decode, encode, key_of, read_key
from edge.terms.ports import Write
from tests.regions.sharing_world import Regions, S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.regions.sharing_world import Node


def issue(node: Node, names: Sequence[str], key: str = "team") -> None:
    """Let a node remember ids that a provider has issued for a key."""
    for name in names:
        node.issued.remember(name, "p", key, 1)


def known(node: Node, names: Sequence[str], key: str = "team") -> int:
    """Return of how many ids a node knows that they are this key's."""
    return sum(node.issued.issuer(name, 1) == (word("p"), word(key)) for name in names)


def some(number: int, prefix: str = "resp") -> list[str]:
    """Return that many ids."""
    return [f"{prefix}_{each}" for each in range(number)]


async def two() -> tuple[Regions, Node, Node]:
    """Return two regions that have found each other."""
    world = Regions()
    here, there = world.add("eu", "p/m"), world.add("us", "p/m")
    for node in world.nodes:
        node.sharing.follow()
    await world.pass_by(6)
    return world, here, there


async def documents(world: Regions) -> dict[str, bytes]:
    """Return the documents of ids in the store."""
    return {item.key: item.value for item in (await world.nodes[0].store.list("issued/")).items}


async def test_the_other_node_knows_the_key_of_an_id() -> None:
    """What was issued through one node is known as the same key's on the other within three seconds, and once."""
    world, here, there = await two()
    issue(here, ["resp_1"])
    await world.pass_by(3)
    assert known(there, ["resp_1"]) == 1
    before = await documents(world)
    await world.pass_by(30)
    assert await documents(world) == before, "nothing is written while there is no news"
    await world.end()


async def test_ten_thousand_ids_are_a_few_documents() -> None:
    """10,000 ids in one second take 40 documents, and a handful of writes of at most 64 KiB each."""
    world, here, there = await two()
    issue(here, some(10_000))
    revision = (await here.store.list("issued/")).revision
    await world.pass_by(2)
    await world.pass_by(12)
    assert known(there, some(10_000)) == 10_000
    found = await documents(world)
    assert len(found) == 40
    assert max(len(value) for value in found.values()) <= 8 * 1024 + 16
    heartbeats = 2 * 14
    assert (await here.store.list("issued/")).revision - revision <= 40 // 8 + 1 + heartbeats
    await world.end()


async def test_a_node_that_comes_later_hears_of_earlier_ids() -> None:
    """A new node learns the ids of all who are there, as many as the store keeps."""
    world, here, _ = await two()
    issue(here, some(300))
    await world.pass_by(4)
    late = world.add("ap", "p/m")
    late.sharing.follow()
    await world.pass_by(2)
    assert known(late, some(300)) == 300
    await world.end()


async def test_a_lost_store_loses_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is issued while the store is away is told when it is back; what was deleted there is told again."""
    world, here, there = await two()
    with world.away(monkeypatch):
        issue(here, ["away"])
        await world.pass_by(20)
    assert known(there, ["away"]) == 0
    await world.pass_by(30)
    assert known(there, ["away"]) == 1
    await here.store.txn((), [Write(key, None) for key in await documents(world)])
    await world.pass_by(4)
    late = world.add("ap", "p/m")
    late.sharing.follow()
    await world.pass_by(4)
    assert known(late, ["away"]) == 1
    await world.end()


async def test_a_control_process_that_begins_anew_goes_on() -> None:
    """The successor tells what its predecessor did not, and overwrites none of its documents."""
    world, here, there = await two()
    issue(here, some(300))
    await world.pass_by(4)
    here.sharing.cancel_tasks()
    world.nodes.remove(here)
    issue(here, ["between"])
    again = world.add("eu", "p/m", instance="again", issued=here.issued)
    again.sharing.follow()
    await world.pass_by(30)
    assert known(there, [*some(300), "between"]) == 301
    late = world.add("ap", "p/m")
    late.sharing.follow()
    await world.pass_by(4)
    assert known(late, [*some(300), "between"]) == 301
    await world.end()


async def test_a_node_that_ends_tells_its_last_ids() -> None:
    """What was issued within the last two seconds of a node is known to the others."""
    world, here, there = await two()
    here.leaving = True
    sharing = asyncio.get_running_loop().create_task(here.sharing.run())
    await world.pass_by(4)
    issue(here, ["last"])
    sharing.cancel()
    await world.pass_by(0.5)
    await asyncio.wait((sharing,))
    world.nodes.remove(here)
    await world.pass_by(1)
    assert known(there, ["last"]) == 1
    await world.end()


async def test_a_node_that_has_lost_its_memory_gets_it_back() -> None:
    """A node without a state folder knows its own ids after a restart, too."""
    world, here, _ = await two()
    issue(here, some(20))
    await world.pass_by(4)
    here.sharing.cancel_tasks()
    world.nodes.remove(here)
    again = world.add("eu", "p/m", instance="again")
    again.sharing.follow()
    await world.pass_by(4)
    assert known(again, some(20)) == 20
    await world.end()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (key_of("us/n", 0), b"{}"),
        (key_of("us/n", 0), encode(2**60, bytes(RECORD))),
        (key_of("us/n", 0), encode(1, bytes(RECORD * (SEGMENT + 1)))),
        (key_of("us/n", 0), encode(1, b"x" * (RECORD - 1))),
        ("issued/us/n/64", encode(1, bytes(RECORD))),
        ("issued/us/n/-1", encode(1, bytes(RECORD))),
        ("issued/n/00", encode(1, bytes(RECORD))),
        ("issued/us/\x1b[2J/00", encode(1, bytes(RECORD))),
    ],
)
async def test_no_document_does_harm(key: str, value: bytes) -> None:
    """A value that is no document of ids is counted and passed over; the others are read."""
    world, here, there = await two()
    unread = there.sharing.state().unread
    await here.store.put(key, value)
    issue(here, ["resp_1"])
    await world.pass_by(4)
    assert there.sharing.state().unread == unread + 1
    assert known(there, ["resp_1"]) == 1
    await world.end()


async def test_a_forged_number_does_not_silence_a_node() -> None:
    """A document under a node's own name with the highest number there is leaves it numbers that others read."""
    world, here, there = await two()
    await here.store.put(key_of("eu/n", 63), encode(2**53 - 1, bytes(RECORD)))
    await world.pass_by(2)
    issue(here, ["resp_1"])
    await world.pass_by(4)
    assert known(there, ["resp_1"]) == 1
    before = await documents(world)
    revision = (await here.store.list("issued/")).revision
    await world.pass_by(20)
    assert await documents(world) == before
    assert (await here.store.list("issued/")).revision - revision <= 20, "only heartbeats are written"
    await world.end()


async def test_no_node_takes_an_id_from_its_key() -> None:
    """A document that names another key for an id that is known here changes nothing."""
    world, here, there = await two()
    issue(there, ["resp_1"], "owner")
    await world.pass_by(4)
    assert known(here, ["resp_1"], "owner") == 1
    forger = world.add("xx", "p/m")
    issue(forger, ["resp_1"], "thief")
    forger.sharing.follow()
    await world.pass_by(8)
    assert (known(here, ["resp_1"], "owner"), known(there, ["resp_1"], "owner")) == (1, 1)
    await world.end()


@pytest.mark.parametrize(("nodes", "kept"), [(1, 16_384), (4, 16_384), (100, 512), (1000, 65)])
async def test_all_nodes_together_keep_a_bounded_number(nodes: int, kept: int) -> None:
    """However much is issued, a node keeps its part of 65,536 records in the store, and these are its latest."""
    world = Regions()
    node = world.add("eu", "p/m")
    sharing = IssuedSharing(node.issued, node.store, "eu", "n", world.time)
    for turn in range(10):
        issue(node, some(2_000, f"turn{turn}"))
        world.time.true_ns += 1000 * S
        while sharing.due(world.time.now_ns(), nodes):
            await sharing.write(nodes)
            items = (await node.store.list("issued/")).items
            sharing.take({item.key: Held(item.value, item.revision, 0) for item in items})
            world.time.true_ns += 1000 * S
    records = [(decode(value) or (0, b""))[1] for value in (await documents(world)).values()]
    assert kept - SEGMENT <= sum(map(len, records)) // RECORD <= kept
    late = IssuedIds.create(65_536)
    for each in records:
        late.merge(each, 1)
    assert late.issuer("turn9_1999", 1) is not None


def test_keys_name_node_and_place() -> None:
    """A key reads as it was written; any other is none."""
    assert read_key(key_of("eu/n-1", 7)) == ("eu/n-1", 7)
    assert [read_key(key) for key in ("issued/", "issued/eu/00", "nodes/eu/n/00", "issued/eu/n/7")] == [None] * 4
