"""Keys of a running cluster: made, rotated and revoked through etcd, on whole nodes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from nodes import RunningNode, chat_config, edge, quick_provider
from soon import until

from edge.sim.etcd import EtcdCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "a-secret-of-all-nodes"


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    """Members on loopback."""
    cluster = EtcdCluster(tmp_path, 1)
    try:
        cluster.spawn()
        await asyncio.to_thread(cluster.wait)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


def configured(url: str, etcd: EtcdCluster, region: str, **more: Any) -> dict[str, Any]:
    """Return the configuration of a node of the cluster."""
    return {
        **chat_config(url),
        "node": {"region": region, "name": "n"},
        "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
        "peers": {"token": TOKEN},
        **more,
    }


@asynccontextmanager
async def running(folder: Path, etcd: EtcdCluster, *regions: str, **more: Any) -> AsyncIterator[list[RunningNode]]:
    """Run a node of two workers in each region."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(quick_provider())
        nodes = []
        for region in regions:
            (folder / region).mkdir(exist_ok=True)
            config = configured(provider.url, etcd, region, **more)
            nodes.append(await stack.enter_async_context(RunningNode(folder / region, config, "--workers", "2")))
        yield nodes


async def command(node: RunningNode, *words: str) -> Any:
    """Run ``edge keys`` on a node; return its JSON."""
    done = await asyncio.to_thread(edge, "keys", *words, "--json", "--admin", node.admin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def status(node: RunningNode, key: str) -> int:
    """Ask with a key; return the status."""
    return (await node.ask({"Authorization": f"Bearer {key}"})).status


async def turns(node: RunningNode, key: str, wanted: int) -> None:
    """Wait until both workers answer a key with this status: a row of new connections reaches both."""
    end = time.monotonic() + 20
    while (seen := {await status(node, key) for _ in range(6)}) != {wanted}:
        assert time.monotonic() < end, seen


async def test_a_key_lives_and_dies_on_all_nodes(tmp_path: Path, etcd: EtcdCluster) -> None:
    """Made on one node, used on two, rotated with an overlap, revoked; hashes alone stand in the store."""
    async with running(tmp_path, etcd, "eu", "us") as (one, two):
        assert await status(one, "edge-unknown") == 200  # on loopback, while there is no key
        first = (await command(one, "create", "team-a", "--rpm", "6000", "--models", "chat"))["key"]
        await turns(one, "edge-unknown", 401)
        await turns(two, first, 200)
        await turns(two, "edge-unknown", 401)
        (listed,) = await command(two, "list", "--cluster")
        assert (listed["name"], listed["state"], listed["requests_per_minute"]) == ("team-a", "active", 6000)
        assert listed["sha256"] == hashlib.sha256(first.encode()).hexdigest()[:8]
        second = (await command(two, "rotate", "team-a", "--overlap", "1h"))["key"]
        for node in (one, two):
            await turns(node, second, 200)
            await turns(node, first, 200)
        third = (await command(two, "rotate", "team-a"))["key"]
        for node in (one, two):
            await turns(node, third, 200)
            await turns(node, first, 401)
            await turns(node, second, 401)
        (usage,) = (await one.get("/api/keys"))[1]["keys"]
        assert (usage["name"], usage["admitted"] > 0, usage["requests"]["limit"]) == ("team-a", True, 6000)
        await command(one, "revoke", "team-a")
        assert {await status(one, third) for _ in range(6)} == {401}
        await turns(two, third, 401)
        for node in (one, two):
            assert not any(key in node.log() for key in (first, second, third))


async def test_a_revoked_key_stays_revoked_without_the_store(tmp_path: Path, etcd: EtcdCluster) -> None:
    """Control is killed, then the node restarted, while etcd is gone: the good key passes, the revoked one does not."""
    async with running(tmp_path, etcd, "eu") as (node,):
        good = (await command(node, "create", "good"))["key"]
        bad = (await command(node, "create", "bad"))["key"]
        await turns(node, bad, 200)
        await command(node, "revoke", "bad")
        await asyncio.to_thread(etcd.stop)
        assert {await status(node, bad) for _ in range(6)} == {401}
        before = node.children()["control"]
        node.tell(signal.SIGKILL, "control")
        await until(lambda: node.children().get("control", before) != before)
        await node.ready_with(2)
        assert ({await status(node, good) for _ in range(6)}, await status(node, bad)) == ({200}, 401)
        refused, told = await node.send("PUT", "/api/cluster/keys/more", {"sha256": "a" * 64})
        assert (refused, "nothing has changed" in told["error"]) == (503, True)
    async with running(tmp_path, etcd, "eu") as (node,):
        assert ({await status(node, good) for _ in range(6)}, await status(node, bad)) == ({200}, 401)


async def test_a_node_that_knows_no_keys_says_so(tmp_path: Path, etcd: EtcdCluster) -> None:
    """A new node that never heard the store answers 503 to keys of the cluster, and serves those of its file."""
    await asyncio.to_thread(etcd.stop)
    own = {"keys": [{"name": "own", "sha256": hashlib.sha256(b"own-key").hexdigest()}]}
    async with running(tmp_path, etcd, "eu", **own) as (node,):
        answer = await node.ask({"Authorization": "Bearer some-key"})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await answer.json())["error"]["code"] == "keys_unavailable"
        assert await status(node, "own-key") == 200
        listed = await node.send("PUT", "/api/cluster/keys/own", {"sha256": "a" * 64})
        assert listed[0] == 409
