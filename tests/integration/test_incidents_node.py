"""An outage on a running node becomes one incident whose counts are those of the client, also over a killed control."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from nodes import FAST, KEY, RunningNode, chat_config, edge

from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path


async def incident(node: RunningNode) -> dict[str, Any]:
    """Wait until the node knows an incident; return it as listed."""
    async with asyncio.timeout(40):
        while True:
            try:
                status, found = await node.get("/api/incidents")
            except aiohttp.ClientError:  # control is being restarted
                status, found = 0, []
            if status == 200 and found:
                (only,) = found
                return dict(only)
            await asyncio.sleep(0.05)


async def test_an_outage_is_one_incident_with_the_clients_own_counts(tmp_path: Path, provider: SimProvider) -> None:
    """The first opened circuit opens it; takeover and failures equal what was asked; control may die meanwhile."""
    async with SimProvider(ProviderSpec(name="p1", pace=FAST, key=KEY)) as backup:
        config = chat_config(provider.url, backup.url, breaker={"consecutive_failures": 3})
        async with RunningNode(tmp_path, config) as node:
            await provider.switch(Fault(kind="error"))
            answered = [(await node.ask()).headers["x-edge-target"] for _ in range(8)]
            assert answered == ["p1/sim-small"] * 8
            found = await incident(node)
            assert (found["subject"], found["targets"], found["kind"]) == (
                "provider:p0",
                ["p0/sim-small"],
                "target_down",
            )
            async with asyncio.timeout(20):
                while found["impact"]["requests"] < 8:
                    await asyncio.sleep(0.1)
                    found = await incident(node)
            impact = found["impact"]
            assert (impact["requests"], impact["failed"], impact["answered_by"]) == (8, 0, {"p1/sim-small": 8})
            assert impact["attempts_failed"]["fail_status"] == impact["delayed"]
            printed = edge("status", "--admin", node.admin)
            assert f"incident {found['id']}: p0 is down in local" in printed.stdout

            node.tell(signal.SIGKILL, "control")
            await node.ready_with(2)
            again = await incident(node)
            assert (again["id"], again["opened"], again["closed"]) == (found["id"], found["opened"], 0)

            said = edge("incidents", "acknowledge", found["id"], "team *night*", "--admin", node.admin)
            assert said.returncode == 0, said.stderr
            assert (
                edge("incidents", "note", found["id"], "the provider was called", "--admin", node.admin).returncode == 0
            )
            text = edge("incidents", "show", found["id"], "--markdown", "--admin", node.admin).stdout
            assert "# p0 is down in local" in text
            assert "- Acknowledged: team \\*night\\*" in text
            assert "| Note | the provider was called |" in text
            assert "Answered meanwhile by p1/sim-small (8)" in text
            assert "control" not in text
            listed = json.loads(edge("incidents", "--json", "--admin", node.admin).stdout)
            assert [each["id"] for each in listed] == [found["id"]]
            assert "still missing" in edge("incidents", "show", found["id"], "--admin", node.admin).stdout
            assert edge("incidents", "show", "no-such", "--admin", node.admin).returncode == 1
            refused = await node.send("POST", f"/api/incidents/{found['id']}/note", {"text": "two\nlines"})
            assert refused[0] == 400
            page = await node.send(
                "POST", f"/api/incidents/{found['id']}/note", {"text": "x"}, Origin="https://evil.test"
            )
            assert page[0] == 403


async def test_a_refused_credential_is_told_at_once(tmp_path: Path, provider: SimProvider) -> None:
    """One 401 of a provider is an incident that names the credential, and its playbook."""
    await provider.switch(Fault(kind="error", status=401))
    async with RunningNode(tmp_path, chat_config(provider.url)) as node:
        await node.ask()
        found = await incident(node)
        assert (found["kind"], found["playbook"]) == ("credential", "credential-refused")
        printed = edge("incidents", "show", found["id"], "--playbook", "--admin", node.admin)
        assert printed.returncode == 0, printed.stderr
        assert "**What to do.**" in printed.stdout
        assert KEY not in json.dumps(found)


async def test_a_webhook_is_told_once_and_tested(tmp_path: Path, provider: SimProvider) -> None:
    """An outage on a node of several processes is one signed notice; ``edge alerts test`` reaches the same webhook."""
    got: list[dict[str, Any]] = []
    arrived = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        assert "x-edge-signature" in request.headers
        got.append(await request.json())
        arrived.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook-path-is-secret", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook-path-is-secret"
    await provider.switch(Fault(kind="error", status=401))
    config = {
        **chat_config(provider.url),
        "alerts": [{"webhook": url, "secret": "hook-secret-0123456789", "playbooks": "https://wiki.test/edge/"}],
    }
    try:
        async with RunningNode(tmp_path, config) as node:
            await node.ask()
            await asyncio.wait_for(arrived.wait(), 30)
            assert (got[0]["event"], got[0]["alert"], got[0]["playbook"]) == (
                "opened",
                "credential",
                "credential-refused",
            )
            async with asyncio.timeout(20):  # until that is on disk
                while True:
                    told = (await incident(node))["told"]
                    if told and not (await node.get("/api/node"))[1]["history"]["waiting"]:
                        break
                    await asyncio.sleep(0.05)
            node.tell(signal.SIGKILL, "control")
            await node.ready_with(2)
            await incident(node)
            one = (await node.get(f"/api/incidents/{(await incident(node))['id']}"))[1]
            assert one["playbook_url"] == "https://wiki.test/edge/credential-refused.md"
            tested = await asyncio.to_thread(edge, "alerts", "test", "--admin", node.admin)
            assert (tested.returncode, tested.stdout) == (0, "127.0.0.1 (json): accepted\n")
            assert [each["event"] for each in got] == ["opened", "test"]
            shown = await asyncio.to_thread(edge, "alerts", "--admin", node.admin)
            assert "127.0.0.1" in shown.stdout
            state = json.dumps([(await node.get(path))[1] for path in ("/api/alerts", "/api/node", "/api/incidents")])
            for secret in ("hook-path-is-secret", "hook-secret-0123456789"):
                assert secret not in state + node.log() + shown.stdout
    finally:
        await runner.cleanup()


async def test_a_capability_that_stays_broken_is_named(tmp_path: Path, provider: SimProvider) -> None:
    """An outage that text survives and pictures do not: status, top, metrics and the post-mortem say vision."""

    def content(picture: int) -> list[dict[str, Any]]:
        url = {"url": f"https://pictures.example/{picture}.png"}
        return [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": url}]

    async with SimProvider(ProviderSpec(name="p1", pace=FAST, key=KEY)) as backup:
        config = chat_config(provider.url, backup.url, breaker={"open_duration": "30s"})
        async with RunningNode(tmp_path, config) as node:
            await provider.switch(Fault(kind="capability", asked="image", status=400))
            for picture in range(3):
                said = await node.ask(messages=[{"role": "user", "content": content(picture)}])
                assert said.headers["x-edge-target"] == "p1/sim-small"
            assert said.headers["x-edge-reason"] == "p0/sim-small: vision_down"
            assert (await node.ask()).headers["x-edge-target"] == "p0/sim-small"
            found = await incident(node)
            assert (found["kind"], found["playbook"], found["targets"]) == (
                "capability", "vision-missing", ["p0/sim-small"],
            )  # fmt: skip
            text = edge("incidents", "show", found["id"], "--markdown", "--admin", node.admin).stdout
            assert "# p0 answers no requests that need vision in local" in text
            assert "## What is still missing\n\n- local: vision at p0/sim-small" in text
            assert "vision is open: requests that need vision: the target declines them" in " ".join(
                edge("status", "--admin", node.admin).stdout.split()
            )
            assert "usable, no vision" in edge("top", "--once", "--admin", node.admin).stdout
            assert (
                'edge_target_capability_circuit{target="p0/sim-small",capability="vision"} 1'
                in (await node.get("/metrics"))[1]
            )
