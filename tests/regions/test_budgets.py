"""Nodes that share a monthly budget spend it once, and completely, whatever happens to them or to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edge.control.sharing import Sharing
from edge.control.spend import SpendFile, Spending, Spent
from edge.native import SharedState
from edge.regions import budgets
from edge.regions.budgets import Part, Told
from edge.regions.digest import SPENT
from edge.regions.shares import FORGOTTEN_NS, SILENT_NS
from edge.terms.ports import Write
from tests.regions.sharing_world import Node, Regions
from tests.snapshots import allowance
from tests.snapshots import key as a_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

import datetime as dt

S = 1_000_000_000
DOLLAR = 1_000_000_000
BUDGET = 90 * DOLLAR
MONTH = 1970 * 12


@given(
    st.integers(1, 10**15),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["spend", "some", "tell"])), max_size=60),
)
def test_a_budget_is_overspent_by_no_more_than_was_not_told(
    budget: int, nodes: int, steps: list[tuple[int, str]]
) -> None:
    """In any order of reports, overspending is limited to the spending that was not reported yet."""
    told: dict[int, Part] = dict.fromkeys(range(nodes), Part(0, 0))
    spent = dict.fromkeys(range(nodes), 0)
    untold = 0

    def others(node: int) -> int:
        parts = ((Told(MONTH, {"k": part}), 0) for name, part in told.items() if name != node)
        return budgets.elsewhere("k", MONTH, parts)

    for place, step in steps:
        node = place % nodes
        reach = budgets.ceiling(budget, told[node].spent, others(node), nodes)
        if step == "tell":
            told[node] = Part(spent[node], budgets.ceiling(budget, spent[node], others(node), nodes))
        else:
            most = max(min(reach, told[node].ceiling) - spent[node], 0)
            spent[node] += most if step == "spend" else most // 3
        untold = max(untold, sum(spent[name] - part.spent for name, part in told.items()))
        assert sum(spent.values()) <= budget + untold
        assert max(spent.values()) <= budget


@given(st.integers(1000, 10**15), st.integers(1, 10))
def test_one_node_alone_gets_to_the_end(budget: int, nodes: int) -> None:
    """A single active node can spend all of it, except for a tiny rest."""
    spent = 0
    for _ in range(100 * nodes):
        part = Part(spent, budgets.ceiling(budget, spent, 0, nodes))
        if part.ceiling > spent:
            assert budgets.urgent(part, part.ceiling)
        spent = part.ceiling
    assert budget - nodes <= spent <= budget


@given(st.integers(1, 10**15), st.lists(st.integers(0, 10**13), min_size=1, max_size=6), st.integers(0, 5))
def test_who_is_cut_off_has_one_part(budget: int, spending: list[int], alone: int) -> None:
    """If all nodes are cut off, each has one part; if one is, the others leave it its ceiling."""
    nodes, total = len(spending), sum(spending)
    parts = [Part(spent, budgets.ceiling(budget, spent, total - spent, nodes)) for spent in spending]
    assert sum(part.ceiling for part in parts) <= max(budget, total)
    place = alone % nodes
    silent = [(Told(MONTH, {"k": part}), SILENT_NS if at == place else 0) for at, part in enumerate(parts)]
    for at, part in enumerate(parts):
        if at != place:
            there = budgets.elsewhere("k", MONTH, [each for other, each in enumerate(silent) if other != at])
            left = budgets.ceiling(budget, part.spent, there, nodes - 1) - part.spent
            assert total + (nodes - 1) * left + (parts[place].ceiling - parts[place].spent) <= max(budget, total)


def test_silence_counts_until_a_node_must_be_gone() -> None:
    """A heard node counts its spending, a silent one its ceiling, a gone one its spending again."""
    part = Part(3, 8)
    assert [budgets.counted(part, silent) for silent in (0, SILENT_NS - 1, SILENT_NS, FORGOTTEN_NS)] == [3, 3, 8, 3]
    assert budgets.elsewhere("k", MONTH, [(Told(MONTH - 1, {"k": part}), 0), (Told(MONTH, {"other": part}), 0)]) == 0


def test_spending_is_never_taken_back_within_a_month() -> None:
    """A lower report does not reduce spending; another month is another account; invalid data is ignored."""
    before = Told(MONTH, {"a": Part(5, 9), "b": Part(1, 1)})
    after = budgets.later(before, Told(MONTH, {"a": Part(2, 4), "c": Part(7, 7)}))
    assert after.keys == {"a": Part(5, 9), "b": Part(1, 1), "c": Part(7, 7)}
    assert budgets.later(before, Told(MONTH, {"a": Part(5, 6)})).keys["a"] == Part(5, 6)
    assert budgets.later(before, Told(MONTH + 1)) == Told(MONTH + 1)
    assert budgets.later(Told(MONTH + 1), before) == Told(MONTH + 1)
    assert budgets.decode(budgets.encode(before)) == before
    for noise in (
        b"noise",
        b'{"month":1,"v":2}',
        b'{"month":1,"keys":{"a":[-1,1]}}',
        b'{"month":1,"keys":{"a":[1,1e30]}}',
    ):
        assert budgets.decode(noise) is None


class Spender(Node):
    """A node with one key whose budget all nodes share."""

    def __init__(self, world: Regions, region: str, spending: Spending | None = None) -> None:
        super().__init__(world, region, ["p/m"])
        team = a_key("team", "aa" * 32, 0, allowance=allowance(0, shared=True), budget_nano=BUDGET)
        self.snapshot = structs.replace(self.snapshot, keys=(team,))
        deps = self.sharing._deps
        self.sharing = Sharing(
            self.shared_state,
            deps,
            self.store,
            region=region,
            node="n",
            instance=f"{region}-{len(world.nodes)}",
            spending=spending,
            clock=world.time,
        )
        world.nodes.append(self)
        self.sharing.tick()
        self.sharing.follow()

    @property
    def month(self) -> int:
        """Return the current month."""
        then = dt.datetime.fromtimestamp(self.world.time.wall(), dt.UTC)
        return then.year * 12 + then.month - 1

    @property
    def spent(self) -> int:
        """Return the key's spending on this node in this month."""
        record = self.shared_state.read_allowance(0)
        return record["spent_nano"] if record["spent_month"] >= self.month else 0

    def may(self) -> bool:
        """Return whether a worker would admit the key."""
        record = self.shared_state.read_allowance(0)
        ceiling = record["ceiling_nano"] if record["ceiling_month"] == self.month else BUDGET // 3
        return self.spent < min(ceiling, BUDGET)

    def ask(self, nano: int) -> bool:
        """Send a request of this cost."""
        admitted = self.may()
        if admitted:
            self.shared_state.raise_spent(0, self.month, self.spent + nano)
        return admitted

    async def end(self, *, politely: bool) -> None:
        """End the node, by a drain or a kill."""
        self.world.nodes.remove(self)
        self.leaving = politely
        if politely:
            await self.sharing._end()
        self.sharing.cancel_tasks()


@pytest.fixture
async def world() -> AsyncIterator[Regions]:
    """An empty world, whose loops end with the test."""
    found = Regions()
    every: list[Node] = []
    found.nodes = every
    yield found
    await found.end()


async def test_one_caller_of_one_node_spends_it_all_and_nobody_more(world: Regions) -> None:
    """Of three nodes one is active: it spends all but some cents, and then all nodes refuse."""
    eu, us, ap = (Spender(world, region) for region in ("eu", "us", "ap"))
    await world.pass_by(8)
    writes = eu.sharing.writes
    seconds = 0
    while eu.spent < BUDGET - DOLLAR // 100 and seconds < 200:
        for _ in range(10):
            eu.ask(DOLLAR // 10)
        await world.pass_by(1)
        seconds += 1
    assert BUDGET - DOLLAR // 100 <= eu.spent <= BUDGET + DOLLAR // 10
    assert eu.sharing.writes - writes <= seconds + 1
    await world.pass_by(6)
    assert not us.may()
    assert not ap.may()
    told = us.sharing.budgets()["key/team"]
    assert (told["budget"], told["spent_here"]) == (90, 0)
    assert told["spent_elsewhere"] == pytest.approx(eu.spent / DOLLAR)


async def test_three_who_spend_at_once_spend_no_more_than_one_may(world: Regions) -> None:
    """Three active nodes together spend the budget, plus the requests in flight at the end."""
    nodes = [Spender(world, region) for region in ("eu", "us", "ap")]
    await world.pass_by(8)
    for _ in range(240):
        for node in nodes:
            node.ask(DOLLAR // 5)
        await world.pass_by(0.25)
    total = sum(node.spent for node in nodes)
    assert BUDGET - DOLLAR // 5 <= total <= BUDGET + len(nodes) * DOLLAR // 5
    assert max(node.sharing.writes for node in nodes) <= 70


async def test_without_the_store_each_has_its_part_of_what_was_left(
    world: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node has a third of the rest during an outage; unused money is available afterwards."""
    nodes = [Spender(world, region) for region in ("eu", "us", "ap")]
    await world.pass_by(8)
    for _ in range(30):
        nodes[0].ask(DOLLAR)
        await world.pass_by(0.5)
    await world.pass_by(6)
    assert nodes[0].spent == 30 * DOLLAR
    with world.away(monkeypatch):
        await world.pass_by(30)
        for _ in range(100):
            for node in nodes[:2]:
                node.ask(DOLLAR)
            await world.pass_by(0.5)
        assert [node.spent for node in nodes] == [50 * DOLLAR, 20 * DOLLAR, 0]
    await world.pass_by(12)
    while nodes[2].ask(DOLLAR):
        await world.pass_by(1)
    assert sum(node.spent for node in nodes) == pytest.approx(BUDGET, abs=2 * DOLLAR)


@pytest.mark.parametrize("politely", [True, False])
async def test_a_node_that_is_gone_has_spent_what_it_spent(world: Regions, *, politely: bool) -> None:
    """A gone node's spending counts for old and new nodes, even after the store has lost its data."""
    eu, us = Spender(world, "eu"), Spender(world, "us")
    await world.pass_by(8)
    for _ in range(40):
        eu.ask(DOLLAR)
        await world.pass_by(0.5)
    await world.pass_by(6)
    await eu.end(politely=politely)
    await world.pass_by(20)
    for key in [item.key for item in world.cluster.list("").items]:
        world.cluster.write((), (Write(key, None),))
    await world.pass_by(12)
    assert [item.key for item in world.cluster.list(SPENT).items] == [SPENT + "eu/n"]
    ap = Spender(world, "ap")
    await world.pass_by(5)
    world.time.true_ns += FORGOTTEN_NS
    await world.pass_by(15)
    for _ in range(100):
        us.ask(DOLLAR)
        ap.ask(DOLLAR)
        await world.pass_by(0.5)
    assert us.spent + ap.spent == pytest.approx(50 * DOLLAR, abs=2 * DOLLAR)
    again = Spender(world, "eu")
    await world.pass_by(2)
    assert again.spent == 40 * DOLLAR, "an empty shared state goes on where the node stopped"
    assert not again.may()


async def test_a_node_that_hears_nobody_goes_by_what_it_remembers(
    world: Regions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start without the store gives a hundredth, then a third of the rest that the disk knows."""
    file = SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"team": Spent(MONTH, 10 * DOLLAR), "team@us/n": Spent(MONTH, 50 * DOLLAR)})
    shared_state = SharedState.create(1, 0, 1, allowance_capacity=1)
    with world.away(monkeypatch):
        eu = Spender(world, "eu", Spending(shared_state, file))
        eu.shared_state.raise_spent(0, eu.month, 10 * DOLLAR)
        eu.sharing.tick()
        ceilings = [eu.shared_state.read_allowance(0)["ceiling_nano"]]
        await world.pass_by(4)
        ceilings.append(eu.shared_state.read_allowance(0)["ceiling_nano"])
        while eu.ask(DOLLAR):
            await world.pass_by(0.25)
        await world.pass_by(30)
        assert not eu.may()
    assert ceilings[1] == 20 * DOLLAR
    assert ceilings[0] < 11 * DOLLAR


async def test_what_others_spent_is_kept_on_disk(world: Regions, tmp_path: Path) -> None:
    """Spending of other nodes is saved beside this node's, and keys are not mixed up."""
    spending = Spending(SharedState.create(1, 0, 1, allowance_capacity=1), SpendFile(tmp_path, "/etc/edge.yaml"))
    us = Spender(world, "us")
    Spender(world, "eu", spending)
    await world.pass_by(8)
    us.ask(7 * DOLLAR)
    await world.pass_by(3)
    assert spending.elsewhere == {"team@us/n": Spent(MONTH, 7 * DOLLAR)}


async def test_a_new_month_is_a_new_budget(world: Regions) -> None:
    """At midnight UTC all nodes have the whole budget; documents of gone nodes are removed months later."""
    eu, us = Spender(world, "eu"), Spender(world, "us")
    await world.pass_by(8)
    for _ in range(300):
        eu.ask(DOLLAR)
        await world.pass_by(0.5)
    await world.pass_by(6)
    assert not eu.may()
    assert not us.may()
    world.time.true_ns = int(dt.datetime(1970, 1, 31, 23, 59, 50, tzinfo=dt.UTC).timestamp()) * S
    await world.pass_by(9)
    assert not eu.may()
    await world.pass_by(2)
    assert (eu.spent, us.spent) == (0, 0)
    assert eu.may()
    assert us.may()
    for _ in range(300):
        eu.ask(DOLLAR)
        await world.pass_by(0.5)
    assert eu.spent == pytest.approx(BUDGET, abs=2 * DOLLAR)
    await eu.end(politely=False)
    world.time.true_ns = int(dt.datetime(1970, 4, 1, 1, tzinfo=dt.UTC).timestamp()) * S
    await world.pass_by(12)
    assert world.cluster.list(SPENT).items == ()


async def test_a_month_that_has_not_come_undoes_nobodys_spending(world: Regions) -> None:
    """If one node's clock is ahead for a while, its spending still counts, then and later."""
    eu = Spender(world, "eu")

    async def us_tells(month: int, spent: int) -> int:
        told = Told(month, {"team": Part(spent * DOLLAR, spent * DOLLAR)})
        world.cluster.write((), (Write(SPENT + "us/n", budgets.encode(told)),))
        await world.pass_by(1)
        return round(eu.sharing.budgets()["key/team"]["spent_elsewhere"])

    await world.pass_by(4)
    assert [await us_tells(MONTH, 10), await us_tells(MONTH + 1, 1), await us_tells(MONTH, 50)] == [10, 10, 50]
    await us_tells(MONTH + 1, 7)
    assert not eu.sharing.state().unread
    for day, spent in ((dt.datetime(1970, 2, 1, tzinfo=dt.UTC), 7), (dt.datetime(1970, 3, 1, tzinfo=dt.UTC), 0)):
        world.time.true_ns = int(day.timestamp()) * S
        await world.pass_by(1)
        assert eu.sharing.budgets()["key/team"]["spent_elsewhere"] == spent


async def test_a_clock_that_is_set_forgets_nobodys_spending(
    world: Regions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spending counts in its month, whether the clock was behind, right or ahead when it was reported."""
    offset_s = [0.0]
    monkeypatch.setattr(world.time, "wall", lambda: world.time.now_ns() / 1e9 + offset_s[0])
    right = dt.datetime(1970, 2, 10, tzinfo=dt.UTC).timestamp()
    for name, spent in (("us/n", 50), ("eu/n", 10)):
        told = Told(MONTH + 1, {"team": Part(spent * DOLLAR, spent * DOLLAR)})
        world.cluster.write((), (Write(SPENT + name, budgets.encode(told)),))
    file = SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"team@ap/n": Spent(MONTH + 1, 5 * DOLLAR)})
    eu = Spender(world, "eu", Spending(SharedState.create(1, 0, 1, allowance_capacity=1), file))
    found = []
    for set_to in (0.0, right, right + 30 * 86_400, right):
        offset_s[0] = set_to
        await world.pass_by(2)
        found.append((round(eu.sharing.budgets()["key/team"]["spent_elsewhere"]), eu.spent // DOLLAR))
        assert not set_to or eu.ask(DOLLAR)
        await world.pass_by(8)
    # nothing of February in January; in February all of it; March begins anew, and what it spent counts in February
    assert found == [(0, 0), (55, 10), (0, 0), (55, 1)]


async def test_a_word_of_last_month_that_arrives_late_is_no_ceiling(world: Regions) -> None:
    """A heartbeat of the old month that arrives in the new month is ignored."""
    eu = Spender(world, "eu")
    world.time.true_ns = int(dt.datetime(1970, 1, 31, 23, 59, 50, tzinfo=dt.UTC).timestamp()) * S
    await world.pass_by(6)
    eu.ask(80 * DOLLAR)
    await world.pass_by(2)
    late = Told(MONTH, {"team": Part(80 * DOLLAR, 90 * DOLLAR)})
    await world.pass_by(4)
    own = eu.sharing._budgets
    assert own is not None
    own.acknowledged(late)
    Spender(world, "us")
    await world.pass_by(8)
    assert eu.shared_state.read_allowance(0)["ceiling_nano"] == BUDGET // 2


async def test_a_restarted_control_keeps_the_ceilings(world: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the store, a restarted control keeps the ceiling of its predecessor."""
    eu, us = Spender(world, "eu"), Spender(world, "us")
    await world.pass_by(8)
    us.ask(50 * DOLLAR)
    eu.ask(10 * DOLLAR)
    await world.pass_by(6)
    ceiling = eu.shared_state.read_allowance(0)["ceiling_nano"]
    assert ceiling == 25 * DOLLAR
    with world.away(monkeypatch):
        deps = eu.sharing._deps
        eu.sharing.cancel_tasks()
        eu.sharing = Sharing(eu.shared_state, deps, eu.store, region="eu", node="n", instance="next", clock=world.time)
        eu.sharing.follow()
        await world.pass_by(10)
        assert eu.shared_state.read_allowance(0)["ceiling_nano"] == ceiling
