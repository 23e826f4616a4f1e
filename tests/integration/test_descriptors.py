"""A node without free descriptors says so, blames no target, and serves again when some are free."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nodes import RunningNode, chat_config
from one_data_plane import HELLO, ROLE, STREAM, chunk, models, one_data_plane, post, sse, whole
from soon import until

from edge.sim.wire import Again, Hold, ReadMessage, ReadUntil, ScriptedServer, Send, play_client

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.timeout(240)

# Above what the worker has open when it begins to serve: with an eighth in reserve, some thirty streams.
MORE = 80


def patient(*urls: str) -> dict[str, Any]:
    """Return a configuration of a node with one worker, with deadlines for a busy machine."""
    config = chat_config(*urls)
    timeouts = config["models"]["chat"]["timeouts"]
    timeouts |= dict.fromkeys(timeouts, "60s") | {"total": "2m"}
    return {"node": {"workers": 1}, **config}


def opened(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def cpu_s(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limit(node: RunningNode, more: int) -> int:
    """Limit the worker to this many further descriptors; return its process id."""
    pid = node.children()["worker 0"]
    most = opened(pid) + more
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    return pid


async def stream(url: str) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin a stream on a new connection; return the status, with the rest unread."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(post(STREAM))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)
    return int(head.split(b" ", 2)[1]), reader, writer


async def ask(url: str) -> bytes:
    """Send a request; return the complete response."""
    port = int(url.rpartition(":")[2])
    return (await play_client(port, Send(post()), ReadUntil(b"}}"), limit_s=120)).received


def held(release: asyncio.Event) -> Sequence[Any]:
    """Begin to answer a stream, and end it when it is released."""
    return (
        ReadMessage(),
        Send(sse(ROLE, HELLO, end=False)),
        Hold(release),
        Send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"),
        Again(),
    )


async def test_without_descriptors_the_request_fails_and_nobody_is_blamed(tmp_path: Path) -> None:
    """Without descriptors the next stream gets 503 with edge's own code, and the target stays healthy."""
    release = asyncio.Event()
    async with ScriptedServer(held(release), limit_s=200) as provider:
        async with RunningNode(tmp_path, patient(provider.url)) as node:
            limit(node, MORE)
            running, refused = [], []
            while len(refused) < 3:  # what the worker opens for a moment may make room once more
                status, reader, writer = await stream(node.url)
                (running if status == 200 else refused).append(writer)
                assert status in {200, 503}
                assert len(running) < MORE
            error = json.loads(await asyncio.wait_for(reader.readuntil(b"}}"), 60))["error"]
            assert (error["type"], error["code"]) == ("overloaded", "descriptors_exhausted")
            assert "limit of open files" in error["message"]
            assert len(running) >= MORE // 4
            # More than open a circuit, and fewer at once than the descriptors in reserve.
            answers = [answer for _ in range(2) for answer in await asyncio.gather(*[ask(node.url) for _ in range(4)])]
            for answer in answers:
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nretry-after: 1\r\n" in answer
            target = await node.target("p0/sim-small")
            assert (target["state"], target["trips"], target["limit"]) == ("usable", 0, None)
            metrics = (await node.get("/metrics"))[1]
            assert 'edge_target_connect_failures_total{target="p0/sim-small"} 0' in metrics
            assert "limit of open files" in node.log()
            release.set()
            for each in running + refused:
                each.close()
            await node.inflight("p0/sim-small", 0)
            status, _, writer = await stream(node.url)
            writer.close()
            assert status == 200


async def test_accept_goes_on_when_descriptors_are_free_again(tmp_path: Path) -> None:
    """If idle clients use all descriptors, the worker neither spins nor stops accepting for good."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as provider:
        async with RunningNode(tmp_path, patient(provider.url)) as node:
            pid = limit(node, MORE)
            port = int(node.url.rpartition(":")[2])
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * MORE)]
            await until(lambda: any(gone(each) for each in idle), 60)
            before = cpu_s(pid)
            await asyncio.sleep(1.0)  # a worker that spins would use all of this second
            assert cpu_s(pid) - before < 0.5
            for each in idle:
                each.close()
            status = b""
            while status != b"200":  # the closed ones leave one after the other
                status = (await ask(node.url))[9:12]
                assert status in {b"200", b"503", b""}
                await asyncio.sleep(0.02)
            assert (await node.target("p0/sim-small"))["trips"] == 0


def gone(connection: socket.socket) -> bool:
    """Return whether the peer has closed a silent connection."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def test_connections_have_no_cap() -> None:
    """Without max_connections there is no limit on concurrent streams."""
    streams = 400
    release = asyncio.Event()
    async with ScriptedServer(held(release), limit_s=200) as provider:
        async with one_data_plane(re.sub(r"\b\d+m?s\b", "60s", models(provider.url))) as data_plane:
            begun = await asyncio.gather(*[stream(f"http://127.0.0.1:{data_plane.port}") for _ in range(streams)])
            assert [status for status, _, _ in begun] == [200] * streams
            assert data_plane.target("p0/m")["inflight"] == streams
            release.set()
            for _, _, writer in begun:
                writer.close()
