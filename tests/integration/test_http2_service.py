"""The four combinations of HTTP/1.1 and HTTP/2 between a client and a service behave in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import httpx
import pytest
from aiohttp import web
from h2peer import Call, FrameClient, Upstream, plain, request, service
from hyperframe.frame import HeadersFrame, RstStreamFrame
from one_data_plane import one_data_plane
from soon import until

from edge.sim.wire import ReadToEnd, ScriptedServer, Send, play_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOTH = [False, True]


class Twin:
    """The same small service over HTTP/1.1 (aiohttp) and HTTP/2 (h2peer): ``/echo``, ``/count/N``, ``/status/N``."""

    def __init__(self, http2: bool) -> None:
        self.http2 = http2
        self._second = Upstream(self._answer)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{tail:.*}", self._answer_first)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        await self._second.__aenter__()
        self.address = self._second.address if self.http2 else f"127.0.0.1:{self._runner.addresses[0][1]}"
        self.protocol = "h2c" if self.http2 else "http1"
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._second.__aexit__(*args)
        await self._runner.cleanup()

    async def _answer(self, call: Call) -> None:
        kind, _, rest = (call.field(":path") or "")[1:].partition("/")
        if kind == "echo":
            body = await call.body()
            await call.head(200, ("x-method", call.field(":method") or ""), ("x-size", str(len(body))))
            await call.data(body, end=True)
        elif kind == "count":
            await call.head(200)
            for n in range(int(rest)):
                await call.data(b"%08d" % n)
            await call.data(end=True)
        elif kind == "length":
            await call.head(200, ("content-length", rest), end=call.field(":method") == "HEAD")
            if call.field(":method") != "HEAD":
                await call.data(b"a" * int(rest), end=True)
        else:
            await call.head(int(rest), ("x-method", call.field(":method") or ""), end=True)

    async def _answer_first(self, asked: web.Request) -> web.StreamResponse:
        kind, _, rest = asked.path[1:].partition("/")
        if kind == "echo":
            body = await asked.read()
            return web.Response(body=body, headers={"x-method": asked.method, "x-size": str(len(body))})
        if kind == "length":
            return web.Response(body=b"a" * int(rest))
        if kind == "count":
            response = web.StreamResponse()
            await response.prepare(asked)
            for n in range(int(rest)):
                await response.write(b"%08d" % n)
            await response.write_eof()
            return response
        return web.Response(status=int(rest), headers={"x-method": asked.method})


@pytest.fixture(params=[(a, b) for a in BOTH for b in BOTH], ids=["1 to 1", "1 to 2", "2 to 1", "2 to 2"])
async def through(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client whose requests go through edge to the service."""
    client2, service2 = request.param
    async with Twin(service2) as twin, one_data_plane(service(twin.address, protocol=twin.protocol)) as data_plane:
        async with httpx.AsyncClient(base_url=data_plane.url, http1=not client2, http2=client2, timeout=10) as client:
            yield client


async def test_unary(through: httpx.AsyncClient) -> None:
    """A small POST comes back complete, many times on one connection."""
    for n in range(20):
        answer = await through.post("/echo", content=b"hello %d" % n)
        assert (answer.status_code, answer.content) == (200, b"hello %d" % n)
        assert answer.headers["x-method"] == "POST"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_methods(through: httpx.AsyncClient, method: str) -> None:
    """Methods are forwarded unchanged, with and without a body."""
    assert (await through.request(method, "/echo")).headers["x-method"] == method
    answer = await through.request(method, "/echo", content=b"abc")
    assert (answer.headers["x-method"], answer.content) == (method, b"abc")


async def test_an_upload_without_a_length(through: httpx.AsyncClient) -> None:
    """A body of unknown length is streamed through, and nothing of it is lost."""

    async def parts() -> AsyncIterator[bytes]:
        for n in range(64):
            yield bytes([n]) * 8192

    answer = await through.post("/echo", content=parts())
    assert answer.headers["x-size"] == str(64 * 8192)
    assert answer.content == b"".join([bytes([n]) * 8192 for n in range(64)])


async def test_a_download_without_a_length(through: httpx.AsyncClient) -> None:
    """An answer of unknown length is streamed through, and nothing of it is lost."""
    answer = await through.get("/count/500")
    assert answer.content == b"".join(b"%08d" % n for n in range(500))


async def test_an_empty_stream(through: httpx.AsyncClient) -> None:
    """A body that is announced and empty ends."""
    answer = await through.get("/count/0")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("size", [0, 1, 16384, 65536, 300_000])
async def test_sizes(through: httpx.AsyncClient, size: int) -> None:
    """Bodies at the limits of frames, queues and windows come back complete."""
    answer = await through.post("/echo", content=b"x" * size)
    assert answer.content == b"x" * size
    answer = await through.get(f"/length/{size}")
    assert (answer.headers["content-length"], len(answer.content)) == (str(size), size)


async def test_head(through: httpx.AsyncClient) -> None:
    """An answer to HEAD keeps its length and has no body; the connection goes on."""
    for _ in range(3):
        answer = await through.head("/length/1234")
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1234", b"")
    assert (await through.get("/length/5")).content == b"aaaaa"


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 418, 500, 503])
async def test_statuses(through: httpx.AsyncClient, status: int) -> None:
    """Statuses are forwarded unchanged, with their fields; a status without a body ends with its head."""
    for _ in range(2):
        answer = await through.post(f"/status/{status}", content=b"abc")
        assert (answer.status_code, answer.content) == (status, b"")
        assert answer.headers["x-method"] == "POST"


async def test_trailers_both_ways() -> None:
    """Trailers of a request and of an answer pass from HTTP/2 to HTTP/2, and the stream ends with them."""

    async def answer(call: Call) -> None:
        await call.body()
        await call.head(200)
        await call.data(b"abc")
        await call.end(("x-got", call.trailers[0][1]), ("grpc-status", "0"))

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", "/a", "edge", ("te", "trailers"))))
            client.data(1, b"abc")
            client.send(client.headers(1, [("x-sum", "294")], "END_STREAM"))
            assert await client.answer(1) == 200
            assert client.body(1) == b"abc"
            assert client.fields[1][-1] == [("x-got", "294"), ("grpc-status", "0")]
        assert upstream.calls[0].field("te") == "trailers"


async def test_trailers_to_http1() -> None:
    """Trailers of an HTTP/2 answer follow the last chunk of the HTTP/1.1 one."""

    async def answer(call: Call) -> None:
        await call.head(200)
        await call.data(b"abc")
        await call.end(("x-sum", "294"), ("connection-less", "1"))

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        asked = b"GET /a HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n"
        peer = await play_client(data_plane.port, Send(asked), ReadToEnd())
        assert peer.received.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 294\r\nconnection-less: 1\r\n\r\n")


@pytest.mark.parametrize("fields", [[], [("content-length", "0")]])
async def test_trailers_without_a_body(fields: list[tuple[str, str]]) -> None:
    """Trailers arrive even without a body, and a head that ends its stream ends it here too."""

    async def answer(call: Call) -> None:
        await call.head(200, *fields, end=call.field(":path") == "/head")
        if call.field(":path") != "/head":
            await call.end(("x-sum", "0"))

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/trailers"))
            assert await client.answer(1) == 200
            assert client.fields[1][-1] == [("x-sum", "0")]
            client.ask(3, request("GET", "/head"))
            assert await client.answer(3) == 200
            assert [type(frame) for frame in client.frames if frame.stream_id == 3] == [HeadersFrame]


async def test_interim_answers() -> None:
    """100 is relayed if the client expects it; other interim responses are dropped, and the final one follows."""

    async def answer(call: Call) -> None:
        await call.head(103)
        await call.head(100)
        body = await call.body()
        await call.head(200)
        await call.data(body, end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", "/a", "edge", ("expect", "100-continue"))))
            await client.until(lambda: client.fields.get(1))
            client.data(1, b"abc", "END_STREAM")
            await client.until(lambda: client.ended(1))
            assert [dict(fields)[":status"] for fields in client.fields[1]] == ["100", "200"]
            assert client.body(1) == b"abc"
        assert upstream.calls[0].field("expect") == "100-continue"


async def test_an_upstream_that_speaks_http1() -> None:
    """A service that is configured for HTTP/2 and answers in HTTP/1.1 gives a 502, and no harm."""
    script = (Send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(service(f"127.0.0.1:{upstream.port}")) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/a"))
            assert await client.answer(1) == 502


async def test_an_early_answer() -> None:
    """An early response ends the request too (RFC 9113 8.1), and the connection goes on."""

    async def answer(call: Call) -> None:
        await call.head(413, end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", "/a")))
            client.data(1, b"abc")
            await client.until(lambda: client.fields.get(1))
            assert client.status(1) == 413
            await client.until(lambda: client.of(RstStreamFrame, 1))
            assert client.of(RstStreamFrame, 1)[0].error_code == 0  # no error: stop sending
            client.ask(3)
            assert await client.answer(3) == 200
        await upstream.calls[0].until_reset()


async def test_many_streams_share_a_connection() -> None:
    """A hundred concurrent requests use one connection, more use a second; each gets its own answer."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as first, FrameClient.connect(data_plane.port) as second:
            for n in range(100):
                first.send(first.headers(2 * n + 1, request("POST", "/a")))
                second.send(second.headers(2 * n + 1, request("POST", "/a")))
            await until(lambda: len(upstream.calls) == 200)
            assert len(upstream.wires) == 2
            assert sorted(len(wire.calls) for wire in upstream.wires) == [100, 100]
            for n in range(100):
                first.data(2 * n + 1, b"x", "END_STREAM")
                second.data(2 * n + 1, b"x", "END_STREAM")
            for n in range(100):
                assert await first.answer(2 * n + 1) == 200
                assert await second.answer(2 * n + 1) == 200


async def test_the_peers_limit_holds() -> None:
    """An upstream that allows two streams gets two per connection, and enough connections."""
    async with Upstream(plain(), settings={3: 2}) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/a"))
            assert await client.answer(1) == 200
            for n in range(1, 11):
                client.ask(2 * n + 1, request("GET", "/a"))
            for n in range(1, 11):
                assert await client.answer(2 * n + 1) == 200
        assert all(wire.most <= 2 for wire in upstream.wires)
