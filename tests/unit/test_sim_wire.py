"""Scripted peers do exactly what their script says, and record what the other side did."""

from __future__ import annotations

import asyncio
import socket

import pytest

from edge.sim import wire
from edge.sim.wire import (
    Again,
    Close,
    HalfClose,
    Pause,
    ReadBytes,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    Reset,
    ScriptedServer,
    Send,
    play_client,
)


async def test_messages_are_split_by_their_framing() -> None:
    """ReadMessage reads one message, by content-length or by chunks with trailers, and no more."""
    chunked = (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        + wire.chunk(b"abc")
        + b"5;x=y\r\n12345\r\n0\r\nt: 1\r\n\r\n"
    )
    plain = wire.request(b'{"a":1}')
    async with ScriptedServer([ReadMessage(), ReadMessage(), Send(wire.answer(b"done")), Close()]) as server:
        client = await play_client(server.port, Send(chunked + plain, piece=7), ReadToEnd())
        assert await server.peers[0].wait_end() == "closed"
    assert server.peers[0].messages == [chunked, plain]
    assert client.ended == "peer_closed"
    assert client.received == wire.answer(b"done")


async def test_again_serves_many_requests_on_one_connection() -> None:
    """Again starts the script over on the same connection until the client leaves."""
    async with ScriptedServer([ReadMessage(), Send(wire.answer(b"x")), Again()]) as server:
        client = await play_client(server.port, *[Send(wire.request(b"{}")), ReadUntil(b"\r\n\r\nx")] * 3, Close())
        assert await server.peers[0].wait_end() == "peer_closed"
    assert client.received == wire.answer(b"x") * 3
    assert len(server.peers) == 1


async def test_reset_is_seen_as_reset_and_close_as_close() -> None:
    """Reset sends RST and Close sends FIN, and each side's record distinguishes them."""
    async with ScriptedServer([ReadHead(), Reset()], [ReadHead(), Close()], [ReadToEnd()]) as server:
        head = Send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await play_client(server.port, head, ReadToEnd())).ended == "peer_reset"
        assert (await play_client(server.port, head, ReadToEnd())).ended == "peer_closed"
        await play_client(server.port, head, Pause(0.02), Reset())
        assert await server.peers[2].wait_end() == "peer_reset"


async def test_half_close_still_reads() -> None:
    """After HalfClose the other side sees the end, and its answer still arrives."""
    async with ScriptedServer([ReadToEnd()], [ReadBytes(2), Send(b"late"), Close()]) as server:
        await play_client(server.port, Send(b"hi"), HalfClose(), Pause(0.05))
        assert await server.peers[0].wait_end() == "peer_closed"
        client = await play_client(server.port, Send(b"hi"), HalfClose(), ReadToEnd())
    assert client.received == b"late"


async def test_a_step_that_takes_too_long_ends_the_script() -> None:
    """Silence is bounded by limit_s on either side."""
    async with ScriptedServer([ReadToEnd()]) as server:
        client = await play_client(server.port, ReadHead(), limit_s=0.05)
        assert client.ended == "timeout"
        with pytest.raises(TimeoutError):
            await server.wait_peers(2, limit_s=0.05)


async def test_a_refused_port_refuses_and_an_unreachable_one_hangs() -> None:
    """refused_port answers RST at once; unreachable_port never completes the handshake."""
    with wire.refused_port() as port, pytest.raises(ConnectionRefusedError):
        await play_client(port, limit_s=2)
    async with wire.unreachable_port() as port:
        with pytest.raises(TimeoutError):
            await play_client(port, limit_s=0.2)


async def test_a_small_receive_buffer_holds_the_sender_back() -> None:
    """A server that does not read makes the sender wait."""
    async with ScriptedServer([Pause(5)], receive_buffer=4096) as server:
        client = await play_client(server.port, Send(b"x" * (16 << 20)), limit_s=0.3)
    assert client.ended == "timeout"


async def test_stopping_leaves_nothing_open() -> None:
    """Leaving the server's block ends its scripts and frees its port."""
    async with ScriptedServer([ReadToEnd()]) as server:
        waiting = asyncio.create_task(play_client(server.port, ReadToEnd()))
        await server.wait_peers(1)
    assert (await waiting).ended == "peer_closed"
    assert server.peers[0].ended == "stopped"
    with socket.socket() as probe:
        assert probe.connect_ex((server.host, server.port)) != 0


def test_a_server_without_a_script_is_refused() -> None:
    """A scripted server without a script raises an error."""
    with pytest.raises(ValueError, match="at least one script"):
        ScriptedServer()
