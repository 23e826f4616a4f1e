"""Three nodes in three regions that share etcd tell of one outage once, whoever sees it first."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiohttp import web
from nodes import FAST, KEY, RunningNode, chat_config
from soon import until

from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster

REGIONS = ("ap", "eu", "us")


async def told(node: RunningNode) -> list[str]:
    """Return what a node knows to be told of the outage; empty before it knows of one."""
    found = (await node.get("/api/incidents"))[1]
    return list(found[0]["told"]) if found else []


async def test_one_outage_is_one_notice(tmp_path: Path, etcd: EtcdCluster) -> None:
    """Each node opens the incident, sees the other regions in it, and one of them tells the webhook."""
    got: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        primary, backup = [
            await stack.enter_async_context(SimProvider(ProviderSpec(name=name, pace=FAST, key=KEY)))
            for name in ("p0", "p1")
        ]
        nodes = []
        for region in REGIONS:
            (tmp_path / region).mkdir()
            config = {
                **chat_config(primary.url, backup.url, breaker={"consecutive_failures": 3}),
                "node": {"region": region, "name": "n"},
                "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
                "alerts": [{"webhook": url}],
            }
            running = RunningNode(tmp_path / region, config, "--workers", "1")
            nodes.append(await stack.enter_async_context(running))
        await primary.switch(Fault(kind="error"))
        async with asyncio.timeout(60):
            while True:
                answers = [await node.ask() for node in nodes]
                assert [answer.status for answer in answers] == [200] * 3
                if all([await told(node) for node in nodes]):
                    break
        seen = [(await node.get("/api/incidents"))[1] for node in nodes]
        assert [len(found) for found in seen] == [1, 1, 1]
        assert {found[0]["shared_id"] for found in seen} == {got[0]["incident"]}
        marks = sorted(found[0]["told"][0].partition(":")[0] == "*" for found in seen)
        assert marks == [False, True, True]  # one has told, the others know that another did
        async with asyncio.timeout(30):
            while any(sorted(found[0]["regions"]) != list(REGIONS) for found in seen):
                for node in nodes:
                    await node.ask()
                seen = [(await node.get("/api/incidents"))[1] for node in nodes]
        await until(lambda: len(got) >= 1, 10)
        assert [notice["event"] for notice in got] == ["opened"]
