"""Peers of HTTP/1.0 and HTTP/1.1 are distinguished, whatever their Connection field says."""

from __future__ import annotations

import pytest
from one_data_plane import DONE, HELLO, STOP, STREAM, models, one_data_plane, post, sse

from edge.sim.wire import Again, ReadMessage, ReadToEnd, ReadUntil, ScriptedServer, Send, play_client

WISHES = {
    "says-nothing": b"",
    "close": b"connection: close\r\n",
    "keep-alive": b"connection: keep-alive\r\n",
    "proxy-connection": b"proxy-connection: keep-alive\r\n",
    "old-keep-alive": b"keep-alive: timeout=5\r\n",
}
SCRIPT = (ReadMessage(), Send(sse(HELLO, STOP, DONE)), Again())


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
async def test_old_client_is_never_sent_chunks(wish: bytes) -> None:
    """An HTTP/1.0 client gets no chunks: a stream ends with the connection (RFC 9112 6.1)."""
    async with ScriptedServer(SCRIPT) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        asked = post(STREAM, fields=wish).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
        peer = await play_client(data_plane.port, Send(asked), ReadToEnd(), limit_s=20.0)
        head, _, body = peer.received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert body == HELLO + STOP + DONE


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
async def test_new_client_is_sent_chunks(wish: bytes) -> None:
    """An HTTP/1.1 client gets chunks; its connection is kept unless it said close."""
    async with ScriptedServer(SCRIPT) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        asked = post(STREAM, fields=wish) + post(STREAM, fields=b"connection: close\r\n")
        peer = await play_client(data_plane.port, Send(asked), ReadToEnd(), limit_s=20.0)
        answers = 1 if wish == WISHES["close"] else 2
        assert peer.received.count(b"transfer-encoding: chunked") == answers
        assert peer.received.count(b"0\r\n\r\n") == answers


@pytest.mark.parametrize(
    ("head", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nproxy-connection: keep-alive\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n", 2),
        (b"HTTP/1.0 200 OK\r\n", 2),
        (b"HTTP/1.0 200 OK\r\nproxy-connection: keep-alive\r\n", 2),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", 1),
    ],
)
async def test_old_upstream_is_kept_only_if_it_says_so(head: bytes, connections: int) -> None:
    """Two requests use one connection or two, by the upstream's version and fields (RFC 9112 9.3)."""
    answer = head + b'content-type: application/json\r\ncontent-length: 14\r\n\r\n{"choices":[]}'
    async with (
        ScriptedServer((ReadMessage(), Send(answer), Again())) as upstream,
        one_data_plane(models(upstream.url)) as data_plane,
    ):
        last = post(fields=b"connection: close\r\n")
        steps = (Send(post()), ReadUntil(b'{"choices":[]}'), Send(last), ReadToEnd())
        peer = await play_client(data_plane.port, *steps, limit_s=20.0)
        assert peer.received.count(b'{"choices":[]}') == 2
        assert len(upstream.peers) == connections
