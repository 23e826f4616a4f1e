"""Clients and followers of the stores in a test: of memory and of real members, under one prefix."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from soon import until

from edge.cluster.etcd import EtcdStore
from edge.cluster.follow import Follower
from edge.cluster.memory import MemoryCluster
from edge.config.schema_cluster import Etcd
from edge.sim.etcd import EtcdCluster
from edge.wire.etcd import rpc_pb2 as wire
from edge.wire.etcd import rpc_pb2_grpc as stubs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from edge.sim.etcd import Certificates
    from edge.terms.ports import Store

PREFIXES = itertools.count()


@contextmanager
def running_etcd(
    folder: Path, *, certificates: Certificates | None = None, flags: Sequence[str] = ()
) -> Iterator[EtcdCluster]:
    """Run three members, healthy on entry."""
    cluster = EtcdCluster(folder, certificates=certificates, flags=flags)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class InMemory:
    """Returns clients of one cluster in memory."""

    def __init__(self) -> None:
        self._cluster = MemoryCluster()
        self._clients: list[Store] = []

    def client(self) -> Store:
        """Return a store as one more edge would have it."""
        self._clients.append(store := self._cluster.client())
        return store

    async def compact(self, revision: int) -> None:
        """Compact the history."""
        self._cluster.compact(revision)

    async def forget(self) -> None:
        """Nobody else sees this cluster."""

    async def close(self) -> None:
        """Close every client."""
        for store in self._clients:
            await store.close()


class InEtcd:
    """Returns clients of real members, all with the same prefix, which no other test uses."""

    def __init__(self, cluster: EtcdCluster, **settings: object) -> None:
        self.cluster = cluster
        self.prefix = f"/test{next(PREFIXES)}"
        self._settings = settings
        self._clients: list[EtcdStore] = []

    def client(self, **settings: object) -> EtcdStore:
        """Return a store as one more edge would have it."""
        plain = {"endpoints": self.cluster.endpoints, "prefix": self.prefix}
        self._clients.append(store := EtcdStore(Etcd(**{**plain, **self._settings, **settings})))
        return store

    async def compact(self, revision: int) -> None:
        """Compact the history."""
        store = self.client()
        await stubs.KVStub(store._channel(0)).Compact(
            wire.CompactionRequest(revision=revision, physical=True), timeout=5
        )

    async def forget(self) -> None:
        """Delete all keys: a lease that ends during another test would count a revision there."""
        store = self.client()
        for item in (await store.list("")).items:
            await store.delete(item.key)

    async def close(self) -> None:
        """Close every client."""
        for store in self._clients:
            await store.close()


@asynccontextmanager
async def following(store: Any) -> AsyncIterator[Follower]:
    """Run a follower of all keys."""
    follower = Follower(store, "")
    task = asyncio.create_task(follower.run())
    try:
        await until(lambda: follower.connected, 60)
        yield follower
    finally:
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled(), task
