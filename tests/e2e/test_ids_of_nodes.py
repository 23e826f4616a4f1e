"""An id that one node has issued for a key is that key's on the other node, too: two whole nodes and a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from nodes import FAST, RunningNode

from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster

OWNER, OTHER = "edge-" + "a" * 43, "edge-" + "b" * 43


def fields(key: str) -> dict[str, str]:
    """Return the head fields of a caller."""
    return {"Authorization": f"Bearer {key}"}


async def make(node: RunningNode) -> tuple[str, str]:
    """Make a file and a response as the owner; return their ids."""
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", b"{}\n", filename="a.jsonl")
    async with aiohttp.ClientSession(headers=fields(OWNER)) as client:
        async with client.post(f"{node.url}/v1/files", data=form, headers={"x-edge-provider": "p"}) as answer:
            assert answer.status == 200, await answer.text()
            file = str((await answer.json())["id"])
        async with client.post(
            f"{node.url}/v1/responses", json={"model": "m", "input": "Hello", "store": True}
        ) as answer:
            assert answer.status == 200, await answer.text()
            return file, str((await answer.json())["id"])


async def seen(node: RunningNode, key: str, path: str) -> tuple[int, str]:
    """Ask for what a provider keeps; return status and error code."""
    async with aiohttp.ClientSession(headers=fields(key)) as client, client.get(f"{node.url}{path}") as answer:
        found: dict[str, Any] = await answer.json()
        return answer.status, str((found.get("error") or {}).get("code", ""))


async def goes_on(node: RunningNode, key: str, response: str) -> tuple[int, str]:
    """Go on with a response; return status and error code."""
    body = {"model": "m", "input": "And?", "previous_response_id": response}
    async with aiohttp.ClientSession(headers=fields(key)) as client:
        async with client.post(f"{node.url}/v1/responses", json=body) as answer:
            found: dict[str, Any] = await answer.json()
            return answer.status, str((found.get("error") or {}).get("code", ""))


async def told(node: RunningNode, path: str, refused: tuple[int, str]) -> None:
    """Wait until a node knows that an id is somebody else's."""
    end = time.monotonic() + 30
    while (found := await seen(node, OTHER, path)) != refused:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def test_an_id_has_one_key_on_all_nodes(tmp_path: Path, etcd: EtcdCluster) -> None:
    """Somebody else's key gets the 404 that it gets where the id was made; the owner is answered everywhere."""
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(SimProvider(ProviderSpec(name="p", pace=FAST)))
        keys = [
            {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest()}
            for name, key in (("owner", OWNER), ("other", OTHER))
        ]
        nodes = []
        for region in ("eu", "us"):
            folder = tmp_path / region
            folder.mkdir()
            config = {
                "node": {"region": region, "name": "n", "workers": 1},
                "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
                "providers": {"p": {"base_url": provider.base_url}},
                "models": {"m": {"targets": ["p/sim"]}},
                "keys": keys,
            }
            nodes.append(await stack.enter_async_context(RunningNode(folder, config)))
        here, there = nodes
        file, response = await make(here)
        refused = (404, "not_found")
        for path in (f"/v1/files/{file}", f"/v1/responses/{response}"):
            assert await seen(here, OTHER, path) == refused
            await told(there, path, refused)
            asked = provider.stats()["requests"]
            assert await seen(there, OTHER, path) == refused
            assert provider.stats()["requests"] == asked, "the provider is not asked"
            assert (await seen(there, OWNER, path))[0] == 200
        assert await goes_on(there, OTHER, response) == refused == await goes_on(here, OTHER, response)
        assert (await goes_on(there, OWNER, response))[0] == 200
