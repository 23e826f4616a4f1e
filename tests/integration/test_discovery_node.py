"""A whole node whose addresses are discovered: they change under load, sources fail, processes die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from nodes import RunningNode, edge, quick_provider
from soon import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def backends(count: int) -> AsyncIterator[list[str]]:
    """Run servers that answer with their own address; yield the addresses."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for _ in range(count):

            async def answer(request: web.Request) -> web.Response:
                host, port = request.transport.get_extra_info("sockname")
                return web.Response(text=f"{host}:{port}")

            app = web.Application()
            app.router.add_get("/{any:.*}", answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            addresses.append(f"127.0.0.1:{runner.addresses[0][1]}")
        yield addresses


def of_file(file: Path) -> dict[str, Any]:
    """Return a configuration of one service whose addresses stand in a file."""
    return {"services": {"web": {"match": {"path": "/"}, "discover": f"file://{file}"}}}


async def asked(client: aiohttp.ClientSession, node: RunningNode) -> str:
    """Ask the service; return who answered."""
    async with client.get(f"{node.url}/") as answer:
        body = await answer.text()
        assert answer.status == 200, body
        return body


async def in_use(node: RunningNode) -> set[str]:
    """Return the addresses that the node routes to."""
    _, targets = await node.get("/api/targets")
    return {target["id"].partition("/")[2] for target in targets}


async def used(node: RunningNode, addresses: set[str]) -> None:
    """Wait until control and every worker use exactly these addresses."""
    async with asyncio.timeout(30):
        while True:
            if await in_use(node) == addresses:
                break
            await asyncio.sleep(0.02)
        while True:
            _, ready = await node.get("/ready")
            _, metrics = await node.get("/metrics")
            versions = [line.split()[-1] for line in metrics.splitlines() if line.startswith("edge_worker_snapshot")]
            if versions and all(int(float(version)) == ready["snapshot"] for version in versions):
                return
            await asyncio.sleep(0.02)


async def test_addresses_change_under_load(tmp_path: Path) -> None:
    """Addresses come and go while requests run: none fails, nobody who left is asked, and who stays keeps its state."""
    file = tmp_path / "web.json"
    async with backends(4) as every:
        file.write_text(json.dumps(every[:2]))
        async with (
            RunningNode(tmp_path, of_file(file), "--workers", "1") as node,
            aiohttp.ClientSession() as client,
        ):
            _, state = await node.get("/api/node")
            assert [(source["endpoints"], source["error"]) for source in state["discovery"]] == [(2, "")]
            status, _ = await node.send("PUT", f"/api/targets/web/{every[0]}/drain", {"reason": "it stays drained"})
            assert status == 200
            answers: list[str] = []
            stop = asyncio.Event()

            async def load() -> None:
                while not stop.is_set():
                    mine = answers  # a request that began before a change is answered by whom it was sent to
                    mine.append(await asked(client, node))

            clients = [asyncio.create_task(load()) for _ in range(4)]
            for turn in range(6):
                present = [every[0], every[1 + turn % 3], every[1 + (turn + 1) % 3]]
                file.write_text(json.dumps(present))
                await used(node, set(present))
                answers = []
                await until(lambda fresh=answers: len(fresh) > 40)
                assert set(answers) <= set(present[1:])
            stop.set()
            await asyncio.gather(*clients)
            assert (await node.target(f"web/{every[0]}"))["state"] == "manual"


async def test_a_source_that_fails_and_processes_that_die(tmp_path: Path) -> None:
    """Without its source the service serves on, over a restart of control and of the whole node; status says it."""
    file = tmp_path / "web.json"
    async with backends(1) as (only,), aiohttp.ClientSession() as client:
        file.write_text(json.dumps([only]))
        config = of_file(file)
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            assert await asked(client, node) == only
            file.write_text("[]")
            async with asyncio.timeout(30):
                while True:
                    state = (await node.get("/api/node"))[1]["discovery"][0]
                    if state["error"]:
                        break
                    await asyncio.sleep(0.05)
            assert "names no address" in state["error"]
            assert (state["endpoints"], state["age_s"] >= 0) == (1, True)
            assert "names no address; its 1 addresses are" in edge("status", "--admin", node.admin).stdout
            file.unlink()
            before = node.children()["control"]
            node.tell(signal.SIGKILL, "control")
            await until(lambda: node.children().get("control", before) != before)
            await node.ready_with(1)
            assert await in_use(node) == {only}
            assert await asked(client, node) == only
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            assert await in_use(node) == {only}
            assert await asked(client, node) == only


async def test_a_service_without_any_address_answers_503(tmp_path: Path) -> None:
    """A source that has never named an address gives an empty pool: 503, and 200 as soon as there is one."""
    file = tmp_path / "web.json"
    async with backends(1) as (only,), RunningNode(tmp_path, of_file(file), "--workers", "1") as node:
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{node.url}/") as answer:
                assert (answer.status, "retry-after" in answer.headers) == (503, True)
            file.write_text(json.dumps([only]))
            await used(node, {only})
            assert await asked(client, node) == only


async def test_a_provider_is_discovered(tmp_path: Path) -> None:
    """Models of a provider with ``discover`` are asked at the addresses that its source names."""
    file = tmp_path / "pool.json"
    async with quick_provider("one") as one, quick_provider("two") as two:
        file.write_text(json.dumps([one.url.split("/")[2]]))
        config = {
            "providers": {"pool": {"discover": f"file://{file}", "api_key": "sk-integration-0123456789"}},
            "models": {"chat": {"targets": ["pool/m"]}},
        }
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            answer = await node.ask()
            assert (answer.status, answer.headers["x-edge-target"]) == (200, f"pool/m@{one.url.split('/')[2]}")
            file.write_text(json.dumps([two.url.split("/")[2]]))
            await used(node, {f"m@{two.url.split('/')[2]}", f"*@{two.url.split('/')[2]}"})
            answer = await node.ask()
            assert (answer.status, answer.headers["x-edge-target"]) == (200, f"pool/m@{two.url.split('/')[2]}")
