"""Clients of a node may ask what is degraded, where that is switched on; with keys, too, and over both wires."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
from nodes import RunningNode, chat_config

from edge.sim.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.provider import SimProvider

KEYS = [{"name": "team", "sha256": "0" * 64}]


async def test_the_status_is_public_where_it_is_switched_on(tmp_path: Path, provider: SimProvider) -> None:
    """Without a key a client learns that the alias is down, within seconds, over HTTP/1.1 and HTTP/2."""
    await provider.switch(Fault(kind="error", status=401))
    config = {**chat_config(provider.url), "public_status": True, "keys": KEYS}
    async with RunningNode(tmp_path, config) as node:
        async with httpx.AsyncClient() as one, httpx.AsyncClient(http1=False, http2=True) as two:
            refused = await one.get(f"{node.url}/v1/models")
            assert refused.status_code == 401
            await node.send("PUT", "/api/targets/p0/sim-small/eject", {"reason": "x"})
            async with asyncio.timeout(20):
                while True:
                    answer = await one.get(f"{node.url}/edge/status")
                    if answer.json()["status"] == "down":
                        break
                    await asyncio.sleep(0.05)
            assert answer.json()["aliases"][0]["name"] == "chat"
            assert "p0" not in answer.text
            same = await two.get(f"{node.url}/edge/status")
            assert (same.http_version, same.json()["status"]) == ("HTTP/2", "down")
            page = await one.get(f"{node.url}/edge/status.html")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "does not answer" in page.text
            assert (await one.head(f"{node.url}/edge/status")).status_code == 200
            assert (await one.post(f"{node.url}/edge/status")).status_code == 405


async def test_the_status_is_nobodys_business_by_default(tmp_path: Path, provider: SimProvider) -> None:
    """Without ``public_status`` the path does not exist."""
    async with RunningNode(tmp_path, chat_config(provider.url)) as node:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{node.url}/edge/status")
            assert answer.status_code == 404
            assert json.loads(answer.text)["error"]
