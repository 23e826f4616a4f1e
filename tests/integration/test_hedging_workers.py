"""The budget of hedges is one for all workers of a node, which are processes of their own."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from nodes import FAST, RunningNode

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider
from native.state.hedge_budget import HEDGE_BURST

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = 96
SLOW = Pace(ttft_s=2.0, tps=0.0, tokens=8)


def counted(page: str, name: str, label: str) -> dict[str, int]:
    """Return the values of a counter on a page of metrics, by one label."""
    found = re.findall(rf'^{name}\{{[^}}]*{label}="([^"]*)"[^}}]*\}} (\S+)$', page, re.MULTILINE)
    return {value: int(float(count)) for value, count in found if float(count)}


async def once(node: RunningNode) -> int:
    """Ask on a connection of its own, so that any worker may get it; return the status."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
        async with client.post(f"{node.url}/v1/chat/completions", json=body) as answer:
            await answer.read()
            return answer.status


async def test_two_workers_have_one_budget(tmp_path: Path) -> None:
    """Of 96 slow requests over two workers ten are hedged, the burst of one budget; the others are refused one."""
    async with (
        SimProvider(ProviderSpec(name="slow", pace=SLOW)) as slow,
        SimProvider(ProviderSpec(name="quick", pace=FAST)) as quick,
    ):
        config: dict[str, Any] = {
            "node": {"workers": 2},
            "providers": {"slow": {"base_url": slow.base_url}, "quick": {"base_url": quick.base_url}},
            "models": {
                "chat": {
                    "targets": [{"target": "slow/sim", "weight": 1000}, {"target": "quick/sim", "weight": 0.001}],
                    "affinity": "none",
                    "hedge": {"after": "150ms", "budget": "1%"},
                }
            },
        }
        async with RunningNode(tmp_path, config) as node:
            await node.ready_with(2)
            assert set(await asyncio.gather(*(once(node) for _ in range(REQUESTS)))) == {200}
            page = str((await node.get("/metrics"))[1])
            read = counted(page, "edge_worker_requests_total", "worker")
            assert min(read.get(worker, 0) for worker in "01") > HEDGE_BURST, "each would have had a burst of its own"
            found = counted(page, "edge_hedges_total", "result")
            # a target of which nothing is known yet may be asked first
            assert REQUESTS - 8 <= sum(found.values()) <= REQUESTS
            made = found.get("won", 0) + found.get("lost", 0)
            assert made == HEDGE_BURST, found
            assert quick.stats()["requests"] == made + REQUESTS - sum(found.values())
