"""Flow control is end to end: a stopped reader stops its sender, occupies a window, and delays no other stream."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from h2peer import Call, FrameClient, Upstream, plain, request, service
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame
from one_data_plane import one_data_plane
from soon import until

from edge import clock
from edge.sim.wire import Pause, ScriptedServer

if TYPE_CHECKING:
    from edge.sim.wire import Step

MIB = 1024 * 1024
WIDE = {SettingsFrame.INITIAL_WINDOW_SIZE: 2**24}


def rss_kib() -> int:
    """Return the resident memory of this process, data plane and peers together."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


async def _endless(call: Call) -> None:
    await call.head(200)
    for _ in range(1024):
        await call.data(b"x" * 65536)


async def test_a_reader_that_stops_stops_the_upstream() -> None:
    """Of an endless answer that the client does not read, edge takes no more than the windows and its queue."""
    sent = 0

    async def answer(call: Call) -> None:
        nonlocal sent
        await call.head(200)
        for _ in range(1024):
            await call.data(b"x" * 16384)
            sent += 16384

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/a"))
            await client.until(lambda: len(client.body(1)) == 65535)
            await clock.sleep(0.2)
            stood = sent
            assert stood <= 65535 + 3 * 65536
            await clock.sleep(0.2)
            assert sent == stood
            client.open_windows(MIB, 1)
            client.open_windows(MIB)
            await client.until(lambda: len(client.body(1)) == 65535 + MIB)
        assert await upstream.calls[0].until_reset() >= 0


async def test_a_slow_reader_delays_no_other() -> None:
    """While one stream of a connection is stopped, fifty others on it are answered as usual."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/big":
            await _endless(call)
        else:
            await call.head(200)
            await call.data(b"y" * 10_000, end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.open_windows(16 * MIB)
            client.ask(1, request("GET", "/big"))
            await client.until(lambda: len(client.body(1)) == 65535)
            for n in range(1, 51):
                client.ask(2 * n + 1, request("GET", "/small"))
            for n in range(1, 51):
                assert await client.answer(2 * n + 1) == 200
                assert len(client.body(2 * n + 1)) == 10_000
            assert len(client.body(1)) == 65535
            assert len(upstream.wires) == 1
            client.open_windows(65536, 1)
            await client.until(lambda: len(client.body(1)) == 65535 + 65536)


async def test_streams_take_turns() -> None:
    """A large answer does not delay a small one that was requested later on the same connection."""

    async def answer(call: Call) -> None:
        await call.head(200)
        await call.data(b"x" * (4 * MIB if call.field(":path") == "/big" else 1000), end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port, settings=WIDE) as client:
            client.open_windows(64 * MIB)
            client.ask(1, request("GET", "/big"))
            await client.until(lambda: len(client.body(1)) > 0)
            client.ask(3, request("GET", "/small"))
            assert await client.answer(3) == 200
            assert not client.ended(1)


@pytest.mark.parametrize("protocol", ["h2c", "http1"])
async def test_an_upstream_that_stops_stops_the_client(protocol: str) -> None:
    """Of an upload that the service does not read, edge takes no more than window and queue."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/still":
            await call.until_reset()
        else:
            await plain()(call)

    still: tuple[Step, ...] = (Pause(20),)
    async with Upstream(answer) as second, ScriptedServer(still) as first:
        address = second.address if protocol == "h2c" else f"127.0.0.1:{first.port}"
        async with one_data_plane(service(address, protocol=protocol)) as data_plane:
            async with FrameClient.connect(data_plane.port) as client:
                client.send(client.headers(1, request("POST", "/still")))
                for _ in range(2000):
                    while client.room(1) >= 16384:
                        client.data(1, b"z" * 16384)
                    before = client.granted[1]
                    await clock.sleep(0.05)
                    if client.granted[1] == before:
                        break
                # a socket's buffers hold a few MiB where the service speaks HTTP/1.1
                assert client.sent[1] <= (MIB if protocol == "h2c" else 16 * MIB)
                client.ask(3)
                assert await client.answer(3) == 200
                client.send(RstStreamFrame(1, error_code=8))
                await until(lambda: data_plane.data_plane.active == 0)


def lasting(address: str) -> str:
    """Return a service whose deadline a busy machine does not reach with 64 MiB through test peers in Python."""
    return service(address).replace("total: 30s", "total: 120s")


async def test_64_mib_down() -> None:
    """64 MiB pass down without being buffered: memory grows by less than 24 MiB, test peers included."""
    block = bytes(range(256)) * 256

    async def answer(call: Call) -> None:
        await call.head(200)
        for _ in range(1024):
            await call.data(block)
        await call.data(end=True)

    async with Upstream(answer) as upstream, one_data_plane(lasting(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.forget = True
            before = rss_kib()
            client.ask(1, request("GET", "/a"))
            client.give_back = True
            assert await client.answer(1, 120) == 200
            assert client.counted == 64 * MIB
            assert rss_kib() - before < 24 * 1024


async def test_64_mib_up() -> None:
    """64 MiB pass up without being buffered: memory grows by less than 24 MiB, test peers included."""
    total = 0

    async def answer(call: Call) -> None:
        nonlocal total
        while part := await call.read():
            total += len(part)
        await call.head(200)
        await call.data(b"ok", end=True)

    async with Upstream(answer) as upstream, one_data_plane(lasting(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            before = rss_kib()
            client.send(client.headers(1, request("POST", "/a")))
            block = b"u" * 16384
            for _ in range(4096):
                await client.until(lambda: client.room(1) >= 16384)
                client.data(1, block)
                await client.drain()
            client.data(1, b"", "END_STREAM")
            assert await client.answer(1) == 200
            assert total == 64 * MIB
            assert rss_kib() - before < 24 * 1024


async def test_what_waits_is_let_go() -> None:
    """Data that is queued for a reader that has left is dropped at once, and the connection goes on."""
    async with Upstream(_endless) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.open_windows(16 * MIB)
            for n in range(50):
                client.ask(2 * n + 1, request("GET", "/a"))
            await until(lambda: len(upstream.calls) == 50)
            await clock.sleep(0.2)
            before = rss_kib()
            for n in range(50):
                client.send(RstStreamFrame(2 * n + 1, error_code=8))
            await until(lambda: data_plane.data_plane.active == 0)
            assert rss_kib() <= before + 1024
            client.ask(201)
            assert await client.answer(201) == 200


async def test_data_for_a_stream_that_is_over() -> None:
    """DATA that crosses a reset replenishes the connection's window."""

    async def answer(call: Call) -> None:
        await call.reset(8)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            for n in range(40):
                stream = 2 * n + 1
                client.send(client.headers(stream, request("POST", "/a")))
                client.send(*[DataFrame(stream, b"d" * 16000)] * 4)
                began = time.monotonic()
                await client.answer(stream)
                assert time.monotonic() - began < 15
            # 40 x 64000 bytes are more than the window of the connection
            assert client.granted[0] > 2 * MIB
