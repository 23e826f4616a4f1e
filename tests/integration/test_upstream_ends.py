"""An upstream connection ends even if its peer stops reading, and data that must arrive still arrives."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from h2peer import service
from hyperframe.frame import PingFrame, SettingsFrame, WindowUpdateFrame
from one_data_plane import OneDataPlane, one_data_plane
from soon import until
from test_services import request, services
from test_websocket import ASK, TAKE

from edge import clock
from edge.native import WorkerCounter
from edge.sim.wire import HalfClose, Hold, ReadHead, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge.sim.wire import Step

NS_PER_MS = 1_000_000
EARLY = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"
SLOW_TIMES = "first_byte: 30s, stream_idle: 30s, total: 60s"


def patient(text: str) -> str:
    """Return the same configuration with longer deadlines."""
    return text.replace("first_byte: 600ms, stream_idle: 600ms, total: 5s", SLOW_TIMES)


def worker(data_plane: OneDataPlane, name: WorkerCounter) -> int:
    """Return a counter of the worker."""
    return int(data_plane.shared_state.read_worker(0)["counts"][name])


def pool(data_plane: OneDataPlane) -> Any:
    """Return the native pool of the only target."""
    return data_plane.data_plane.router.targets[0].pool


async def connect(port: int) -> socket.socket:
    """Return a client's socket."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


@contextlib.asynccontextmanager
async def flooding(data_plane: OneDataPlane, head: bytes, wait_for: bytes = b"") -> AsyncIterator[socket.socket]:
    """A client that sends without end after its head (and an answer to it), until edge takes no more."""
    sock = await connect(data_plane.port)
    loop = asyncio.get_running_loop()

    async def flood() -> None:
        with contextlib.suppress(OSError):
            while True:
                await loop.sock_sendall(sock, b"f" * 65536)

    await loop.sock_sendall(sock, head)
    if wait_for:
        assert wait_for in await asyncio.wait_for(loop.sock_recv(sock, 65536), 10)
    task = asyncio.create_task(flood())
    try:
        before = -1
        while (taken := worker(data_plane, WorkerCounter.W_BYTES_IN)) != before or taken < 500_000:
            before = taken
            await clock.sleep(0.05)
        yield sock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        sock.close()


async def test_an_early_answer_to_an_upload_that_is_not_read() -> None:
    """A service that answers early and does not read on does not keep the connection for ever."""
    answer = asyncio.Event()
    end = asyncio.Event()
    script = (ReadHead(), Hold(answer), Send(EARLY), Hold(end))
    async with (
        ScriptedServer(script, receive_buffer=16384) as upstream,
        one_data_plane(patient(services(upstream.address))) as data_plane,
    ):
        async with flooding(data_plane, request(b"POST", fields=b"content-length: 1000000000\r\n")) as sock:
            assert worker(data_plane, WorkerCounter.W_UPSTREAMS) == 1
            answer.set()
            told = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), 10)
            assert told.startswith(b"HTTP/1.1 413 ")
            await until(lambda: worker(data_plane, WorkerCounter.W_UPSTREAMS) == 0, 12)
            assert pool(data_plane).live == 0
        end.set()


async def test_a_tunnel_that_its_service_closes_and_does_not_read() -> None:
    """A service that closes its side of a tunnel may read the rest for a limited time."""
    leave = asyncio.Event()
    end = asyncio.Event()
    script = (ReadHead(), Send(TAKE), Hold(leave), HalfClose(), Hold(end))
    async with (
        ScriptedServer(script, receive_buffer=16384) as upstream,
        one_data_plane(patient(services(upstream.address))) as data_plane,
    ):
        pool(data_plane).tail_ns = 100 * NS_PER_MS
        async with flooding(data_plane, ASK, b" 101 "):
            assert worker(data_plane, WorkerCounter.W_UPSTREAMS) == 1
            leave.set()
            await until(lambda: worker(data_plane, WorkerCounter.W_UPSTREAMS) == 0, 12)
        end.set()


async def test_an_http2_upstream_that_floods_and_does_not_read() -> None:
    """A refused connection ends within seconds, whether its peer reads the rest or not."""
    fault = asyncio.Event()
    end = asyncio.Event()
    hello = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}).serialize()
    hello += WindowUpdateFrame(0, window_increment=2**30).serialize() + SettingsFrame(flags=["ACK"]).serialize()
    script: tuple[Step, ...] = (
        Send(hello),
        Hold(fault),
        Send(PingFrame(opaque_data=b"12345678").serialize() * 3000),
        Hold(end),
    )
    async with (
        ScriptedServer(script, receive_buffer=16384) as upstream,
        one_data_plane(
            service(upstream.address).replace("first_byte: 5s, stream_idle: 5s, total: 30s", SLOW_TIMES)
        ) as data_plane,
    ):
        pool(data_plane).drain_limit_ns = 100 * NS_PER_MS
        async with flooding(data_plane, b"POST /a HTTP/1.1\r\nhost: edge\r\ncontent-length: 1000000000\r\n\r\n"):
            assert worker(data_plane, WorkerCounter.W_UPSTREAMS) == 1
            fault.set()
            await until(lambda: worker(data_plane, WorkerCounter.W_UPSTREAMS) == 0, 12)
        end.set()


async def test_the_last_words_of_a_tunnel() -> None:
    """The last data of a tunnel's client reaches a service that reads late."""
    read = asyncio.Event()
    script = (ReadHead(), Send(TAKE), Hold(read), ReadToEnd())

    async def say(data_plane: OneDataPlane, size: int) -> int:
        sock = await connect(data_plane.port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, ASK)
        assert b" 101 " in await asyncio.wait_for(loop.sock_recv(sock, 65536), 10)
        await asyncio.wait_for(loop.sock_sendall(sock, b"f" * size), 10)
        sock.close()
        return size

    async with (
        ScriptedServer(script, receive_buffer=65536) as upstream,
        one_data_plane(patient(services(upstream.address))) as data_plane,
    ):
        async with flooding(data_plane, ASK, b" 101 "):
            held = worker(data_plane, WorkerCounter.W_BYTES_IN)
        # around what the way holds without a reader: some of them leave bytes in edge's own buffer
        sizes = [held - less for less in range(30_000, 240_000, 30_000)]
        for size in sizes:
            await say(data_plane, size)
        with contextlib.suppress(TimeoutError):
            await until(
                lambda: data_plane.data_plane.active == 1, 1.0
            )  # the flood waits for a reader; the others have left
        read.set()
        peers = (await upstream.wait_peers(1 + len(sizes)))[1:]
        assert [await peer.wait_end() for peer in peers] == ["peer_closed"] * len(peers)
        assert [len(peer.received.partition(b"\r\n\r\n")[2]) for peer in peers] == sizes
