"""What an operator has forgotten of a node's spending is forgotten by all nodes, and stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.regions import budgets
from edge.regions.budgets import Part, Told
from edge.regions.digest import SPENT
from edge.regions.shares import FORGOTTEN_NS
from edge.terms.ports import Write
from tests.regions.sharing_world import Regions
from tests.regions.test_budgets import DOLLAR, Spender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[Regions]:
    """An empty world, whose loops end with the test."""
    found = Regions()
    yield found
    await found.end()


def test_only_an_operator_takes_spending_back() -> None:
    """Within a month a later document replaces an earlier one only if somebody had that forgotten."""
    told = Told(7, {"k": Part(40, 50)})
    empty = Told(7, forgotten=5)
    assert budgets.later(told, Told(7)).keys == told.keys
    assert budgets.later(told, empty) == empty
    assert budgets.later(empty, told) == empty, "another node that has not heard of it tells the old one again"
    again = Told(7, {"k": Part(1, 2)}, forgotten=5)
    assert budgets.later(empty, again) == again
    assert budgets.later(empty, Told(8)) == Told(8)
    assert budgets.decode(budgets.encode(empty)) == empty


async def test_a_gone_nodes_spending_is_forgotten_everywhere(world: Regions) -> None:
    """What was left of the budget is the others' again; neither they nor a new node bring the old numbers back."""
    eu, us, ap = (Spender(world, region) for region in ("eu", "us", "ap"))
    await world.pass_by(8)
    for _ in range(40):
        eu.ask(DOLLAR)
        await world.pass_by(0.5)
    await world.pass_by(6)
    await eu.end(politely=False)
    world.time.true_ns += FORGOTTEN_NS
    await world.pass_by(15)
    ((name, (silent_s, parts)),) = us.sharing.spending().items()
    assert (name, silent_s, parts["team"].spent) == ("eu/n", None, 40 * DOLLAR)
    await us.sharing.forget("eu/n")
    await world.pass_by(15)
    assert us.sharing.spending() == ap.sharing.spending() == {}
    late = Spender(world, "sa")
    await world.pass_by(8)
    for key in [item.key for item in world.cluster.list(SPENT).items]:
        world.cluster.write((), (Write(key, None),))
    await world.pass_by(12)
    spent = 0
    for _ in range(120):
        spent += sum(node.ask(DOLLAR) for node in (us, ap, late))
        await world.pass_by(0.5)
    assert spent == pytest.approx(90, abs=3)


async def test_a_node_forgets_its_own(world: Regions) -> None:
    """The node that is asked to forget itself begins the month again, and tells the others so."""
    eu, us = Spender(world, "eu"), Spender(world, "us")
    await world.pass_by(8)
    for _ in range(30):
        eu.ask(DOLLAR)
        await world.pass_by(0.5)
    await world.pass_by(6)
    assert us.sharing.budgets()["key/team"]["spent_elsewhere"] == 30
    await eu.sharing.forget("eu/n")
    eu.shared_state.forget_spent(0)
    await world.pass_by(8)
    assert us.sharing.budgets()["key/team"]["spent_elsewhere"] == 0
    for _ in range(5):
        eu.ask(DOLLAR)
        await world.pass_by(0.5)
    await world.pass_by(8)
    assert us.sharing.budgets()["key/team"]["spent_elsewhere"] == 5
