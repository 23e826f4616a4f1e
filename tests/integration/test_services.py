"""Internal HTTP/1.1 services use the same data plane: streamed both ways, balanced, retried only if safe."""

from __future__ import annotations

import asyncio

import pytest
from one_data_plane import chunk, one_data_plane, patient, verified, whole

from edge.native import Outcome
from edge.sim.wire import (
    Again,
    Close,
    Hold,
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
    refused_port,
)

GOOD = (ReadMessage(), Send(whole()), Again())


def services(*addresses: str, extra: str = "", total: str = "5s") -> str:
    """Return a configuration of one service over these addresses, the first preferred."""
    targets = ", ".join(f"{{target: '{address}', tier: {tier}}}" for tier, address in enumerate(addresses, start=1))
    return (
        "services: {billing: {match: {host: billing.internal, path: /api/}, "
        f"targets: [{targets}], protocol: http1, "
        f"timeouts: {{connect: 2s, first_byte: 600ms, stream_idle: 600ms, total: {total}}}{verified()}{extra}}}}}"
    )


def request(method: bytes = b"GET", path: bytes = b"/api/x", fields: bytes = b"", body: bytes = b"") -> bytes:
    """Return a request to the service."""
    return method + b" " + path + b" HTTP/1.1\r\nHost: billing.internal\r\n" + fields + b"\r\n" + body


async def test_fields() -> None:
    """Hop-by-hop and nominated fields are dropped, end-to-end fields are forwarded with the client's address."""
    fields = (
        b"Connection: keep-alive, X-Hop, Authorization\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nTE: trailers\r\n"
        b"X-Kept: 2\r\nAuthorization: Bearer a\r\nX-Forwarded-For: 9.9.9.9\r\n"
        b"X-Forwarded-Proto: gopher\r\nProxy-Authorization: b\r\n"
    )
    async with ScriptedServer(GOOD) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        answer = await data_plane.ask(request(fields=fields), b"hello")
        sent = upstream.peers[0].received.lower()
        for gone in (b"x-hop:", b"keep-alive:", b"te:", b"connection:", b"proxy-authorization:", b"gopher"):
            assert b"\r\n" + gone not in sent
        assert sent.startswith(b"get /api/x http/1.1\r\nhost: billing.internal\r\n")
        assert b"\r\nx-kept: 2\r\n" in sent
        assert b"\r\nauthorization: bearer a\r\n" in sent
        assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in sent
        assert b"\r\nx-forwarded-proto: http\r\n" in sent
        assert b"\r\nvia: 1.1 edge\r\n" in sent
        assert f"x-edge-target: billing/{upstream.address}".encode() in answer


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        (b"/api/", b"billing.internal", 200),
        (b"/api/deep/er?q=1", b"BILLING.internal:80", 200),
        (b"/apix", b"billing.internal", 404),
        (b"/", b"billing.internal", 404),
        (b"/api/", b"other.internal", 404),
    ],
)
async def test_match(path: bytes, host: bytes, status: int) -> None:
    """A service is found by host and path prefix; without a match the answer is 404."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        answer = await data_plane.ask(b"GET " + path + b" HTTP/1.1\r\nhost: " + host + b"\r\n\r\n", b"}}")
        assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_upload_is_streamed() -> None:
    """A body is forwarded as it arrives: the service gets its first part before the client has sent the last."""
    script = (
        ReadUntil(b"first"),
        Send(b"HTTP/1.1 100 Continue\r\n\r\n"),
        ReadUntil(b"0\r\n\r\n"),
        Send(whole()),
        Close(),
    )
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        fields = b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
        peer = await play_client(
            data_plane.port,
            Send(request(b"POST", fields=fields)),
            Send(chunk(b"first")),
            ReadUntil(b"100 Continue\r\n\r\n"),
            Send(chunk(b"last") + b"0\r\n\r\n"),
            ReadUntil(b"hello"),
            Close(),
        )
        assert b"HTTP/1.1 200 OK" in peer.received
        assert b"\r\nexpect: 100-continue\r\n" in upstream.peers[0].received
        assert upstream.peers[0].received.endswith(b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")


async def test_download_is_streamed() -> None:
    """An answer is forwarded as it arrives, to an HTTP/1.0 client without chunks."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    goes_on = asyncio.Event()
    script = (ReadHead(), Send(head + chunk(b"first")), Hold(goes_on), Send(chunk(b"last") + b"0\r\n\r\n"), Again())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(services(upstream.address))) as data_plane:
        peer = await play_client(data_plane.port, Send(request()), ReadUntil(b"first"), Close())
        assert b"last" not in peer.received
        goes_on.set()
        old = await data_plane.raw(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert old.received.endswith(b"\r\n\r\nfirstlast")
        assert b"transfer-encoding" not in old.received


async def test_truncated_download_shows() -> None:
    """A truncated answer is truncated for the client too: no last chunk, or missing bytes."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    for answer in (head + chunk(b"first"), b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nfirst"):
        async with ScriptedServer((ReadHead(), Send(answer), Pause(0.1), Close())) as upstream:
            async with one_data_plane(services(upstream.address)) as data_plane:
                peer = await data_plane.raw(request())
                assert b"first" in peer.received
                assert not peer.received.endswith(b"0\r\n\r\n")
                assert peer.ended == "peer_closed"
                assert data_plane.outcomes(f"billing/{upstream.address}")[Outcome.FAIL_TRUNCATED] == 1


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"POST", b"PATCH"])
async def test_retried_when_safe(method: bytes) -> None:
    """After the request was sent, only an idempotent request is retried; the others get a 502."""
    async with ScriptedServer((ReadMessage(), Reset())) as bad, ScriptedServer(GOOD) as good:
        statuses = []
        async with one_data_plane(services(bad.address, good.address)) as data_plane:
            for _ in range(12):
                answer = await data_plane.ask(request(method, fields=b"Content-Length: 2\r\n", body=b"hi"), b"}}")
                statuses.append(answer[9:12])
        tries = len(bad.peers)
        assert tries > 0
        if method in (b"GET", b"PUT", b"DELETE"):
            assert statuses == [b"200"] * 12
        else:
            assert statuses.count(b"502") == tries
            assert statuses.count(b"200") == 12 - tries


async def test_retried_when_nothing_was_sent() -> None:
    """After a failed connect any method may be retried."""
    with refused_port() as port:
        async with (
            ScriptedServer(GOOD) as good,
            one_data_plane(services(f"127.0.0.1:{port}", good.address)) as data_plane,
        ):
            for _ in range(8):
                answer = await data_plane.ask(request(b"POST", fields=b"Content-Length: 2\r\n", body=b"hi"), b"}}")
                assert answer.startswith(b"HTTP/1.1 200 ")


async def test_an_early_answer_is_the_last() -> None:
    """An answer that begins before its upload is complete has Connection: close (RFC 9112 9.6)."""
    script = (ReadHead(), Send(whole(status=b"413 Content Too Large")), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        upload = request(b"POST", fields=b"content-length: 10\r\n")
        peer = await play_client(data_plane.port, Send(upload), ReadUntil(b"}}]}"), Send(b"0123456789"), ReadToEnd())
        assert b"\r\nconnection: close\r\n" in peer.received
        assert peer.ended == "peer_closed"


async def test_large_upload_is_not_retried() -> None:
    """A body larger than the retry buffer is sent once, complete, and never twice."""
    body = b"a" * 300_000
    script = (ReadHead(), ReadBytes(len(body)), Reset())
    async with (
        ScriptedServer(script) as bad,
        one_data_plane(services(bad.address, extra=", retry: {attempts: 3}")) as data_plane,
    ):
        peer = await data_plane.raw(
            request(b"PUT", fields=b"Connection: close\r\nContent-Length: 300000\r\n", body=body)
        )
        assert peer.received.startswith(b"HTTP/1.1 502 ")
        assert len(bad.peers) == 1


@pytest.mark.parametrize(
    "status", [b"401 Unauthorized", b"403 Forbidden", b"404 Not Found", b"429 Too Many", b"400 Bad"]
)
async def test_the_services_own_answers(status: bytes) -> None:
    """A service's 4xx is relayed and counts for no target."""
    async with ScriptedServer((ReadMessage(), Send(whole(b'{"mine":1}', status)), Again())) as upstream:
        async with one_data_plane(services(upstream.address)) as data_plane:
            for _ in range(10):
                answer = await data_plane.ask(request(), b'{"mine":1}')
                assert answer.startswith(b"HTTP/1.1 " + status[:3])
            assert data_plane.target(f"billing/{upstream.address}")["state"] == "closed"


async def test_server_error() -> None:
    """A 503 of one address is retried at another for an idempotent request, else relayed."""
    bad = (ReadMessage(), Send(whole(b'{"busy":1}', b"503 Busy")), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(services(one.address, two.address)) as data_plane:
            for _ in range(8):
                assert (await data_plane.ask(request(), b"}")).startswith(b"HTTP/1.1 200 ")
        async with one_data_plane(services(one.address)) as data_plane:
            answer = await data_plane.ask(request(b"POST", fields=b"Content-Length: 0\r\n"), b'{"busy":1}')
            assert answer.startswith(b"HTTP/1.1 503 ")


async def test_timeout() -> None:
    """A service that does not answer in time gives a 504, with the deadline in the body."""
    async with ScriptedServer((ReadToEnd(),)) as upstream:
        async with one_data_plane(services(upstream.address, extra=", retry: {attempts: 1}")) as data_plane:
            answer = await data_plane.ask(request(), b"}}")
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert b"first-byte deadline" in answer


async def test_slow_upload_is_no_timeout() -> None:
    """The first-byte deadline runs from the end of the request."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        peer = await play_client(
            data_plane.port,
            Send(request(b"POST", fields=b"Content-Length: 10\r\n")),
            Send(b"0123456789", piece=1, gap_s=0.1),
            ReadUntil(b"hello"),
            Close(),
        )
        assert peer.received.startswith(b"HTTP/1.1 200 ")
