"""Connections that ask nothing are closed in time, and make room for others where the table of connections is full."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import one_data_plane as world
import pytest
from h2peer import PREFACE, FrameClient, Upstream, request, service
from hyperframe.frame import GoAwayFrame, HeadersFrame, SettingsFrame
from one_data_plane import HOSTS, OneDataPlane, one_data_plane
from soon import until

from edge import clock
from native.state.counters import WorkerCounter

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from h2peer import Call
    from secure import Secure

LIMITS = "limits: {header_timeout: 400ms, idle: 60s}\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
HELLO = bytes.fromhex("16030100c8010000c40303")  # the beginning of a ClientHello
PROXIED = f'listen: [{{address: "127.0.0.1:0", proxy_protocol: true, {HOSTS}}}]\n'


async def ended_within(reader: asyncio.StreamReader, limit_s: float) -> bytes:
    """Return what comes until the connection ends."""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(limit_s):
            return await reader.read()
    return b""


@pytest.mark.parametrize("said", [b"", b"G", b"PRI * HT", PREFACE, PREFACE + SettingsFrame().serialize()])
async def test_silence(said: bytes) -> None:
    """Nothing, half a line, half a preface, or a preface without a request: closed soon after header_timeout."""
    async with one_data_plane(service("127.0.0.1:1") + LIMITS) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(said)
        await ended_within(reader, 10)
        writer.close()
        await until(lambda: data_plane.data_plane.connections == 0)


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 1", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n!\x11"])
async def test_silence_where_a_proxy_speaks(said: bytes) -> None:
    """The same before, in and behind a PROXY header."""
    async with one_data_plane(service("127.0.0.1:1") + LIMITS + PROXIED) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(said)
        await ended_within(reader, 10)
        writer.close()


@pytest.mark.parametrize("said", [b"", HELLO])
async def test_silence_before_tls(said: bytes, secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same before and in a TLS handshake: header_timeout, and not a longer time, is its limit."""
    monkeypatch.setattr(world, "SECURE", secure)
    async with one_data_plane(service("127.0.0.1:1") + LIMITS) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(said)
        await ended_within(reader, 5)
        writer.close()


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_silence_behind_tls(alpn: str, secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the handshake is complete and no request follows."""
    monkeypatch.setattr(world, "SECURE", secure)
    async with one_data_plane(service("127.0.0.1:1") + LIMITS) as data_plane:
        context: ssl.SSLContext = secure.trusting(alpn)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", data_plane.port, ssl=context, server_hostname="127.0.0.1"
        )
        await ended_within(reader, 10)
        writer.close()


async def test_dripping_does_not_help() -> None:
    """A SETTINGS frame that comes byte by byte does not put the end off."""
    async with one_data_plane(service("127.0.0.1:1") + LIMITS) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(PREFACE)
        drops = asyncio.create_task(drip(writer, SettingsFrame(settings=dict.fromkeys(range(0x100, 0x120), 0))))
        await ended_within(reader, 5)
        drops.cancel()
        writer.close()


async def drip(writer: asyncio.StreamWriter, frame: SettingsFrame) -> None:
    """Send a frame in ten seconds."""
    for byte in frame.serialize():
        writer.write(bytes((byte,)))
        await clock.sleep(0.05)


async def test_a_connection_that_has_asked_may_rest(both_wires: str) -> None:
    """After its first request a connection is kept for ``idle``."""
    async with one_data_plane(service("127.0.0.1:1") + LIMITS) as data_plane:
        async with Visitor.at(data_plane, both_wires) as visitor:
            for _ in range(2):
                assert await visitor.is_served()
                await clock.sleep(1.2)
            assert await visitor.is_served()


class Visitor:
    """A client with one connection, over HTTP/1.1 or HTTP/2."""

    def __init__(self, client: FrameClient | tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._client = client
        self._stream = -1

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, data_plane: OneDataPlane, wire: str) -> AsyncIterator[Visitor]:
        """Connect."""
        if wire == "http2":
            async with FrameClient.connect(data_plane.port) as client:
                yield cls(client)
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        yield cls((reader, writer))
        writer.transport.abort()

    async def is_served(self) -> bool:
        """Ask for /healthz; return whether it is answered."""
        if isinstance(self._client, FrameClient):
            self._stream += 2
            self._client.ask(self._stream)
            return await self._client.answer(self._stream) == 200
        reader, writer = self._client
        writer.write(HEALTH)
        with contextlib.suppress(ConnectionResetError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            return head.startswith(b"HTTP/1.1 200 ")
        return False

    async def ask(self, path: str) -> None:
        """Ask for a path, and wait for nothing."""
        if isinstance(self._client, FrameClient):
            self._stream += 2
            self._client.ask(self._stream, request("GET", path))
        else:
            self._client[1].write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())

    async def is_closed(self) -> None:
        """Wait until edge has closed the connection; over HTTP/2 a GOAWAY says why."""
        if isinstance(self._client, FrameClient):
            client = self._client
            await client.until(lambda: client.closed)
            assert [frame.error_code for frame in client.of(GoAwayFrame)] == [0]
        else:
            assert await ended_within(self._client[0], 20) == b""


def count(data_plane: OneDataPlane, counter: WorkerCounter) -> int:
    """Return a counter of the worker."""
    return int(data_plane.shared_state.read_worker(0)["counts"][counter])


async def test_the_longest_idle_makes_room(both_wires: str) -> None:
    """Where the table is full, each new connection takes the place of the one that has been idle longest."""
    async with one_data_plane(service("127.0.0.1:1") + "limits: {connections: 3}\n") as data_plane:
        async with contextlib.AsyncExitStack() as stack:
            first, second, third = [
                await stack.enter_async_context(Visitor.at(data_plane, both_wires)) for _ in range(3)
            ]
            for visitor in (second, third, first):
                assert await visitor.is_served()
            fourth = await stack.enter_async_context(Visitor.at(data_plane, both_wires))
            assert await fourth.is_served()
            await second.is_closed()
            fifth = await stack.enter_async_context(Visitor.at(data_plane, both_wires))
            assert await fifth.is_served()
            await third.is_closed()
            for visitor in (first, fourth, fifth):
                assert await visitor.is_served()
            assert data_plane.data_plane.connections == 3
            assert count(data_plane, WorkerCounter.W_EVICTED) == 2
            assert count(data_plane, WorkerCounter.W_TURNED_AWAY) == 0


async def test_a_connection_with_a_request_keeps_its_place(both_wires: str) -> None:
    """Connections with a request in flight are never evicted; where all have one, the new connection is closed."""

    async def answer(call: Call) -> None:
        await call.until_reset()

    async with Upstream(answer) as upstream:
        async with one_data_plane(service(upstream.address) + "limits: {connections: 3}\n") as data_plane:
            async with contextlib.AsyncExitStack() as stack:
                three = [await stack.enter_async_context(Visitor.at(data_plane, both_wires)) for _ in range(3)]
                for visitor in three[:2]:
                    await visitor.ask("/a")
                await until(lambda: len(upstream.calls) == 2)
                assert await three[2].is_served()
                fourth = await stack.enter_async_context(Visitor.at(data_plane, both_wires))
                await fourth.ask("/a")
                await three[2].is_closed()
                await until(lambda: len(upstream.calls) == 3)
                reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
                assert await ended_within(reader, 10) == b""
                writer.close()
                assert data_plane.data_plane.active == 3
                assert count(data_plane, WorkerCounter.W_TURNED_AWAY) == 1


@pytest.mark.parametrize("said", [b"", PREFACE + SettingsFrame().serialize(), b"GET / HTTP/1.1\r\nhost: a\r\n"])
async def test_a_flood_of_silence(said: bytes, both_wires: str) -> None:
    """A table full of connections that never ask keeps nobody out, also if they have begun a first head."""
    async with one_data_plane(service("127.0.0.1:1") + "limits: {connections: 16}\n") as data_plane:
        silent = [socket.create_connection(("127.0.0.1", data_plane.port)) for _ in range(64)]
        for one in silent:
            with contextlib.suppress(OSError):
                one.sendall(said)
        await until(lambda: data_plane.data_plane.connections == 16)
        async with Visitor.at(data_plane, both_wires) as visitor:
            assert await visitor.is_served()
        for one in silent:
            one.close()


async def test_an_open_head_is_no_request() -> None:
    """An HTTP/2 connection whose first head block does not end can be evicted."""
    async with one_data_plane(service("127.0.0.1:1") + "limits: {connections: 1}\n") as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await client.ping()
            client.send(HeadersFrame(1, client.block(request())))
            async with Visitor.at(data_plane, "http1") as visitor:
                assert await visitor.is_served()
            await client.until(lambda: client.closed)
