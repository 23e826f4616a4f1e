"""A target that fails every other second costs clients nothing, and gets little traffic."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from msgspec import Struct
from one_data_plane import models, one_data_plane
from witness import Witness, attempts

from edge.native import Outcome, TargetCounter
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.world import SimulatedProviders

RATE = 40.0
PERIOD_S = 2.0
SECONDS = 16
COUNT = int(RATE * SECONDS)
FAULTS: dict[str, tuple[Fault, Outcome]] = {
    "503": (Fault(kind="flapping", period_s=PERIOD_S), Outcome.FAIL_STATUS),
    "reset": (Fault(kind="reset", period_s=PERIOD_S), Outcome.FAIL_RESET),
    "black-hole": (Fault(kind="blackhole", period_s=PERIOD_S), Outcome.FAIL_FIRST_BYTE),
}


class Flapping(Struct, frozen=True):
    """The results of a load with a flapping first target."""

    witness: Witness
    seen: int
    bad: int
    trips: int


async def flap(fault: Fault, outcome: Outcome) -> Flapping:
    """Run a load on two tiers, the first of which flaps from the beginning."""
    pace = Pace(ttft_s=0.005, tps=0.0, tokens=6)
    async with SimulatedProviders("a", "b", pace=pace) as world:
        async with one_data_plane(models(world["a"].url, world["b"].url)) as data_plane:
            await world["a"].switch(fault)
            witness = Witness(data_plane.port, count=COUNT, rate=RATE, connections=4)
            await witness.run()
            trips = data_plane.target("p0/m")["counts"][TargetCounter.T_TRIPS]
            return Flapping(witness, attempts(data_plane, "p0/m"), data_plane.outcomes("p0/m")[outcome], trips)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loads() -> dict[str, Flapping]:
    """Run all loads at the same time."""
    found = await asyncio.gather(*(flap(fault, outcome) for fault, outcome in FAULTS.values()))
    return dict(zip(FAULTS, found, strict=True))


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_client_never_sees_it(loads: dict[str, Flapping], fault: str) -> None:
    """No request fails, and none waits for more than one bad attempt."""
    load = loads[fault]
    assert load.witness.closed_loop.failures == []
    assert load.witness.closed_loop.right == COUNT
    assert max(load.witness.tries) == 2


@pytest.mark.parametrize("fault", FAULTS)
async def test_its_share_is_bounded(loads: dict[str, Flapping], fault: str) -> None:
    """A target that works half of the time gets less than a fifth of the traffic and fails less than a tenth.

    Each relapse within half a minute doubles its wait, and each recovery starts with a tenth of its traffic: after the
    first, it takes longer to relapse than the second that it is ill, and is left alone for longer than it is well.
    """
    load = loads[fault]
    assert 5 <= load.bad <= 0.1 * COUNT
    assert load.seen < 0.2 * COUNT  # the good ones among them may be none: trials can all fall into ill seconds
    assert 2 <= load.trips < SECONDS / PERIOD_S
