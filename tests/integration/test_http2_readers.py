"""A slow HTTP/2 client gets its complete answer; a client that does not read is cut after client_idle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import hpack
from h2peer import PREFACE, Call, FrameClient, Upstream, request, service
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from one_data_plane import OneDataPlane, one_data_plane
from soon import until
from test_regressions import slow_socket

from edge import clock
from edge.native import WorkerCounter

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

LARGE = 8_000_000
PATIENT = ("first_byte: 5s, stream_idle: 5s, total: 30s", "first_byte: 20s, stream_idle: 20s, total: 60s")


async def ask(data_plane: OneDataPlane, size: int) -> socket.socket:
    """Request an answer of this size with unlimited windows; nothing is read yet."""
    sock = await slow_socket(data_plane.port, 16384)
    head = HeadersFrame(1, hpack.Encoder().encode(request("GET", f"/{size}")), flags=["END_HEADERS", "END_STREAM"])
    hello = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}).serialize()
    hello += WindowUpdateFrame(0, window_increment=2**30).serialize() + SettingsFrame(flags=["ACK"]).serialize()
    await asyncio.get_running_loop().sock_sendall(sock, PREFACE + hello + head.serialize())
    return sock


async def frames(sock: socket.socket, piece: int = 65536) -> AsyncIterator[Frame]:
    """Return the received frames, read in these pieces, until the connection ends."""
    loop = asyncio.get_running_loop()
    held = bytearray()
    while data := await asyncio.wait_for(loop.sock_recv(sock, piece), 20):
        held += data
        at = 0
        while len(held) - at >= 9:
            frame, length = Frame.parse_frame_header(memoryview(bytes(held[at : at + 9])))
            if len(held) - at < 9 + length:
                break
            frame.parse_body(memoryview(bytes(held[at + 9 : at + 9 + length])))
            at += 9 + length
            yield frame
        del held[:at]


async def sized(call: Call) -> None:
    """Answer with as many bytes as the path says."""
    await call.head(200)
    await call.data(b"x" * int((call.field(":path") or "/0")[1:]), end=True)


def sent(data_plane: OneDataPlane) -> int:
    """Return the bytes that edge has written to clients."""
    return int(data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BYTES_OUT])


async def standstill(data_plane: OneDataPlane) -> int:
    """Wait until nothing more is written; return how much has been."""
    before = -1
    while (now := sent(data_plane)) != before or now < 500_000:
        before = now
        await clock.sleep(0.1)
    return now


async def drain(data_plane: OneDataPlane) -> None:
    """Drain the data plane: each connection sends GOAWAY, and a second one a round trip later."""

    async def begin() -> None:
        data_plane.data_plane.drain()

    await data_plane.thread.run(begin())


async def test_a_steady_slow_reader() -> None:
    """A client that reads steadily, but less than the kernel's buffer in client_idle, is not cut."""
    text = service("ADDRESS").replace(*PATIENT) + "limits: {client_idle: 2s}\n"
    async with Upstream(sized) as upstream, one_data_plane(text.replace("ADDRESS", upstream.address)) as data_plane:
        sock = await ask(data_plane, LARGE)
        await standstill(data_plane)
        began = clock.now_ns()
        total = 0
        async for frame in frames(sock, 8192):
            assert not isinstance(frame, (RstStreamFrame, GoAwayFrame))
            if isinstance(frame, DataFrame):
                total += len(frame.data)
                if "END_STREAM" in frame.flags:
                    break
                if clock.now_ns() < began + 4_500_000_000:
                    await clock.sleep(0.05)
        assert total == LARGE
        sock.close()


async def test_the_tail_of_an_answer_at_a_drain() -> None:
    """On a draining connection a client that reads late still gets the complete answer."""
    async with Upstream(sized) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        probe = await ask(data_plane, LARGE)
        held = await standstill(data_plane)
        probe.close()
        await until(lambda: data_plane.data_plane.connections == 0)
        # around what the way holds without a reader: some of them end in edge's own buffer
        sizes = [held - less for less in range(20_000, 140_000, 20_000)]
        socks = [await ask(data_plane, size) for size in sizes]
        await until(lambda: len(upstream.calls) == 1 + len(sizes))
        await standstill(data_plane)
        await drain(data_plane)
        for sock in socks:
            await asyncio.get_running_loop().sock_sendall(sock, PingFrame(flags=["ACK"]).serialize())
        await clock.sleep(1.5)  # the round trip is over: all is said, and then comes the next look
        for sock, size in zip(socks, sizes, strict=True):
            total = 0
            async for frame in frames(sock):
                if isinstance(frame, DataFrame):
                    total += len(frame.data)
            assert total == size
            sock.close()


async def test_a_drained_connection_that_nobody_reads() -> None:
    """Output of an ended connection that is not read is dropped after client_idle."""
    text = service("ADDRESS") + "limits: {client_idle: 1s}\n"
    async with Upstream(sized) as upstream, one_data_plane(text.replace("ADDRESS", upstream.address)) as data_plane:
        sock = await ask(data_plane, LARGE)
        await standstill(data_plane)
        await drain(data_plane)
        await until(lambda: data_plane.data_plane.connections == 0, 15)
        sock.close()


async def test_a_quiet_answer_ends_while_nothing_can_be_sent() -> None:
    """The end of an answer that was silent for longer than client_idle still waits for the connection."""

    async def answer(call: Call) -> None:
        await call.head(200)
        if call.field(":path") == "/quiet":
            await call.data(b"first")
            await end.wait()
            await call.end(("x-t", "1"))
        else:
            await call.data(b"x" * LARGE, end=True)

    end = asyncio.Event()
    text = service("ADDRESS").replace(*PATIENT) + "limits: {client_idle: 3s}\n"
    async with Upstream(answer) as upstream, one_data_plane(text.replace("ADDRESS", upstream.address)) as data_plane:
        settings = {SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}
        async with FrameClient.connect(data_plane.port, settings=settings) as client:
            client.forget = True
            client.open_windows(2**30)
            client.ask(1, request("GET", "/quiet"))
            await client.until(lambda: client.of(DataFrame, 1))
            await clock.sleep(3.1)
            client.stop_reading()
            client.ask(3, request("GET", "/big"))
            await standstill(data_plane)
            end.set()
            await clock.sleep(0.9)  # a look at its streams, long before the connection itself has stalled
            client.read_on()
            await client.until(lambda: client.ended(1))
            assert client.of(RstStreamFrame) == []
            assert dict(client.fields[1][-1]) == {"x-t": "1"}
