"""A node whose cluster is unreachable serves without it, and says so."""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nodes import RunningNode, chat_config
from soon import soon
from test_manual import edge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sim.provider import SimProvider

import asyncio

TARGET = "p0/sim-small"


@pytest.fixture(params=["refused", "silent"])
def dead(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of an absent etcd: a closed port, or a server that never answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if request.param == "silent":
            sock.listen()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


async def test_a_node_serves_before_its_store_answers(tmp_path: Path, provider: SimProvider, dead: str) -> None:
    """The node is up about as soon as one without a cluster, serves, and reports that it has no store."""

    async def served_after(**more: Any) -> float:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        began = time.monotonic()
        async with RunningNode(folder, {**chat_config(provider.url), **more}, "--workers", "1") as node:
            assert (await node.ask()).status == 200
            took = time.monotonic() - began
            sharing = (await node.get("/api/node"))[1]["sharing"]
            assert (sharing is not None) == ("cluster" in more)
            if sharing is not None:
                await told(node)
        return took

    alone_s = await served_after()
    await soon(lambda: served_after(cluster={"etcd": {"endpoints": [dead]}}), alone_s + 2)


async def told(node: RunningNode) -> None:
    """Return everything that reports the state."""
    end = time.monotonic() + 30
    while not (sharing := (await node.get("/api/node"))[1]["sharing"])["error"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert (sharing["connected"], sharing["view_age_s"], sharing["regions_fresh"]) == (False, None, 1)
    while not (regions := (await node.get("/api/regions"))[1])["regions"][0]["targets"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert [region["region"] for region in regions["regions"]] == [regions["region"]]
    assert (await node.get("/metrics"))[1].count("\nedge_cluster_connected 0\n") == 1
    shown = await asyncio.to_thread(edge, "status", "--all", "--admin", node.admin)
    assert (shown.returncode, "the shared store has not been reached yet" in shown.stdout) == (0, True), shown
    assert TARGET in shown.stdout
    status, said = await node.send("PUT", f"/api/targets/{TARGET}/drain?all=1", {"reason": "for all"})
    assert (status, "nothing has changed" in said["error"]) == (503, True)
    assert (await node.target(TARGET))["state"] == "usable"


async def test_a_node_by_itself_tells_nobody(tmp_path: Path, provider: SimProvider) -> None:
    """A single node shows one region, and refuses overrides of all regions with the remedy."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1") as node:
        assert (await node.ask()).status == 200
        end = time.monotonic() + 30
        while not (regions := (await node.get("/api/regions"))[1]["regions"])[0]["targets"]:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        assert regions[0]["targets"][TARGET]["total"] == 1
        status, said = await node.send("PUT", f"/api/targets/{TARGET}/drain?all=1", {"reason": "for all"})
        assert (status, "configure a cluster" in said["error"]) == (409, True)
        status, said = await node.send("PUT", "/api/targets/p0/other/drain?all=1", {"reason": "for all"})
        assert status == 404
