"""What an operator does on one node for a region or the cluster reaches its nodes, outlives them, and can be undone."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from nodes import KEY, RunningNode, edge, quick_provider

from edge.sim.etcd import EtcdCluster
from edge.sim.faults import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge.sim.provider import SimProvider

OLD, NEW = "old/sim-small", "new/sim-small"


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    """One member on loopback."""
    cluster = EtcdCluster(tmp_path, 1)
    try:
        cluster.spawn()
        await asyncio.to_thread(cluster.wait)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


def node(
    folder: Path,
    etcd: EtcdCluster,
    name: str,
    versions: tuple[SimProvider, SimProvider],
    canary: dict[str, Any] | None = None,
) -> RunningNode:
    """Return a node ``REGION/NODE`` with two versions of a model."""
    folder = folder / name.replace("/", "-")
    folder.mkdir(exist_ok=True)
    region, _, own = name.partition("/")
    never = {"consecutive_failures": 0, "failure_ratio": "0%", "slow_ratio": "0%"}
    second: Any = NEW if canary is None else {"target": NEW, "canary": canary}
    config = {
        "providers": {
            key: {"base_url": f"{each.url}/v1", "api_key": KEY}
            for key, each in zip(("old", "new"), versions, strict=True)
        },
        "models": {"chat": {"targets": [OLD, second], "breaker": never}},
        "node": {"region": region, "name": own},
        "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
        "peers": {"token": "a-secret-of-all-nodes"},
    }
    return RunningNode(folder, config, "--workers", "1")


@asynccontextmanager
async def versions() -> AsyncIterator[tuple[SimProvider, SimProvider]]:
    """Run two versions of a model."""
    async with quick_provider() as old, quick_provider() as new:
        yield old, new


async def target(node: RunningNode, *words: str) -> str:
    """Run ``edge target``; return what it says."""
    done = await asyncio.to_thread(edge, "target", *words, "--admin", node.admin)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


async def shown(node: RunningNode, holds: Callable[[dict[str, Any]], bool], limit_s: float = 20) -> dict[str, Any]:
    """Wait until the status of the second target is as wanted; return it."""
    end = time.monotonic() + limit_s
    while not holds(found := await node.target(NEW)):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.1)
    return found


async def test_a_weight_of_a_region(tmp_path: Path, etcd: EtcdCluster) -> None:
    """It reaches the region's nodes alone, also one that starts later, with who and why; and it ends everywhere."""
    async with AsyncExitStack() as stack:
        old, new = await stack.enter_async_context(versions())
        names = ("eu/a", "eu/b", "us/c")
        a, b, c = [await stack.enter_async_context(node(tmp_path, etcd, name, (old, new))) for name in names]
        said = await target(a, "weight", NEW, "0.05", "--region", "--reason", "a new version")
        assert "weight 0.05 by hand of eu/a, since 20" in said
        assert "a new version" in said
        found = await shown(b, lambda found: "weight 0.05 by hand of eu/a" in found["why"])
        assert found["why"].endswith(": a new version")
        later = await stack.enter_async_context(node(tmp_path, etcd, "eu/later", (old, new)))
        await shown(later, lambda found: "weight 0.05 by hand of eu/a" in found["why"])
        assert "weight" not in (await c.target(NEW))["why"]
        await target(c, "weight", NEW, "2", "--cluster", "--reason", "everybody")
        await shown(c, lambda found: "weight 2 by hand of us/c" in found["why"])
        await asyncio.sleep(1)
        assert "weight 0.05" in (await b.target(NEW))["why"]  # the region's own comes first
        await target(b, "weight", NEW, "configured", "--region")
        await shown(a, lambda found: "weight 2 by hand of us/c" in found["why"])
        await target(a, "weight", NEW, "configured", "--cluster")
        for each in (a, b, c, later):
            await shown(each, lambda found: "by hand" not in found["why"])


async def test_the_store_moves_no_weight_out_of_bounds(tmp_path: Path, etcd: EtcdCluster) -> None:
    """Documents that no edge writes are ignored, and told once; valid ones beside them hold."""
    async with versions() as (old, new), node(tmp_path, etcd, "eu/a", (old, new)) as a:
        for region, document in (
            ("eu", '{"weight":0,"reason":"r","since":1,"by":"x"}'),
            ("*", '{"weight":1e9,"reason":"r","since":1,"by":"x"}'),
        ):
            await etcd_put(etcd, f"/edge/weight/{region}/{NEW}", document)
        await etcd_put(etcd, f"/edge/weight/eu/{OLD}", '{"weight":3,"reason":"r","since":1,"by":"eu/z"}')
        end = time.monotonic() + 20
        while "weight 3 by hand of eu/z" not in (await a.target(OLD))["why"]:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        assert "weight" not in (await a.target(NEW))["why"]
        assert a.log().count("a document that is ignored") == 2
        assert (await a.ask()).status == 200


async def test_a_canary_is_taken_out_in_its_region(tmp_path: Path, etcd: EtcdCluster) -> None:
    """A node without traffic follows the one that has judged it; restored for the region, it is back on both."""
    async with AsyncExitStack() as stack:
        old, new = await stack.enter_async_context(versions())
        rule = {"min_requests": 10}
        a, b, c = [
            await stack.enter_async_context(node(tmp_path, etcd, name, (old, new), rule))
            for name in ("eu/a", "eu/b", "us/c")
        ]
        for _ in range(40):
            assert (await a.ask()).status == 200
        await new.switch(Fault("latency", delay_s=0.15))
        end = time.monotonic() + 60
        while (await a.target(NEW))["state"] != "manual":
            assert time.monotonic() < end
            assert {answer.status for answer in await asyncio.gather(*[a.ask() for _ in range(8)])} == {200}
        found = await shown(b, lambda found: found["state"] == "manual")
        assert "canary: " in found["why"]
        assert (await c.target(NEW))["state"] != "manual"
        await target(b, "restore", NEW, "--region")
        for each in (a, b):
            await shown(each, lambda found: found["state"] != "manual")


async def test_what_is_done_for_a_region_replaces_what_the_node_had_done(tmp_path: Path, etcd: EtcdCluster) -> None:
    """The node where the operator acts gives its own up, and each history has the act once; other nodes keep theirs."""
    async with AsyncExitStack() as stack:
        old, new = await stack.enter_async_context(versions())
        a, b, c = [
            await stack.enter_async_context(node(tmp_path, etcd, name, (old, new))) for name in ("eu/a", "eu/b", "eu/c")
        ]
        for each in (a, b):
            await target(each, "eject", NEW, "--reason", "by itself")
        await target(a, "drain", NEW, "--region", "--reason", "everybody")
        found = await shown(a, lambda found: "everybody" in found["why"])
        assert "drain" in found["why"]
        await shown(c, lambda found: "everybody" in found["why"])
        assert "by itself" in (await b.target(NEW))["why"]
        await target(a, "eject", NEW, "--reason", "by itself")
        await target(a, "restore", NEW, "--region")
        for each in (a, c):
            await shown(each, lambda found: found["state"] != "manual")
        assert "by itself" in (await b.target(NEW))["why"]
        wanted = ["drain", "eject", "eject", "eject", "restore"]
        end = time.monotonic() + 90
        for each in (a, b, c):  # what was done on one node reaches the others' histories within some seconds
            while len(found := await acts(each)) < len(wanted):
                assert time.monotonic() < end, found
                await asyncio.sleep(0.2)
            assert found == wanted


async def acts(node: RunningNode) -> list[str]:
    """Return what operators did by a node's history, sorted."""
    status, found = await node.get("/api/actions")
    assert status == 200, found
    return sorted(each["what"] for each in found)


async def etcd_put(etcd: EtcdCluster, key: str, value: str) -> None:
    """Write a key as any client of the store may."""
    pair = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", key), ("value", value))}
    await asyncio.to_thread(etcd.members[0].ask, "/v3/kv/put", json.dumps(pair).encode())
