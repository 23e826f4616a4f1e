"""Whole nodes whose addresses come from DNS, an API server and etcd: told by URL and environment, and changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest
from cluster_api import ClusterApi, slice_of
from name_server import NameServer
from nodes import RunningNode
from test_discovery_node import asked, backends, used

from edge.cluster.etcd import EtcdStore
from edge.config.schema_cluster import Etcd
from edge.sim.etcd import EtcdCluster

if TYPE_CHECKING:
    from pathlib import Path


def port(address: str) -> int:
    """Return the port of an address."""
    return int(address.rpartition(":")[2])


async def test_service_records_and_slices(tmp_path: Path) -> None:
    """One node follows a name server and an API server; each service is answered by what its own source names."""
    account = tmp_path / "account"
    account.mkdir()
    async with backends(3) as every, NameServer() as server, ClusterApi(account) as api:
        server.zone = {
            ("_http._tcp.web.test", "SRV"): [f"1 1 {port(every[0])} a.test."],
            ("a.test", "A"): ["127.0.0.1"],
        }
        await api.put(slice_of("web-1", "127.0.0.1", port=port(every[1])))
        config = {
            "services": {
                "named": {"match": {"path": "/named"}, "discover": f"dns+srv://{server.address}/_http._tcp.web.test"},
                "pods": {"match": {"path": "/"}, "discover": "k8s://shop/web:http"},
            }
        }
        async with (
            RunningNode(tmp_path, config, "--workers", "1", environ=api.environ) as node,
            aiohttp.ClientSession() as client,
        ):
            async with client.get(f"{node.url}/named") as answer:
                assert (answer.status, await answer.text()) == (200, every[0])
            assert await asked(client, node) == every[1]
            await api.put(slice_of("web-1", "127.0.0.1", port=port(every[2])))
            await used(node, {every[0], every[2]})
            assert await asked(client, node) == every[2]
            _, state = await node.get("/api/node")
            assert [(source["endpoints"], source["error"]) for source in state["discovery"]] == [(1, ""), (1, "")]


@pytest.mark.timeout(240)
async def test_registered_in_etcd(tmp_path: Path) -> None:
    """A backend that registers itself in etcd is asked, and no more when its lease ends; etcd's end changes nothing."""
    (tmp_path / "etcd").mkdir()
    cluster = EtcdCluster(tmp_path / "etcd", 1)
    cluster.start()
    store = EtcdStore(Etcd(endpoints=tuple(cluster.endpoints)), root="")
    try:
        async with backends(2) as (one, two), aiohttp.ClientSession() as client:
            lease = await store.grant(60)
            await store.put("/services/web/one", one.encode(), lease=lease)
            config = {
                "cluster": {"etcd": {"endpoints": list(cluster.endpoints)}},
                "services": {"web": {"match": {"path": "/"}, "discover": "etcd:///services/web/"}},
            }
            async with RunningNode(tmp_path, config, "--workers", "1") as node:
                assert await asked(client, node) == one
                await store.put("/services/web/two", json.dumps({"address": two}).encode())
                await used(node, {one, two})
                await store.revoke(lease)
                await used(node, {two})
                assert await asked(client, node) == two
                cluster.stop()
                assert await asked(client, node) == two
    finally:
        await store.close()
        cluster.stop()
