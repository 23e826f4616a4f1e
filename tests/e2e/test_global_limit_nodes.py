"""A key with scope: global keeps its limit over three nodes while its callers move between them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest
from nodes import CHAT, RunningNode, chat_config, quick_provider

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster

CALLER = "edge-" + "k" * 43
LIMIT, BURST = 600, 20
PHASE_S = 10.0
RATES = ((15, 1, 1), (1, 15, 1))  # requests per second at each node, by phase


async def ask(client: aiohttp.ClientSession, node: RunningNode, per_s: float, statuses: list[int]) -> None:
    """Send requests evenly for a phase, whatever the answers."""
    ends = time.monotonic() + PHASE_S
    waiting = []
    while time.monotonic() < ends:
        waiting.append(asyncio.create_task(once(client, node)))
        await asyncio.sleep(1 / per_s)
    statuses += await asyncio.gather(*waiting)


async def once(client: aiohttp.ClientSession, node: RunningNode) -> int:
    """Send a request; return the status."""
    fields = {"Authorization": f"Bearer {CALLER}"}
    async with client.post(f"{node.url}/v1/chat/completions", json=CHAT, headers=fields) as answer:
        await answer.read()
        return answer.status


@pytest.mark.prove  # 20 s of load on three nodes; tests/regions proves it in virtual time
async def test_callers_that_move_get_the_limit_and_no_more(tmp_path: Path, etcd: EtcdCluster) -> None:
    """Only 200 and 429; never over the limit and its burst, and most of it is used although demand moves."""
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(quick_provider())
        key = {"name": "team", "sha256": hashlib.sha256(CALLER.encode()).hexdigest(), "scope": "global"}
        nodes = []
        for region in ("eu", "us", "ap"):
            folder = tmp_path / region
            folder.mkdir()
            config = {
                **chat_config(provider.url),
                "node": {"region": region, "name": "n"},
                "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
                "keys": [{**key, "requests_per_minute": LIMIT, "requests_burst": BURST}],
            }
            nodes.append(await stack.enter_async_context(RunningNode(folder, config, "--workers", "1")))
        # all stand in the ledger; how it is divided while nobody asks depends on who came first, and is moved by nobody
        end = time.monotonic() + 60
        while sum(shares := [await share(node) for node in nodes]) < LIMIT / 2 or min(shares) <= 0:
            assert time.monotonic() < end, shares
            await asyncio.sleep(0.1)
        client = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        statuses: list[int] = []
        began = time.monotonic()
        for rates in RATES:
            await asyncio.gather(
                *(ask(client, node, per_s, statuses) for node, per_s in zip(nodes, rates, strict=True))
            )
            # read one after the other: what moved in between may stand in two of them
            assert sum([await share(node) for node in nodes]) <= 1.1 * LIMIT
        allowed = LIMIT * (time.monotonic() - began) / 60
        accepted = statuses.count(200)
        sys.stdout.write(
            f"{accepted} accepted of {len(statuses)}; the limit allows {allowed:.0f} and {BURST} at once\n"
        )
        assert set(statuses) == {200, 429}
        assert 0.8 * allowed <= accepted <= allowed + BURST + 1


async def share(node: RunningNode) -> float:
    """Return how much a node may grant a minute."""
    said = (await node.get("/api/regions"))[1]
    return float(said["shares"]["key/team"]["requests_per_minute"])
