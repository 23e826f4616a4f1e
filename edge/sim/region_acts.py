"""Acts of the regions demo: large failures in a world of three regions, each with a promise that is checked.

An act breaks something while every region is under load, and repairs it afterwards. Its account says for each region
how many requests of its clients failed, who answered, the latency before and during the failure, and which promises
were broken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from edge import clock
from edge.sim.faults import Fault
from edge.sim.load import Load
from edge.sim.regions import MODEL, PROVIDERS, REGIONS, UPSTREAM_MODEL
from edge.sim.scores import quantile
from edge.terms.target_state import USABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge.sim.load import Shot
    from edge.sim.regions import Region, RegionsWorld

RATE: Final = 8.0
PATIENCE_S: Final = 12.0
BEFORE_S: Final = 2.0  # duration of the load before the failure
LOOK_S: Final = 0.05
CALM_S: Final = 15.0  # maximum wait for all targets to recover
HIT: Final = REGIONS[0]  # the region that an act on one region affects
FIRST: Final = PROVIDERS[0]
TARGET: Final = f"{FIRST}/{UPSTREAM_MODEL}"
_S: Final = 1e9


class Account(Struct, frozen=True):
    """What the clients of one region got in an act; latencies are medians of responses before and after the failure."""

    requests: int
    failed: int
    reasons: dict[str, int]
    answered_by: dict[str, int]  # by region, after the failure
    providers: dict[str, int]  # by provider, after the failure
    before_ms: float
    during_ms: float
    failed_attempts: int  # at the first provider after the failure; in a watched act, until its circuit opened


class Outcome(Struct, frozen=True):
    """The result of an act.

    ``detected_ms`` is the time from the failure until a first region knew that the provider fails, ``verdict_ms`` from
    then until the last region did, by its own circuit or by a verdict; None: not all did, or the act is not watched.
    """

    act: str
    says: str
    regions: dict[str, Account]
    detected_ms: int | None
    verdict_ms: int | None
    broken: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Number of failed requests in all regions."""
        return sum(account.failed for account in self.regions.values())


class Act(Struct, frozen=True):
    """A large failure. ``promise`` returns a sentence for each promise that an outcome breaks."""

    name: str
    says: str
    strike: Callable[[RegionsWorld], Awaitable[None]]
    heal: Callable[[RegionsWorld], Awaitable[None]]
    promise: Callable[[Outcome], list[str]]
    watched: bool = False  # the first provider fails everywhere; measure when each region stops using it


async def play(world: RegionsWorld, act: Act, seconds: float, rates: Mapping[str, float] | None = None) -> Outcome:
    """Run an act under load: two seconds before the failure and ``seconds`` after it, then repair.

    Args:
        world: a running, healthy world.
        act: the failure.
        seconds: duration of the load after the failure.
        rates: requests per second by region; other regions get :data:`RATE`.
    """
    rates = rates or {}
    async with contextlib.AsyncExitStack() as stack:
        loads = {
            name: await stack.enter_async_context(
                Load(region.base_url, MODEL, rate=rates.get(name, RATE), timeout_s=PATIENCE_S)
            )
            for name, region in world.regions.items()
        }
        started_ns = clock.now_ns()
        running = asyncio.gather(*(load.run(BEFORE_S + seconds) for load in loads.values()))
        try:
            await clock.sleep(BEFORE_S)
            attempts = await _failed_attempts(world)
            watch = _Watch(world, attempts)
            watching = asyncio.create_task(watch.run()) if act.watched else None
            struck_ns = clock.now_ns()
            await act.strike(world)
            await running
        finally:
            running.cancel()
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            after = await _failed_attempts(world)
            await act.heal(world)
    struck_s = (struck_ns - started_ns) / _S
    accounts = {
        name: _account(load.shots, struck_s, watch.failed.get(name, after.get(name, 0) - attempts.get(name, 0)))
        for name, load in loads.items()
    }
    times = sorted(round((at_ns - struck_ns) / 1e6) for at_ns in watch.learnt_ns.values())
    verdict_ms = times[-1] - times[0] if times and len(times) == len(world.regions) else None
    outcome = Outcome(act.name, act.says, accounts, times[0] if times else None, verdict_ms)
    return structs.replace(outcome, broken=tuple(act.promise(outcome)))


async def calm(world: RegionsWorld, limit_s: float = CALM_S) -> bool:
    """Send requests to every region until all its targets are healthy; return False if that takes too long."""
    end_ns = clock.now_ns() + int(limit_s * _S)
    async with contextlib.AsyncExitStack() as stack:
        loads = [
            await stack.enter_async_context(Load(region.base_url, MODEL, rate=10.0, timeout_s=PATIENCE_S))
            for region in world.regions.values()
        ]
        while clock.now_ns() < end_ns:
            await asyncio.gather(*(load.run(0.5) for load in loads))
            states = [
                target["state"] for region in world.regions.values() for target in (await region.targets()).values()
            ]
            if states and all(state == USABLE.label for state in states):
                return True
    return False


def _account(shots: list[Shot], struck_s: float, failed_attempts: int) -> Account:
    after = [shot for shot in shots if shot.at_s >= struck_s and shot.ok]
    before = [shot for shot in shots if shot.at_s < struck_s and shot.ok]
    return Account(
        requests=len(shots),
        failed=sum(not shot.ok for shot in shots),
        reasons=dict(Counter(shot.reason for shot in shots if not shot.ok)),
        answered_by=dict(Counter(shot.region for shot in after)),
        providers=dict(Counter(shot.provider for shot in after)),
        before_ms=_median_ms(before),
        # The median excludes the requests that were in flight at the failure and those that detect it.
        during_ms=_median_ms(after),
        failed_attempts=failed_attempts,
    )


def _median_ms(shots: list[Shot]) -> float:
    return round(quantile((shot.latency_s for shot in shots), 0.5) * 1000, 1)


async def _failed_attempts(world: RegionsWorld) -> dict[str, int]:
    """Return the number of failed attempts at the first provider, by region."""
    return {name: _failures((await region.targets()).get(TARGET, {})) for name, region in world.regions.items()}


def _failures(target: dict[str, Any]) -> int:
    return sum(count for outcome, count in target.get("attempts", {}).items() if outcome.startswith("fail_"))


class _Watch:
    """Records when each region learned that the first provider fails, and after how many failed attempts."""

    def __init__(self, world: RegionsWorld, before: Mapping[str, int]) -> None:
        self._world = world
        self._before = before
        self.learnt_ns: dict[str, int] = {}
        self.failed: dict[str, int] = {}

    async def run(self) -> None:
        """Poll until every region's circuit has opened, or until cancelled."""
        while len(self.failed) < len(self._world.regions):
            for name, region in self._world.regions.items():
                await self._look(name, region)
            await clock.sleep(LOOK_S)

    async def _look(self, name: str, region: Region) -> None:
        target = (await region.targets()).get(TARGET, {})
        if name not in self.failed and target.get("state", USABLE.label) != USABLE.label:
            self.failed[name] = _failures(target) - self._before.get(name, 0)
            self.learnt_ns.setdefault(name, clock.now_ns())
        if name not in self.learnt_ns and region.edge is not None and TARGET in await region.edge.verdicts():
            self.learnt_ns[name] = clock.now_ns()


# --- the failures and their promises ----------------------------------------------------------------------------------


def none_failed(outcome: Outcome) -> list[str]:
    """Check that no request failed."""
    return [
        f"{account.failed} of {account.requests} requests failed in {name}: {account.reasons}"
        for name, account in outcome.regions.items()
        if account.failed
    ]


def _stays(outcome: Outcome) -> list[str]:
    """Check that regions that are not affected keep their provider, and that every region answers for itself."""
    broken = none_failed(outcome)
    for name, account in outcome.regions.items():
        answers = sum(account.answered_by.values())
        if name != HIT and account.providers.get(FIRST, 0) < 0.95 * answers:
            broken.append(f"{name} stopped using {FIRST}, which is healthy there: {account.providers}")
        if account.answered_by.get(name, 0) < answers:
            broken.append(f"{name} was answered by {account.answered_by} although it has a usable target")
    return broken


def _leaves(outcome: Outcome) -> list[str]:
    """Check that all regions learn of the failure, the last within two seconds of the first."""
    broken = none_failed(outcome)
    if outcome.verdict_ms is None:
        broken.append(f"not every region learned that {FIRST} fails")
    elif outcome.verdict_ms > 2000:  # noqa: PLR2004  # the promise
        broken.append(f"the last region learned that {FIRST} fails {outcome.verdict_ms} ms after the first")
    return broken


def _by_a_peer(outcome: Outcome) -> list[str]:
    """Check that the region without egress is answered by another region, and that no other region is."""
    broken = none_failed(outcome)
    for name, account in outcome.regions.items():
        through_a_peer = sum(count for region, count in account.answered_by.items() if region != name)
        if name == HIT and not through_a_peer:
            broken.append(f"{name} has no egress but used no peer: {account.answered_by}")
        if name != HIT and through_a_peer:
            broken.append(f"{name} used a peer without need: {account.answered_by}")
    return broken


def _at_home(outcome: Outcome) -> list[str]:
    """Check that nothing changes: every region answers for itself."""
    return [
        *none_failed(outcome),
        *(
            f"{name} was answered by {account.answered_by}"
            for name, account in outcome.regions.items()
            if set(account.answered_by) - {name}
        ),
    ]


async def _mend(world: RegionsWorld) -> None:
    world.network.mend()


async def _cut_first(world: RegionsWorld) -> None:
    world.network.cut(HIT, FIRST)


async def _break_first(world: RegionsWorld) -> None:
    await world.providers.switch(FIRST, Fault(kind="error"))


async def _heal_first(world: RegionsWorld) -> None:
    await world.providers.switch(FIRST)


async def _cut_egress(world: RegionsWorld) -> None:
    world.cut_egress(HIT)


async def _cut_off(world: RegionsWorld) -> None:
    world.cut_off(HIT)


async def _lose_majority(world: RegionsWorld) -> None:
    if world.etcd is not None:
        for member in world.etcd.members[:2]:
            member.kill()


async def _bring_back(world: RegionsWorld) -> None:
    if world.etcd is not None:
        await asyncio.to_thread(world.etcd.start)


async def _wipe(world: RegionsWorld) -> None:
    if world.etcd is not None:
        await asyncio.to_thread(world.etcd.wipe)


async def _roll(world: RegionsWorld) -> None:
    for name in world.regions:
        await world.start(name)


async def _nothing(_: RegionsWorld) -> None:
    return


ONE_REGION: Final = Act("dead in one region", f"{FIRST} cannot be reached from {HIT}", _cut_first, _mend, _stays)
EVERYWHERE: Final = Act(
    "dead everywhere", f"{FIRST} fails in every region", _break_first, _heal_first, _leaves, watched=True
)
EGRESS: Final = Act("egress black-holed", f"{HIT} cannot reach any provider", _cut_egress, _mend, _by_a_peer)
MAJORITY: Final = Act("etcd majority lost", "two of three members are killed", _lose_majority, _bring_back, _at_home)
CUT_OFF: Final = Act("one region cut off", f"{HIT} loses etcd and the other regions", _cut_off, _mend, _at_home)
WIPED: Final = Act("etcd wiped", "etcd loses all its data and starts empty", _wipe, _nothing, _at_home)
ROLLING: Final = Act("rolling restart", "every edge is replaced, one region after the other", _roll, _nothing, _at_home)

DEMO: Final = (ONE_REGION, EVERYWHERE, EGRESS, MAJORITY)
ALL: Final = (*DEMO, CUT_OFF, WIPED, ROLLING)
