"""A node serves WebSockets of Responses in its workers, and stops in order while they are open."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest
from nodes import RunningNode, chat_config
from turns import answered, asked, said, turn
from websockets.asyncio.client import connect

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

PACE = Pace(ttft_s=0.0, tps=10.0, tokens=20, seed=7)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_a_node_stops_in_order(tmp_path: Path, workers: str) -> None:
    """A turn that runs when the node is told to stop is answered to its end; then 1001, and the node ends with 0."""
    async with (
        SimProvider(ProviderSpec(name="sim", pace=PACE)) as provider,
        RunningNode(tmp_path, chat_config(provider.url), "--workers", workers, "--drain-grace", "0") as node,
        connect(node.url.replace("http", "ws") + "/v1/responses", proxy=None, open_timeout=20) as socket,
        connect(node.url.replace("http", "ws") + "/v1/responses", proxy=None, open_timeout=20) as idle,
    ):
        assert (await asked(idle))[-1]["type"] == "response.completed"
        await socket.send(json.dumps(turn()))
        while (await said(socket))["type"] != "response.output_text.delta":
            pass
        node.tell(signal.SIGTERM)
        assert (await answered(socket))[-1]["type"] == "response.completed"
        for one in (socket, idle):
            await asyncio.wait_for(one.wait_closed(), 20)
            assert one.close_code == 1001
        assert await node.status() == 0


async def test_its_metrics(tmp_path: Path) -> None:
    """Turns are counted where requests are: by route, with their tokens."""
    quick = Pace(ttft_s=0.0, tps=2000.0, tokens=5, seed=7)
    async with (
        SimProvider(ProviderSpec(name="sim", pace=quick)) as provider,
        RunningNode(tmp_path, chat_config(provider.url), "--workers", "1") as node,
        connect(node.url.replace("http", "ws") + "/v1/responses", proxy=None, open_timeout=20) as socket,
    ):
        for _ in range(3):
            assert (await asked(socket))[-1]["type"] == "response.completed"

        async def counted() -> float:
            _, text = await node.get("/metrics")
            rows = [row for row in str(text).splitlines() if row.startswith("edge_responses_total{")]
            return sum(float(row.rsplit(" ", 1)[1]) for row in rows if 'route="chat"' in row or 'model="chat"' in row)

        found = 0.0
        async with asyncio.timeout(20):
            while found != 3.0:
                found = await counted()
