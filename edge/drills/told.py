"""A node of a drill that only tells: its digest is sampled, judged due and written as a node does it.

Nodes of one region see the same store and conclude the same, so one of them concludes for all (``edge.drills.nodes``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from edge.control.heartbeat import Heartbeat
from edge.native import Target, TargetPool
from edge.regions.digest import Digest, node_key
from edge.regions.sampler import Sampler
from edge.terms.target_state import HALF_OPEN, OPEN, USABLE, Label
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edge.drills.virtual_time import VirtualTime
    from edge.native import SharedState
    from edge.terms.ports import Store
    from edge.terms.snapshot import Snapshot

STATES: Final[dict[str, Label]] = {"closed": USABLE.label, "open": OPEN.label, "half_open": HALF_OPEN.label}
_FAILURES: Final = 5


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, and return its result."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a write to the store in memory had to wait")


class Circuits:
    """The circuits of one node's targets, moved by outcomes as the data path reports them.

    Args:
        number: of the route in the Snapshot. Its targets are counted best tier first, without other regions.
    """

    def __init__(self, state: SharedState, snapshot: Snapshot, number: int = 0) -> None:
        route = snapshot.routes[number]
        members = sorted(route.members, key=lambda member: member.tier)
        targets = [snapshot.targets[member.target] for member in members]
        self._targets = [target for target in targets if target.kind != "region"]
        places = [Target(state, target.slot, target.id) for target in self._targets]
        self._state = state
        self._pool = TargetPool(
            places, [1] * len(places), [1.0] * len(places), route.breaker, workers=1, permit_ns=10_000_000_000
        )

    def answer(self, now_ns: int, count: int) -> None:
        """Report good answers of every target whose circuit is closed."""
        for place, target in enumerate(self._targets):
            view = self._state.read_target(target.slot, now_ns)
            if view["state"] == "closed":
                for _ in range(count):
                    self._pool.report(place, now_ns, view["generation"], failed=False)

    def fail(self, place: int, now_ns: int, chance: int) -> None:
        """Report failures until the circuit opens, begin a trial that is due, or let the one that runs fail."""
        view = self._state.read_target(self._targets[place].slot, now_ns)
        if view["state"] == "closed":
            for _ in range(_FAILURES):
                self._pool.report(place, now_ns, view["generation"], failed=True, rnd=chance)
        elif view["state"] == "half_open":
            self._pool.report(place, now_ns, view["generation"], failed=True, trial=True, rnd=chance)
        else:
            self._pool.take_one(place, now_ns)

    def heal(self, place: int, now_ns: int) -> None:
        """Let the trial that runs succeed, or begin one that is due."""
        view = self._state.read_target(self._targets[place].slot, now_ns)
        if view["state"] == "half_open":
            self._pool.report(place, now_ns, view["generation"], failed=False, trial=True)
        else:
            self._pool.take_one(place, now_ns)

    def is_open(self, place: int, now_ns: int) -> bool:
        """Return whether the circuit is not closed."""
        return self._state.read_target(self._targets[place].slot, now_ns)["state"] != "closed"


class Teller:
    """One node that tells.

    Args:
        state: the shared state with the records of ``snapshot``'s targets, which are this node's alone.
        store: its client of the store.
    """

    def __init__(self, state: SharedState, snapshot: Snapshot, store: Store, node: str, time: VirtualTime) -> None:
        self.region = snapshot.region
        self.circuits = Circuits(state, snapshot)
        self.lies: dict[str, Label] = {}  # what it says of a target, whatever it sees
        self._snapshot = snapshot
        self._state = state
        self._node = node
        self._sampler = Sampler(state)
        self._beat = Heartbeat(
            store, node_key(snapshot.region, node), time, on_write=lambda _: None, connected=lambda: True
        )

    @property
    def writes(self) -> int:
        """How often it has written."""
        return self._beat.writes

    def tick(self, now_ns: int) -> None:
        """Do what a node does four times a second: sample, and write what is due."""
        states = {
            target.id: STATES[self._state.read_target(target.slot, now_ns)["state"]]
            for target in self._snapshot.targets
            if target.model
        }
        targets = self._sampler.sample(self._snapshot, states, {}, now_ns)
        if self.lies:
            targets = tuple(structs.replace(target, state=self.lies.get(target.id, target.state)) for target in targets)
        digest = Digest(self.region, self._node, self._node, VERSION, (f"{self._node}.internal:8080",), 0, targets)
        if self._beat.due(digest, now_ns):
            at_once(self._beat.write(digest, now_ns))
