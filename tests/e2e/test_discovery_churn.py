"""Endpoints come and go for a minute under load: no request fails, and the slowest take hardly longer than in peace.

Windows of churn and of peace alternate in one run, so that what else the machine does falls on both. Every backend that
leaves is announced first and stops four seconds later, whether its source could say so or not, as pods do.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dns.rcode
import pytest
from cluster_api import ClusterApi, slice_of
from name_server import NameServer
from nodes import RunningNode

from edge.cluster.etcd import EtcdStore
from edge.config.schema_cluster import Etcd
from edge.sim.etcd import EtcdCluster
from edge.sim.ports import free_port
from edge.sim.scores import quantile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

pytestmark = pytest.mark.prove

SIDE = Path(__file__).with_name("churn_side.py")
WINDOWS, WINDOW_S, SETTLE_S = 6, 10.0, 5.0
LEAVES_S = 4.0
EACH, FEWEST = 12, 4
WORST = 1.3
MANY, SLICE, CHANGES = 5000, 100, 200


@asynccontextmanager
async def side(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one end of the test; it ends with its standard input."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(SIDE), *words, stdin=pipe, stdout=pipe, limit=2**27
    )
    assert child.stdin is not None
    try:
        yield child
    finally:
        child.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            try:
                await asyncio.wait_for(child.wait(), 20)
            except TimeoutError:
                child.kill()


class Backends:
    """Opens and closes addresses in a process of their own."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._told, self._said = child.stdin, child.stdout
        self._turn = asyncio.Lock()

    async def open(self, address: str) -> None:
        """Return when the address accepts connections."""
        async with self._turn:
            self._told.write(f"open {address}\n".encode())
            assert (await asyncio.wait_for(self._said.readline(), 20)).decode().strip() == address

    def close(self, address: str) -> None:
        """Stop gracefully: requests in flight end, idle connections close."""
        self._told.write(f"close {address}\n".encode())


class Times(NamedTuple):
    """What the load saw: in peace, under churn, and all failures."""

    still: list[float]
    churned: list[float]
    failures: list[str]

    @property
    def ratio(self) -> float:
        """The slowest hundredth under churn, as a multiple of that in peace."""
        return quantile(self.churned, 0.99) / quantile(self.still, 0.99)

    def __str__(self) -> str:
        both = [
            f"p50 {quantile(times, 0.5) * 1e3:.1f}, p99 {quantile(times, 0.99) * 1e3:.1f}, "
            f"longest {max(times) * 1e3:.0f} ms of {len(times)}"
            for times in (self.still, self.churned)
        ]
        return f"still: {both[0]}; churn: {both[1]}; ratio of p99 {self.ratio:.2f}; {len(self.failures)} failed"


async def measured(
    url: str, churn: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *paths: str, windows: int = WINDOWS
) -> Times:
    """Load a node while ``churn`` runs in every second window; it must end soon after the event is set."""
    spans: list[tuple[float, float, bool]] = []
    async with side("load", url, "16", "0.05", *paths) as load:
        await asyncio.sleep(2)
        for _ in range(windows):
            for is_churn in (False, True):
                began, stop = time.monotonic(), asyncio.Event()
                running = asyncio.create_task(churn(stop)) if is_churn else None
                await asyncio.sleep(WINDOW_S)
                spans.append((began, time.monotonic(), is_churn))
                if running is not None:
                    stop.set()
                    await running
                    await asyncio.sleep(SETTLE_S)
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdin.close()
        kept = json.loads(await asyncio.wait_for(load.stdout.readline(), 60))
    times: dict[bool, list[float]] = {False: [], True: []}
    for first, last, is_churn in spans:
        times[is_churn] += [took for at, took, _ in kept if first <= at < last]
    return Times(times[False], times[True], [wrong for *_, wrong in kept if wrong])


class Source:
    """Twelve backends of one source, of which some are up; one comes or goes with each step.

    Args:
        net: the third number of their addresses.
        tell: announces the addresses that are up and those that are about to leave.
    """

    def __init__(
        self, net: int, backends: Backends, tell: Callable[[set[str], set[str]], Coroutine[Any, Any, None]]
    ) -> None:
        self._backends = backends
        self._tell = tell
        self._every = [f"127.0.{net}.{number}" for number in range(1, EACH + 1)]
        self._chance = random.Random(net)
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self.up: set[str] = set()
        self.changes = 0

    async def begin(self) -> None:
        """Open and announce half of them."""
        for address in self._every[: EACH // 2]:
            await self._backends.open(address)
            self.up.add(address)
        await self._tell(self.up, set())

    async def step(self) -> None:
        """Let one leave, or one come."""
        down = [address for address in self._every if address not in self.up and address not in self._leaving]
        if len(self.up) > FEWEST and (not down or self._chance.random() < 0.5):
            address = self._chance.choice(sorted(self.up))
            self.up.remove(address)
            self._leaving[address] = asyncio.create_task(self._leave(address))
        elif down:
            address = self._chance.choice(down)
            await self._backends.open(address)
            self.up.add(address)
        else:
            return
        self.changes += 1
        await self._tell(self.up, set(self._leaving))

    async def _leave(self, address: str) -> None:
        await asyncio.sleep(LEAVES_S)
        self._backends.close(address)
        await asyncio.sleep(2.5)
        del self._leaving[address]

    async def end(self) -> None:
        """Wait until those that leave have left."""
        await asyncio.gather(*self._leaving.values())


class World:
    """A name server, an API server and an etcd, each of which names twelve backends, and the faults of all three.

    Args:
        names, api, cluster, store: the sources.
        backends: opens and closes addresses.
        port: of all backends.
    """

    def __init__(
        self,
        names: NameServer,
        api: ClusterApi,
        cluster: EtcdCluster,
        *,
        store: EtcdStore,
        backends: Backends,
        port: int,
    ) -> None:
        self._names, self.api, self._cluster, self._store, self._port = names, api, cluster, store, port
        self._keys: set[str] = set()
        tell = (self._in_dns, self._in_slices, self._in_etcd)
        self.sources = [Source(net, backends, each) for net, each in enumerate(tell, start=1)]
        self._faults = itertools.cycle(
            (self._restart_api, self._silence, self._stall_etcd, self._expire, self._servfail, self._break_watches)
        )

    def config(self) -> dict[str, Any]:
        """Return a configuration with a service for each source."""
        return {
            "cluster": {"etcd": {"endpoints": list(self._cluster.endpoints)}},
            "services": {
                "dns": {"match": {"path": "/dns"}, "discover": f"dns://{self._names.address}/web.test:{self._port}"},
                "k8s": {"match": {"path": "/k8s"}, "discover": "k8s://shop/web:http"},
                "etcd": {"match": {"path": "/etcd"}, "discover": "etcd:///services/web/"},
            },
        }

    async def churn(self, stop: asyncio.Event) -> None:
        """Change every source four times a second, and let one fail every few seconds."""
        disturbing = asyncio.create_task(self._disturb(stop))
        while not stop.is_set():
            for source in self.sources:
                await source.step()
            await asyncio.sleep(0.25)
        await disturbing
        for source in self.sources:
            await source.end()

    async def _disturb(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(2.5)
            await next(self._faults)()

    async def _in_dns(self, up: set[str], _: set[str]) -> None:
        self._names.zone = {("web.test", "A"): sorted(up)}

    async def _in_slices(self, up: set[str], leaving: set[str]) -> None:
        endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in sorted(up)]
        gone = {"ready": False, "serving": True, "terminating": True}
        endpoints += [{"addresses": [address], "conditions": gone} for address in sorted(leaving)]
        await self.api.put(slice_of("web-1", port=self._port, endpoints=endpoints))

    async def _in_etcd(self, up: set[str], _: set[str]) -> None:
        for address in up - self._keys:
            await self._store.put(f"/services/web/{address}", f"{address}:{self._port}".encode())
        for address in self._keys - up:
            await self._store.delete(f"/services/web/{address}")
        self._keys = set(up)

    async def _restart_api(self) -> None:
        await self.api.stop()
        await asyncio.sleep(1.0)
        await self.api.start()

    async def _expire(self) -> None:
        self.api.forget()
        await self.api.fail_watches(410)

    async def _break_watches(self) -> None:
        await self.api.bookmark()
        self.api.end_watches()

    async def _silence(self) -> None:
        self._names.silent = True
        await asyncio.sleep(1.5)
        self._names.silent = False

    async def _servfail(self) -> None:
        self._names.refuse = {("web.test", "A"): dns.rcode.SERVFAIL}
        await asyncio.sleep(1.5)
        self._names.refuse = {}

    async def _stall_etcd(self) -> None:
        for member in self._cluster.members:
            member.stall()
        await asyncio.sleep(1.0)
        for member in self._cluster.members:
            member.resume()


@pytest.mark.timeout(420)
async def test_a_minute_of_churn(tmp_path: Path) -> None:
    """DNS, an API server and etcd, all three failing now and then as well: 0 failed, p99 within 1.3 times of peace."""
    account, folder, port = tmp_path / "account", tmp_path / "etcd", free_port()
    account.mkdir()
    folder.mkdir()
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(NameServer())
        api = await stack.enter_async_context(ClusterApi(account, history=50, page=500))
        cluster = EtcdCluster(folder, 1)
        stack.callback(cluster.stop)
        await asyncio.to_thread(cluster.start)
        store = EtcdStore(Etcd(endpoints=tuple(cluster.endpoints)), root="")
        stack.push_async_callback(store.close)
        backends = Backends(await stack.enter_async_context(side("backends", str(port))))
        world = World(names, api, cluster, store=store, backends=backends, port=port)
        for source in world.sources:
            await source.begin()
        node = await stack.enter_async_context(
            RunningNode(tmp_path, world.config(), "--workers", "1", environ=api.environ)
        )
        times = await measured(node.url, world.churn, "/dns", "/k8s", "/etcd")
        changes = [source.changes for source in world.sources]
        sys.stdout.write(f"{times}; changes of dns, k8s and etcd: {changes}; {api.lists} lists of slices\n")
        assert times.failures == []
        assert min(changes) > 2 * WINDOWS
        assert times.ratio < WORST


@pytest.mark.timeout(300)
async def test_five_thousand_endpoints(tmp_path: Path) -> None:
    """Slices of 5,000 endpoints change 200 times a second: nothing fails, nothing stands still, control keeps up."""
    account, port = tmp_path / "account", free_port()
    account.mkdir()
    numbers = itertools.count(1)

    def fresh() -> str:
        number = next(numbers)
        return f"127.{1 + number // 62500}.{1 + number // 250 % 250}.{1 + number % 250}"

    slices = [[fresh() for _ in range(SLICE)] for _ in range(MANY // SLICE)]
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ClusterApi(account, history=2000, page=500))
        backends = Backends(await stack.enter_async_context(side("backends", str(port))))
        await backends.open("any")
        for place, addresses in enumerate(slices):
            await api.put(slice_of(f"web-{place}", *addresses, port=port))
        config: dict[str, Any] = {"services": {"web": {"match": {"path": "/"}, "discover": "k8s://shop/web:http"}}}
        node = await stack.enter_async_context(RunningNode(tmp_path, config, "--workers", "1", environ=api.environ))
        chance, changed, spent = random.Random(7), 0, 0.0

        async def churn(stop: asyncio.Event) -> None:
            nonlocal changed, spent
            began, mine = time.monotonic(), 0
            while not stop.is_set():
                due = int((time.monotonic() - began) * CHANGES)
                for _ in range(due - mine):
                    place = chance.randrange(len(slices))
                    slices[place][chance.randrange(SLICE)] = fresh()
                    await api.put(slice_of(f"web-{place}", *slices[place], port=port))
                mine = due
                await asyncio.sleep(0.005)
            changed, spent = changed + mine, spent + time.monotonic() - began

        _, before = await node.get("/ready")
        times = await measured(node.url, churn, "/", windows=3)
        _, after = await node.get("/ready")
        _, state = await node.get("/api/node")
        _, targets = await node.get("/api/targets")
        sys.stdout.write(
            f"{times}; {changed / spent:.0f} changes a second, {(after['snapshot'] - before['snapshot']) / spent:.1f} "
            f"Snapshots a second\n"
        )
        assert times.failures == []
        assert state["discovery"][0]["endpoints"] == MANY
        assert {target["id"].partition("/")[2] for target in targets} <= {
            f"{address}:{port}" for addresses in slices for address in addresses
        }
        assert changed / spent > 0.9 * CHANGES
        assert max(times.churned) < max(times.still) + 0.25
