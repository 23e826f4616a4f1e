"""The load and the upstream of the benchmark agree, and the load sees every wrong answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
from hpack import Decoder

from bench.macro import greeter, wire
from bench.macro.certificates import issue
from bench.macro.frames import DATA, END_STREAM, HEADERS, Coder, frame
from bench.macro.load import Kind, Order, Ran, carry_out
from bench.macro.upstream import Connection, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def upstream(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[Connection]]]:
    """Run the upstream in this process; yield its port and the connections it has had."""
    loop = asyncio.get_running_loop()
    streams, paced = Streams(loop, 2), Streams(loop, 5, wire.PACED_WRITES)
    had: list[Connection] = []

    def accept() -> Connection:
        had.append(Connection(streams, paced))
        return had[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], had
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("kind", "events"), [("whole", 0), ("long", 0), ("stream", wire.EVENTS), ("paced", wire.PACED_EVENTS)]
)
async def test_the_load_checks_every_answer(kind: Kind, events: int) -> None:
    """Against the fixed upstream every answer is right, and every event in its own chunk is counted."""
    async with upstream() as (port, had):
        ran = await carry_out(Order(port, count=9, connections=4, kind=kind, limit_s=20.0))
    assert (ran.right, ran.wrong, len(had)) == (9, 0, 4)
    assert ran.events == 9 * events
    assert 0.9 * ran.events <= ran.chunks <= ran.events
    assert 0 < ran.p50_us <= ran.p99_us
    assert (0 < ran.first_p99_us < ran.p99_us) if events else ran.first_p99_us == 0


async def test_each_request_has_its_connection() -> None:
    """A fresh run opens one connection a request, and no more."""
    async with upstream() as (port, had):
        ran = await carry_out(Order(port, count=25, connections=4, fresh=True, limit_s=20.0))
    assert (ran.right, ran.wrong, len(had)) == (25, 0, 25)


async def test_an_open_loop_keeps_its_pace() -> None:
    """With a rate, 40 requests at 400 a second take a tenth of a second however quick the answers are."""
    async with upstream() as (port, _):
        ran = await carry_out(Order(port, count=40, connections=2, rate=400, limit_s=20.0))
    assert ran.right == 40
    assert ran.seconds >= 40 / 400


async def test_an_open_loop_counts_the_wait_for_a_connection() -> None:
    """A request that is due while the connection is busy has waited: its time begins when it was due."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Slow, "127.0.0.1", 0)
    ran = await carry_out(Order(server.sockets[0].getsockname()[1], count=5, connections=1, rate=1000, limit_s=20.0))
    server.close()
    await server.wait_closed()
    assert ran.right == 5
    assert ran.p99_us > 4 * Slow.DELAY_S * 1e6


async def test_the_load_speaks_tls(tmp_path: Path) -> None:
    """Over TLS the answers are the same, and a certificate of another authority is refused."""
    files = issue(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    async with upstream(context) as (port, had):
        ran = await carry_out(Order(port, count=9, connections=4, ca=files.ca, limit_s=20.0))
        assert (ran.right, ran.wrong, len(had)) == (9, 0, 4)
        with pytest.raises(ssl.SSLCertVerificationError):
            await carry_out(Order(port, count=1, connections=1, ca=issue(other).ca, limit_s=20.0))


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])
async def test_the_upstream_finds_the_end_of_a_request(name: bytes) -> None:
    """However a request is cut and its length is spelled, it is answered once, and the next one after it."""
    asked = wire.LONG_REQUEST.replace(b"content-length", name)
    async with upstream() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for cuts in ((), (40,), (20_000, 60_000), (len(asked) - 1,)):
            for start, end in zip((0, *cuts), (*cuts, len(asked)), strict=True):
                writer.write(asked[start:end])
                await writer.drain()
                await asyncio.sleep(0.005)  # so that the pieces arrive as pieces
            assert await reader.readexactly(len(wire.WHOLE_ANSWER)) == wire.WHOLE_ANSWER
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_load_checks_every_call(stream: bool) -> None:
    """Over gRPC every call is right too, and every message in its own DATA frame is counted."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(Streams(loop, 2)), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kind: Kind = "call-stream" if stream else "call"
    ran = await carry_out(Order(port, count=40, connections=2, kind=kind, streams=8, limit_s=20.0))
    server.close()
    await server.wait_closed()
    assert (ran.right, ran.wrong) == (40, 0)
    assert ran.events == ran.chunks == (40 * greeter.MESSAGES if stream else 0)
    assert 0 < ran.p50_us <= ran.p99_us


@pytest.mark.parametrize(("stream", "reply"), [(False, greeter.SAID), (False, b""), (True, greeter.SAID)])
async def test_the_load_sees_wrong_calls(stream: bool, reply: bytes) -> None:
    """Another message, no message, and a stream without one message are wrong."""
    answer = frame(HEADERS, 4, 1, b"\x88") + (frame(DATA, 0, 1, reply) if reply else b"")
    answer += frame(HEADERS, 4 | END_STREAM, 1, b"\x88")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Odd(answer, closes=False), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kind: Kind = "call-stream" if stream else "call"
    ran = await carry_out(Order(port, count=1, connections=1, kind=kind, streams=1, limit_s=5.0))
    server.close()
    await server.wait_closed()
    assert (ran.right, ran.wrong) == (0, 1)


def test_field_sections_stay_decodable() -> None:
    """Whatever was encoded before, a decoder that saw all of it gets the same fields back."""
    sections = {"a": ((":status", "200"), ("x-a", "1")), "b": (("x-b", "2"), ("x-a", "1"))}
    coder, decoder = Coder(sections), Decoder()
    for name in "aaabbbaab":
        assert tuple(decoder.decode(coder(name))) == sections[name]


def test_a_peer_may_allow_no_table() -> None:
    """After a SETTINGS_HEADER_TABLE_SIZE of 0, no section refers to an earlier one (RFC 7541 4.2)."""
    sections = {"a": ((":status", "200"), ("x-a", "1")), "b": (("x-b", "2"), ("x-a", "1"))}
    coder = Coder(sections)
    coder("a")
    coder.limit(0)
    for name in "abab":
        assert tuple(Decoder().decode(coder(name))) == sections[name]


class Slow(asyncio.Protocol):
    """Answers each request after a while."""

    DELAY_S = 0.02

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.DELAY_S, self._transport.write, wire.WHOLE_ANSWER)


class Odd(asyncio.Protocol):
    """Answers everything with the same bytes, and closes if told to."""

    def __init__(self, answer: bytes, closes: bool) -> None:
        self._answer, self._closes = answer, closes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer)
        if self._closes:
            self._transport.close()


async def _against(answer: bytes, *, closes: bool, stream: bool = False) -> Ran:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Odd(answer, closes), "127.0.0.1", 0)
    try:
        kind: Kind = "stream" if stream else "whole"
        return await carry_out(Order(server.sockets[0].getsockname()[1], 4, 2, kind=kind, limit_s=5.0))
    finally:
        server.close()
        await server.wait_closed()


async def test_the_load_sees_wrong_answers() -> None:
    """Another status is wrong, and so is a stream without one event."""
    error = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    assert (await _against(error, closes=False)).wrong == 4
    short = b"".join(wire.STREAM_WRITES[:1] + wire.STREAM_WRITES[2:])
    assert (await _against(short, closes=False, stream=True)).wrong == 4


async def test_a_lost_connection_spoils_the_run() -> None:
    """If connections end, the run is refused, because it would measure connects."""
    with pytest.raises(ConnectionError, match="a connection ended"):
        await _against(b"HTTP/1.1 200 OK\r\n", closes=True)
