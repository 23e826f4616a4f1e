"""Frames for streams where none may come end the connection with the error that RFC 9113 names; late ones do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from h2peer import FrameClient, RawFrame, request, service
from one_data_plane import one_data_plane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PROTOCOL_ERROR, STREAM_CLOSED = 1, 5
PRIORITY = 2
POST = request("POST", "/healthz")  # answered with 405 before its body has come


async def answered(client: FrameClient) -> None:
    """Ask on stream 1, and wait for the answer."""
    client.ask(1)
    assert await client.answer(1) == 200


async def priority_on_0(client: FrameClient) -> None:
    """6.3: PRIORITY belongs to a stream."""
    client.send(RawFrame(PRIORITY, 0, bytes(5)))


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


async def test_late_frames_are_no_error() -> None:
    """A client whose request was answered early may have sent more of it meanwhile; its other streams go on."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, POST))
            assert await client.answer(1) == 0  # reset without an error, after the answer
            assert client.status(1) == 405
            client.data(1, b"x" * 1000)
            client.data(1, b"x" * 1000, "END_STREAM")
            client.send(RawFrame(PRIORITY, 1, bytes(5)), RawFrame(PRIORITY, 9, bytes(5)))
            client.ask(3)
            assert await client.answer(3) == 200
            await client.ping()
            assert not client.lost()
