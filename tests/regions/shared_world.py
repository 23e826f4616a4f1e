"""Nodes that share limits through a store, in virtual time, and that a test can cut off at will."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

from edge.cluster.memory import MemoryCluster
from edge.errors import StoreUnavailableError
from edge.regions import shares
from edge.regions.digest import NODES, SHARES
from edge.regions.keeper import Shared, ShareKeeper, Silence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.terms.ports import Item, Unchanged, Write

S = 1_000_000_000
TICK_NS = S // 4
BEAT_NS = 5 * S


class Time:
    """A clock that may start elsewhere and run a little fast. Sleeping takes no time."""

    def __init__(self, world: World | None = None, offset_ns: int = 0, speed: float = 1.0) -> None:
        self._world = world
        self._offset_ns = offset_ns
        self._speed = speed
        self.true_ns = 1_000 * S
        self.chance = random.Random(5)

    def now_ns(self) -> int:
        """Return monotonic nanoseconds of this clock."""
        true_ns = self.true_ns if self._world is None else self._world.time.true_ns
        return self._offset_ns + int(true_ns * self._speed)

    def wall(self) -> float:
        """Return Unix time."""
        return self.now_ns() / 1e9

    async def sleep(self, seconds: float) -> None:
        """Return at once."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self.chance.random()

    def bits(self) -> int:
        """Return 64 random bits."""
        return self.chance.getrandbits(64)


class Link:
    """A node's connection to the store: open, cut, or losing only the answers."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._store = cluster.client()
        self.mode = "open"

    async def get(self, key: str) -> Item | None:
        """As the port has it."""
        self._pass()
        return await self._store.get(key)

    async def keep(self) -> None:
        """Keep the lease, as a node does before each heartbeat: without an answer no write follows."""
        self._pass()

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """As the port has it."""
        self._cut()
        revision = await self._store.put(key, value, lease=lease)
        self._pass()
        return revision

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """As the port has it."""
        self._cut()
        done = await self._store.txn(conditions, writes)
        self._pass()
        return done

    def _cut(self) -> None:
        if self.mode == "cut":
            raise StoreUnavailableError("cut off")

    def _pass(self) -> None:
        if self.mode != "open":
            raise StoreUnavailableError("no answer")


class SharingNode:
    """One node: a keeper, its copy of the store, and its demand."""

    def __init__(self, world: World, place: int, offset_ns: int = 0, speed: float = 1.0) -> None:
        self.world = world
        self.name = f"r{place}/n{place}"
        self.time = Time(world, offset_ns, speed)
        self.link = Link(world.cluster)
        store: Any = self.link
        self.keeper = ShareKeeper(store, f"r{place}", f"n{place}", self.time)
        self.want = (0, 0)
        self.used = (0, 0)
        self.blind = False  # its watch stands still
        self.running = True
        self._held: dict[str, Item] = {}
        self._heard: dict[str, tuple[int, int, int]] = {}  # node -> (revision, when it was seen, how blind we were)
        self._beat_ns = -(10**18)
        self._seen_ns = -(10**18)
        self._count = 0

    @property
    def share(self) -> int:
        """Return the thousandths of a request per minute that the node may grant now."""
        return self.keeper.share(self.world.allowance)[0]

    async def tick(self) -> None:
        """Run half a second of the node."""
        if not self.running:
            return
        now_ns = self.time.now_ns()
        if now_ns - self._beat_ns >= BEAT_NS:
            self._beat_ns = now_ns
            self._count += 1
            with contextlib.suppress(StoreUnavailableError):
                await self.link.keep()
                await self.link.put(NODES + self.name, b"%d" % self._count)
                self.keeper.beat(now_ns)
        self.look(now_ns)
        if now_ns - self._seen_ns > 5 * S:
            return
        item = self._held.get(SHARES + self.world.allowance.name)
        ledger = (shares.decode(item.value), item.revision) if item else (shares.Shares(), 0)
        names = {key.removeprefix(NODES) for key in self._held if key.startswith(NODES)} | ledger[0].nodes.keys()
        silences = {}
        for name in names - {self.name}:
            revision, seen_ns, blind_ns = self._heard.setdefault(name, (0, now_ns, 0))
            silences[name] = Silence(now_ns - seen_ns, revision, now_ns - seen_ns + blind_ns)
        allowance, check = self.world.allowance, self.world.check
        await self.keeper.step(allowance, self.want, ledger, silences, check, used=self.used)

    def look(self, now_ns: int) -> None:
        """Read the store's changes, if the watch works."""
        if self.blind or self.link.mode != "open":
            return
        blind_ns = now_ns - self._seen_ns
        self._seen_ns = now_ns
        self.keeper.saw()
        self._held = {item.key: item for item in self.world.cluster.list("").items}
        for key, item in self._held.items():
            if key.startswith(NODES):
                name = key.removeprefix(NODES)
                if self._heard.get(name, (0, 0, 0))[0] != item.revision:
                    self._heard[name] = (item.revision, now_ns, blind_ns)


class World:
    """Nodes that share one limit. ``worst`` is the maximum that they granted together beyond the limit."""

    def __init__(self, nodes: int, limit: int = 600_000, clocks: Sequence[tuple[int, float]] = ()) -> None:
        self.time = Time()
        self.cluster = MemoryCluster(self.time)
        self.allowance = Shared("key/team", (limit, 0))
        self.nodes: list[SharingNode] = []
        self.most = 0
        self.watched = False
        for place in range(nodes):
            offset_ns, speed = clocks[place] if place < len(clocks) else (0, 1.0)
            self.nodes.append(SharingNode(self, place, offset_ns, speed))

    @property
    def total(self) -> int:
        """Return how much all nodes may grant together."""
        return sum(node.share for node in self.nodes if node.running)

    def check(self, _: object = None) -> None:
        """Check the sum at every change."""
        if self.watched:
            self.most = max(self.most, self.total)

    async def run(self, ticks: int) -> None:
        """Advance virtual time in half seconds; the nodes act in turn, a little apart."""
        for _ in range(ticks):
            for node in self.nodes:
                self.time.true_ns += TICK_NS // len(self.nodes)
                await node.tick()
                self.check()
