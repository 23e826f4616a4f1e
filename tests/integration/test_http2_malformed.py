"""Malformed messages (RFC 9113 8.1.1) are stream errors, reach no upstream, and do not disturb the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from h2peer import FrameClient, Upstream, plain, request, service
from hyperframe.frame import DataFrame, HeadersFrame
from one_data_plane import one_data_plane
from soon import until

from edge.sim.wire import Close, ReadMessage, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from h2peer import Fields

pytestmark = pytest.mark.usefixtures("with_tls_too")

PROTOCOL_ERROR = 1
GET = request("GET", "/a")
METHOD, SCHEME, PATH, AUTHORITY = GET

HEADS: dict[str, Fields] = {
    # 8.3: pseudo-header fields
    "no method": [SCHEME, PATH, AUTHORITY],
    "no scheme": [METHOD, PATH, AUTHORITY],
    "no path": [METHOD, SCHEME, AUTHORITY],
    "no authority and no host": [METHOD, SCHEME, PATH],
    "method twice": [METHOD, METHOD, SCHEME, PATH, AUTHORITY],
    "path twice": [METHOD, SCHEME, PATH, PATH, AUTHORITY],
    "authority twice": [METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY],
    "pseudo after regular": [METHOD, SCHEME, PATH, ("a", "b"), AUTHORITY],
    "unknown pseudo": [*GET, (":edge", "a")],
    "status in a request": [*GET, (":status", "200")],
    "protocol without extended connect": [*GET, (":protocol", "websocket")],
    "empty path": [METHOD, SCHEME, (":path", ""), AUTHORITY],
    "relative path": [METHOD, SCHEME, (":path", "a"), AUTHORITY],
    "absolute URL as path": [METHOD, SCHEME, (":path", "http://edge/a"), AUTHORITY],
    "asterisk for GET": [METHOD, SCHEME, (":path", "*"), AUTHORITY],
    "space in path": [METHOD, SCHEME, (":path", "/a HTTP/1.1"), AUTHORITY],
    "fragment in path": [METHOD, SCHEME, (":path", "/a#b"), AUTHORITY],
    "CRLF in path": [METHOD, SCHEME, (":path", "/a\r\nx: y"), AUTHORITY],
    "high byte in path": [METHOD, SCHEME, (":path", "/ä"), AUTHORITY],
    "space in method": [(":method", "GET /"), SCHEME, PATH, AUTHORITY],
    "CRLF in method": [(":method", "GET\r\n"), SCHEME, PATH, AUTHORITY],
    "empty method": [(":method", ""), SCHEME, PATH, AUTHORITY],
    "strange scheme": [METHOD, (":scheme", "gopher"), PATH, AUTHORITY],
    "userinfo in authority": [METHOD, SCHEME, PATH, (":authority", "me@edge")],
    "path in authority": [METHOD, SCHEME, PATH, (":authority", "edge/a")],
    "CRLF in authority": [METHOD, SCHEME, PATH, (":authority", "edge\r\nx: y")],
    "empty authority": [METHOD, SCHEME, PATH, (":authority", "")],
    "host that differs": [*GET, ("host", "other")],
    "host twice": [METHOD, SCHEME, PATH, ("host", "edge"), ("host", "edge")],
    # 8.2.1: names and values
    "upper case": [*GET, ("X-Upper", "a")],
    "empty name": [*GET, ("", "a")],
    "space in name": [*GET, ("a b", "c")],
    "colon in name": [*GET, ("a:b", "c")],
    "CR in name": [*GET, ("a\r", "c")],
    "NUL in name": [*GET, ("a\0", "c")],
    "high byte in name": [*GET, ("ä", "c")],
    "CR in value": [*GET, ("a", "b\rc")],
    "LF in value": [*GET, ("a", "b\nc")],
    "CRLF in value": [*GET, ("a", "b\r\nx: y")],
    "NUL in value": [*GET, ("a", "b\0c")],
    "control in value": [*GET, ("a", "b\x01c")],
    "leading space": [*GET, ("a", " b")],
    "trailing tab": [*GET, ("a", "b\t")],
    # 8.2.2: fields of HTTP/1.1 connections
    "connection": [*GET, ("connection", "close")],
    "keep-alive": [*GET, ("keep-alive", "5")],
    "proxy-connection": [*GET, ("proxy-connection", "keep-alive")],
    "transfer-encoding": [*GET, ("transfer-encoding", "chunked")],
    "upgrade": [*GET, ("upgrade", "websocket")],
    "te other than trailers": [*GET, ("te", "gzip")],
    # 8.1.1: lengths
    "length without body": [*GET, ("content-length", "5")],
    "length twice": [*GET, ("content-length", "0"), ("content-length", "0")],
    "two lengths": [*GET, ("content-length", "0"), ("content-length", "1")],
    "negative length": [*GET, ("content-length", "-1")],
    "length with plus": [*GET, ("content-length", "+0")],
    "length in words": [*GET, ("content-length", "none")],
    "list of lengths": [*GET, ("content-length", "0, 0")],
    "leading zero": [*GET, ("content-length", "00")],
    "huge length": [*GET, ("content-length", "99999999999999999999")],
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("upstream", ["http1", "h2c"])
async def test_malformed_heads(name: str, upstream: str) -> None:
    """A malformed head is reset with PROTOCOL_ERROR and reaches no upstream; the next request is served."""
    answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
    async with ScriptedServer((ReadMessage(), Send(answer), Close())) as first, Upstream(plain()) as second:
        address = f"127.0.0.1:{first.port}" if upstream == "http1" else second.address
        async with one_data_plane(service(address, protocol=upstream)) as data_plane:
            async with FrameClient.connect(data_plane.port) as client:
                client.ask(1, HEADS[name])
                assert await client.answer(1) == -PROTOCOL_ERROR
                client.ask(3, GET)
                assert await client.answer(3) == 200
            async with FrameClient.connect(data_plane.port) as client:
                client.ask(1, GET)
                assert await client.answer(1) == 200
            assert len(first.peers) + len(second.calls) == 2


LENGTH_5 = ("content-length", "5")

BODIES: dict[str, tuple[Fields, Callable[[FrameClient], None]]] = {
    "more than its length": ([LENGTH_5], lambda client: client.data(1, b"123456", "END_STREAM")),
    "more than its length, no end": ([LENGTH_5], lambda client: client.data(1, b"123456")),
    "less than its length": ([LENGTH_5], lambda client: client.data(1, b"1234", "END_STREAM")),
    "less than its length, with trailers": (
        [LENGTH_5],
        lambda client: client.send(DataFrame(1, b"1234"), client.headers(1, [("x-sum", "1")], "END_STREAM")),
    ),
    "pseudo-header fields in trailers": (
        [],
        lambda client: client.send(DataFrame(1, b"1234"), client.headers(1, [(":path", "/b")], "END_STREAM")),
    ),
    "connection-specific fields in trailers": (
        [],
        lambda client: client.send(client.headers(1, [("connection", "close")], "END_STREAM")),
    ),
    "CRLF in trailers": ([], lambda client: client.send(client.headers(1, [("x", "a\r\nb: c")], "END_STREAM"))),
    "trailers that end nothing": (
        [],
        lambda client: client.send(DataFrame(1, b"1234"), client.headers(1, [("x-sum", "1")])),
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("upstream", ["http1", "h2c"])
async def test_malformed_bodies(name: str, upstream: str) -> None:
    """A body that contradicts its head is reset, and never looks complete to the upstream."""
    fields, fault = BODIES[name]
    async with ScriptedServer((ReadToEnd(),)) as first, Upstream(plain()) as second:
        address = f"127.0.0.1:{first.port}" if upstream == "http1" else second.address
        async with one_data_plane(service(address, protocol=upstream)) as data_plane:
            async with FrameClient.connect(data_plane.port) as client:
                client.send(client.headers(1, [*request("POST", "/a"), *fields]))
                await until(lambda: second.calls or (first.peers and first.peers[0].received))
                fault(client)
                assert await client.answer(1) == -PROTOCOL_ERROR
                client.ask(3)
                assert await client.answer(3) == 200
            if upstream == "http1":
                assert await first.peers[0].wait_end() in ("peer_closed", "peer_reset")
                assert not first.peers[0].received.endswith((b"0\r\n\r\n", b"12345"))
            else:
                await second.calls[0].until_reset()
                assert not second.calls[0].ended


async def test_trailers_are_filtered() -> None:
    """Trailers of a request are forwarded to HTTP/2 without fields that must not be trailers (RFC 9110 6.5.1)."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", "/a")))
            client.send(DataFrame(1, b"abc"))
            told = [
                ("authorization", "no"),
                ("content-length", "3"),
                ("host", "other"),
                ("x-sum", "3"),
                ("te", "trailers"),
            ]
            client.send(client.headers(1, told, "END_STREAM"))
            assert await client.answer(1) == 200
        assert upstream.calls[0].trailers == [("x-sum", "3")]


async def test_cookies_become_one_field() -> None:
    """Split cookies are one field for HTTP/1.1 (RFC 9113 8.2.3)."""
    script = (ReadMessage(), Send(b"HTTP/1.1 204 No Content\r\n\r\n"), ReadToEnd())
    async with ScriptedServer(script) as upstream:
        async with one_data_plane(service(f"127.0.0.1:{upstream.port}", protocol="http1")) as data_plane:
            async with FrameClient.connect(data_plane.port) as client:
                client.ask(1, [*GET, ("cookie", "a=b"), ("x-between", "1"), ("cookie", "c=d")])
                assert await client.answer(1) == 204
            received = upstream.peers[0].received
            assert received.count(b"cookie") == 1
            assert b"\r\ncookie: a=b; c=d\r\n" in received


async def test_connect_is_not_offered() -> None:
    """CONNECT is valid but not supported: 405, as over HTTP/1.1."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane, FrameClient.connect(data_plane.port) as client:
        client.ask(1, [(":method", "CONNECT"), (":authority", "edge:443")])
        assert await client.answer(1) == 405


async def test_a_host_instead_of_an_authority() -> None:
    """Without :authority the Host field is used (RFC 9113 8.3.1), and forwarded as :authority."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, [METHOD, SCHEME, PATH, ("host", "inner:80")])
            assert await client.answer(1) == 200
        assert upstream.calls[0].field(":authority") == "inner:80"
        assert upstream.calls[0].field("host") is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [([(f"x-{n}", "1") for n in range(120)], 431), ([("x", "a" * 70_000)], 431), ([("expect", "miracles")], 417)],
)
async def test_refused_but_answered(fields: Fields, status: int) -> None:
    """A too large or unsupported request is answered as over HTTP/1.1; the next request is served."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane, FrameClient.connect(data_plane.port) as client:
        block = client.block([*GET, *fields])
        parts = [block[at : at + 16000] for at in range(0, len(block), 16000)]
        first = HeadersFrame(1, parts[0], flags=["END_STREAM"])
        if len(parts) == 1:
            first.flags.add("END_HEADERS")
        client.send(first, *client.continuations(1, parts[1:]))
        assert await client.answer(1) == status
        client.ask(3)
        assert await client.answer(3) == 200


@pytest.mark.parametrize(("size", "status"), [(16384, 200), (16385, 414), (70_000, 414)])
@pytest.mark.parametrize("again", [False, True])
async def test_a_long_path(size: int, status: int, again: bool) -> None:
    """A path that is too long is 414 as over HTTP/1.1, its first time and repeated; the next request is served."""
    path = "/" + "a" * (size - 1)
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        one = await data_plane.raw(f"GET {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n".encode())
        assert one.received.startswith(b"HTTP/1.1 %d " % status)
        async with FrameClient.connect(data_plane.port) as client:
            for stream in (1, 3) if again else (1,):
                block = client.block([METHOD, SCHEME, (":authority", "edge"), (":path", path)])
                parts = [block[at : at + 16000] for at in range(0, len(block), 16000)]
                first = HeadersFrame(stream, parts[0], flags=["END_STREAM"])
                if len(parts) == 1:
                    first.flags.add("END_HEADERS")
                client.send(first, *client.continuations(stream, parts[1:]))
                assert await client.answer(stream) == status
            client.ask(5)
            assert await client.answer(5) == 200
