"""Weights and aborts of canaries through the store: the nearest scope counts, nonsense is ignored, nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.errors import StoreUnavailableError
from edge.regions import digest as told
from edge.regions.digest import EVERYWHERE, ManualOverride, SharedWeight, encode
from edge.terms.ports import Write
from tests.regions.sharing_world import Regions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from edge.terms.ports import Unchanged


@pytest.fixture
async def regions() -> AsyncIterator[Regions]:
    """An empty world, whose loops end with the test."""
    world = Regions()
    yield world
    await world.end()


async def following(world: Regions, *names: str) -> None:
    """Add a node in each of these regions, and let all follow the store."""
    for name in names:
        world.add(name, "p/m")
    for node in world.nodes:
        node.sharing.follow()
    await world.pass_by(2)


async def test_a_region_comes_before_all(regions: Regions) -> None:
    """A weight for one region leaves the others theirs; deleted, the one of all regions counts there, too."""
    await following(regions, "eu", "us")
    eu, us = regions.nodes
    everybody, own = SharedWeight(2, "all", 1.0, "us/n"), SharedWeight(0.1, "here", 2.0, "eu/n")
    await us.sharing.by_hand.weigh("p/m", everybody, EVERYWHERE)
    await eu.sharing.by_hand.weigh("p/m", own, "eu")
    await regions.pass_by(1)
    assert (eu.weights, us.weights) == ({"p/m": own}, {"p/m": everybody})
    await eu.sharing.by_hand.weigh("p/m", None, "eu")
    await regions.pass_by(1)
    assert (eu.weights, us.weights) == ({"p/m": everybody}, {"p/m": everybody})
    await us.sharing.by_hand.weigh("p/m", None, EVERYWHERE)
    await regions.pass_by(1)
    assert (eu.weights, us.weights) == ({}, {})


async def test_an_override_of_a_region(regions: Regions) -> None:
    """It reaches the nodes of that region alone."""
    await following(regions, "eu", "us")
    eu, us = regions.nodes
    hand = ManualOverride(2, "wrong answers", 5.0, "eu/n")
    await eu.sharing.by_hand.override("p/m", hand, "eu")
    await regions.pass_by(1)
    assert (eu.overrides, us.overrides) == ({"p/m": hand}, {})
    await eu.sharing.by_hand.override("p/m", None, "eu")
    await regions.pass_by(1)
    assert eu.overrides == {}


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"7", b'{"weight":0}', b'{"weight":-1,"reason":"r","since":1,"by":"b"}', b'{"weight":1e400}',
     b'{"weight":1001,"reason":"r","since":1,"by":"b"}', b'{"weight":1,"reason":"a\\nb","since":1,"by":"b"}',
     b"[" * 9999],
)  # fmt: skip
async def test_nonsense_is_told_once(regions: Regions, nonsense: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is no weight, hides no other, and gets one line however often it comes."""
    await following(regions, "eu")
    (eu,) = regions.nodes
    good = SharedWeight(3, "r", 1.0, "x/y")
    for _ in range(3):
        await eu.store.put(told.weight_key("p/m", "eu"), nonsense + b" ")
        await regions.pass_by(1)
        await eu.store.put(told.weight_key("p/m", "eu"), nonsense)
        await regions.pass_by(1)
    await eu.store.put(told.weight_key("q/m", "eu"), told.encode(good))
    await regions.pass_by(1)
    assert eu.weights == {"q/m": good}
    assert caplog.text.count("a document that is ignored") <= 1


async def test_a_canary_is_told_once_the_store_is_back(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The abort is not forgotten while the store is away; the other region is left alone."""
    await following(regions, "eu", "us")
    eu, us = regions.nodes
    hand, heard = ManualOverride(2, "canary: slow", 5.0, "eu/n"), []
    with regions.away(monkeypatch):
        eu.sharing.by_hand.aborted("p/m", hand, lambda: heard.append("p/m"))
        await regions.pass_by(3)
        assert (eu.overrides, heard) == ({}, [])
    await regions.pass_by(8)
    assert (eu.overrides, us.overrides, heard) == ({"p/m": hand}, {}, ["p/m"])
    assert eu.sharing.by_hand.untold == {}


async def test_a_canary_that_is_back_is_not_told(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who restored it before the store came back has decided."""
    await following(regions, "eu")
    (eu,) = regions.nodes
    with regions.away(monkeypatch):
        eu.sharing.by_hand.aborted("p/m", ManualOverride(2, "canary: slow", 5.0, "eu/n"), lambda: None)
        await regions.pass_by(2)
        eu.sharing.by_hand.restored("p/m")
    await regions.pass_by(8)
    assert eu.overrides == {}


@pytest.mark.parametrize("taken", [True, False])
async def test_a_canary_that_comes_back_while_it_is_told_is_taken_back(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, *, taken: bool
) -> None:
    """Its document is deleted as soon as the store takes that, also where the store had taken it without saying so."""
    await following(regions, "eu", "us")
    eu, _ = regions.nodes
    real = eu.store.txn

    async def slow(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Take the document while an operator puts the canary back; then the store goes away."""
        revision = await real(conditions, writes)
        if writes[0].key.startswith("regional/"):
            eu.sharing.by_hand.restored("p/m")
            monkeypatch.setattr(eu.store, "txn", gone)
            if not taken:
                raise StoreUnavailableError("no answer")
        return revision

    async def gone(*_: object) -> int | None:
        raise StoreUnavailableError("no majority")

    monkeypatch.setattr(eu.store, "txn", slow)
    eu.sharing.by_hand.aborted("p/m", ManualOverride(2, "canary: slow", 5.0, "eu/n"), lambda: None)
    await regions.pass_by(3)
    assert "p/m" in eu.overrides, "the store has it, and cannot be told otherwise now"
    monkeypatch.setattr(eu.store, "txn", real)
    await regions.pass_by(3)
    assert eu.overrides == {}
    assert (await real((), (Write("x", b""),))) is not None
    assert [item.key for item in (await eu.store.list("regional/")).items] == []
    assert not eu.sharing.by_hand.pending


async def test_what_an_operator_wrote_since_is_not_taken_back(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document of a canary is deleted only as long as it is the one that this node has written."""
    await following(regions, "eu")
    (eu,) = regions.nodes
    real = eu.store.txn

    async def slow(conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        revision = await real(conditions, writes)
        eu.sharing.by_hand.restored("p/m")
        monkeypatch.setattr(eu.store, "txn", real)
        await eu.store.put("regional/eu/p/m", encode(ManualOverride(1, "an operator", 6.0, "eu/z")))
        return revision

    monkeypatch.setattr(eu.store, "txn", slow)
    eu.sharing.by_hand.aborted("p/m", ManualOverride(2, "canary: slow", 5.0, "eu/n"), lambda: None)
    await regions.pass_by(6)
    assert [each.reason for each in eu.overrides.values()] == ["an operator"]
    assert not eu.sharing.by_hand.pending
