"""An outage of 200 requests costs the client nothing and the dead target a few requests, and recovery is fast.

The breaker has its default settings. All outages run at the same time, because each takes half a minute.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import Struct
from one_data_plane import models, one_data_plane, patient
from witness import FULL_OVER, Witness, asking, attempts

from edge import clock
from edge.native import Outcome
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.node import EdgeProcess
from edge.sim.world import ProviderProcess, SimulatedProviders

if TYPE_CHECKING:
    from edge.sim.closed_loop_load import Failure

RATE = 20.0
OUTAGE = 200
MOST_SEEN = OUTAGE * 5 // 100
BACK_S = 30.0
READ_BEFORE_S = 3.0  # the end of an outage: what a busy machine may need to read a target
PACE = Pace(ttft_s=0.005, tps=0.0, tokens=6)

FAULTS: dict[str, tuple[Fault, Outcome]] = {
    "refuse": (Fault(kind="refuse"), Outcome.FAIL_CONNECT),
    "black-hole": (Fault(kind="blackhole"), Outcome.FAIL_FIRST_BYTE),
    "500": (Fault(kind="error", status=500), Outcome.FAIL_STATUS),
    "reset": (Fault(kind="reset"), Outcome.FAIL_RESET),
    "cut": (Fault(kind="cut"), Outcome.FAIL_TRUNCATED),
    "in-band-error": (Fault(kind="inband_error"), Outcome.FAIL_INBAND),
}
NAMES = ("refuses", "silent", "patient")


class Outage(Struct, frozen=True):
    """The results of one outage."""

    seen: int  # attempts at the dead target
    failures: list[Failure]
    outcomes: tuple[int, ...]
    share_before: float
    back_s: float | None  # from the repair until the target has its traffic back


async def outage(fault: Fault) -> Outage:
    """Run two tiers through 200 requests of outage and at most 30 s of recovery.

    Two callers wait for their answers: what is under way when a provider goes dark cannot be called back, so that a
    black hole costs them one each beyond the five that open the circuit.
    """
    async with (
        SimulatedProviders("a", "b", pace=PACE) as world,
        one_data_plane(text_for(fault, world["a"].url, world["b"].url)) as data_plane,
    ):
        began_s = now_s()
        before = Witness(data_plane.port, count=60, rate=RATE, connections=2)
        await before.run()
        share_before = before.share("p0/m", began_s, now_s())
        already = attempts(data_plane, "p0/m")
        await world["a"].switch(fault)
        during = Witness(data_plane.port, count=OUTAGE, rate=RATE, connections=2)
        await during.run()
        seen = attempts(data_plane, "p0/m") - already
        await world["a"].switch()
        after = Witness(data_plane.port, count=int(BACK_S * RATE) + FULL_OVER, rate=RATE, connections=2)
        return Outage(
            back_s=await after.run_until_in_full("p0/m", now_s()),
            seen=seen,
            failures=[*before.closed_loop.failures, *during.closed_loop.failures, *after.closed_loop.failures],
            outcomes=data_plane.outcomes("p0/m"),
            share_before=share_before,
        )


def text_for(fault: Fault, *urls: str) -> str:
    """Return configuration text; only silence needs deadlines that an answer of a busy machine may miss."""
    return models(*urls) if fault.kind == "blackhole" else patient(models(*urls))


class Node(Struct, frozen=True):
    """An outage behind a whole node: the target's fields at its repair, and the load."""

    at_repair: dict[str, Any]
    repaired_s: float
    witness: Witness

    @property
    def seen(self) -> int:
        """Return how many requests the dead target got: the failed ones, and one that may be running."""
        failed = sum(number for outcome, number in self.at_repair["attempts"].items() if outcome.startswith("fail_"))
        return failed + int(self.at_repair["inflight"])


async def node_outage(edge: EdgeProcess, world: ProviderProcess, name: str, fault: Fault, outage_s: float) -> Node:
    """Break the provider ``name``, the first tier of the model of that name, for this time.

    The provider ends the outage by itself, and a probe may find that at once: the target is read before the end.
    """
    count = int((2 + outage_s + BACK_S) * RATE)
    witness = Witness(port_of(edge.url), count=count, rate=RATE, connections=2, request=asking(name))
    running = asyncio.create_task(witness.run_until_in_full(f"{name}/m", now_s() + 2 + outage_s))
    await clock.sleep(2)
    repaired_s = now_s() + outage_s
    await world.switch(name, msgspec.structs.replace(fault, for_s=outage_s))
    await clock.sleep(repaired_s - READ_BEFORE_S - now_s())
    at_repair = await target(edge, name)
    assert now_s() < repaired_s, "the machine was too busy to read the target during the outage"
    await running
    return Node(at_repair, repaired_s, witness)


async def target(edge: EdgeProcess, name: str) -> dict[str, Any]:
    """Return a provider's target from the admin listener."""
    return next(target for target in await edge.targets() if target["id"] == f"{name}/m")


def node_config(base_urls: dict[str, str]) -> dict[str, Any]:
    """Write edge.yaml: each of NAMES is a model whose first tier is the provider of that name."""
    timeouts = {"connect": "1s", "first_byte": "1s", "first_token": "1s", "total": "10s"}
    return {
        "providers": {name: {"base_url": url, "probe": "/models"} for name, url in base_urls.items()},
        "models": {
            name: {
                "targets": [f"{name}/m", {"target": "spare/m", "tier": 2}],
                "timeouts": timeouts,
                "breaker": {"open_duration": "20s"} if name == "patient" else {},
            }
            for name in NAMES
        },
    }


async def node_outages() -> dict[str, Node]:
    """Run three outages behind one node at the same time."""
    async with (
        ProviderProcess(*NAMES, "spare", pace=PACE) as world,
        EdgeProcess(node_config(world.base_urls), workers=2) as edge,
    ):
        found = await asyncio.gather(
            node_outage(edge, world, "refuses", Fault(kind="refuse"), 15),
            node_outage(edge, world, "silent", Fault(kind="blackhole"), 15),
            node_outage(edge, world, "patient", Fault(kind="refuse"), 7),
        )
    return dict(zip(NAMES, found, strict=True))


def port_of(url: str) -> int:
    """Return the port of a URL that names one."""
    return int(url.rpartition(":")[2])


def now_s() -> float:
    """Return monotonic seconds."""
    return clock.now_ns() / 1e9


class Outages(Struct, frozen=True):
    """All outages, by name."""

    of_lanes: dict[str, Outage]
    of_nodes: dict[str, Node]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outages() -> Outages:
    """Run every outage once, at the same time."""
    nodes, *data_planes = await asyncio.gather(node_outages(), *(outage(fault) for fault, _ in FAULTS.values()))
    return Outages(dict(zip(FAULTS, data_planes, strict=True)), nodes)


@pytest.mark.parametrize("fault", FAULTS)
async def test_200_requests(outages: Outages, fault: str) -> None:
    """No request fails, the dead target gets at most 5% of them, and its traffic is back within 30 s."""
    seen = outages.of_lanes[fault]
    assert seen.share_before == 1.0
    assert seen.failures == []
    assert 5 <= seen.seen <= MOST_SEEN
    # a connection that was idle when the provider died says nothing about the provider
    idle = seen.outcomes[Outcome.CANCELLED] if fault == "reset" else 0
    assert seen.outcomes[FAULTS[fault][1]] >= 1
    assert seen.outcomes[FAULTS[fault][1]] + idle == seen.seen
    assert seen.back_s is not None
    assert 5.0 < seen.back_s < BACK_S  # not at once either: its share grows for ten seconds


async def test_a_black_hole_in_one_tier() -> None:
    """A target that answers nothing gets no more traffic before any deadline, next to another of its tier."""
    count, connections = 1000, 32
    async with SimulatedProviders("a", "b", pace=PACE) as world:
        text = models(world["a"].url, world["b"].url).replace("tier: 2", "tier: 1")
        async with one_data_plane(text) as data_plane:
            before = Witness(data_plane.port, count=200, rate=0, connections=connections)
            await before.run()
            already = attempts(data_plane, "p0/m")
            await world["a"].switch(Fault(kind="blackhole"))
            during = Witness(data_plane.port, count=count, rate=0, connections=connections)
            await during.run()
            assert [*before.closed_loop.failures, *during.closed_loop.failures] == []
            assert 50 < already < 150
            assert 0 < attempts(data_plane, "p0/m") - already <= count * 5 // 100


async def test_whole_nodes_with_probes(outages: Outages) -> None:
    """Real processes with the default breaker, dead for 15 s: no failures, and probes shorten the recovery.

    The third breaker waits 20 s from the start, as the default one does after minutes: a probe that finds the provider
    well lets a request try it long before.
    """
    for name, outage in outages.of_nodes.items():
        back_s = outage.witness.in_full_s(f"{name}/m", outage.repaired_s)
        assert outage.witness.closed_loop.failures == []
        assert outage.at_repair["state"] in ("open", "half_open")
        assert 5 <= outage.seen <= 15 * RATE * 5 / 100
        assert back_s is not None
        assert 0.0 < back_s < BACK_S
    patient = outages.of_nodes["patient"]
    first_s = patient.witness.first_s("patient/m", patient.repaired_s)
    assert patient.at_repair["until_s"] > 10.0
    assert first_s is not None
    assert first_s < max(6.0, patient.at_repair["until_s"] / 2)
