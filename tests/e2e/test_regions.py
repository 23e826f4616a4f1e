"""Applications in three regions survive large failures: whole nodes, real etcd, 80 ms between regions.

Each scenario is an act of ``edge.sim.region_acts`` with its own world: load in every region, the fault, and the checks.
``--seconds 60`` sets how long the load continues after the fault; the default is a few seconds.
"""

from __future__ import annotations

import asyncio
import sys

import pytest

from edge.sim import region_acts as acts
from edge.sim.regions import REGIONS, RegionsWorld

pytestmark = [pytest.mark.timeout(600), pytest.mark.alone]

SECONDS = 6.0


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """Return how long the load continues after the fault."""
    return float(request.config.getoption("--seconds") or SECONDS)


@pytest.mark.parametrize("act", acts.ALL, ids=lambda act: act.name.replace(" ", "-"))
async def test_an_act_keeps_its_promise(act: acts.Act, seconds: float) -> None:
    """Nothing fails in any region, regions that can answer for themselves do, and every target recovers."""
    async with RegionsWorld() as world:
        outcome = await acts.play(world, act, seconds)
        sys.stdout.write(_told(outcome))
        assert outcome.broken == ()
        assert all(account.requests > acts.RATE * seconds for account in outcome.regions.values())
        assert await acts.calm(world)


async def test_a_region_without_egress_pays_the_distance_and_little_more(seconds: float) -> None:
    """Through a peer the median latency grows by one round trip, and by no deadline."""
    async with RegionsWorld(etcd=False) as world:
        outcome = await acts.play(world, acts.EGRESS, seconds)
        account = outcome.regions[acts.HIT]
        added_ms = account.during_ms - account.before_ms
        sys.stdout.write(f"through a peer: {added_ms:.0f} ms more, {world.rtt_s * 1000:.0f} ms of them the distance\n")
        rtt_ms = world.rtt_s * 1000
        assert account.during_ms > rtt_ms
        assert added_ms < 5 * rtt_ms + account.before_ms  # on a busy machine what is near takes its time too


async def test_later_regions_learn_from_earlier_ones(seconds: float) -> None:
    """A region with little traffic learns within two seconds, and has at most two failed attempts."""
    async with RegionsWorld() as world:
        later = REGIONS[-1]
        outcome = await acts.play(world, acts.EVERYWHERE, max(seconds, 8.0), rates={later: 0.5})
        sys.stdout.write(_told(outcome))
        assert outcome.broken == ()
        assert outcome.regions[later].failed_attempts <= 2


async def test_regions_that_meet_through_etcd_answer_for_each_other(seconds: float) -> None:
    """Edges without configured peers find each other through etcd, and are used like those of a file."""
    async with RegionsWorld(meet=True) as world:
        async with asyncio.timeout(90):
            while not await all_met(world):  # noqa: ASYNC110 - what is waited for is in other processes
                await asyncio.sleep(0.1)
        outcome = await acts.play(world, acts.EGRESS, seconds)
        sys.stdout.write(_told(outcome))
        assert outcome.broken == ()


async def all_met(world: RegionsWorld) -> bool:
    """Return whether every region has the others among its targets."""
    kinds = [[target["id"] for target in (await region.targets()).values()] for region in world.regions.values()]
    return all(sum(name.startswith("region:") for name in names) == len(world.regions) - 1 for names in kinds)


def _told(outcome: acts.Outcome) -> str:
    rows = [
        f"  {name}: {account.requests} requests, {account.failed} failed, answered by {account.answered_by} with "
        f"{account.providers}, {account.before_ms:.0f} -> {account.during_ms:.0f} ms, "
        f"{account.failed_attempts} failed attempts"
        for name, account in outcome.regions.items()
    ]
    times = f"detected after {outcome.detected_ms} ms, all know within {outcome.verdict_ms} ms"
    return "\n".join([f"{outcome.act}: {outcome.says}; {times}", *rows, ""])
