"""A node drains in order: it becomes unready, then refuses new connections, then ends the old ones."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
from nodes import CHAT, KEY, RunningNode, chat_config
from one_data_plane import models, one_data_plane
from soon import until
from yarl import URL

from edge.listen.server import bind, open_listeners, turn_away
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider
from tests.snapshots import listener

if TYPE_CHECKING:
    from pathlib import Path

BODY = msgspec.json.encode(CHAT)
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    + f"content-length: {len(BODY)}\r\n\r\n".encode()
    + BODY
)


async def unready(node: RunningNode) -> None:
    """Wait until ``/ready`` reports that the node drains."""
    end = time.monotonic() + 30
    while True:
        status, said = await node.get("/ready")
        if status == 503:
            assert said["why"] == "the node is draining"
            return
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_it_says_so_first(tmp_path: Path, provider: SimProvider, workers: str) -> None:
    """From the signal on the node is not ready; new connections are answered for drain_grace; then it ends with 0."""
    config = chat_config(provider.url)
    async with RunningNode(tmp_path, config, "--workers", workers, "--drain-grace", "3") as node:
        assert (await node.get("/ready"))[0] == 200
        began = time.monotonic()
        node.tell(signal.SIGTERM)
        await unready(node)
        assert "edge_draining 1" in (await node.get("/metrics"))[1]
        answered = 0
        while time.monotonic() - began < 1.0:
            assert (await node.ask()).status == 200
            answered += 1
        assert answered > 3
        assert await node.status() == 0
        assert 3.0 <= time.monotonic() - began < 40


async def test_a_person_need_not_wait(tmp_path: Path, provider: SimProvider) -> None:
    """Ctrl-C drains without drain_grace, because no load balancer has to notice."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1", "--drain-grace", "30") as node:
        node.tell(signal.SIGINT)
        assert await node.status() == 0


async def test_the_command_begins_it(tmp_path: Path, provider: SimProvider) -> None:
    """``edge drain`` begins the drain; repetition and SIGTERM change nothing; a second SIGTERM ends the node."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1", "--drain-grace", "30") as node:
        for _ in range(2):
            command = [sys.executable, "-m", "edge", "drain", "--admin", node.admin]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
            assert done.returncode == 0
        await unready(node)
        shown = (await node.get("/api/node"))[1]
        assert shown["draining"] is True
        node.tell(signal.SIGTERM)
        await until(lambda: "the node is already draining" in node.log(), 40)
        assert (await node.ask()).status == 200
        assert not node.ended()
        node.tell(signal.SIGTERM)
        assert await node.status() == 128 + signal.SIGTERM


async def test_a_worker_that_dies_while_leaving_is_replaced(tmp_path: Path, provider: SimProvider) -> None:
    """Until the listeners close, a killed worker or control is replaced, and the node stays unready."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1", "--drain-grace", "20") as node:
        before = node.children()
        node.tell(signal.SIGTERM)
        await unready(node)
        for name in ("worker 0", "control"):
            node.tell(signal.SIGKILL, name)
        await until(lambda: {"control", "worker 0"} <= node.children().keys(), 40)
        await node.ready_with(1)
        assert not set(before.values()) & set(node.children().values())
        assert (await node.get("/ready"))[0] == 503
        assert (await node.ask()).status == 200
        node.tell(signal.SIGINT)
        assert await node.status() == 128 + signal.SIGINT


async def test_keep_alive_clients_hear_of_it(tmp_path: Path, provider: SimProvider) -> None:
    """An idle connection may send one more request; the answer says close, and the connection is closed."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1") as node:
        where = URL(node.url)
        reader, writer = await asyncio.open_connection(where.host, where.port)
        for closes in (False, True):
            if closes:
                worker = node.children()["worker 0"]
                node.tell(signal.SIGTERM)
                await until(lambda: "draining" in node.log(), 40)
                await asyncio.sleep(0.2)
                assert worker in node.children().values()
            writer.write(REQUEST)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200")
            assert (b"\r\nconnection: close\r\n" in head) is closes
            length = int(head.partition(b"content-length: ")[2].split()[0])
            await reader.readexactly(length)
        assert await reader.read() == b""
        writer.close()
        assert await node.status() == 0


async def test_who_is_at_the_door_is_let_in() -> None:
    """After the listeners turn away, what was connected is still accepted, and who comes later is not yet refused."""
    async with one_data_plane(models("http://127.0.0.1:9")) as served:
        data_plane = served.data_plane

        async def turn() -> None:
            with bind("127.0.0.1", 0) as held, contextlib.ExitStack() as clients:
                port = held.getsockname()[1]
                (listening,) = open_listeners([listener("127.0.0.1", port)], data_plane)
                early = [clients.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
                turn_away([listening.fileno()])  # the loop has not turned since: all of them are in the queue
                late = clients.enter_context(socket.socket())
                late.setblocking(False)
                assert late.connect_ex(("127.0.0.1", port)) != 0
                async with asyncio.timeout(20):
                    while data_plane.connections < len(early):  # noqa: ASYNC110 - the data plane tells nobody
                        await asyncio.sleep(0.005)
                await asyncio.sleep(0.1)
                assert data_plane.connections == len(early)
                assert late.connect_ex(("127.0.0.1", port)) != 0  # neither through nor refused
                assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                listening.close()
                assert listening.fileno() == -1
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.wait_for(asyncio.get_running_loop().sock_connect(late, ("127.0.0.1", port)), 60)

        await served.thread.run(turn())


@pytest.mark.parametrize("workers", ["0", "1"])
async def test_a_second_signal_waits_for_nobody(tmp_path: Path, workers: str) -> None:
    """The second SIGTERM ends everything at once, whatever is in flight, and the status reports it."""
    endless = Pace(ttft_s=0.0, tps=5.0, tokens=1000)
    async with SimProvider(ProviderSpec(name="p0", pace=endless, key=KEY)) as slow:
        async with RunningNode(tmp_path, chat_config(slow.url), "--workers", workers, "--grace", "60") as node:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client,
                client.post(f"{node.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer,
            ):
                await answer.content.readuntil(b"\n\n")
                node.tell(signal.SIGTERM)
                await unready(node)
                node.tell(signal.SIGTERM)
                assert await node.status(20) == 128 + signal.SIGTERM


async def test_what_outlasts_the_grace_is_told(tmp_path: Path) -> None:
    """A stream that outlasts the grace period ends with an error event and no end mark; the worker ends by itself."""
    endless = Pace(ttft_s=0.0, tps=5.0, tokens=1000)
    async with SimProvider(ProviderSpec(name="p0", pace=endless, key=KEY)) as slow:
        async with RunningNode(tmp_path, chat_config(slow.url), "--workers", "1", "--grace", "1") as node:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client,
                client.post(f"{node.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer,
            ):
                said = await answer.content.readuntil(b"\n\n")
                node.tell(signal.SIGTERM)
                with contextlib.suppress(aiohttp.ClientPayloadError):  # the last chunk is missing
                    async for line in answer.content:
                        said += line
            assert await node.status(30) == 0
            assert b"this edge is stopping" in said
            assert b"[DONE]" not in said
            assert "exchanges were cut off" in node.log()
            assert "did not end within the grace period" not in node.log()
