"""The grants of a shared limit never exceed it, and each node gets what it needs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.regions.shares import Entry, Shares, fair, moved, reserved
from tests.regions.shared_world import S, World

LIMIT = 600_000


@given(st.integers(0, 10**9), st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 10**9), min_size=1))
def test_fair_parts_never_exceed_the_limit_and_satisfy_the_modest(limit: int, wants: dict[str, int]) -> None:
    """The sum is the limit, rounded; no node gets less than an equal part unless it needs less."""
    parts = fair(limit, wants)
    assert limit - len(wants) < sum(parts.values()) + len(wants) <= limit + len(wants)
    assert sum(parts.values()) <= limit
    for name, part in parts.items():
        assert part >= min(wants[name], limit // len(wants))


def test_fair_gives_what_the_modest_leave() -> None:
    """Two nodes with little demand get it; the third gets the rest; an unused rest is divided equally."""
    assert fair(600, {"a": 100, "b": 50, "c": 900}) == {"a": 100, "b": 50, "c": 450}
    assert fair(600, {"a": 0, "b": 0, "c": 300}) == {"a": 100, "b": 100, "c": 400}


def test_of_the_silent_all_safe_shares_but_one_are_reserved() -> None:
    """One silent node reserves nothing; of two, one safe share is reserved."""
    entry = Entry((200, 0), (200, 0), (200, 0))
    ledger = Shares({"a": entry, "b": entry, "c": entry})
    assert reserved(ledger, "a", {"b": 0, "c": 0})[0] == 400
    assert reserved(ledger, "a", {"b": 0, "c": 20 * S})[0] == 200
    assert reserved(ledger, "a", {"b": 20 * S, "c": 20 * S})[0] == 200
    small = Entry((10, 0), (0, 0), (200, 0))
    both = Shares({"a": entry, "b": small, "c": small})
    assert reserved(both, "a", {"b": 0, "c": 0})[0] == 20
    assert reserved(both, "a", {"b": 12 * S, "c": 12 * S})[0] == 210, "one of them may fall back to 200"


def test_a_node_enters_with_what_it_held_or_an_equal_part() -> None:
    """After the loss of the ledger no node takes what others still grant."""
    move = moved(Shares(), "a", (600, 0), (600, 0), {}, most=(200, 0))
    assert move.shares.nodes["a"].grant == (200, 0)


async def test_demand_moves_the_grants() -> None:
    """The active node gets the limit; it moves within seconds with the demand, and is never exceeded."""
    world = World(3)
    await world.run(2)
    world.watched = True
    world.nodes[0].want = (900_000, 0)
    await world.run(20)
    assert world.nodes[0].share > 0.95 * LIMIT
    world.nodes[0].want, world.nodes[1].want = (30_000, 0), (900_000, 0)
    await world.run(8)
    assert world.nodes[1].share > 0.9 * LIMIT
    assert world.nodes[0].share >= 30_000
    assert world.most <= LIMIT + 3, "a thousandth each where there is nothing"


async def test_a_steady_demand_writes_nothing() -> None:
    """Once demand is met, the ledger is not written any more."""
    world = World(3)
    for node in world.nodes:
        node.want = (250_000, 0)
    await world.run(20)
    before = world.cluster.get("shares/key/team")
    await world.run(200)
    assert world.cluster.get("shares/key/team") == before


async def test_a_node_that_is_cut_off_goes_by_its_safe_share() -> None:
    """It keeps its grant for 15 s, and then a third; the others take its grant three seconds later."""
    world = World(3)
    world.nodes[0].want = (900_000, 0)
    await world.run(20)
    world.nodes[0].link.mode = "cut"
    world.nodes[1].want = (900_000, 0)
    await world.run(20)
    assert world.nodes[0].share > 0.9 * LIMIT
    await world.run(40)
    assert world.nodes[0].share == LIMIT // 3
    assert world.nodes[1].share > 0.9 * LIMIT
    world.nodes[0].link.mode = "open"
    await world.run(20)
    assert world.total <= LIMIT
    assert min(world.nodes[0].share, world.nodes[1].share) > 0.4 * LIMIT


async def test_the_store_is_wiped() -> None:
    """Each node enters the new ledger with its grant, and nothing is granted twice."""
    world = World(3)
    for place, want in enumerate((500_000, 50_000, 50_000)):
        world.nodes[place].want = (want, 0)
    await world.run(20)
    world.watched = True
    for item in world.cluster.list("").items:
        await world.cluster.client().delete(item.key)
    await world.run(40)
    assert world.most <= LIMIT + 3, "a thousandth each where there is nothing"
    assert world.total > 0.95 * LIMIT


async def test_a_dead_nodes_grant_is_used_by_the_others() -> None:
    """The grant of a killed node is available half a minute later."""
    world = World(3)
    for node in world.nodes:
        node.want = (900_000, 0)
    await world.run(20)
    world.nodes[2].running = False
    await world.run(80)
    assert world.total > 0.97 * LIMIT


CUTS = st.lists(
    st.tuples(
        st.integers(1, 60),  # half seconds until then
        st.sampled_from(["open", "open", "cut", "unanswered", "blind", "seeing", "want", "want", "want"]),
        st.integers(0, 3),
        st.integers(0, 900_000),
    ),
    max_size=25,
)
CLOCKS = st.lists(st.tuples(st.integers(0, 10**15), st.floats(0.96, 1.04)), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(2, 4), clocks=CLOCKS, deeds=CUTS)
async def test_the_sum_is_never_above_the_limit_and_one_share(
    size: int, clocks: list[tuple[int, float]], deeds: list[tuple[int, str, int, int]]
) -> None:
    """The sum holds for nodes that are cut off, lose answers or changes, and have different clocks."""
    world = World(size, clocks=clocks)
    await world.run(12)
    world.watched = True
    for after, deed, place, want in deeds:
        await world.run(after)
        node = world.nodes[place % size]
        if deed == "want":
            node.want = (want, 0)
        elif deed in ("blind", "seeing"):
            node.blind = deed == "blind"
        else:
            node.link.mode = deed
    await world.run(60)
    assert world.most <= LIMIT + LIMIT // size + size
    for node in world.nodes:
        node.link.mode, node.blind, node.want = "open", False, (900_000, 0)
    await world.run(80)
    assert world.total == pytest.approx(LIMIT, rel=0.05)
