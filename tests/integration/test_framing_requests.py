"""Malformed HTTP/1.1 requests are refused and the connection is closed; odd but valid requests are answered."""

from __future__ import annotations

import re

import pytest
from corpus import REFUSED, TAKEN, Request
from one_data_plane import OneDataPlane, one_data_plane, server_tls, verified, whole

from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send


def service(address: str) -> str:
    """Return a configuration of one service that takes every path of the host ``svc``."""
    return f"services: {{svc: {{match: {{host: svc}}, targets: ['{address}'], protocol: http1{verified()}}}}}"


async def sent(data_plane: OneDataPlane, request: Request) -> tuple[int, bytes, bool]:
    """Return (status of the first answer, everything received, whether edge closed)."""
    peer = await data_plane.raw(request.data, limit_s=0.5 if request.name.startswith("path-") else 3.0)
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", peer.received)
    return int(found[1]) if found else 0, peer.received, peer.ended in ("peer_closed", "peer_reset")


@pytest.mark.usefixtures("with_tls_too")
@pytest.mark.parametrize("request_", REFUSED, ids=[case.name for case in REFUSED])
async def test_refused(request_: Request) -> None:
    """The request gets its status, the connection is closed, and nothing reaches the service."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again()), tls=server_tls()) as upstream:
        async with one_data_plane(service(upstream.address)) as data_plane:
            status, received, closed = await sent(data_plane, request_)
            # paths are refused in sound framing, which need not end the connection
            assert (status, closed or request_.name.startswith("path-")) == (request_.status, True), received
            assert len(re.findall(rb"HTTP/1\.1 \d{3} ", received)) == 1
        forwarded = b"".join(peer.received for peer in upstream.peers)
        # a chunked body may have begun to stream before its fault came: then what went on is unfinished
        assert b"0\r\n\r\n" not in forwarded
        assert not forwarded or request_.name.startswith(("chunk-", "last-chunk", "trailer-"))


@pytest.mark.usefixtures("with_tls_too")
@pytest.mark.parametrize("request_", TAKEN, ids=[case.name for case in TAKEN])
async def test_taken(request_: Request) -> None:
    """The request reaches the service, framed anew and without hop-by-hop fields."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again()), tls=server_tls()) as upstream:
        async with one_data_plane(service(upstream.address)) as data_plane:
            received = await data_plane.ask(request_.data, b"hello")
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        forwarded = upstream.peers[0].received.lower()
        assert forwarded.count(b"\r\nhost: ") == 1
        assert not re.search(rb"\r\n(upgrade|connection|te|keep-alive):", forwarded)
        assert b";" not in forwarded.split(b"\r\n\r\n", 1)[1]
        assert b"x-sum" not in forwarded
