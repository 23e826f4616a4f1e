"""A world of regions: an edge in each, providers that all of them use, and a network between them that can fail.

Every path between two places is a separate link: from a region to each provider, to each other region and to each etcd
member. So a provider can be dead for one region only, or a region can be cut off. Clients reach a region through a link
as well, which leads to another process when the edge is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from edge.sim.asked import Pace
from edge.sim.network import Network
from edge.sim.node import EdgeProcess
from edge.sim.world import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.sim.etcd import EtcdCluster
    from edge.sim.network import Link

REGIONS: Final = ("us-east", "eu-west", "ap-south")
PROVIDERS: Final = ("alpha", "beta")
MODEL: Final = "chat"
UPSTREAM_MODEL: Final = "sim-small"
PACE: Final = Pace(ttft_s=0.03, tps=300, tokens=6)
RTT_S: Final = 0.08  # between regions
NEAR_S: Final = 0.005  # to a provider, which is near every region
STORE: Final = "etcd"


def config(
    region: str, providers: dict[str, str], peers: dict[str, str], etcd: Sequence[str], token: str
) -> dict[str, Any]:
    """Return a region's configuration: the first provider in tier 1, the others behind it, with short deadlines.

    Args:
        region: name of the region.
        providers: base URLs by name, as this region reaches them.
        peers: addresses of the other regions, as this region reaches them.
        etcd: URLs of the etcd members, as this region reaches them; empty: no cluster.
        token: the token that all edges share.
    """
    targets = [{"target": f"{name}/{UPSTREAM_MODEL}", "tier": tier} for tier, name in enumerate(providers, 1)]
    written: dict[str, Any] = {
        "node": {"region": region, "name": f"{region}-1"},
        "providers": {name: {"dialect": "openai", "base_url": url} for name, url in providers.items()},
        "models": {
            MODEL: {
                "targets": targets,
                "timeouts": {
                    "connect": "500ms",
                    "first_byte": "2s",  # a busy machine that runs all of this may pause for a second
                    "first_token": "2s",
                    "stream_idle": "2s",
                    "total": "10s",
                },
                "retry": {"attempts": len(providers) + 1},
                "breaker": {
                    "open_duration": "500ms",
                    "open_duration_max": "2s",
                    "slow_start": "1s",
                    "slow_threshold": "1500ms",
                },
            }
        },
        "peers": {"token": token, "nodes": [{"region": name, "addresses": [at]} for name, at in peers.items()]},
    }
    if etcd:
        written["cluster"] = {"etcd": {"endpoints": list(etcd)}}
    return written


class Region:
    """A region: its edge, and the link by which clients reach it."""

    def __init__(self, name: str, front: Link) -> None:
        self.name = name
        self.front = front
        self.edge: EdgeProcess | None = None

    @property
    def base_url(self) -> str:
        """The ``base_url`` for an SDK; it stays the same when the edge is replaced."""
        return f"http://{self.front.address}/v1"

    async def targets(self) -> dict[str, dict[str, Any]]:
        """Return the targets of its edge by id; an empty dict while it does not answer."""
        found = await self.edge.targets() if self.edge is not None else []
        return {target["id"]: target for target in found}


class RegionsWorld:
    """Regions, providers and the network between them: ``async with RegionsWorld() as world``.

    Args:
        names: names of the regions.
        etcd: whether to start a real etcd with three members, which the edges share.
        meet: whether the edges find each other through etcd; otherwise their configuration lists the peers.
        workers: worker processes of each edge; 0: one process.
        rtt_s: round trip between two regions; edges that meet are as near to each other as to their clients.
    """

    def __init__(
        self,
        names: Sequence[str] = REGIONS,
        *,
        etcd: bool = True,
        meet: bool = False,
        workers: int = 1,
        rtt_s: float = RTT_S,
    ) -> None:
        self.network = Network()
        self.providers = ProviderProcess(*PROVIDERS, pace=PACE)
        self.regions: dict[str, Region] = {}
        self.etcd: EtcdCluster | None = None
        self._names = tuple(names)
        self._with_etcd = etcd
        self._meet = meet
        self._workers = workers
        self.rtt_s = rtt_s
        self._token = secrets.token_hex(16)
        self._configs: dict[str, dict[str, Any]] = {}
        self._stack = contextlib.AsyncExitStack()

    def __getitem__(self, name: str) -> Region:
        return self.regions[name]

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.network)
            await self._stack.enter_async_context(self.providers)
            members = await self._start_etcd() if self._with_etcd else []
            for name in self._names:
                self.regions[name] = Region(name, await self.network.link("clients", name))
            for name in self._names:
                self._configs[name] = await self._lay_links(name, members)
            await asyncio.gather(*(self.start(name) for name in self._names))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.network.mend()
        edges = [region.edge for region in self.regions.values() if region.edge is not None]
        await asyncio.gather(*(edge.__aexit__() for edge in edges))
        await self._stack.aclose()

    async def start(self, name: str) -> None:
        """Start a new edge in a region, lead all links to it, and let the old one drain.

        Raises:
            EdgeStartError: the new edge did not start; the old one stays in use.
        """
        region = self.regions[name]
        old, new = region.edge, EdgeProcess(self._configs[name], workers=self._workers)
        await new.__aenter__()
        region.edge = new
        port = int(new.url.rpartition(":")[2])
        for link in self.network.between(target=name):
            link.leads_to("127.0.0.1", port)
        if old is not None:
            await old.__aexit__()

    def cut_egress(self, name: str) -> None:
        """Cut a region's links to all providers."""
        for provider in PROVIDERS:
            self.network.cut(name, provider)

    def cut_off(self, name: str) -> None:
        """Cut a region's links to and from the other regions and etcd; clients and providers stay reachable."""
        for link in self.network.links:
            places = {link.source, link.target}
            if name in places and places & ({*self._names, STORE} - {name}):
                link.cut()

    async def _start_etcd(self) -> list[str]:
        from edge.sim.etcd import EtcdCluster  # noqa: PLC0415  # only if etcd is used

        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-etcd-")))
        self.etcd = EtcdCluster(folder)
        self._stack.callback(self.etcd.stop)
        await asyncio.to_thread(self.etcd.start)
        return list(self.etcd.endpoints)

    async def _lay_links(self, name: str, members: Sequence[str]) -> dict[str, Any]:
        """Open a region's outgoing links, and return its configuration, which uses them."""
        providers, peers, stores = {}, {}, []
        for provider in PROVIDERS:
            link = await self.network.link(name, provider, rtt_s=NEAR_S)
            link.leads_to("127.0.0.1", int(self.providers.urls[provider].rpartition(":")[2]))
            providers[provider] = f"http://{link.address}/v1"
        for other in self._names:
            if other != name:
                peers[other] = (await self.network.link(name, other, rtt_s=self.rtt_s)).address
        for index, url in enumerate(members):
            # One member is in each region, so only that of this region is near.
            rtt_s = NEAR_S if self._names[index % len(self._names)] == name else self.rtt_s
            link = await self.network.link(name, STORE, rtt_s=rtt_s)
            link.leads_to("127.0.0.1", int(url.rpartition(":")[2]))
            stores.append(f"http://{link.address}")
        written = config(name, providers, peers, stores, self._token)
        if self._meet:
            written["peers"] = {"token": self._token, "advertise": [self.regions[name].front.address]}
        return written
