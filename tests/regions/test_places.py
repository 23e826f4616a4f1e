"""Concurrent requests are divided so that the limit is never exceeded and every place is used."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.regions.demand import Places
from edge.regions.keeper import Shared
from edge.regions.shares import Entry, Shares, moved, worth_it
from tests.regions.shared_world import S, World

LIMIT = 12


class Floor:
    """Nodes and their running requests: requests begin and end, and are admitted by the node's share."""

    def __init__(self, nodes: int, limit: int = LIMIT) -> None:
        self.world = World(nodes)
        self.world.allowance = Shared("places/team", (limit, 0), places=True)
        self.asked = [0] * nodes
        self.running = [0] * nodes
        self.refused = [0] * nodes
        self.crowds = [Places() for _ in range(nodes)]
        self.most = 0

    async def run(self, ticks: int, ends: int = 100) -> None:
        """Advance the time in quarters of a second; in each, this many requests end on a node with too many."""
        for _ in range(ticks):
            for place, node in enumerate(self.world.nodes):
                over = max(self.running[place] - self.asked[place], 0)
                self.running[place] -= min(over, ends)
                want = self.asked[place] - self.running[place]
                room = max(node.share - self.running[place], 0)
                self.running[place] += max(min(want, room), 0)
                self.refused[place] += max(want - room, 0)
                self.most = max(self.most, sum(self.running))
                now_ns = node.time.now_ns()
                node.want = (self.crowds[place].want(self.running[place], self.refused[place], now_ns), 0)
                node.used = (self.running[place], 0)
            await self.world.run(1)


async def test_the_one_that_is_asked_has_them_all() -> None:
    """Twelve at once over three nodes: all twelve where the demand is, and soon elsewhere if it moves."""
    floor = Floor(3)
    await floor.run(12)
    floor.asked = [20, 0, 0]
    await floor.run(20)
    assert floor.running == [12, 0, 0]
    floor.asked = [0, 0, 20]
    await floor.run(40)
    assert floor.running == [0, 0, 12]
    assert floor.most <= LIMIT


async def test_what_runs_is_not_given_away() -> None:
    """With demand at two nodes the second gets each slot when a request ends, and half of them in the end."""
    floor = Floor(2)
    await floor.run(12)
    floor.asked = [12, 0]
    await floor.run(20)
    assert floor.running == [12, 0]
    floor.asked = [12, 12]
    await floor.run(20)
    assert floor.running == [12, 0], "nothing ends"
    assert floor.world.nodes[0].share == 6, "it lets no more in than its half"
    for left in range(11, 5, -1):
        floor.running[0] -= 1
        await floor.run(6)
        assert floor.running == [left, 12 - left]
    assert floor.most == LIMIT


async def test_fewer_places_than_nodes() -> None:
    """With a limit of one over three nodes, one node has the slot, and it moves with the demand."""
    floor = Floor(3, limit=1)
    await floor.run(12)
    for place in (2, 0, 1):
        floor.asked = [int(place == other) for other in range(3)]
        await floor.run(40)
        assert floor.running == floor.asked
    assert floor.most == 1


async def test_a_node_by_itself_lets_one_in() -> None:
    """A node that is cut off for longer than its grant holds has its part, and at least one slot."""
    floor = Floor(3, limit=2)
    floor.asked = [2, 0, 0]
    await floor.run(20)
    floor.world.nodes[1].link.mode = "cut"
    await floor.run(80)
    assert [node.share for node in floor.world.nodes] == [2, 1, 0]


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(2, 4),
    limit=st.integers(1, 40),
    deeds=st.lists(
        st.tuples(st.integers(1, 12), st.integers(0, 3), st.integers(0, 60), st.integers(0, 9)), max_size=12
    ),
)
async def test_never_more_than_the_limit(size: int, limit: int, deeds: list[tuple[int, int, int, int]]) -> None:
    """However demand moves and however slowly requests end, the limit is never exceeded."""
    floor = Floor(size, limit)
    await floor.run(12)
    for ticks, place, asked, ends in deeds:
        floor.asked[place % size] = asked
        await floor.run(ticks, ends)
    assert floor.most <= limit
    floor.asked = [limit] + [0] * (size - 1)
    await floor.run(80)
    assert floor.running[0] == limit


def test_what_is_asked_for_is_the_most_of_five_seconds() -> None:
    """Running and just refused requests count together as demand for five seconds."""
    crowd = Places()
    assert crowd.want(3, 100, 0) == 3, "what was refused before is of another time"
    assert crowd.want(4, 102, S) == 6
    assert crowd.want(1, 102, 6 * S) == 6
    assert crowd.want(1, 102, 7 * S) == 1


def test_a_grant_that_cannot_be_given_is_not_written_again() -> None:
    """If all slots are in use and another node waits, nothing is written until a request ends."""
    ledger = Shares({"a": Entry((10, 0), (10, 0), (5, 0)), "b": Entry((0, 0), (10, 0), (5, 0))})
    for used, grant, worth in ((10, 10, False), (9, 9, True), (2, 5, True)):
        move = moved(ledger, "a", (10, 0), (10, 0), {"b": 0}, most=(10, 0), used=(used, 0))
        assert (move.shares.nodes["a"].grant[0], move.part[0]) == (grant, 5)
        assert worth_it(ledger, move, "a", (10, 0)) is worth
    assert move.must is False
