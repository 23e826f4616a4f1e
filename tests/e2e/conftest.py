"""The world that end-to-end tests share: two simulated providers and an ``edge run`` with two workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sdk import KEY, ODD, UPSTREAM, Sdk, open_sdk

from edge.sim.asked import Pace
from edge.sim.etcd import EtcdCluster
from edge.sim.node import EdgeProcess
from edge.sim.provider import ProviderSpec
from edge.sim.wire import refused_port
from edge.sim.world import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PACE = Pace(ttft_s=0.0, tps=0.0, tokens=12)
NO_BREAKER = {"consecutive_failures": 0, "failure_ratio": "0%", "slow_ratio": "0%"}


def config(base_urls: dict[str, str], dark: int) -> dict[str, Any]:
    """Write the shared world's edge.yaml; ``dark`` is a port that refuses."""
    return {
        "node": {"region": "test"},
        "providers": {
            "main": {"base_url": base_urls["main"], "api_key": KEY},
            "spare": {"base_url": base_urls["spare"], "api_key": KEY},
            "dark": {"base_url": f"http://127.0.0.1:{dark}/v1"},
        },
        "models": {
            "chat": {"targets": ["main/sim-small", {"target": "spare/sim-small", "tier": 2}]},
            "embed": {"targets": ["main/sim-embed"]},
            "echo": {"targets": ["main/sim-echo"]},
            # Broken answers are asked for again and again here; they must not bench the target for the next test.
            "breaks": {
                "targets": ["main/breaks"],
                "timeouts": {"stream_idle": "300ms", "first_token": "2s", "first_byte": "2s"},
                "breaker": NO_BREAKER,
            },
            "moved": {
                "targets": ["dark/moved", {"target": "spare/sim-large", "tier": 2}],
                "breaker": NO_BREAKER,
            },
            "gone": {"targets": ["dark/gone", "dark/gone-too"]},
            ODD: {"targets": ["main/sim-echo"]},
            "odd-upstream": {"targets": [f"main/{UPSTREAM}"]},
        },
        "limits": {"body": "64KiB"},
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge_url() -> AsyncIterator[str]:
    """Run the shared world; yields what an SDK wants as base_url."""
    specs = [ProviderSpec(name=name, key=KEY, pace=PACE) for name in ("main", "spare")]
    with refused_port() as dark:
        async with ProviderProcess(*specs) as world, EdgeProcess(config(world.base_urls, dark), workers=2) as edge:
            yield edge.base_url


@pytest.fixture(params=["sync", "async"])
async def sdk(request: pytest.FixtureRequest, edge_url: str) -> AsyncIterator[Sdk]:
    """Return the official client, once in each of its forms."""
    async with open_sdk(edge_url, form=request.param) as client:
        yield client


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    """Three members."""
    cluster = EtcdCluster(tmp_path)
    try:
        cluster.spawn()
        await asyncio.to_thread(cluster.wait)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)
