"""Nodes of several regions that share through one store, on a clock that the test advances."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from edge.balance.report import Use, report
from edge.cluster.memory import MemoryCluster
from edge.control.sharing import Sharing
from edge.control.sharing_deps import SharingDeps
from edge.errors import StoreUnavailableError
from edge.native import IssuedIds, SharedState
from edge.terms.snapshot import Credential, Target
from native.balance.capability import Capabilities, Taken
from tests.breakers import USUAL
from tests.regions.shared_world import Time
from tests.snapshots import allowance, snapshot
from tests.snapshots import target as a_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pytest

    from edge.cluster.memory import MemoryStore
    from edge.regions.digest import ManualOverride, SharedWeight
    from edge.terms.places import Peer

S = 1_000_000_000


def target(name: str, slot: int, credential: int = -1) -> Target:
    """Return a model's target."""
    return a_target(name, slot, credential=credential)


class Node:
    """One node: a shared state, a sharing, and its received operations."""

    def __init__(
        self,
        world: Regions,
        region: str,
        names: Sequence[str],
        *,
        shared: bool = False,
        instance: str = "",
        issued: IssuedIds | None = None,
    ) -> None:
        self.world = world
        self.issued = IssuedIds.create(65_536) if issued is None else issued
        self.shared_state = SharedState.create(len(names), 0, 1, allowance_capacity=1)
        limits = allowance(0, requests_per_minute=600, shared=True)
        self.snapshot = snapshot(
            region=region,
            targets=tuple(target(name, slot, 0 if shared else -1) for slot, name in enumerate(names)),
            credentials=(Credential("p", limits),) if shared else (),
        )
        self.peers: tuple[Peer, ...] = ()
        self.overrides: dict[str, ManualOverride] = {}
        self.weights: dict[str, SharedWeight] = {}
        self.leaving = False
        self.dark_pages: tuple[str, ...] = ()
        self.store: MemoryStore = world.cluster.client()
        deps = SharingDeps(
            snapshot=lambda: self.snapshot,
            reports=self.reports,
            draining=lambda: self.leaving,
            load=lambda: 0,
            addresses=lambda: (f"{region}:1",),
            peers_changed=self.meet,
            overrides_changed=self.take,
            weights_changed=self.take_weights,
            dark_pages=lambda: self.dark_pages,
        )
        self.sharing = Sharing(
            self.shared_state,
            deps,
            self.store,
            region=region,
            node="n",
            instance=instance or region,
            issued=self.issued,
            clock=world.time,
        )

    def reports(self, now_ns: int) -> dict[str, Any]:
        """Return the state of each target."""
        return {
            each.id: report(
                self.shared_state.read_target(each.slot, now_ns), now_ns=now_ns, uses=(Use("chat", 1, 1.0, USUAL),)
            )
            for each in self.snapshot.targets
        }

    def meet(self, peers: Sequence[Peer]) -> None:
        """Record the edges of other regions."""
        self.peers = tuple(peers)

    def take(self, overrides: Mapping[str, ManualOverride]) -> None:
        """Record the overrides of operators."""
        self.overrides = dict(overrides)

    def take_weights(self, weights: Mapping[str, SharedWeight]) -> None:
        """Record the weights of operators."""
        self.weights = dict(weights)

    def remote(self, slot: int = 0) -> tuple[int, int]:
        """Return weight in thousandths and failure threshold of a target."""
        word = self.shared_state.read_target(slot, 0)["remote"]
        return word >> 48, word >> 32 & 0xFFFF

    def fail(self, slot: int = 0) -> None:
        """Open a target's circuit."""
        from native.balance.balancer import TargetPool
        from native.balance.target import Target as Place

        pool = TargetPool([Place(self.shared_state, slot, "t")], [1], [1.0], USUAL, workers=1, permit_ns=S)
        generation = self.shared_state.read_target(slot, 0)["generation"]
        for _ in range(5):
            pool.report(0, self.world.time.now_ns(), generation, failed=True)

    def lack(self, capability: int, slot: int = 0) -> None:
        """Open the circuit of a target's capability: requests that need it fail, and others succeed."""
        now_ns, part = self.world.time.now_ns(), Capabilities(self.shared_state, slot, USUAL, S)
        part.work(self._taken(part, 0), now_ns)
        body = 0
        while self.part(capability, slot)[0] == "closed":
            body += 1
            part.fail(self._taken(part, 1 << capability), now_ns, body)

    def _taken(self, part: Capabilities, needs: int) -> Taken:
        taken = part.take(needs, self.world.time.now_ns())
        assert taken is not None
        return taken

    def part(self, capability: int, slot: int = 0) -> tuple[str, int, int]:
        """Return the state of a capability here, and what others say of it: thousandths of weight, and threshold."""
        view = self.shared_state.read_target(slot, self.world.time.now_ns())["capabilities"].get(capability)
        return (
            ("closed", 0, 0) if view is None else (view["state"], view["remote"] >> 48, view["remote"] >> 32 & 0xFFFF)
        )


class Regions:
    """Nodes of several regions, one store, and one clock that the test advances."""

    def __init__(self) -> None:
        self.time = Turned()
        self.cluster = MemoryCluster(self.time)
        self.nodes: list[Node] = []

    def add(
        self, region: str, *names: str, shared: bool = False, instance: str = "", issued: IssuedIds | None = None
    ) -> Node:
        """Add a region of one node."""
        node = Node(self, region, names, shared=shared, instance=instance, issued=issued)
        self.nodes.append(node)
        return node

    async def pass_by(self, seconds: float) -> None:
        """Advance the time in quarters of a second."""
        for _ in range(int(seconds * 4)):
            self.time.true_ns += S // 4
            self.time.wake()
            for node in self.nodes:
                node.sharing.tick()
            for _ in range(12):
                await asyncio.sleep(0)

    @contextlib.contextmanager
    def away(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Make the store unreachable."""

        def gone(*_: object, **__: object) -> None:
            raise StoreUnavailableError("no majority")

        with monkeypatch.context() as patched:
            for name in ("list", "write", "get", "grant", "keep", "since"):
                patched.setattr(self.cluster, name, gone)
            yield

    async def end(self) -> None:
        """End the loops of every node."""
        for node in self.nodes:
            node.sharing.cancel_tasks()
        for _ in range(5):
            self.time.true_ns += 100 * S
            self.time.wake()
            await asyncio.sleep(0)


class Turned(Time):
    """A clock whose sleepers wake when it has been advanced far enough."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced this far."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.true_ns + int(seconds * S), done))
        await done

    def wake(self) -> None:
        """Wake the sleepers whose time has come."""
        for entry in tuple(self._sleepers):
            if entry[0] <= self.true_ns:
                self._sleepers.remove(entry)
                if not entry[1].done():
                    entry[1].set_result(None)
