"""An operator in one region finds what happened in another, with a provider of its own, and what was done about it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from nodes import FAST, KEY, RunningNode, chat_config, edge

from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster

LIMIT_S = 60.0


async def until_there(node: RunningNode, path: str, where: str = "") -> list[dict[str, Any]]:
    """Return what a list of the admin API has of a node, "" = of any, once there is something."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            status, found = await node.get(path)
            if status == 200 and (seen := [each for each in found if where in ("", each["where"])]):
                return seen
            await asyncio.sleep(0.2)


@pytest.mark.timeout(180)
async def test_what_happened_in_another_region_is_seen_here(tmp_path: Path, etcd: EtcdCluster) -> None:
    """The incident, its counts, its timeline and an operator's action of eu stand at us, which sees no sign itself."""
    async with contextlib.AsyncExitStack() as stack:
        providers = [
            await stack.enter_async_context(SimProvider(ProviderSpec(name=name, pace=FAST, key=KEY)))
            for name in ("p0", "p1", "p2")
        ]
        nodes = {}
        for region, used in (("eu", providers[:2]), ("us", providers[2:])):
            config = chat_config(*(each.url for each in used))
            if region == "us":  # its provider is another one, so no sign of eu's is one of its own
                config = json.loads(json.dumps(config).replace("p0", "elsewhere"))
            config |= {
                "node": {"region": region, "name": "n"},
                "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
            }
            (tmp_path / region).mkdir()
            nodes[region] = await stack.enter_async_context(RunningNode(tmp_path / region, config, "--workers", "1"))
        eu, us = nodes["eu"], nodes["us"]
        await providers[0].switch(Fault(kind="error", status=401))
        assert (await eu.ask()).status == 200  # by p1
        (own,) = await until_there(eu, "/api/incidents")
        assert (await eu.send("PUT", "/api/targets/p0/sim-small/drain", {"reason": "the bill"}))[0] == 200

        (found,) = await until_there(us, "/api/incidents")
        assert (found["id"], found["where"], found["title"]) == (f"{own['id']}@eu", "eu/n", own["title"])
        assert (await us.get("/api/node"))[1]["incidents"] == []
        one = (await us.get(f"/api/incidents/{found['id']}"))[1]
        assert [event["what"] for event in one["events"]][:1] in (["symptom"], ["detected"])
        assert one["playbook_text"].startswith("# ")
        assert (await us.send("POST", f"/api/incidents/{found['id']}/note", {"text": "x"}))[0] == 409
        shown = edge("incidents", "show", found["id"], "--admin", us.admin).stdout
        assert "told by eu/n, which keeps it" in shown
        assert found["id"] in edge("incidents", "--json", "--admin", us.admin).stdout

        done = await until_there(us, "/api/actions", "eu/n")
        assert [(each["what"], each["subject"], each["reason"]) for each in done] == [
            ("drain", "p0/sim-small", "the bill")
        ]
