"""What one region finds missing at a target, the others know within two seconds, capability by capability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.incidents.signs import elsewhere
from edge.native import Capability
from edge.regions.digest import CAPABILITY, MOST_TARGETS
from edge.regions.sampler import Sampler
from edge.terms.capabilities import NAMES, part_of, split
from native.balance.capability import Capabilities
from tests.breakers import USUAL
from tests.regions.sharing_world import Regions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

S = 1_000_000_000
VISION, TOOLS = Capability.C_VISION, Capability.C_TOOLS
NOTHING = ("closed", 0, 0)


@pytest.fixture
async def regions() -> AsyncIterator[Regions]:
    """An empty world, whose loops end with the test."""
    world = Regions()
    yield world
    await world.end()


async def test_a_capability_that_is_missing_is_known_everywhere_within_two_seconds(regions: Regions) -> None:
    """One region lowers the others' threshold for pictures, two their share; of the rest nothing is said."""
    eu, us, ap = (regions.add(region, "p/m", "q/m") for region in ("eu", "us", "ap"))
    for node in regions.nodes:
        node.sharing.follow()
    await regions.pass_by(8)
    eu.lack(VISION)
    assert eu.part(VISION)[0] == "open"
    await regions.pass_by(1.5)
    assert (us.part(VISION), ap.part(VISION)) == (("closed", 1000, 2),) * 2
    assert (us.remote(), us.part(TOOLS), us.part(VISION, slot=1)) == ((0, 0), NOTHING, NOTHING)
    us.lack(VISION)
    await regions.pass_by(1.5)
    assert ap.part(VISION) == ("closed", 100, 1), "local evidence opens, nothing else"
    assert ap.sharing.verdicts["p/m#vision"].why == "found failing by eu, us"
    assert ap.remote() == (0, 0)


async def test_what_others_say_lets_the_first_failure_open_it_here(regions: Regions) -> None:
    """With a verdict one failed picture is enough, of whatever body; a target that does pictures here keeps them."""
    eu, us, ap = (regions.add(region, "p/m") for region in ("eu", "us", "ap"))
    for node in regions.nodes:
        node.sharing.follow()
    await regions.pass_by(8)
    eu.lack(VISION)
    us.lack(VISION)
    await regions.pass_by(1.5)
    now_ns, part = regions.time.now_ns(), Capabilities(ap.shared_state, 0, USUAL, S)
    text, picture = part.take(0, now_ns), part.take(1 << VISION, now_ns)
    assert text is not None
    assert picture is not None
    assert part.share(1 << VISION, now_ns) == pytest.approx(0.1)
    assert part.share(1 << TOOLS, now_ns) == 1.0
    part.work(text, now_ns)
    part.fail(picture, now_ns, 7)
    assert ap.part(VISION)[0] == "open"


async def test_the_others_hear_that_it_works_again(regions: Regions) -> None:
    """After a trial has succeeded nothing is said any more, and what was said is taken back within two seconds."""
    eu, us = regions.add("eu", "p/m"), regions.add("us", "p/m")
    for node in regions.nodes:
        node.sharing.follow()
    await regions.pass_by(8)
    eu.lack(VISION)
    await regions.pass_by(2)
    assert us.part(VISION)[1:] == (1000, 2)
    part = Capabilities(eu.shared_state, 0, USUAL, S)
    trial = part.take(1 << VISION, regions.time.now_ns())
    assert trial is not None
    assert trial.trials == 1 << VISION
    part.work(trial, regions.time.now_ns())
    await regions.pass_by(2)
    assert us.part(VISION)[1:] == (0, 0)


def test_a_digest_tells_of_a_capability_as_of_a_target(regions: Regions) -> None:
    """Only what fails, or is used and not common, is told: a node of a thousand targets says nothing of streams."""
    eu = regions.add("eu", "p/m")
    part = Capabilities(eu.shared_state, 0, USUAL, S)
    now_ns = regions.time.now_ns()
    taken = part.take(1 << Capability.C_STREAMING | 1 << Capability.C_CHAT | 1 << TOOLS, now_ns)
    assert taken is not None
    part.work(taken, now_ns)
    eu.lack(VISION)
    states = {"p/m": "usable", "p/m#vision": "open"}
    found = Sampler(eu.shared_state).sample(eu.snapshot, states, {}, now_ns)  # type: ignore[arg-type]
    assert {(each.id, each.kind, each.state, each.failed) for each in found} == {
        ("p/m", "model", "usable", 0),
        ("p/m#vision", CAPABILITY, "open", 5),
        ("p/m#tools", CAPABILITY, "usable", 0),
    }
    assert len(found) <= MOST_TARGETS


def test_another_regions_word_is_a_sign_of_its_own() -> None:
    """What another region says of a capability is a sign of that capability, and names it."""
    states = {"us": {"p/m#vision": "open", "p/m": "usable", "q/m": "open", "p/m#nonsense": "open"}, "eu": {}}
    found = elsewhere("eu", states, {"p/m": "provider:p", "q/m": "provider:q"})
    assert [(sign.kind, sign.about, sign.region) for sign in found] == [
        ("capability", "vision at p/m", "us"),
        ("target_down", "q/m", "us"),
    ]


def test_an_id_is_read_as_it_was_written() -> None:
    """Target and capability come back from the id of a part; a target's own id may hold the mark."""
    assert [split(part_of("p/m#1", name)) for name in NAMES] == [("p/m#1", number) for number in range(len(NAMES))]
    assert split("p/m#1") == ("p/m#1", -1)
