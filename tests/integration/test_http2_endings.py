"""Ends of HTTP/2 streams and connections: cancellation within 100 ms, resets, and GOAWAY without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from h2peer import Call, FrameClient, Upstream, plain, request, service
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, RstStreamFrame
from one_data_plane import HELLO, ROLE, SSE_HEAD, STREAM, chunk, models, one_data_plane
from soon import soon, until

from edge import clock
from edge.native import Outcome
from edge.sim.wire import Close, Pause, ReadMessage, ReadToEnd, ReadUntil, ScriptedServer, Send, play_client

if TYPE_CHECKING:
    from edge.sim.wire import Step

NO_ERROR = 0
INTERNAL_ERROR = 2
REFUSED_STREAM = 7
CANCEL = 8
POST = request("POST", "/a")
GET = request("GET", "/a")
NS_PER_S = 1_000_000_000


async def _silence(call: Call) -> None:
    await call.until_reset()


async def _beginning(call: Call) -> None:
    await call.head(200)
    await call.data(b"the beginning")
    await call.until_reset()


# --- the client leaves ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("phase", ["waiting", "streaming"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_client_cancels_to_http2(phase: str, how: str) -> None:
    """If a client resets its stream or leaves, the upstream stream is reset within 100 ms; the connection stays."""

    async def once() -> float:
        async with Upstream(_silence if phase == "waiting" else _beginning) as upstream:
            async with one_data_plane(service(upstream.address)) as data_plane:
                async with FrameClient.connect(data_plane.port) as client:
                    client.ask(1, GET)
                    await until(lambda: upstream.calls)
                    if phase == "streaming":
                        await client.until(lambda: client.body(1))
                    began = clock.now_ns()
                    if how == "reset":
                        client.send(RstStreamFrame(1, error_code=CANCEL))
                        assert await upstream.calls[0].until_reset(4.0) == CANCEL
                        took_s = (clock.now_ns() - began) / NS_PER_S
                if how == "close":
                    assert await upstream.calls[0].until_reset(4.0) == CANCEL
                    took_s = (clock.now_ns() - began) / NS_PER_S
                await until(lambda: data_plane.data_plane.active == 0)
                assert not upstream.wires[0].closed
                target = f"echo/{upstream.address}"
                assert data_plane.outcomes(target)[Outcome.CANCELLED] == sum(data_plane.outcomes(target)) == 1
                assert data_plane.target(target)["inflight"] == 0
                return took_s

    await soon(once, 0.1)


@pytest.mark.parametrize("phase", ["waiting", "streaming"])
async def test_a_client_cancels_a_model(phase: str) -> None:
    """A stream reset over HTTP/2 ends the HTTP/1.1 attempt within 100 ms, and no target is blamed."""
    script: tuple[Step, ...] = (ReadMessage(), ReadToEnd())
    if phase == "streaming":
        script = (ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + chunk(HELLO)), ReadToEnd())

    async def once() -> float:
        async with ScriptedServer(script) as upstream:
            text = models(upstream.url).replace("first_byte: 500ms", "first_byte: 5s").replace("700ms", "5s")
            async with one_data_plane(text.replace("stream_idle: 500ms", "stream_idle: 5s")) as data_plane:
                async with FrameClient.connect(data_plane.port) as client:
                    client.send(client.headers(1, request("POST", "/v1/chat/completions")))
                    client.data(1, STREAM, "END_STREAM")
                    peer = (await upstream.wait_peers(1))[0]
                    await until(lambda: peer.messages)
                    if phase == "streaming":
                        await client.until(lambda: client.body(1))
                    began = clock.now_ns()
                    client.send(RstStreamFrame(1, error_code=CANCEL))
                    assert await peer.wait_end() in ("peer_closed", "peer_reset")
                    took_s = (clock.now_ns() - began) / NS_PER_S
                    assert data_plane.outcomes("p0/m")[Outcome.CANCELLED] == 1
                    assert sum(data_plane.outcomes("p0/m")) == 1
                    assert data_plane.data_plane.active == 0
                    return took_s

    await soon(once, 0.1)


async def test_an_http1_client_leaves() -> None:
    """If an HTTP/1.1 client closes, its HTTP/2 upstream stream is reset within 100 ms."""

    async def once() -> float:
        async with Upstream(_beginning) as upstream, one_data_plane(service(upstream.address)) as data_plane:
            asked = b"GET /a HTTP/1.1\r\nhost: edge\r\n\r\n"
            await play_client(data_plane.port, Send(asked), ReadUntil(b"beginning"), Close())
            began = clock.now_ns()
            assert await upstream.calls[0].until_reset(4.0) == CANCEL
            took_s = (clock.now_ns() - began) / NS_PER_S
            assert not upstream.wires[0].closed
            return took_s

    await soon(once, 0.1)


# --- the upstream breaks off ---------------------------------------------------------------------------------------
async def test_a_reset_before_the_answer() -> None:
    """An upstream stream that is reset before its answer is a 502, and other streams continue."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/bad":
            await call.reset(INTERNAL_ERROR)
        else:
            await plain()(call)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("POST", "/bad"))
            assert await client.answer(1) == 502
            client.ask(3, GET)
            assert await client.answer(3) == 200
        assert len(upstream.wires) == 1


async def test_a_reset_in_the_answer() -> None:
    """A broken answer is passed on as far as it came, and its stream is reset: it never looks complete."""

    async def answer(call: Call) -> None:
        await call.head(200)
        await call.data(b"half")
        await clock.sleep(0.05)
        await call.reset(INTERNAL_ERROR)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, GET)
            assert await client.answer(1) == -INTERNAL_ERROR
            assert client.body(1) == b"half"
            assert not any("END_STREAM" in frame.flags for frame in client.of(DataFrame, 1))
        peer = await data_plane.raw(b"GET /a HTTP/1.1\r\nhost: edge\r\n\r\n")
        assert peer.received.endswith(b"\r\n\r\n4\r\nhalf\r\n")


async def test_a_connection_lost_in_the_answer() -> None:
    """Answers on a lost connection, and truncated HTTP/1.1 answers, are cut for an HTTP/2 client."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
    async with ScriptedServer((ReadMessage(), Send(head), Close())) as upstream:
        async with one_data_plane(service(f"127.0.0.1:{upstream.port}", protocol="http1")) as data_plane:
            async with FrameClient.connect(data_plane.port) as client:
                client.ask(1, GET)
                assert await client.answer(1) == -INTERNAL_ERROR
                assert client.body(1) == b"half"
                client.ask(3)
                assert await client.answer(3) == 200


async def test_an_answer_that_belies_its_length() -> None:
    """A wrong Content-Length is malformed (RFC 9113 8.1.1): 502 before the commit point, a reset after it."""

    async def answer(call: Call) -> None:
        await call.head(200, ("content-length", "5"))
        await call.data(b"1234", end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, GET)
            assert await client.answer(1) == -INTERNAL_ERROR


# --- refused streams and goodbyes ----------------------------------------------------------------------------------
async def test_a_refused_stream_is_tried_again() -> None:
    """REFUSED_STREAM means not processed: even a POST is retried, on the same target if necessary."""
    refused = 0

    async def answer(call: Call) -> None:
        nonlocal refused
        if refused < 1:
            refused += 1
            await call.reset(REFUSED_STREAM)
        else:
            await plain(b"at last")(call)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, POST))
            client.data(1, b"abc", "END_STREAM")
            assert await client.answer(1) == 200
            assert client.body(1) == b"at last"
            assert len(upstream.calls) == 2


async def test_goodbye_in_mid_flight() -> None:
    """Repeated GOAWAYs of an upstream lose no request: unprocessed streams are retried, no target is blamed."""
    due = False

    async def answer(call: Call) -> None:
        nonlocal due
        if due and call.stream > 41:
            due = False
            await call.wire.say_goodbye(call.stream - 20)
        body = await call.body()
        await clock.sleep(0.01)
        if call.wire.last is not None and call.stream > call.wire.last:
            return
        await call.head(200)
        await call.data(body, end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            streams = iter(range(1, 10_000, 2))
            for turn in range(10):
                now = [next(streams) for _ in range(80)]
                due = turn > 0
                for stream in now:
                    client.send(client.headers(stream, POST))
                    client.data(stream, b"%d" % stream, "END_STREAM")
                got = [await client.answer(stream) for stream in now]
                assert got == [200] * len(now)
                assert [client.body(stream) for stream in now] == [b"%d" % stream for stream in now]
        assert len(upstream.wires) > 5
        counts = data_plane.outcomes(f"echo/{upstream.address}")
        assert counts[Outcome.CANCELLED] > 50
        assert counts[Outcome.OK] == sum(counts) - counts[Outcome.CANCELLED]


async def test_goodbye_without_service_is_a_failure() -> None:
    """An upstream that only sends GOAWAY fails like any other, and is not retried for ever."""

    async def answer(call: Call) -> None:
        await call.wire.say_goodbye(0)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, POST)
            assert await client.answer(1) == 502
        assert data_plane.outcomes(f"echo/{upstream.address}")[Outcome.FAIL_RESET] == len(upstream.calls) <= 3


async def test_goodbye_leaves_what_was_not_begun() -> None:
    """Streams above the last one of a GOAWAY are retried on another connection."""

    async def answer(call: Call) -> None:
        if len(upstream.wires) == 1:
            if call.stream == 1:
                await until(lambda: len(call.wire.calls) == 5)
                await call.wire.say_goodbye(1)
                await plain(b"first")(call)
            return
        await plain(b"second")(call)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            for n in range(5):
                client.send(client.headers(2 * n + 1, POST))
                client.data(2 * n + 1, b"abc", "END_STREAM")
            for n in range(5):
                assert await client.answer(2 * n + 1) == 200
            assert sorted(client.body(2 * n + 1) for n in range(5)) == [b"first"] + [b"second"] * 4
        await until(lambda: upstream.wires[0].closed)


async def test_drain_says_goodbye_twice() -> None:
    """A draining data plane announces it, serves the streams in flight, refuses later ones, and closes."""
    async with Upstream(_beginning) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client, FrameClient.connect(data_plane.port) as idle:
            await idle.ping()
            client.ask(1, GET)
            await client.until(lambda: client.body(1))
            data_plane.thread.loop.call_soon_threadsafe(data_plane.data_plane.drain)
            await client.until(lambda: client.of(GoAwayFrame))
            notice = client.of(GoAwayFrame)[0]
            assert (notice.error_code, notice.last_stream_id) == (NO_ERROR, 2**31 - 1)
            client.ask(3)
            assert await client.answer(3) == 200
            asked = [frame for frame in client.of(PingFrame) if "ACK" not in frame.flags]
            client.send(PingFrame(opaque_data=asked[0].opaque_data, flags=["ACK"]))
            await client.until(lambda: len(client.of(GoAwayFrame)) == 2)
            assert (client.of(GoAwayFrame)[1].error_code, client.of(GoAwayFrame)[1].last_stream_id) == (NO_ERROR, 3)
            client.ask(5)
            await client.ping()
            assert not client.fields.get(5)
            await idle.until(lambda: idle.closed)
            assert not client.closed
            await upstream.calls[0].data(b", the end", end=True)
            assert await client.answer(1) == 200
            assert client.body(1) == b"the beginning, the end"
            await client.until(lambda: client.closed)
        await until(lambda: data_plane.data_plane.connections == 0)


async def test_an_idle_client_is_let_go() -> None:
    """An idle connection is closed with a GOAWAY after its time."""
    async with one_data_plane(service("127.0.0.1:1") + "limits: {idle: 1s}\n") as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1)
            assert await client.answer(1) == 200
            assert await client.goaway() == NO_ERROR


async def test_a_client_says_goodbye() -> None:
    """After a client's GOAWAY its open streams end, and then the connection is closed."""
    async with Upstream(_beginning) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, GET)
            await client.until(lambda: client.body(1))
            client.send(GoAwayFrame(0, last_stream_id=0, error_code=0))
            await client.ping()
            await upstream.calls[0].data(b"!", end=True)
            assert await client.answer(1) == 200
            await client.until(lambda: client.closed)


async def test_a_body_that_stops() -> None:
    """Half a request of known length ends at the exchange's deadline or at client_idle."""
    script: tuple[Step, ...] = (ReadToEnd(), Pause(1))
    async with ScriptedServer(script) as upstream:
        text = service(f"127.0.0.1:{upstream.port}", protocol="http1").replace("total: 30s", "total: 700ms")
        async with one_data_plane(text) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, [*POST, ("content-length", "10")]))
            client.data(1, b"half")
            assert await client.answer(1) in (504, NO_ERROR)
            assert client.status(1) == 504
