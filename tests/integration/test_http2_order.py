"""Frames for streams where none may come end the connection with the error that RFC 9113 names; late ones do not."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

import one_data_plane as one_data_plane_module
import pytest
from h2peer import PREFACE, FrameClient, RawFrame, request, service
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame
from one_data_plane import one_data_plane
from soon import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from secure import Secure

NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 0, 1, 3, 5
PRIORITY = 2
POST = request("POST", "/healthz")  # answered with 405 before its body has come


async def answered(client: FrameClient) -> None:
    """Ask on stream 1, and wait for the answer."""
    client.ask(1)
    assert await client.answer(1) == 200


async def priority_on_0(client: FrameClient) -> None:
    """6.3: PRIORITY belongs to a stream."""
    client.send(RawFrame(PRIORITY, 0, bytes(5)))


async def priority_on_itself(client: FrameClient) -> None:
    """RFC 7540 5.3.1: a stream cannot depend on itself."""
    client.send(RawFrame(PRIORITY, 1, (1).to_bytes(4, "big") + b"\xff"))


async def head_on_itself(client: FrameClient) -> None:
    """The same, told by HEADERS."""
    client.send(RawFrame(1, 1, (1).to_bytes(4, "big") + b"\xff" + client.block(request()), 0x25))


async def continuation_after_end(client: FrameClient) -> None:
    """6.10: CONTINUATION follows HEADERS without END_HEADERS only."""
    await answered(client)
    client.send(RawFrame(9, 1, b"\x82", 4))


async def priority_on_itself_in_pieces(client: FrameClient) -> None:
    """The same, exclusively, in several reads, and after a priority that is none."""
    said = RawFrame(PRIORITY, 1, (1 | 1 << 31).to_bytes(4, "big") + b"\xff").serialize()
    client.send(RawFrame(PRIORITY, 1, bytes(5)), RawFrame(PRIORITY, 1, b"\0\0\1\0\xff"))
    await client.ping()
    client.write(said[:11])
    await asyncio.sleep(0.05)
    client.write(said[11:])


async def decreasing(client: FrameClient) -> None:
    """5.1.1: a new stream has a higher number than all before it."""
    client.ask(5)
    assert await client.answer(5) == 200
    client.ask(3)


async def decreasing_at_once(client: FrameClient) -> None:
    """The same, in one read."""
    client.send(client.headers(5, request(), "END_STREAM"), client.headers(3, request(), "END_STREAM"))


async def reused(client: FrameClient) -> None:
    """5.1.1: a number is not used again."""
    await answered(client)
    client.ask(1)


async def reused_after_reset(client: FrameClient) -> None:
    """The same, after the client has reset the stream."""
    client.send(client.headers(1, POST), RawFrame(3, 1, (8).to_bytes(4, "big")), client.headers(1, POST))


async def data_on_idle(client: FrameClient) -> None:
    """5.1: on an idle stream only HEADERS and PRIORITY may come."""
    await answered(client)
    client.data(7, b"x")


async def data_after_end(client: FrameClient) -> None:
    """5.1: the client has ended the stream, and its answer is complete."""
    await answered(client)
    client.data(1, b"x")


async def data_after_data_end(client: FrameClient) -> None:
    """The same, where DATA has ended it."""
    client.send(client.headers(1, POST))
    client.data(1, b"x", "END_STREAM")
    await client.until(lambda: client.ended(1))
    client.data(1, b"x")


async def data_after_reset(client: FrameClient) -> None:
    """The same, where the client has reset it."""
    client.send(client.headers(1, POST), RawFrame(3, 1, (8).to_bytes(4, "big")))
    client.data(1, b"x")


CASES: dict[Callable[[FrameClient], Awaitable[None]], int] = {
    priority_on_0: PROTOCOL_ERROR,
    priority_on_itself: PROTOCOL_ERROR,
    head_on_itself: PROTOCOL_ERROR,
    continuation_after_end: PROTOCOL_ERROR,
    priority_on_itself_in_pieces: PROTOCOL_ERROR,
    decreasing: PROTOCOL_ERROR,
    decreasing_at_once: PROTOCOL_ERROR,
    reused: PROTOCOL_ERROR,
    reused_after_reset: PROTOCOL_ERROR,
    data_on_idle: PROTOCOL_ERROR,
    data_after_end: STREAM_CLOSED,
    data_after_data_end: STREAM_CLOSED,
    data_after_reset: STREAM_CLOSED,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_frames_where_none_may_come(case: Callable[[FrameClient], Awaitable[None]]) -> None:
    """The connection ends with GOAWAY and the error's code, and the next connection is served."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await case(client)
            assert await client.goaway() == CASES[case]
        async with FrameClient.connect(data_plane.port) as client:
            await answered(client)


async def test_an_invalid_preface_over_tls(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """3.5: after ``h2`` was agreed on, anything but the preface ends the connection, with a GOAWAY at most."""
    monkeypatch.setattr(one_data_plane_module, "SECURE", secure)
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", data_plane.port, ssl=secure.trusting("h2"), server_hostname="127.0.0.1"
        )
        writer.write(b"INVALID CONNECTION PREFACE\r\n\r\n")
        told = await reader.read()
        assert b"HTTP/1.1" not in told
        assert b"\7\0\0\0\0\0" in told  # the type, flags and stream of a GOAWAY
        writer.close()


async def test_late_frames_are_no_error() -> None:
    """A client whose request was answered early may have sent more of it meanwhile; its other streams go on."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, POST))
            assert await client.answer(1) == 405
            await client.until(lambda: client.of(RstStreamFrame, 1))
            assert client.of(RstStreamFrame, 1)[0].error_code == NO_ERROR
            client.data(1, b"x" * 1000)
            client.data(1, b"x" * 1000, "END_STREAM")
            client.send(RawFrame(PRIORITY, 1, bytes(5)), RawFrame(PRIORITY, 9, bytes(5)))
            client.ask(3)
            assert await client.answer(3) == 200
            await client.ping()
            assert not client.lost()


# --- the rest of a request that is answered already ------------------------------------------------------------------
def bad_padding(client: FrameClient) -> None:
    """6.1: more padding than the frame is long."""
    client.send(RawFrame(0, 1, b"\6Test", 9))


def window_of_nothing(client: FrameClient) -> None:
    """6.9: an increment of 0."""
    client.send(RawFrame(8, 1, bytes(4)))


def window_overflow(client: FrameClient) -> None:
    """6.9.1: a window above 2^31-1."""
    client.open_windows(2**31 - 1, 1)
    client.open_windows(2**31 - 1, 1)


def trailers_without_end(client: FrameClient) -> None:
    """8.1: a second block that does not end the stream."""
    client.send(client.headers(1, [("x-sum", "1")]))


def pseudo_trailers(client: FrameClient) -> None:
    """8.1: a pseudo-header field in trailers."""
    client.send(client.headers(1, [(":method", "GET")], "END_STREAM"))


def too_little(client: FrameClient) -> None:
    """8.1.1: less than the content-length, in several frames."""
    client.data(1, b"te")
    client.data(1, b"s", "END_STREAM")


def too_much(client: FrameClient) -> None:
    """8.1.1: more than the content-length."""
    client.data(1, b"tests", "END_STREAM")


RESTS: dict[Callable[[FrameClient], None], int] = {
    bad_padding: PROTOCOL_ERROR,
    window_of_nothing: PROTOCOL_ERROR,
    window_overflow: FLOW_CONTROL_ERROR,
    trailers_without_end: PROTOCOL_ERROR,
    pseudo_trailers: PROTOCOL_ERROR,
    too_little: PROTOCOL_ERROR,
    too_much: PROTOCOL_ERROR,
}


@pytest.mark.parametrize("rest", RESTS, ids=lambda rest: rest.__name__)
async def test_a_violation_behind_an_early_answer(rest: Callable[[FrameClient], None]) -> None:
    """What violates HTTP/2 right behind an early answer is told, however soon the answer came."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, [*POST, ("content-length", "4")]))
            assert await client.answer(1) == 405
            rest(client)
            await client.until(lambda: client.of(RstStreamFrame, 1) or client.of(GoAwayFrame))
            told = client.of(RstStreamFrame, 1) or client.of(GoAwayFrame)
            assert told[0].error_code == RESTS[rest]


async def test_a_small_rest_ends_by_itself() -> None:
    """A request whose rest comes right behind its early answer is not reset."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, POST))
            assert await client.answer(1) == 405
            client.data(1, b"x" * 10_000)
            client.data(1, b"x" * 1000, "END_STREAM")
            client.ask(3)
            assert await client.answer(3) == 200
            await client.ping()
            assert client.of(RstStreamFrame) == []


async def test_a_large_rest_is_refused_at_once() -> None:
    """After 16 KiB behind the answer the client is told to stop, and its window stays closed."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, POST))
            assert await client.answer(1) == 405
            client.data(1, b"x" * 16_384)
            client.data(1, b"x")
            await client.ping()
            assert [frame.error_code for frame in client.of(RstStreamFrame, 1)] == [NO_ERROR]
            assert client.granted[1] == 0


async def test_frames_behind_a_goodbye_reset_nothing() -> None:
    """A client that still sends after its GOAWAY reads the end of the connection, and no reset by the kernel."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(PREFACE + SettingsFrame().serialize() + GoAwayFrame(0).serialize())
        await reader.read()
        writer.write(PingFrame(opaque_data=b"too late").serialize())
        poll = select.poll()
        poll.register(writer.get_extra_info("socket"), 0)  # 0: a reset, or the end of both directions
        assert await asyncio.to_thread(poll.poll, 200) == []
        await until(lambda: data_plane.data_plane.connections == 0)
        writer.transport.abort()
