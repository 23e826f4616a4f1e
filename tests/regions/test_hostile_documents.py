"""Documents that no edge writes neither stop a node nor change what it does; an act here holds where the store says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.control.ledger import WeightByHand
from edge.control.weighing import told as shown
from edge.regions import digest as told
from edge.regions.digest import EVERYWHERE, ManualOverride, SharedWeight
from edge.terms.ports import Write
from tests.regions.sharing_world import Regions
from tests.regions.test_shared_weights import following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from edge.terms.ports import Unchanged


@pytest.fixture
async def regions() -> AsyncIterator[Regions]:
    """An empty world, whose loops end with the test."""
    world = Regions()
    yield world
    await world.end()


@pytest.mark.parametrize("since", ["1e300", "-1e300", "1e15", "253402300800", "-1"])
def test_a_time_that_is_no_date(since: str) -> None:
    """The status writes the time of an act as a date, so a document with a time that is none is not taken."""
    assert told.decode_weight(b'{"weight":1,"reason":"r","since":%s,"by":"x/y"}' % since.encode()) is None
    assert told.decode_override(b'{"code":1,"reason":"r","since":%s,"by":"x/y"}' % since.encode()) is None


def test_the_last_time_that_is_a_date() -> None:
    """Every time that is taken can be shown."""
    found = told.decode_weight(b'{"weight":1,"reason":"r","since":253402300799,"by":"x/y"}')
    assert found is not None
    assert "since 9999-12-31" in shown(WeightByHand(found.weight, found.reason, found.since, found.by))


async def test_what_is_taken_back_for_all_stays_in_a_region(regions: Regions) -> None:
    """An act for all regions does not change a node, not for a moment, whose region has an act of its own."""
    await following(regions, "eu", "us")
    eu, us = regions.nodes
    own, everybody = ManualOverride(2, "here", 2.0, "eu/n"), ManualOverride(1, "all", 3.0, "eu/n")
    light, heavy = SharedWeight(0.1, "here", 2.0, "eu/n"), SharedWeight(2, "all", 3.0, "eu/n")
    await eu.sharing.by_hand.override("p/m", own, "eu")
    await eu.sharing.by_hand.weigh("p/m", light, "eu")
    await regions.pass_by(1)
    for override, weight in ((everybody, heavy), (None, None)):
        await eu.sharing.by_hand.override("p/m", override, EVERYWHERE)
        await eu.sharing.by_hand.weigh("p/m", weight, EVERYWHERE)
        assert (eu.overrides, eu.weights) == ({"p/m": own}, {"p/m": light})
        await regions.pass_by(1)
        assert (eu.overrides, eu.weights) == ({"p/m": own}, {"p/m": light})
        assert us.overrides == ({} if override is None else {"p/m": override})


async def test_an_act_before_the_store_was_read(regions: Regions) -> None:
    """It does not take back what others have done, which this node knows from the process before it."""
    regions.add("eu", "p/m", "q/m")
    (eu,) = regions.nodes
    other, mine = ManualOverride(1, "broken", 1.0, "us/n"), ManualOverride(2, "bad", 2.0, "eu/n")
    eu.overrides = {"q/m": other}
    eu.weights = {"q/m": SharedWeight(2, "r", 1.0, "us/n")}
    await eu.store.put(told.override_key("q/m", EVERYWHERE), told.encode(other))
    await eu.store.put(told.weight_key("q/m", EVERYWHERE), told.encode(eu.weights["q/m"]))
    await eu.sharing.by_hand.override("p/m", mine, EVERYWHERE)
    await eu.sharing.by_hand.weigh("p/m", SharedWeight(3, "r", 2.0, "eu/n"), EVERYWHERE)
    assert eu.overrides["q/m"] == other
    assert "q/m" in eu.weights
    eu.sharing.follow()
    await regions.pass_by(2)
    assert eu.overrides == {"q/m": other, "p/m": mine}
    assert set(eu.weights) == {"p/m", "q/m"}


@pytest.mark.parametrize("then", [None, ManualOverride(1, "an operator's", 9.0, "eu/n")])
async def test_a_restore_while_a_canary_is_told(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, then: ManualOverride | None
) -> None:
    """What an operator decides while the abort is on its way to the store comes after it."""
    await following(regions, "eu", "eu2")
    eu, _ = regions.nodes
    real, seen, heard = eu.store.txn, [], []

    async def slow(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        done = await real(conditions, writes)
        if writes[0].key == told.override_key("p/m", "eu") and not seen:
            seen.append(done)
            eu.sharing.by_hand.restored("p/m")
            if then is not None:
                await real((), (Write(writes[0].key, told.encode(then)),))
        return done

    monkeypatch.setattr(eu.store, "txn", slow)
    eu.sharing.by_hand.aborted("p/m", ManualOverride(2, "canary: slow", 5.0, "eu/n"), lambda: heard.append("p/m"))
    await regions.pass_by(4)
    assert seen
    assert heard == []
    assert eu.overrides == ({} if then is None else {"p/m": then})
