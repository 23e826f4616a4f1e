"""The cost of an HTTP/2 client is bounded: each known flood ends in GOAWAY, and the listener continues to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from h2peer import Call, FrameClient, RawFrame, Upstream, plain, request, service
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from one_data_plane import OneDataPlane, one_data_plane
from soon import until

from edge import clock

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("with_tls_too")

PROTOCOL_ERROR = 1
REFUSED_STREAM = 7
CANCEL = 8
ENHANCE_YOUR_CALM = 11
POST = request("POST", "/a")


async def still_serves(data_plane: OneDataPlane) -> None:
    """Assert that a new connection gets an answer."""
    async with FrameClient.connect(data_plane.port) as client:
        client.ask(1)
        assert await client.answer(1) == 200


def _empty_data(client: FrameClient) -> list[Frame]:
    return [client.headers(1, POST), *[DataFrame(1, b"")] * 3000]


def _padding_only(client: FrameClient) -> list[Frame]:
    return [client.headers(1, POST), *[DataFrame(1, b"", flags=["PADDED"], pad_length=10)] * 3000]


def _window_updates(client: FrameClient) -> list[Frame]:
    return [client.headers(1, POST), *[WindowUpdateFrame(1, window_increment=1)] * 3000]


FLOODS: dict[str, Callable[[FrameClient], list[Frame]]] = {
    "PING (CVE-2019-9512)": lambda _: [PingFrame(opaque_data=b"12345678")] * 3000,
    "PING acknowledgements": lambda _: [PingFrame(opaque_data=b"12345678", flags=["ACK"])] * 3000,
    "SETTINGS (CVE-2019-9515)": lambda _: [SettingsFrame(settings={4: 65535})] * 500,
    "empty SETTINGS": lambda _: [SettingsFrame()] * 500,
    "PRIORITY (CVE-2019-9513)": lambda _: [PriorityFrame(1, depends_on=3, stream_weight=n % 256) for n in range(3000)],
    "empty DATA (CVE-2019-9518)": _empty_data,
    "DATA of padding only": _padding_only,
    "WINDOW_UPDATE on the connection": lambda _: [WindowUpdateFrame(0, window_increment=1)] * 3000,
    "WINDOW_UPDATE on a stream": _window_updates,
    "unknown frames": lambda _: [RawFrame(0x42, 0, b"x")] * 3000,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_frames_that_carry_nothing(name: str) -> None:
    """Thousands of frames without a message end in GOAWAY with ENHANCE_YOUR_CALM."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(*FLOODS[name](client))
            assert await client.goaway() == ENHANCE_YOUR_CALM
        await still_serves(data_plane)


async def test_a_few_of_them_are_nothing() -> None:
    """The control frames that real clients send are no flood, for hundreds of requests."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane, FrameClient.connect(data_plane.port) as client:
        for turn in range(200):
            client.send(
                client.headers(2 * turn + 1, request(), "END_STREAM"),
                *[WindowUpdateFrame(0, window_increment=1)] * 2,
                PingFrame(opaque_data=b"bdp-ping"),
            )
            assert await client.answer(2 * turn + 1) == 200


def _continuations(client: FrameClient, parts: list[bytes], stream: int = 1) -> None:
    client.send(HeadersFrame(stream, client.block(request()), flags=["END_STREAM"]))
    client.send(*[ContinuationFrame(stream, part) for part in parts])


@pytest.mark.parametrize(
    "parts",
    [[b""] * 100, [b"\x82"] * 100, [b"\x00\x01a" + b"\x7f\xf1\x7e" + b"b" * 16240] * 10],
    ids=["empty", "small", "large"],
)
async def test_continuation(parts: list[bytes]) -> None:
    """A header block in too many frames, or without end, ends in GOAWAY (VU#421644)."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await client.ping()
            _continuations(client, parts)
            assert await client.goaway() == ENHANCE_YOUR_CALM
        await still_serves(data_plane)


async def test_continuation_of_a_refused_stream() -> None:
    """The limit also applies to the trailers of a stream that edge has closed before its request was complete."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", "/healthz")))
            assert await client.answer(1) == 405
            await client.until(lambda: client.of(RstStreamFrame, 1))
            _continuations(client, [b""] * 100)
            assert await client.goaway() == ENHANCE_YOUR_CALM
        await still_serves(data_plane)


async def test_compression_bomb() -> None:
    """A small block that decodes to megabytes is stopped during decoding."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            # one large field enters the table, then each byte is a copy of it
            first = client.block([*request(), ("x-bomb", "a" * 3900)])
            client.send(HeadersFrame(1, first + b"\xbe" * 12000, flags=["END_HEADERS", "END_STREAM"]))
            assert await client.goaway() == ENHANCE_YOUR_CALM
        await still_serves(data_plane)


async def test_a_head_that_does_not_end() -> None:
    """A header block that stays open ends at header_timeout."""
    text = service("127.0.0.1:1") + "limits: {header_timeout: 400ms}\n"
    async with one_data_plane(text) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await client.ping()
            client.send(HeadersFrame(1, client.block(request()), flags=["END_STREAM"]))
            assert await client.goaway() == ENHANCE_YOUR_CALM
        await still_serves(data_plane)


async def test_a_head_that_drips() -> None:
    """A header block whose only frame comes byte by byte ends at header_timeout too."""
    text = service("127.0.0.1:1") + "limits: {header_timeout: 400ms}\n"
    async with one_data_plane(text) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await client.ping()
            said = client.headers(1, request("GET", "/healthz", "edge", ("x-a", "b" * 3000)), "END_STREAM").serialize()
            for at in range(len(said)):
                client.write(said[at : at + 1])
                if client.closed:
                    break
                await clock.sleep(0.02)
            assert await client.goaway() == ENHANCE_YOUR_CALM
        await still_serves(data_plane)


@pytest.mark.parametrize("said", [b"", b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_a_client_that_says_no_more(said: bytes) -> None:
    """Silence, half a preface, or a preface without SETTINGS: closed at the deadline, without a leak."""
    text = service("127.0.0.1:1") + "limits: {header_timeout: 400ms, idle: 1s}\n"
    async with one_data_plane(text) as data_plane:
        async with FrameClient.connect(data_plane.port, hello=False) as client:
            client.write(said)
            await client.until(lambda: client.closed)
        await until(lambda: data_plane.data_plane.connections == 0)
        await still_serves(data_plane)


@pytest.mark.parametrize(
    "first",
    [b"\x00" * 24, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n"],
)
async def test_what_is_not_http2(first: bytes) -> None:
    """A connection without the preface is refused as HTTP/1.1, a preface without SETTINGS as HTTP/2."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port, hello=False) as client:
            client.write(first)
            await client.until(lambda: client.closed)
        await still_serves(data_plane)


async def test_rapid_reset() -> None:
    """Requests that are reset at once end the connection (CVE-2023-44487), and no work is left."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            for n in range(4000):
                client.send(client.headers(2 * n + 1, POST), RstStreamFrame(2 * n + 1, error_code=CANCEL))
                if n % 400 == 399:  # what is allowed is a rate: a slow machine needs more of them
                    await clock.sleep(0.01)
                    if client.closed or client.of(GoAwayFrame):
                        break
            assert await client.goaway() == ENHANCE_YOUR_CALM
        assert data_plane.data_plane.active == 0
        assert len(upstream.calls) <= 150
        await still_serves(data_plane)


async def test_callers_whose_time_is_up() -> None:
    """A hundred cancelled calls to a silent service do not end the client's other calls."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/silent":
            await call.until_reset()
        else:
            await plain()(call)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            silent = range(1, 201, 2)
            for stream in silent:
                client.ask(stream, request("GET", "/silent"))
            await until(lambda: len(upstream.calls) == len(silent))
            await clock.sleep(1.1)  # from here on a reset is no early one any more
            client.send(*[RstStreamFrame(stream, error_code=CANCEL) for stream in silent])
            client.ask(201, request("GET", "/a"))
            assert await client.answer(201) == 200
            assert client.of(GoAwayFrame) == []


async def test_resets_among_answers() -> None:
    """A client that cancels a third of its requests is still served."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane, FrameClient.connect(data_plane.port) as client:
        for n in range(300):
            stream = 2 * n + 1
            if n % 3 == 0:
                client.send(client.headers(stream, request("POST", "/v1/chat/completions")))
                client.send(RstStreamFrame(stream, error_code=CANCEL))
            else:
                client.ask(stream)
                assert await client.answer(stream) == 200


def _zero_increment(client: FrameClient, stream: int) -> list[Frame]:
    return [
        client.headers(stream, POST),
        WindowUpdateFrame(stream, window_increment=1),
        RawFrame(8, stream, b"\0\0\0\0"),
    ]


def _overflow(client: FrameClient, stream: int) -> list[Frame]:
    return [client.headers(stream, POST), WindowUpdateFrame(stream, window_increment=2**31 - 1)]


def _data_after_end(client: FrameClient, stream: int) -> list[Frame]:
    return [client.headers(stream, [*POST, ("content-length", "1")]), DataFrame(stream, b"12")]


def _malformed(client: FrameClient, stream: int) -> list[Frame]:
    return [client.headers(stream, [*POST, ("connection", "close")], "END_STREAM")]


MADE: dict[str, Callable[[FrameClient, int], list[Frame]]] = {
    "window update of nothing": _zero_increment,
    "window overflow": _overflow,
    "more data than announced": _data_after_end,
    "malformed head": _malformed,
}


@pytest.mark.parametrize("name", MADE)
async def test_made_you_reset(name: str) -> None:
    """Resets that the client provokes count like its own (CVE-2025-8671)."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            for n in range(400):
                client.send(*MADE[name](client, 2 * n + 1))
                if n % 20 == 0 and not client.closed:
                    await client.ping()
            assert await client.goaway() in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
        assert data_plane.data_plane.active == 0
        assert len(upstream.calls) <= 300
        await still_serves(data_plane)


async def test_too_many_streams() -> None:
    """Streams above the limit of a hundred are refused or end the connection; the others are not harmed."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await client.until(lambda: client.of(SettingsFrame))
            assert client.of(SettingsFrame)[0].settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100
            for n in range(100):
                client.send(client.headers(2 * n + 1, POST))
            await until(lambda: len(upstream.calls) == 100)
            client.send(client.headers(201, POST))
            await client.until(lambda: client.of(RstStreamFrame, 201) or client.closed)
            if not client.closed:
                assert client.of(RstStreamFrame, 201)[0].error_code == REFUSED_STREAM
            assert len(upstream.calls) == 100
        await until(lambda: data_plane.data_plane.active == 0)
        await still_serves(data_plane)


@pytest.mark.parametrize(
    "frame",
    [
        RawFrame(0, 0, b"data on no stream"),
        RawFrame(1, 2, b"\x82\x84\x86"),
        RawFrame(3, 9, b"\0\0\0\0"),
        RawFrame(4, 0, b"\0\0\0"),
        RawFrame(4, 1, b""),
        RawFrame(5, 1, b"\0\0\0\x02\x82"),
        RawFrame(6, 0, b"short"),
        RawFrame(8, 0, b"\0\0\0\0"),
        RawFrame(9, 1, b"\x82"),
        RawFrame(0, 1, b"a" * 20000),
    ],
    ids=[
        "DATA on stream 0",
        "HEADERS on an even stream",
        "RST_STREAM of an idle stream",
        "SETTINGS of an odd size",
        "SETTINGS on a stream",
        "PUSH_PROMISE by a client",
        "PING of an odd size",
        "WINDOW_UPDATE of nothing",
        "CONTINUATION without a beginning",
        "a frame that is too large",
    ],
)
async def test_connection_errors(frame: Frame) -> None:
    """A connection error ends the connection with a GOAWAY that gives the reason."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(frame)
            assert await client.goaway() > 0
            assert len(client.of(GoAwayFrame)) == 1
        await still_serves(data_plane)


async def test_an_unread_connection_is_bounded() -> None:
    """For a client that sends requests and never reads, queued output is bounded, and the connection is cut."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.stop_reading()
            for _ in range(2000):
                client.send(*[PingFrame(opaque_data=b"12345678")] * 50)
                await client.drain()
                if client.lost():
                    break
            await until(lambda: data_plane.data_plane.connections == 0)
        await still_serves(data_plane)
