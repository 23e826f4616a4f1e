"""Upstream responses are parsed as strictly as requests: malformed framing gives a 502 and ends both connections."""

from __future__ import annotations

import re

import pytest
from corpus import BAD_ANSWERS, GOOD_ANSWERS, Answer, get
from one_data_plane import one_data_plane, server_tls
from test_framing_requests import service

from edge.native import Outcome
from edge.sim.wire import Close, HalfClose, ReadHead, ReadToEnd, ScriptedServer, Send


@pytest.mark.usefixtures("with_tls_too")
@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=[case.name for case in BAD_ANSWERS])
async def test_bad_answer(answer: Answer) -> None:
    """A malformed answer becomes 502, and its connection is not used again."""
    async with ScriptedServer((ReadHead(), Send(answer.data), ReadToEnd()), tls=server_tls()) as upstream:
        text = service(upstream.address).replace("protocol", "retry: {attempts: 1}, protocol")
        async with one_data_plane(text) as data_plane:
            first = await data_plane.ask(get(), b"}}")
            second = await data_plane.ask(get(), b"}}")
            assert first.startswith(b"HTTP/1.1 502 "), first
            assert second.startswith(b"HTTP/1.1 502 "), second
            assert b"\r\n\r\nabc" not in first
        assert len(upstream.peers) == 2
        assert await upstream.peers[0].wait_end() in ("peer_closed", "peer_reset")


@pytest.mark.usefixtures("with_tls_too")
@pytest.mark.parametrize("answer", GOOD_ANSWERS, ids=[case.name for case in GOOD_ANSWERS])
async def test_good_answer(answer: Answer) -> None:
    """An odd but valid answer reaches the client complete, framed anew."""
    async with ScriptedServer((ReadHead(), Send(answer.data), HalfClose(), Close()), tls=server_tls()) as upstream:
        async with one_data_plane(service(upstream.address)) as data_plane:
            peer = await data_plane.raw(get(b"Connection: close\r\n"))
    head, _, body = peer.received.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (200|204|304) ", head), head
    if b"transfer-encoding: chunked" in head:
        body = re.sub(rb"[0-9a-f]+\r\n(.*?)\r\n", rb"\1", body[: -len(b"0\r\n\r\n")], flags=re.DOTALL)
    assert body == answer.body


async def test_trailers_without_end() -> None:
    """Trailers have the limits of a head: an answer with endless trailers is cut, and its connection closed."""
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-a: "
    async with ScriptedServer((ReadHead(), Send(begun + b"a" * 8_000_000), ReadToEnd()), tls=server_tls()) as upstream:
        async with one_data_plane(service(upstream.address)) as data_plane:
            peer = await data_plane.raw(get())
            assert peer.received.endswith(b"hi\r\n")
            name = data_plane.snapshot.targets[0].id
            assert data_plane.outcomes(name)[Outcome.FAIL_MALFORMED] == 1
        assert await upstream.peers[0].wait_end() in ("peer_closed", "peer_reset")
