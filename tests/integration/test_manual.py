"""A target that was taken out manually stays out and shows the reason, and other targets are not affected."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import pytest
from nodes import RunningNode, chat_config, edge, quick_provider

from edge.sim.faults import Fault
from edge.terms.target_state import BY_HAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.sim.provider import SimProvider

FIRST, SECOND = "p0/sim-small", "p1/sim-small"


@pytest.fixture
async def providers() -> AsyncIterator[tuple[SimProvider, SimProvider]]:
    """Two providers that answer at once."""
    async with (
        quick_provider() as first,
        quick_provider("p1") as second,
    ):
        yield first, second


async def who(node: RunningNode) -> str:
    """Send a request; return the target that answered, or the status of a failure."""
    answer = await node.ask()
    return answer.headers["x-edge-target"] if answer.status == 200 else str(answer.status)


@pytest.mark.parametrize("action", ["drain", "eject"])
@pytest.mark.parametrize("written", [FIRST, quote(FIRST, safe="")], ids=["plain", "encoded"])
async def test_out_and_back(
    tmp_path: Path, providers: tuple[SimProvider, SimProvider], action: str, written: str
) -> None:
    """A drained target gets no traffic, shows why and since when, and takes part again once restored."""
    config = chat_config(providers[0].url, providers[1].url)
    async with RunningNode(tmp_path, config, "--workers", "2") as node:
        assert await who(node) == FIRST
        before = time.time()
        status, said = await node.send("PUT", f"/api/targets/{written}/{action}", {"reason": "the bill of May"})
        after = time.time()
        assert (status, said["id"], said["state"], said["usable"]) == (200, FIRST, "manual", False)
        assert said["why"].startswith(BY_HAND[1 if action == "drain" else 2].sentence)
        assert said["why"].endswith(": the bill of May")
        assert before - 0.001 <= said["since"] <= after + 0.001
        assert {await who(node) for _ in range(10)} == {SECOND}
        _, said = await node.send("PUT", f"/api/targets/{written}/{action}?reason=of%20June")
        assert said["why"].endswith(": of June")
        assert (
            f'edge_target_manual{{target="{FIRST}"}} {1 if action == "drain" else 2}' in (await node.get("/metrics"))[1]
        )
        status, said = await node.send("PUT", f"/api/targets/{written}/restore")
        assert (status, said["state"], said["why"], said["since"]) == (200, "usable", "", None)
        assert await who(node) == FIRST


async def test_it_outlives_reloads_and_control(tmp_path: Path, providers: tuple[SimProvider, SimProvider]) -> None:
    """A drained target stays drained, with its reason, over reloads, a move and a killed control."""
    urls = [provider.url for provider in providers]
    async with RunningNode(tmp_path, chat_config(*urls), "--workers", "1") as node:
        await node.send("PUT", f"/api/targets/{FIRST}/drain", {"reason": "to be seen"})
        before = await node.target(FIRST)
        addresses = {"listen": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}
        for new in (chat_config(*urls, urls[0]), chat_config(urls[1], urls[1])):
            (tmp_path / "edge.yaml").write_bytes(msgspec.json.encode({**addresses, **new}))
            assert (await node.send("POST", "/api/reload"))[1]["changed"] is True
            now = await node.target(FIRST)
            assert (now["state"], now["why"], now["since"]) == ("manual", before["why"], before["since"])
            assert await who(node) == SECOND
        node.tell(signal.SIGKILL, "control")
        await node.ready_with(1)
        now = await node.target(FIRST)
        assert (now["state"], now["why"], now["since"]) == ("manual", before["why"], before["since"])


async def test_an_ejected_target_is_not_tried(tmp_path: Path, providers: tuple[SimProvider, SimProvider]) -> None:
    """An ejected target is not even tried as the last resort: callers get a 503."""
    async with RunningNode(tmp_path, chat_config(*(each.url for each in providers)), "--workers", "1") as node:
        await providers[0].switch(Fault("error"))
        await node.send("PUT", f"/api/targets/{FIRST}/eject", {"reason": "wrong answers"})
        assert await who(node) == SECOND
        await node.send("PUT", f"/api/targets/{SECOND}/drain", {"reason": "also"})
        assert await who(node) == "503"
        assert (await node.target(FIRST))["attempts"] == {}


async def test_mistakes_are_said(tmp_path: Path, providers: tuple[SimProvider, SimProvider]) -> None:
    """An unknown id, a missing or too long reason and invalid JSON change nothing, and are explained."""
    async with RunningNode(tmp_path, chat_config(providers[0].url), "--workers", "1") as node:
        status, said = await node.send("PUT", "/api/targets/p0/sim-smal/drain", {"reason": "x"})
        assert (status, said["error"]) == (404, f"there is no target p0/sim-smal; did you mean {FIRST}?")
        for body in ({}, {"reason": " "}, {"reason": "x" * 501}, {"reason": "a\nb"}):
            status, said = await node.send("PUT", f"/api/targets/{FIRST}/drain", body)
            assert (status, "give a reason" in said["error"]) == (400, True)
        for body in (None, {"why": "x"}, ["x"]):
            status, said = await node.send("PUT", f"/api/targets/{FIRST}/drain", body)
            assert (status, "the body must be JSON" in said["error"]) == (400, True)
        assert (await node.send("PUT", f"/api/targets/{FIRST}/explode", {"reason": "x"}))[0] == 404
        assert (await node.target(FIRST))["state"] == "usable"


async def test_the_command_does_it(tmp_path: Path, providers: tuple[SimProvider, SimProvider]) -> None:
    """``edge target`` takes a target out and back, and ``edge status`` shows the reason."""
    async with RunningNode(tmp_path, chat_config(*(each.url for each in providers)), "--workers", "1") as node:
        where = ("--admin", node.admin)
        done = await asyncio.to_thread(edge, "target", "drain", FIRST, "--reason", "moving house", *where)
        assert (done.returncode, "moving house" in done.stdout) == (0, True), done
        assert await who(node) == SECOND
        shown = await asyncio.to_thread(edge, "status", "--json", *where)
        assert "moving house" in shown.stdout
        done = await asyncio.to_thread(edge, "target", "restore", FIRST, *where)
        assert (done.returncode, done.stdout) == (0, f"{FIRST}: usable\n")
        done = await asyncio.to_thread(edge, "target", "eject", "nobody", "--reason", "x", *where)
        assert (done.returncode, "there is no target nobody" in done.stderr) == (1, True)
