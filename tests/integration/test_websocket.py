"""A WebSocket upgrade is relayed as a tunnel; no byte of the client reaches the service before its 101."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from one_data_plane import one_data_plane, patient, whole
from test_services import services

from edge import clock
from edge.native import Outcome
from edge.sim.wire import (
    Again,
    Close,
    Hold,
    Pause,
    ReadBytes,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    play_client,
)

ASK = (
    b"GET /api/ws HTTP/1.1\r\nHost: billing.internal\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TAKE = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: b\r\n\r\n"
)


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send every message back until the client closes."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


async def test_real_client_and_server() -> None:
    """A real client and a real server exchange small and large messages both ways, and close in order."""
    app = web.Application()
    app.router.add_get("/api/ws", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with one_data_plane(services(f"127.0.0.1:{port}")) as data_plane, aiohttp.ClientSession() as client:
            headers = {"host": "billing.internal"}
            async with client.ws_connect(f"{data_plane.url}/api/ws", headers=headers) as socket:
                for size in (1, 100, 70_000, 1_000_000):
                    await socket.send_bytes(b"x" * size)
                    assert await socket.receive_bytes(timeout=20) == b"x" * size
                await asyncio.gather(*(socket.send_str(f"{n}") for n in range(50)))
                assert [await socket.receive_str(timeout=20) for _ in range(50)] == [f"{n}" for n in range(50)]
            assert socket.close_code == 1000
            assert data_plane.outcomes(f"billing/127.0.0.1:{port}")[Outcome.OK] == 1
            for _ in range(100):
                if data_plane.data_plane.active == 0:
                    break
                await clock.sleep(0.01)
            assert data_plane.target(f"billing/127.0.0.1:{port}")["inflight"] == 0
    finally:
        await runner.cleanup()


async def test_nothing_before_the_101() -> None:
    """Data behind an upgrade request waits until the service has accepted it."""
    taking = asyncio.Event()
    script = (ReadHead(), Hold(taking), Send(TAKE + b"server"), ReadBytes(5), Send(b"more"), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(services(upstream.address))) as data_plane:
        client = asyncio.create_task(
            play_client(data_plane.port, Send(ASK + b"hasty"), ReadUntil(b"server"), ReadUntil(b"more"), Close())
        )
        (peer,) = await upstream.wait_asked(1)
        await clock.sleep(0.15)
        assert peer.received.endswith(b"\r\n\r\n")
        assert b"\r\nupgrade: websocket\r\n" in peer.received
        taking.set()
        played = await client
        assert played.received.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: b\r\n" in played.received.lower()
        assert await peer.wait_end() in ("peer_closed", "peer_reset")
        assert peer.received.endswith(b"\r\n\r\nhasty")


@pytest.mark.parametrize("hasty", [b"", b"hasty"])
async def test_client_leaves_before_the_101(hasty: bytes) -> None:
    """A client that leaves before the service's answer is noticed at once, not at a deadline."""
    async with ScriptedServer((ReadHead(), ReadToEnd()), limit_s=60.0) as upstream:
        text = services(upstream.address, total="60s").replace("first_byte: 600ms", "first_byte: 50s")
        async with one_data_plane(text) as data_plane:
            _, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
            writer.write(ASK + hasty)
            (peer,) = await upstream.wait_asked(1)
            writer.close()
            assert await peer.wait_end(20.0) in ("peer_closed", "peer_reset")
            assert hasty == b"" or hasty not in peer.received


@pytest.mark.parametrize("size", [60_000, 1_000_000])
async def test_much_before_the_101(size: int) -> None:
    """Early data is limited, and the service gets all of it after it accepts the upgrade."""
    frames = bytes(range(256)) * (size // 256)
    script = (ReadHead(), Pause(0.2), Send(TAKE), ReadBytes(len(frames)), Send(b"all"), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(services(upstream.address))) as data_plane:
        peer = await play_client(data_plane.port, Send(ASK), Send(frames, piece=50_000), ReadUntil(b"all"), Close())
        assert peer.ended == "closed"
        assert upstream.peers[0].received.endswith(b"\r\n\r\n" + frames)


async def test_refused_upgrade() -> None:
    """If a service refuses the upgrade, it answers as usual, and the early data is the next request."""
    script = (ReadMessage(), Send(whole(b'{"no":1}', b"400 Bad Request")), Again())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        health = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        peer = await data_plane.raw(ASK + health)
        assert peer.received.startswith(b"HTTP/1.1 400 ")
        assert peer.received.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize(
    "ask", [ASK.replace(b"Upgrade: websocket", b"Upgrade: h2c"), ASK.replace(b"keep-alive, Upgrade", b"keep-alive")]
)
async def test_other_upgrades_are_ignored(ask: bytes) -> None:
    """Only WebSocket upgrades listed in Connection are forwarded; an unsolicited 101 is a 502."""
    async with ScriptedServer((ReadHead(), Send(TAKE), ReadToEnd())) as upstream:
        async with one_data_plane(services(upstream.address, extra=", retry: {attempts: 1}")) as data_plane:
            answer = await data_plane.ask(ask, b"}}")
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"upgrade" not in upstream.peers[0].received.lower()


async def test_upstream_ends_the_tunnel() -> None:
    """When the service closes, the client's side closes after the last byte."""
    async with ScriptedServer((ReadHead(), Send(TAKE + b"bye"), Close())) as upstream:
        async with one_data_plane(services(upstream.address)) as data_plane:
            peer = await data_plane.raw(ASK)
            assert peer.received.endswith(b"bye")
            assert peer.ended == "peer_closed"
