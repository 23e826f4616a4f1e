"""The stores that the contract tests run on: one in memory, and three real etcd members on loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop
from worlds import InEtcd, InMemory, running_etcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from edge.sim.etcd import EtcdCluster


def pytest_asyncio_loop_factories(
    config: pytest.Config,
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loops of a test: uvloop as in control, and asyncio's for the contract of all stores."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name == "test_store.py":
        loops["asyncio"] = asyncio.SelectorEventLoop
    return loops


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Run three members for tests that do not change them."""
    with running_etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(params=["memory", "etcd"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[InMemory | InEtcd]:
    """Return clients of either store."""
    made = InMemory() if request.param == "memory" else InEtcd(request.getfixturevalue("members"))
    yield made
    await made.forget()
    await made.close()


@pytest.fixture
async def etcd(members: EtcdCluster) -> AsyncIterator[InEtcd]:
    """Return clients of the three members."""
    made = InEtcd(members)
    yield made
    await made.forget()
    await made.close()


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    """Check that a test leaves no task behind."""
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in left if "edge" in repr(task.get_coro())] == []
