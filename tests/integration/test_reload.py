"""A changed file is applied completely or not at all, whoever asks for the reload, without disturbing requests."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from nodes import CHAT, KEY, RunningNode, chat_config, edge, quick_provider
from soon import until

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = {"listen": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}
ERRORS = {"consecutive_failures": 2, "open_duration": "30s"}


def write(folder: Path, config: dict[str, Any]) -> None:
    """Replace the file as an editor does, by a rename."""
    partial = folder / "edge.yaml.new"
    partial.write_bytes(msgspec.json.encode({**ADDRESSES, **config}))
    partial.rename(folder / "edge.yaml")


def limited(url: str, connections: int, **more: Any) -> dict[str, Any]:
    """Write a configuration that differs in a value of ``/api/snapshot``."""
    return {**chat_config(url, **more), "limits": {"connections": connections}}


async def holds(node: RunningNode, connections: int, limit_s: float = 30.0) -> None:
    """Wait until the limit applies."""
    end = time.monotonic() + limit_s
    while (await node.get("/api/snapshot"))[1]["limits"]["connections"] != connections:
        assert time.monotonic() < end, node.log()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_everyone_may_ask_for_it(tmp_path: Path, provider: SimProvider, workers: str) -> None:
    """SIGHUP, the admin address and the command each reload the file; an unchanged file changes nothing."""
    async with RunningNode(tmp_path, limited(provider.url, 101), "--workers", workers) as node:
        write(tmp_path, limited(provider.url, 102))
        status, said = await node.send("POST", "/api/reload")
        assert (status, said) == (200, {"version": 2, "changed": True, "workers": max(int(workers), 1)})
        assert (await node.send("POST", "/api/reload"))[1]["changed"] is False
        write(tmp_path, limited(provider.url, 103))
        node.tell(signal.SIGHUP)
        await holds(node, 103)
        write(tmp_path, limited(provider.url, 104))
        done = await asyncio.to_thread(edge, "reload", "--admin", node.admin)
        assert (done.returncode, "is in force on" in done.stdout) == (0, True), done
        await holds(node, 104)
        assert (await node.ask()).status == 200
        page = (await node.get("/metrics"))[1]
        assert 'edge_reloads_total{result="refused"} 0' in page
        assert "edge_snapshot_version 4" in page
        assert node.ready["pid"] == node.pid


async def test_on_a_terminal(tmp_path: Path, provider: SimProvider) -> None:
    """On a terminal SIGHUP reloads too, as long as the terminal exists; without it the node ends."""
    ours, theirs = os.openpty()
    try:
        async with RunningNode(tmp_path, limited(provider.url, 101), "--workers", "1", stdin=theirs) as node:
            write(tmp_path, limited(provider.url, 102))
            before = node.children()
            for name in ("worker 0", None):
                node.tell(signal.SIGHUP, name)
            await holds(node, 102)
            assert (await node.ask()).status == 200
            assert node.children() == before
            os.close(ours)
            ours = -1
            node.tell(signal.SIGHUP)
            assert await node.status(30) == 0
    finally:
        os.close(theirs)
        if ours >= 0:
            os.close(ours)


async def test_a_changed_file_is_noticed(tmp_path: Path, provider: SimProvider) -> None:
    """A change in place, by rename or by a swapped link (Kubernetes) applies within seconds."""
    async with RunningNode(tmp_path, limited(provider.url, 101), "--workers", "1") as node:
        (tmp_path / "edge.yaml").write_bytes(msgspec.json.encode({**ADDRESSES, **limited(provider.url, 102)}))
        await holds(node, 102)
        write(tmp_path, limited(provider.url, 103))
        await holds(node, 103)


async def test_a_swapped_link_is_noticed(tmp_path: Path, provider: SimProvider) -> None:
    """In a mounted ConfigMap the file is a link into a linked folder, and only the latter link changes."""
    node = RunningNode(tmp_path, limited(provider.url, 101), "--workers", "1")
    for name, connections in (("one", 101), ("two", 102)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, limited(provider.url, connections))
    (tmp_path / "edge.yaml").unlink()
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "edge.yaml").symlink_to("data/edge.yaml")
    async with node:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "data")
        await holds(node, 102)


async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path, provider: SimProvider) -> None:
    """The answer, the command, the log, the metrics and the status name the problem; the old configuration stays."""
    async with RunningNode(tmp_path, limited(provider.url, 101), "--workers", "1") as node:
        before = (await node.get("/api/snapshot"))[1]
        write(tmp_path, {**limited(provider.url, 102), "limit": {}})
        status, said = await node.send("POST", "/api/reload")
        problem = f"{tmp_path}/edge.yaml:1: limit: unknown key; did you mean limits?"
        assert (status, said["problems"]) == (422, [problem])
        done = await asyncio.to_thread(edge, "reload", "--admin", node.admin)
        assert (done.returncode, problem in done.stderr) == (1, True)
        assert problem in [line["message"] for line in node.lines()] or problem in node.log()
        assert (await node.get("/api/snapshot"))[1] == before
        page = (await node.get("/metrics"))[1]
        assert 'edge_reloads_total{result="applied"} 0' in page
        assert 'edge_reloads_total{result="refused"}' in page
        state = (await node.get("/api/node"))[1]
        assert state["problems"] == [problem]
        shown = await asyncio.to_thread(edge, "status", "--admin", node.admin)
        assert "the last reload was refused" in shown.stdout
        assert "did you mean limits?" in shown.stdout
        assert (await node.ask()).status == 200
        node.tell(signal.SIGKILL, "control")
        await node.ready_with(1)
        assert (await node.get("/api/node"))[1]["problems"] == [problem]
        write(tmp_path, limited(provider.url, 103))
        await node.send("POST", "/api/reload")
        assert (await node.get("/api/node"))[1]["problems"] == []


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"listen": [{"address": "127.0.0.1:1"}]}, "listen"),
        ({"admin": {"address": "127.0.0.1:2"}}, "admin.address"),
        ({"node": {"workers": 3}}, "node.workers"),
        ({"node": {"drain_grace": "9s"}}, "node.drain_grace"),
        ({"node": {"state_dir": "elsewhere"}}, "node.state_dir"),
    ],
)
async def test_what_needs_a_restart_is_refused(
    tmp_path: Path, provider: SimProvider, changed: dict[str, Any], place: str
) -> None:
    """A file that needs a restart is refused, with the field that needs it."""
    async with RunningNode(tmp_path, limited(provider.url, 101), "--workers", "1") as node:
        write(tmp_path, {**limited(provider.url, 102), **changed})
        status, said = await node.send("POST", "/api/reload")
        assert status == 422
        assert len(said["problems"]) == 1
        assert f": {place}: this cannot change while the node runs" in said["problems"][0]
        assert (await node.get("/api/snapshot"))[1]["limits"]["connections"] == 101


async def test_what_was_learned_survives(tmp_path: Path, provider: SimProvider) -> None:
    """Circuit, counters and latencies of an unchanged target survive a reload."""
    async with (
        quick_provider("p1") as other,
        RunningNode(tmp_path, chat_config(provider.url, other.url, breaker=ERRORS), "--workers", "1") as node,
    ):
        await provider.switch(Fault("error"))
        for _ in range(4):
            assert (await node.ask()).status == 200
        before = [await node.target("p0/sim-small"), await node.target("p1/sim-small")]
        assert before[0]["state"] == "open"
        third = chat_config(provider.url, other.url, other.url, breaker=ERRORS)
        write(tmp_path, third)
        assert (await node.send("POST", "/api/reload"))[1]["changed"] is True
        after = [await node.target("p0/sim-small"), await node.target("p1/sim-small")]
        for was, now in zip(before, after, strict=True):
            for field in ("state", "trips", "attempts", "latency_ms"):
                assert was[field] == now[field]
        assert (await node.target("p2/sim-small"))["attempts"] == {}


async def test_a_target_that_moved_starts_afresh(tmp_path: Path, provider: SimProvider) -> None:
    """A new address under the same name is another target: the old one's open circuit does not bar it."""
    async with quick_provider() as other:
        config = chat_config(provider.url, breaker=ERRORS)
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            await provider.switch(Fault("error"))
            for _ in range(3):
                await node.ask()
            assert (await node.target("p0/sim-small"))["state"] == "open"
            write(tmp_path, chat_config(other.url, breaker=ERRORS))
            await node.send("POST", "/api/reload")
            assert (await node.target("p0/sim-small"))["state"] == "usable"
            assert (await node.ask()).status == 200


async def test_an_exchange_keeps_what_it_began_with(tmp_path: Path) -> None:
    """A stream from a target that a reload removes continues to its end."""
    slow = Pace(ttft_s=0.0, tps=20.0, tokens=30)
    async with (
        SimProvider(ProviderSpec(name="p0", pace=slow, key=KEY)) as old,
        quick_provider("p1") as new,
        RunningNode(tmp_path, chat_config(old.url), "--workers", "1") as node,
        aiohttp.ClientSession() as client,
        client.post(f"{node.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer,
    ):
        await answer.content.readuntil(b"\n\n")
        config = chat_config(new.url)
        config["providers"] = {"p9": config["providers"]["p0"]}
        config["models"]["chat"]["targets"] = ["p9/sim-small"]
        write(tmp_path, config)
        assert (await node.send("POST", "/api/reload"))[1]["changed"] is True
        assert (await node.ask()).status == 200
        assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")


async def test_a_new_token_holds_at_once(tmp_path: Path, provider: SimProvider) -> None:
    """Operators need the token of the new file, and no page of another origin can steer the node."""
    config = limited(provider.url, 101)
    async with RunningNode(tmp_path, config, "--workers", "1") as node:
        assert (await node.send("POST", "/api/reload", Origin="http://evil.test"))[0] == 403
        write(tmp_path, {**config, "admin": {"address": "127.0.0.1:0", "token": "a-new-token-0123"}})
        assert (await node.send("POST", "/api/reload"))[0] == 200
        assert (await node.send("POST", "/api/reload"))[0] == 401
        assert (await node.send("POST", "/api/reload", Authorization="Bearer a-new-token-0123"))[0] == 200


@pytest.mark.alone
async def test_without_a_file_there_is_nothing_to_reload(tmp_path: Path, provider: SimProvider) -> None:
    """A node without a file says so to the caller and to the command."""
    from test_processes import free_ports

    environ = {**free_ports(), "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": provider.base_url}
    async with RunningNode(tmp_path, None, "--workers", "1", environ=environ) as node:
        status, said = await node.send("POST", "/api/reload")
        assert (status, "there is no file" in said["error"]) == (409, True)
        node.tell(signal.SIGHUP)
        await until(lambda: "there is no file" in node.log(), 40)
