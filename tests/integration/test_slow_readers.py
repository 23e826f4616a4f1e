"""Who reads slowly is served to the end; who does not read at all, or leaves without reading, is let go in time."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from onelane import chunk, one_lane, whole
from test_regressions import slow_socket
from test_services import request, services

from edge.sim.wire import Pause, ReadHead, ReadMessage, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from onelane import OneLane

# More than the kernel takes of an answer that nobody reads.
LARGE = 12_000_000
LIMITS = "\nlimits: {stall: 600ms, header_timeout: 200ms}\n"


async def nobody(lane: OneLane) -> None:
    """Wait until no client is connected any more."""
    async with asyncio.timeout(20):
        while lane.lane.connections:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.01)
    assert lane.lane.active == 0


@pytest.mark.parametrize("partial", [b"", b"GET /api"], ids=["between", "in-a-head"])
async def test_leaves_without_reading(partial: bytes) -> None:
    """A client that closes its side and never reads its answer is let go, also in the middle of its next head."""
    script = (ReadMessage(), Send(whole(b"x" * LARGE)), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_lane(services(upstream.address) + LIMITS) as lane:
        sock = await slow_socket(lane.port, 4096)
        await asyncio.get_running_loop().sock_sendall(sock, request() + partial)
        assert await asyncio.get_running_loop().sock_recv(sock, 1)
        sock.shutdown(socket.SHUT_WR)
        await nobody(lane)
        sock.close()


async def test_stops_sending_and_reading() -> None:
    """A client that stops in its body, and then does not read the answer that begins, is let go."""
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    script = (ReadHead(), Pause(0.3), Send(begun + chunk(b"x" * LARGE)), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_lane(services(upstream.address) + LIMITS) as lane:
        sock = await slow_socket(lane.port, 4096)
        head = request(b"POST", fields=b"transfer-encoding: chunked\r\n")
        await asyncio.get_running_loop().sock_sendall(sock, head + chunk(b"begun"))
        assert await asyncio.get_running_loop().sock_recv(sock, 1)
        await nobody(lane)
        sock.close()
