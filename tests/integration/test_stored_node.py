"""Who issued an id is known to all workers of a node, and after each of its processes, and the node, began anew."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import aiohttp
from nodes import FAST, RunningNode
from soon import until

from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path


async def upload(node: RunningNode, provider: str) -> str:
    """Upload a file to a provider; return its id."""
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", b"{}\n", filename="a.jsonl")
    async with aiohttp.ClientSession() as session:
        fields = {"x-edge-provider": provider}
        async with session.post(f"{node.url}/v1/files", data=form, headers=fields) as answer:
            assert answer.status == 200
            return str((await answer.json())["id"])


async def seen(node: RunningNode, name: str) -> int:
    """Ask for a file on a connection of its own, so that any worker may get it; return the status."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/v1/files/{name}") as answer:
        return answer.status


async def test_an_id_outlives_every_process(tmp_path: Path) -> None:
    """Of two providers only the issuer is asked: by each worker, after worker, control and node were restarted."""
    spec = {name: ProviderSpec(name=name, pace=FAST) for name in ("one", "two")}
    async with SimProvider(spec["one"]) as one, SimProvider(spec["two"]) as two:
        config: dict[str, Any] = {
            "node": {"workers": 2},
            "providers": {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}},
            "models": {"m": {"targets": ["one/sim", "two/sim"]}},
        }
        async with RunningNode(tmp_path, config) as node:
            await node.ready_with(2)
            name = await upload(node, "two")
            assert [await seen(node, name) for _ in range(8)] == [200] * 8
            for child in ("worker 0", "worker 1", "control"):
                before = node.children()[child]
                node.tell(signal.SIGKILL, child)
                await until(lambda: node.children().get(child) not in (None, before))  # noqa: B023
            await node.ready_with(2)
            assert [await seen(node, name) for _ in range(8)] == [200] * 8
            node.tell(signal.SIGTERM)
            assert await node.status() == 0
        async with RunningNode(tmp_path, config) as node:
            await node.ready_with(2)
            assert await seen(node, name) == 200
        assert one.stats()["requests"] == 0
        assert two.stats()["by_path"] == {"/v1/files": 1, f"/v1/files/{name}": 17}
