"""A slow reader stops the sender on the other side; buffers in between are bounded."""

from __future__ import annotations

import asyncio
import socket

from one_data_plane import HELLO, SSE_HEAD, STREAM, chunk, models, one_data_plane, post
from test_services import request, services

from edge import clock
from edge.sim.wire import Pause, ReadHead, ReadMessage, ReadToEnd, ScriptedServer, Send

# More than every buffer on the way together can hold: two sockets on each side, the write buffers, one read each.
FLOOD = 64 * 1024 * 1024
HELD_AT_MOST = 24 * 1024 * 1024


async def silent_client(port: int, data: bytes, seconds: float) -> socket.socket:
    """Send a request and read nothing for this time."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(sock, data)
    await clock.sleep(seconds)
    return sock


class Flood(asyncio.Protocol):
    """An upstream that sends as much as it can after a head, and counts what was taken."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.head = head
        self.piece = piece
        self.written = 0
        self.writable = asyncio.Event()
        self.writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self.flood())

    async def flood(self) -> None:
        self.transport.write(self.head)
        while self.written < FLOOD and not self.transport.is_closing():
            await self.writable.wait()
            self.transport.write(self.piece)
            self.written += len(self.piece)
            await asyncio.sleep(0)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
        if self.task is not None:
            self.task.cancel()


async def test_client_that_does_not_read_a_stream() -> None:
    """A client that stops reading a stream stops the provider, and gets every byte when it reads again."""
    floods: list[Flood] = []

    def upstream() -> Flood:
        floods.append(Flood(SSE_HEAD, chunk(HELLO * 200)))
        return floods[-1]

    server = await asyncio.get_running_loop().create_server(upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, one_data_plane(models(f"http://127.0.0.1:{port}")) as data_plane:
        sock = await silent_client(data_plane.port, post(STREAM), 1.0)
        held = floods[0].written
        assert 0 < held < HELD_AT_MOST
        await clock.sleep(0.7)  # longer than stream_idle: waiting for the client is not the provider's stall
        assert floods[0].written == held
        taken = 0
        while taken < held:
            part = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1 << 20), 60)
            assert part
            taken += len(part)
        sock.close()


async def test_service_that_does_not_read_an_upload() -> None:
    """A service that stops reading stops the client that uploads to it."""
    script = (ReadHead(), Pause(1.5), ReadToEnd())
    async with (
        ScriptedServer(script, receive_buffer=65536) as upstream,
        one_data_plane(
            services(upstream.address, total="60s").replace("stream_idle: 600ms", "stream_idle: 30s")
        ) as data_plane,
    ):
        head = request(b"POST", fields=b"Content-Length: %d\r\n" % FLOOD)
        sock = await silent_client(data_plane.port, head, 0.1)
        loop = asyncio.get_running_loop()
        sent = 0

        async def upload() -> None:
            nonlocal sent
            while sent < FLOOD:
                await loop.sock_sendall(sock, b"a" * 65536)
                sent += 65536

        task = asyncio.create_task(upload())
        await clock.sleep(1.0)
        held = sent
        assert 0 < held < HELD_AT_MOST
        await asyncio.wait_for(task, 60)
        assert sent == FLOOD
        sock.close()


async def test_client_that_never_reads_is_cut() -> None:
    """If a client does not read at all, its connection and the upstream attempt end after client_idle."""
    script = (ReadMessage(), Send(SSE_HEAD + chunk(HELLO) * 100_000), ReadToEnd())
    text = models("http://127.0.0.1:1")
    async with ScriptedServer(script) as upstream:
        text = models(upstream.url).replace("total: 5s", "total: 1s")
        async with one_data_plane(text) as data_plane:
            sock = await silent_client(data_plane.port, post(STREAM), 1.6)
            assert data_plane.data_plane.active == 0
            assert data_plane.target("p0/m")["inflight"] == 0
            sock.close()
