"""``thousand-nodes``: what many nodes tell each other through a store in memory, and what they conclude from it.

Every node samples its targets, decides when to write, and writes its digest. One node of each region is a whole
``edge.control.sharing.Sharing``: it follows the store, surveys all regions, passes verdicts, and writes weights into
its shared state. A provider dies everywhere and comes back, while one region claims that a healthy one is dead.
"""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from edge.balance.report import Use, report
from edge.cluster.memory import MemoryCluster
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.control.sharing import Sharing
from edge.control.sharing_deps import SharingDeps
from edge.drills.told import Circuits, Teller
from edge.drills.virtual_time import NS, VirtualTime
from edge.native import SharedState
from edge.routing.planner import allowance_capacity, capacities
from edge.terms.target_state import OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.balance.report import TargetReport
    from edge.terms.ports import Change, Unchanged, Write
    from edge.terms.snapshot import Snapshot

TICK_NS: Final = NS // 4
DEAD, SLANDERED = 0, 1
"""Which targets of the route die, and are lied about."""
TEXT: Final = """
providers:
  deepseek: {api_key: made-up-for-a-drill-0000}
  openai: {api_key: made-up-for-a-drill-0000, limits: {requests_per_minute: 6000, scope: global}}
  anthropic: {api_key: made-up-for-a-drill-0000}
  gemini: {api_key: made-up-for-a-drill-0000}
models:
  chat:
    targets: [deepseek/deepseek-v4-flash, openai/gpt-4.1-mini, anthropic/claude-haiku-4-5, gemini/gemini-2.5-flash]
"""


class Times(Struct, frozen=True):
    """When what happens, in seconds; the end too."""

    quiet: tuple[float, float] = (10.0, 20.0)  # nothing changes: writes are counted
    dies: float = 20.0
    spread: float = 3.0  # over which nodes notice
    busy: tuple[float, float] = (20.0, 30.0)  # circuits open, trials begin and fail: writes are counted
    heals: float = 32.0
    end: float = 55.0


class Moment(Struct, frozen=True, array_like=True):
    """One second of the drill."""

    at_s: float
    writes: float  # a second and node
    failing: int  # regions in which most circuits of the dead target are not closed
    lighter: int  # regions that give it less traffic because of what others report


class Shown(Struct, frozen=True):
    """What came of it. Rates are writes a second and node."""

    nodes: int
    regions: int
    seed: int
    quiet_rate: float
    busy_rate: float
    busiest_rate: float  # of the node that wrote most while circuits changed
    written_per_s: float  # bytes a second into the store, while circuits changed
    lag_s: tuple[float, float]  # from a majority of regions to the verdict: median and last region
    hearsay_s: tuple[float, float]  # from the first open circuit to the threshold of two elsewhere: likewise
    begun: int  # how often a region began to give the dead target less traffic: once each without flapping
    ended: int  # how often one ended that: likewise
    recovered_s: float  # from the end of that majority to the last full weight
    granted: tuple[float, float]  # requests a minute of the shared limit that the concluding nodes hold: least and most
    limit: float  # ... of so many
    moves: int  # transactions in its ledger
    slander: tuple[float, int]  # lowest weight of the slandered target, and lowest failure threshold, 0 = none lowered
    moments: tuple[Moment, ...] = ()


class _Counted(MemoryCluster):
    """A store that counts the bytes written into it, and tells of many changes in one message, as etcd does."""

    taken = 0

    def write(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes under one revision."""
        self.taken += sum(len(write.value) for write in writes if write.value is not None)
        return super().write(conditions, writes)

    def since(self, prefix: str, revision: int) -> tuple[Sequence[tuple[Change, ...]], int]:
        """Return the changes under a prefix from a revision on, and the revision to continue at."""
        found, following = super().since(prefix, revision)
        return [tuple(change for changes in found for change in changes)] if found else [], following


def _lower(one: int, other: int) -> int:
    """Return the lower of two failure thresholds; 0 = the route's own, which is higher."""
    return min(one or other, other or one)


class _Region:
    """One region: the node that concludes, and the tellers beside it."""

    def __init__(self, name: str, snapshot: Snapshot, cluster: MemoryCluster, time: VirtualTime) -> None:
        self.name = name
        self.snapshot = structs.replace(snapshot, region=name, node=f"{name}-0")
        targets, routes = capacities(snapshot)
        self.state = SharedState.create(
            targets, routes, 1, time.now_ns(), allowance_capacity(snapshot), pin_bytes=snapshot.limits.affinity
        )
        self.circuits = Circuits(self.state, self.snapshot)
        self.tellers: list[Teller] = []
        self.weights: list[tuple[float, float]] = []  # (seconds, weight of the dead target), where it changed
        self.hearsay_s: float | None = None  # when the threshold of the dead target was first lowered
        self.verdict_s: float | None = None
        self.slandered = (1.0, 0)  # its lowest weight and failure threshold here, 0 = its own
        self._time = time
        deps = SharingDeps(
            snapshot=lambda: self.snapshot,
            reports=self._reports,
            draining=lambda: False,
            load=lambda: 0,
            addresses=lambda: (f"{name}-0.internal:8080",),
            peers_changed=lambda _: None,
            overrides_changed=lambda _: None,
        )
        self.sharing = Sharing(
            self.state, deps, cluster.client(), region=name, node=f"{name}-0", instance=name, clock=time
        )
        self.sharing.follow()

    def _reports(self, now_ns: int) -> dict[str, TargetReport]:
        route = self.snapshot.routes[0]
        targets = [self.snapshot.targets[member.target] for member in route.members]
        uses = (Use(route.name, 1, 1.0, route.breaker),)
        return {
            target.id: report(self.state.read_target(target.slot, now_ns), now_ns=now_ns, uses=uses)
            for target in targets
        }

    def effect(self, place: int) -> tuple[float, int]:
        """Return the weight that other regions' reports give a target here, and its failure threshold, 0 = its own."""
        target = self.snapshot.targets[self.snapshot.routes[0].members[place].target]
        word = self.state.read_target(target.slot, self._time.now_ns())["remote"]
        return ((word >> 48) / 1000 or 1.0, word >> 32 & 0xFFFF)

    def look(self, at_s: float) -> None:
        """Note what has changed."""
        weight, threshold = self.effect(DEAD)
        if threshold and self.hearsay_s is None:
            self.hearsay_s = at_s
        if weight < 1 and self.verdict_s is None:
            self.verdict_s = at_s
        if (weight < 1) != (bool(self.weights) and self.weights[-1][1] < 1):
            self.weights.append((at_s, weight))
        weight, threshold = self.effect(SLANDERED)
        self.slandered = (min(self.slandered[0], weight), _lower(self.slandered[1], threshold))

    def everyone(self) -> list[Circuits]:
        """Return the circuits of all its nodes."""
        return [self.circuits, *(one.circuits for one in self.tellers)]

    def fails(self, now_ns: int) -> bool:
        """Return whether most nodes of the region have the dead target's circuit open."""
        states = [one.is_open(DEAD, now_ns) for one in self.everyone()]
        return 2 * sum(states) > len(states)


class _Mark(Struct, frozen=True):
    """Counts at one moment."""

    writes: tuple[int, ...]  # by node
    taken: int


class _World:
    """All nodes, their store, and what happens to them."""

    def __init__(self, nodes: int, regions: int, seed: int, times: Times) -> None:
        self.time = VirtualTime(seed)
        self.times = times
        self.chance = Random(f"{seed} nodes")
        self.store = _Counted(self.time)
        snapshot = compile_config(checked(read_text(TEXT, "thousand-nodes", environ={})), now=self.time.wall())
        self.regions = [_Region(f"r{place:02}", snapshot, self.store, self.time) for place in range(regions)]
        width = max(target.slot for target in snapshot.targets) + 1
        state = SharedState.create(width * nodes, 1, 1, self.time.now_ns())
        for number in range(nodes - regions):
            region = self.regions[number % regions]
            targets = tuple(structs.replace(target, slot=target.slot + number * width) for target in snapshot.targets)
            own = structs.replace(snapshot, region=region.name, targets=targets)
            name = f"{region.name}-{number // regions + 1}"
            region.tellers.append(Teller(state, own, self.store.client(), name, self.time))
        slandered = snapshot.targets[snapshot.routes[0].members[SLANDERED].target].id
        for teller in self.regions[-1].tellers:
            teller.lies = {slandered: OPEN.label}
        self.tellers = [teller for region in self.regions for teller in region.tellers]
        self.circuits = [one for region in self.regions for one in region.everyone()]
        # when each node next meets the dead provider, when it meets it healed, and when it starts to tell
        self.due = [times.dies + self.chance.random() * times.spread for _ in self.circuits]
        self.back = [times.heals + self.chance.random() * times.spread for _ in self.circuits]
        self.starts = [5 * self.chance.random() for _ in self.tellers]
        self.first_s = times.end  # when the first circuit opened
        self.majority_s = times.end  # when most regions' circuits were open, and when no longer
        self.calm_s = times.heals
        self.granted = (math.inf, 0.0)
        self.limit = 0.0
        self.moments: list[Moment] = []
        self._told = 0

    def mark(self) -> _Mark:
        """Return the counts now."""
        writes = (*(region.sharing.writes for region in self.regions), *(one.writes for one in self.tellers))
        return _Mark(writes, self.store.taken)

    async def step(self, tick: int, began_ns: int) -> None:
        """Play a quarter of a second."""
        self.time.pass_to(began_ns + tick * TICK_NS)
        now_ns, at_s = self.time.now_ns(), tick / 4
        for number, one in enumerate(self.circuits):
            if (number + tick) % 8 == 0:
                one.answer(now_ns, 5)
            self._meet(number, one, now_ns, at_s)
        for teller, start_s in zip(self.tellers, self.starts, strict=True):
            if at_s >= start_s:
                teller.tick(now_ns)
        for region in self.regions:
            region.sharing.tick()
        await self.time.settle()
        failing = sum(region.fails(now_ns) for region in self.regions)
        if at_s >= self.times.dies and 2 * failing > len(self.regions):
            self.majority_s = min(self.majority_s, at_s)
            self.calm_s = at_s + 0.25
        for region in self.regions:
            region.look(at_s)
        if tick % 4 == 0:
            told = sum(self.mark().writes)
            lighter = sum(region.effect(DEAD)[0] < 1 for region in self.regions)
            self.moments.append(Moment(at_s, (told - self._told) / len(self.circuits), failing, lighter))
            self._told = told
        if at_s >= self.times.quiet[0]:
            shares = [next(iter(region.sharing.shares().values())) for region in self.regions]
            total = sum(share["requests_per_minute"] for share in shares)
            self.granted = (min(self.granted[0], total), max(self.granted[1], total))
            self.limit = shares[0]["of_requests_per_minute"]

    def _meet(self, number: int, one: Circuits, now_ns: int, at_s: float) -> None:
        """Let a node meet the provider that is dead, or healed. A trial that fails takes a second."""
        if at_s >= self.back[number]:
            if one.is_open(DEAD, now_ns):
                one.heal(DEAD, now_ns)
        elif at_s >= self.due[number]:
            self.first_s = min(self.first_s, at_s)
            one.fail(DEAD, now_ns, self.chance.getrandbits(64))
            self.due[number] = at_s + 1

    async def end(self) -> None:
        """End what runs beside the nodes."""
        for region in self.regions:
            region.sharing.cancel_tasks()
        self.time.pass_to(self.time.now_ns() + 1000 * NS)
        await self.time.settle()


async def _play(nodes: int, regions: int, seed: int, times: Times) -> Shown:
    world = _World(nodes, regions, seed, times)
    began_ns = world.time.now_ns()
    marks: dict[float, _Mark] = {}
    for tick in range(int(times.end * 4)):
        if tick / 4 in (*times.quiet, *times.busy):
            marks[tick / 4] = world.mark()
        await world.step(tick, began_ns)
    await world.end()
    quiet, busy = _rates(marks, times.quiet), _rates(marks, times.busy)
    lags = sorted((times.end if one.verdict_s is None else one.verdict_s) - world.majority_s for one in world.regions)
    heard = sorted((times.end if one.hearsay_s is None else one.hearsay_s) - world.first_s for one in world.regions)
    changes = [weight for region in world.regions for _, weight in region.weights]
    last_s = max((at for region in world.regions for at, weight in region.weights if weight == 1), default=times.end)
    slander = [region.slandered for region in world.regions]
    return Shown(
        nodes=nodes,
        regions=regions,
        seed=seed,
        quiet_rate=sum(quiet) / nodes,
        busy_rate=sum(busy) / nodes,
        busiest_rate=max(busy),
        written_per_s=(marks[times.busy[1]].taken - marks[times.busy[0]].taken) / (times.busy[1] - times.busy[0]),
        lag_s=(lags[len(lags) // 2], lags[-1]),
        hearsay_s=(heard[len(heard) // 2], heard[-1]),
        begun=sum(weight < 1 for weight in changes),
        ended=sum(weight == 1 for weight in changes),
        recovered_s=last_s - world.calm_s,
        granted=world.granted,
        limit=world.limit,
        moves=sum(region.sharing.state().grant_moves for region in world.regions),
        slander=(min(weight for weight, _ in slander), min((least for _, least in slander if least), default=0)),
        moments=tuple(world.moments),
    )


def _rates(marks: dict[float, _Mark], span: tuple[float, float]) -> list[float]:
    """Return the writes a second of each node within a span."""
    before, after = marks[span[0]].writes, marks[span[1]].writes
    return [(now - then) / (span[1] - span[0]) for then, now in zip(before, after, strict=True)]


def play(nodes: int = 1000, regions: int = 20, *, seed: int = 1, times: Times | None = None) -> Shown:
    """Play the drill; each region has at least two nodes. The same arguments give the same result."""
    return asyncio.run(_play(nodes, regions, seed, times or Times()))
