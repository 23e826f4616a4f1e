"""While memory is scarce, a client that takes or sends less than 1 KiB/s loses its request; slow by right, it does not.

Where `limits.client_idle` is shorter than 30 s, that is how long a client may be slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import hpack
import pytest
from h2peer import Call, FrameClient, service
from h2peer import Upstream as Http2Upstream
from h2peer import request as h2_request
from hostile import MIB, OPENING, WHOLE, WIRES, Crowd, Upstream, chat, head_of, shaken
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from nodes import RunningNode
from one_data_plane import client_tls, models, one_data_plane, patient, verified
from test_buffered import held, until_held
from test_hostile_memory import config as node_config
from test_services import request, services

from edge import clock
from edge.sim.wire import ReadHead, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from one_data_plane import OneDataPlane

PATIENCE_S = 2.0
ENOUGH_S = 1.75 * PATIENCE_S
LIMITS = "retry_buffer: 1MiB, client_idle: 2s, header_timeout: 1s"
SCARCE = f"limits: {{body: 2MiB, max_buffered: 6MiB, {LIMITS}}}\n"
PLENTY = f"limits: {{body: 2MiB, max_buffered: 64MiB, {LIMITS}}}\n"
SLOW = 700
STEADY = 2048


@contextlib.asynccontextmanager
async def serving(limits: str, *more: str, fill: bool = True) -> AsyncIterator[OneDataPlane]:
    """Run a data plane that holds 3 MiB of an answer whose end does not come: of six, half."""
    async with Upstream() as upstream:
        text = patient(models(upstream.url, extra=limits)) + "\n".join(more)
        async with one_data_plane(text) as data_plane, Crowd(data_plane.port, 1) as crowd:
            if fill:
                await crowd.open("held", "http1")
                async with asyncio.timeout(15):
                    while held(data_plane) < WHOLE - 9:  # noqa: ASYNC110 - counted by another thread
                        await asyncio.sleep(0.01)
            yield data_plane


async def connected(port: int) -> socket.socket:
    """Connect with the smallest receive buffer: what the client reads shows at once, and not by tens of KiB."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


def is_cut(sock: socket.socket) -> bool:
    """Return whether the peer has reset the connection, although there may be more to read."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def allowed(rate: int) -> Iterator[int]:
    """Yield how many bytes more, at least one, fit into so many a second: a machine that is late makes nobody slow."""
    began = clock.now_ns()
    spent = 0
    while True:
        more = max(int((clock.now_ns() - began) * rate / 1e9) - spent, 1)
        spent += more
        yield more


async def sipped(port: int, asked: bytes, rate: int, seconds: float) -> str:
    """Ask, and read so many bytes a second for so long.

    Returns "reset" if edge ended the connection meanwhile, "closed" if its end stands behind what is still to be read,
    else "kept".
    """
    loop = asyncio.get_running_loop()
    http2 = asked.startswith(OPENING)
    with contextlib.closing(await connected(port)) as sock:
        tls = await shaken(sock, "http2" if http2 else "http1")
        await loop.sock_sendall(sock, asked if tls is None else tls.seal(asked))
        assert await loop.sock_recv(sock, 1000)  # what fits into its buffer; what follows shows as it is read
        due = allowed(rate)
        until = loop.time() + seconds
        with contextlib.suppress(OSError):
            while loop.time() < until and not is_cut(sock):
                await loop.sock_recv(sock, next(due))
                await asyncio.sleep(0.1)
            if loop.time() >= until:
                # a connection that edge has closed answers with a reset
                more = PingFrame().serialize() if http2 else b"\r\n"
                await loop.sock_sendall(sock, more if tls is None else tls.seal(more))
                await asyncio.sleep(0.2)
                return "closed" if is_cut(sock) else "kept"
        return "reset"


def asking(path: str, content: bytes, *fields: tuple[str, str]) -> bytes:
    """Return the preface of an HTTP/2 connection that opens its windows wide, and a request."""
    block = hpack.Encoder().encode(h2_request("POST", path, "localhost", *fields))
    frames = (
        SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 30}),
        WindowUpdateFrame(0, window_increment=1 << 30),
        HeadersFrame(1, block, flags=["END_HEADERS"]),
        DataFrame(1, content, flags=["END_STREAM"]),
    )
    return OPENING + b"".join(frame.serialize() for frame in frames)


def large(wire: str) -> bytes:
    """Return a request for an answer of 3 MiB."""
    content = chat("large")
    return head_of(len(content)) + content if wire == "http1" else asking("/v1/chat/completions", content)


@pytest.mark.usefixtures("with_tls_too")
async def test_readers() -> None:
    """A reader below 1 KiB/s is cut while memory is scarce; at 2 KiB/s, and while there is room, it is not."""
    async with serving(SCARCE) as scarce, serving(PLENTY) as roomy:
        seen = await asyncio.gather(
            *(sipped(scarce.port, large(wire), SLOW, 4 * PATIENCE_S) for wire in WIRES),
            *(sipped(scarce.port, large(wire), STEADY, ENOUGH_S) for wire in WIRES),
            *(sipped(roomy.port, large(wire), SLOW, ENOUGH_S) for wire in WIRES),
        )
    assert seen == ["reset"] * 2 + ["kept"] * 4


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a\r\nsec-websocket-version: 13\r\n"
GRPC = ("content-type", "application/grpc")


async def _endless(call: Call) -> None:
    await call.head(200, GRPC)
    for _ in range(64):
        await call.data(b"\0\0\0\xff\xfb" + b"x" * 65531)


@pytest.mark.usefixtures("with_tls_too")
async def test_tunnels_and_calls_take_their_time() -> None:
    """A tunnel and a call of a gRPC service are not cut; a model's request is, whatever type it names."""
    script = (ReadHead(), Send(SWITCHED + b"x" * 3 * MIB), ReadToEnd())
    async with ScriptedServer(script) as upstream, Http2Upstream(_endless) as called:
        echo = f"echo: {{match: {{path: /}}, protocol: h2c, targets: ['{called.address}']{verified()}}}"
        async with serving(SCARCE, services(upstream.address)[:-1] + f", {echo}}}") as scarce:
            seen = await asyncio.gather(
                sipped(scarce.port, request(fields=UPGRADE), SLOW, ENOUGH_S),
                sipped(scarce.port, asking("/a.B/C", b"\0\0\0\0\0", GRPC), SLOW, ENOUGH_S),
                sipped(scarce.port, asking("/v1/chat/completions", chat("large"), GRPC), SLOW, 4 * PATIENCE_S),
            )
    assert seen == ["kept", "kept", "reset"]


@pytest.mark.usefixtures("with_tls_too")
async def test_one_of_several_streams() -> None:
    """On one connection the stream that is not read is reset, and the stream that is read goes on."""
    async with serving(SCARCE) as scarce, FrameClient.connect(scarce.port) as client:
        client.open_windows()
        client.forget = True
        for stream in (1, 3):
            client.send(client.headers(stream, h2_request("POST", "/v1/chat/completions", "localhost")))
            client.data(stream, chat("large"), "END_STREAM")
        began = clock.now_ns()
        slow, quick = allowed(SLOW), allowed(4 * STEADY)
        while not client.ended(1):
            client.open_windows(next(slow), 1)
            client.open_windows(next(quick), 3)
            await asyncio.sleep(0.1)
            assert clock.now_ns() < began + 4 * PATIENCE_S * 1e9
        assert await client.answer(1) == -8
        await asyncio.sleep(0.5)
        assert not client.ended(3)


UPLOAD = chat("upload", 200_000)[:200_000]


async def dripped(port: int, wire: str, rate: int, seconds: float) -> int:
    """Send most of a body, and then so many bytes a second for so long; return an answer's status, 0 = none came."""
    return await (_dripped_1 if wire == "http1" else _dripped_2)(port, allowed(rate), int(10 * seconds))


async def _dripped_1(port: int, due: Iterator[int], drops: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls())
    try:
        writer.write(head_of(300_000) + UPLOAD)
        for _ in range(drops):
            writer.write(b"u" * next(due))
            with contextlib.suppress(TimeoutError):
                return int((await asyncio.wait_for(reader.read(4096), 0.1)).split(b" ")[1])
        return 0
    finally:
        writer.transport.abort()


async def _dripped_2(port: int, due: Iterator[int], drops: int) -> int:
    async with FrameClient.connect(port) as client:
        client.send(client.headers(1, h2_request("POST", "/v1/chat/completions", "localhost")))
        for at in range(0, len(UPLOAD), 16_000):
            await client.until(lambda: client.room(1) >= 16_000)
            client.data(1, UPLOAD[at : at + 16_000])
        for _ in range(drops):
            client.data(1, b"u" * next(due))
            with contextlib.suppress(TimeoutError):
                await client.until(lambda: client.ended(1) or client.closed, 0.1)
                return client.status(1)
        return 0


@pytest.mark.usefixtures("with_tls_too")
async def test_uploads() -> None:
    """An upload below 1 KiB/s gets 408 while memory is scarce; at 2 KiB/s, and while there is room, it goes on."""
    async with serving(SCARCE) as scarce, serving(PLENTY) as roomy:
        seen = await asyncio.gather(
            *(dripped(scarce.port, wire, SLOW, 4 * PATIENCE_S) for wire in WIRES),
            *(dripped(scarce.port, wire, STEADY, ENOUGH_S) for wire in WIRES),
            *(dripped(roomy.port, wire, SLOW, ENOUGH_S) for wire in WIRES),
        )
    assert seen == [408, 408, 0, 0, 0, 0]


@pytest.mark.usefixtures("with_tls_too")
async def test_an_upload_that_edge_has_paused() -> None:
    """The time in which edge does not read an upload, because the service does not, is not the client's."""
    go = asyncio.Event()

    async def answer(call: Call) -> None:
        await go.wait()
        await call.body()
        await call.head(200, end=True)

    async with Http2Upstream(answer) as upstream, serving(SCARCE, service(upstream.address)) as scarce:
        async with FrameClient.connect(scarce.port) as client:
            client.send(client.headers(1, h2_request("PUT", "/a", "localhost", ("content-length", "140000"))))
            queued = 65_535 + 65_536 - 100  # the service's window, and almost what edge queues behind it
            for at in range(0, queued, 16_000):
                await client.until(lambda: client.room(1) >= 16_000)
                client.data(1, b"u" * min(16_000, queued - at))
            await until_held(scarce, queued + len(chat("held")) + WHOLE - 9)
            await asyncio.sleep(0.4 * PATIENCE_S)  # its pace is watched by then
            client.data(1, b"u" * 200)
            await asyncio.sleep(1.1 * PATIENCE_S)
            go.set()
            for _ in range(6):
                client.data(1, b"u" * (STEADY // 10))
                await asyncio.sleep(0.1)
            assert not client.ended(1)
            client.data(1, b"u" * (140_000 - client.sent[1]), "END_STREAM")
            assert await client.answer(1) == 200


@pytest.mark.prove
@pytest.mark.alone
@pytest.mark.parametrize("wire", WIRES)
async def test_a_crowd_of_readers_for_half_a_minute(tmp_path: Path, wire: str) -> None:
    """32 clients that read 100 bytes a second of 3 MiB each are cut after 30 s, and others are answered then."""
    async with Upstream() as upstream:
        without_keys = {name: value for name, value in node_config(upstream.url).items() if name != "keys"}
        async with RunningNode(tmp_path, without_keys, "--workers", "1") as node:
            async with Crowd(int(node.url.rpartition(":")[2]), 32) as crowd:
                await crowd.open("slow_reader", wire)
                began = clock.now_ns()
                while not crowd.cut:
                    await asyncio.sleep(0.2)
                    assert clock.now_ns() < began + 50e9
                assert clock.now_ns() > began + 29e9
