"""Which stores are held to the contract?  One in memory, and one of three real etcd members on loopback."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from edge.cluster.etcd import EtcdStore
from edge.cluster.memory import MemoryCluster
from edge.config.schema_cluster import Etcd
from edge.sim.etcd import EtcdCluster
from edge.wire.etcd import rpc_pb2 as wire
from edge.wire.etcd import rpc_pb2_grpc as stubs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from edge.terms.ports import Store

PREFIXES = itertools.count()


class InMemory:
    """Gives clients of one memory cluster."""

    def __init__(self) -> None:
        self._cluster = MemoryCluster()
        self._clients: list[Store] = []

    def client(self) -> Store:
        """Return a store as one more edge would have it."""
        self._clients.append(store := self._cluster.client())
        return store

    async def compact(self, revision: int) -> None:
        """Forget what came before."""
        self._cluster.compact(revision)

    async def close(self) -> None:
        """Close every client."""
        for store in self._clients:
            await store.close()


class InEtcd:
    """Gives clients of real members, all with the same prefix, which no other test has."""

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
        """Forget what came before."""
        store = self.client()
        await stubs.KVStub(store._channel(0)).Compact(
            wire.CompactionRequest(revision=revision, physical=True), timeout=5
        )

    async def close(self) -> None:
        """Close every client."""
        for store in self._clients:
            await store.close()


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Run three members for tests that leave them as they were."""
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(params=["memory", "etcd"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[InMemory | InEtcd]:
    """Give clients of either."""
    made = InMemory() if request.param == "memory" else InEtcd(request.getfixturevalue("members"))
    yield made
    await made.close()


@pytest.fixture
async def etcd(members: EtcdCluster) -> AsyncIterator[InEtcd]:
    """Give clients of the three members."""
    made = InEtcd(members)
    yield made
    await made.close()


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    """No test leaves a task behind."""
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in left if "edge" in repr(task.get_coro())] == []
