"""What a node and two of other regions tell each other during a drill, through a store that may be lost.

All three are control's whole sharing. This node's stands beside the data path of the drill and shares its state; the
others see the same preferred provider fail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from edge.balance.report import Use, report
from edge.cluster.memory import MemoryCluster
from edge.control.sharing import Sharing
from edge.control.sharing_deps import SharingDeps
from edge.drills.told import Circuits
from edge.drills.upstream import condition_at
from edge.drills.virtual_time import NS, VirtualTime
from edge.errors import StoreUnavailableError
from edge.native import SharedState
from edge.routing.planner import allowance_capacity, capacities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge.balance.report import TargetReport
    from edge.drills.rehearsal import Rehearsal
    from edge.drills.scripts import Script
    from edge.drills.stage import Stage
    from edge.terms.ports import Change, Item, Listing, Unchanged, Write
    from edge.terms.snapshot import Snapshot

TICKS: Final = 4  # a second
FRESH_MS: Final = 15_000
"""For how long the data path believes a word of other regions (EDGE_REMOTE_HOLDS_MS)."""
OTHERS: Final = ("elsewhere", "far-away")


class Word(Struct, frozen=True):
    """What other regions' reports mean for the preferred target from a moment on; 0 = the route's own threshold."""

    at_s: float
    weight: float
    threshold: int


class LosingStore(MemoryCluster):
    """A store that does not answer while it is lost."""

    lost = False

    def _pass(self) -> None:
        if self.lost:
            raise StoreUnavailableError("no majority")

    def get(self, key: str) -> Item | None:
        """Return a key."""
        self._pass()
        return super().get(key)

    def list(self, prefix: str) -> Listing:
        """Return all keys under a prefix."""
        self._pass()
        return super().list(prefix)

    def write(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes under one revision."""
        self._pass()
        return super().write(conditions, writes)

    def since(self, prefix: str, revision: int) -> tuple[Sequence[tuple[Change, ...]], int]:
        """Return the changes under a prefix from a revision on."""
        self._pass()
        return super().since(prefix, revision)

    def grant(self, ttl_s: float) -> int:
        """Return a new lease."""
        self._pass()
        return super().grant(ttl_s)

    def keep(self, lease: int) -> None:
        """Renew a lease."""
        self._pass()
        super().keep(lease)


class _Node:
    """One node: its sharing, and the circuits of its targets."""

    def __init__(self, stage: Stage, region: str, state: SharedState, store: LosingStore, time: VirtualTime) -> None:
        snapshot = structs.replace(stage.snapshot, region=region, node=f"{region}-0")
        route = snapshot.models[stage.route]
        self.circuits = Circuits(state, snapshot, route)
        self._state = state
        self._uses = (Use(stage.route, 1, 1.0, snapshot.routes[route].breaker),)
        self._targets = [place.target for place in stage.places if place.role != "region"]
        deps = SharingDeps(
            snapshot=lambda: snapshot,
            reports=self._reports,
            draining=lambda: False,
            load=lambda: 0,
            addresses=lambda: (f"{region}.internal:8080",),
            peers_changed=lambda _: None,
            overrides_changed=lambda _: None,
        )
        self.sharing = Sharing(
            state, deps, store.client(), region=region, node=f"{region}-0", instance=region, clock=time
        )

    def _reports(self, now_ns: int) -> dict[str, TargetReport]:
        return {
            target.id: report(self._state.read_target(target.slot, now_ns), now_ns=now_ns, uses=self._uses)
            for target in self._targets
        }


class Neighbours:
    """This node and its neighbours; :meth:`acts` are to be played by a Rehearsal.

    ``words`` has what was heard of the preferred target, where it changed. ``shares`` has what each node grants of each
    shared limit, in requests a minute, before the store is lost, during the loss, and after it.
    """

    def __init__(self, rehearsal: Rehearsal, stage: Stage, script: Script, seed: int) -> None:
        self.words = [Word(0.0, 1.0, 0)]
        self.shares: dict[str, dict[str, tuple[float, ...]]] = {}
        self.limits: dict[str, float] = {}
        self._script = script
        self._loop = asyncio.new_event_loop()
        self._time = VirtualTime(seed)
        self._store = LosingStore(self._time)
        self._slot = stage.places[0].target.slot
        self._state = rehearsal.state
        self._dark = [place for place, one in enumerate(stage.places) if one.role == "primary"]
        self._began_ns = rehearsal.now_ns
        here = stage.snapshot.region
        states = [rehearsal.state, *(_state(stage.snapshot, rehearsal.now_ns) for _ in OTHERS)]
        regions = [here, *(name if name != here else f"{name}-2" for name in OTHERS)]
        self._nodes = [
            _Node(stage, region, state, self._store, self._time) for region, state in zip(regions, states, strict=True)
        ]
        self._following = False

    def acts(self) -> Iterator[tuple[float, Callable[[Rehearsal], None]]]:
        """Yield what is to be done, with its time in seconds."""
        for tick in range(int(self._script.seconds * TICKS)):
            yield tick / TICKS, self._step

    def _step(self, rehearsal: Rehearsal) -> None:
        self._time.pass_to(rehearsal.now_ns)
        at_s = (rehearsal.now_ns - self._began_ns) / NS
        lost = self._script.store_lost
        self._store.lost = lost is not None and lost[0] <= at_s < lost[1]
        self._loop.run_until_complete(self._share(at_s))
        self._look(at_s)

    async def _share(self, at_s: float) -> None:
        now_ns = self._time.now_ns()
        is_dark = condition_at(self._script.phases.get("primary", ()), at_s).dark >= 1
        for node in self._nodes[1:]:
            if at_s % 2 == 0:
                node.circuits.answer(now_ns, 5)
            if at_s % 1 == 0:
                for place in self._dark:
                    if is_dark:
                        node.circuits.fail(place, now_ns, self._time.bits())
                    elif node.circuits.is_open(place, now_ns):
                        node.circuits.heal(place, now_ns)
        for node in self._nodes:
            if not self._following:
                node.sharing.follow()
            node.sharing.tick()
        self._following = True
        await self._time.settle()

    def _look(self, at_s: float) -> None:
        word = self._state.read_target(self._slot, self._time.now_ns())["remote"]
        age_ms = (self._time.now_ns() // 1_000_000 - (word & 0xFFFFFFFF)) & 0xFFFFFFFF
        stale = word == 0 or age_ms > FRESH_MS
        weight, threshold = (1.0, 0) if stale else ((word >> 48) / 1000, word >> 32 & 0xFFFF)
        if (weight, threshold) != (self.words[-1].weight, self.words[-1].threshold):
            self.words.append(Word(at_s, weight, threshold))
        lost = self._script.store_lost
        moments = {"after": self._script.seconds - 1}
        if lost is not None:
            moments |= {"before": lost[0] - 1, "during": lost[1] - 1}
        for name, when in moments.items():
            if when == at_s:
                held = [node.sharing.shares() for node in self._nodes]
                self.limits = {limit: share["of_requests_per_minute"] for limit, share in held[0].items()}
                self.shares[name] = {
                    limit: tuple(shares[limit]["requests_per_minute"] for shares in held) for limit in held[0]
                }

    def end(self) -> None:
        """End what runs beside the drill."""
        for node in self._nodes:
            node.sharing.cancel_tasks()
        self._time.pass_to(self._time.now_ns() + 1000 * NS)
        self._loop.run_until_complete(self._time.settle())
        self._loop.close()


def _state(snapshot: Snapshot, now_ns: int) -> SharedState:
    targets, routes = capacities(snapshot)
    return SharedState.create(targets, routes, 1, now_ns, allowance_capacity(snapshot))
