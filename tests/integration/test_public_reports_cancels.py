"""Symptoms that users of gateways report of clients that give up often: their connection must not die of it."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import grpc
import pytest
from h2peer import Call, FrameClient, Upstream, plain, request, service
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame
from one_data_plane import HELLO, ROLE, SSE_HEAD, chunk, models, one_data_plane, patient
from soon import until

from edge import clock
from edge.sim.wire import Pause, ReadMessage, ScriptedServer, Send

if TYPE_CHECKING:
    from pathlib import Path

CANCEL = 8
ENHANCE_YOUR_CALM = 11
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
MESSAGE = b"\0\0\0\0\2hi"


async def silent(call: Call) -> None:
    """Answer nothing but ``/stream``: that sends its head, and then one byte as often as it is asked to."""
    if call.field(":path") != "/stream":
        await call.until_reset()
        return
    await call.head(200, ("content-type", "text/plain"))
    while await call.read():
        await call.data(b".")
    await call.data(b"end", end=True)


async def begin_stream(client: FrameClient) -> None:
    """Open stream 1 and wait for its first bytes."""
    client.send(client.headers(1, request("POST", "/stream")))
    client.data(1, b"go")
    await client.until(lambda: client.body(1) == b".")


async def stream_goes_on(client: FrameClient) -> None:
    """Assert that stream 1 still carries bytes both ways, and ends well."""
    before = client.body(1)
    client.data(1, b"on")
    await client.until(lambda: client.body(1) == before + b"." or client.closed)
    client.data(1, b"", "END_STREAM")
    assert await client.answer(1) == 200
    assert client.body(1).endswith(b".end")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/wait", (*GRPC, ("grpc-timeout", "200m"))),
        ("/wait", (("x-request-timeout", "0.2"),)),
        ("/stream", ()),
    ],
    ids=["grpc-timeout", "x-request-timeout", "answer begun"],
)
async def test_resets_that_are_no_abuse(path: str, fields: tuple[tuple[str, str], ...]) -> None:
    """Hundreds of resets at the streams' own deadlines, or of answers that have begun, leave the connection alone."""
    async with Upstream(silent) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            for wave in range(4):
                streams = range(1 + 160 * wave, 161 + 160 * wave, 2)
                client.send(*[client.headers(stream, request("POST", path, "edge", *fields)) for stream in streams])
                if fields:
                    await client.ping()  # edge, which may be late on a busy machine, has begun to count
                    await clock.sleep(0.183)  # the client's clock is ahead by a little
                else:
                    await client.until(lambda all_=streams: all(client.status(one) == 200 for one in all_))
                client.send(*[RstStreamFrame(stream, error_code=CANCEL) for stream in streams])
                await client.ping()
            assert client.of(GoAwayFrame) == []


async def test_a_client_that_gives_up_early_at_an_ordinary_rate() -> None:
    """Whole seconds of requests that are abandoned before they are answered do not end the connection's stream."""
    async with Upstream(silent) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await begin_stream(client)
            for turn in range(40):
                streams = range(3 + 6 * turn, 9 + 6 * turn, 2)
                for stream in streams:
                    client.send(client.headers(stream, request("POST", "/wait")))
                await clock.sleep(0.05)
                client.send(*[RstStreamFrame(stream, error_code=CANCEL) for stream in streams])
            await client.ping()
            assert client.of(GoAwayFrame) == []
            await stream_goes_on(client)


async def test_the_streams_before_a_flood_finish() -> None:
    """A flood of resets is refused with GOAWAY and the last stream; what was open before it goes on to its end."""
    async with Upstream(silent) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await begin_stream(client)
            for n in range(1, 400):
                client.send(
                    client.headers(2 * n + 1, request("POST", "/wait")), RstStreamFrame(2 * n + 1, error_code=CANCEL)
                )
            await client.until(lambda: client.of(GoAwayFrame) or client.closed)
            told = client.of(GoAwayFrame)[0]
            assert told.error_code == ENHANCE_YOUR_CALM
            assert 1 < told.last_stream_id < 801
            await stream_goes_on(client)
            assert await client.goaway() == ENHANCE_YOUR_CALM
        assert len(upstream.calls) <= 150
        await until(lambda: data_plane.data_plane.active == 0)


async def test_a_flood_that_goes_on_is_cut() -> None:
    """A client that goes on opening streams after GOAWAY loses the connection, whatever is open on it."""
    async with Upstream(silent) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            await begin_stream(client)
            for n in range(1, 4000):
                client.send(
                    client.headers(2 * n + 1, request("POST", "/wait")), RstStreamFrame(2 * n + 1, error_code=CANCEL)
                )
            assert await client.goaway() in (ENHANCE_YOUR_CALM, -1)  # the reset of the cut may overtake the GOAWAY
        assert len(upstream.calls) <= 150
        await until(lambda: data_plane.data_plane.active == 0)


async def test_refused_streams_are_no_abuse() -> None:
    """A client that opens three hundred streams before it knows the limit is refused most of them, and served on."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(*[client.headers(2 * n + 1, request("POST", "/a")) for n in range(300)])
            client.send(*[DataFrame(2 * n + 1, b"", flags=["END_STREAM"]) for n in range(100)])
            for n in range(100):
                assert await client.answer(2 * n + 1) == 200
            client.ask(601, request("GET", "/a"))
            assert await client.answer(601) == 200


async def test_calls_of_one_grpc_channel_that_pass_their_deadlines() -> None:
    """grpcio: a long stream survives two hundred calls of the same channel that end as DEADLINE_EXCEEDED."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/a.B/Wait":
            await call.until_reset()
            return
        await call.head(200, ("content-type", "application/grpc"))
        while data := await call.read():
            await call.data(data)
        await call.end(("grpc-status", "0"))

    async with Upstream(answer) as upstream:
        text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['{upstream.address}']}}}}"
        async with one_data_plane(text) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                stream = channel.stream_stream("/a.B/Echo")()
                await stream.write(b"first")
                assert await stream.read() == b"first"
                wait = channel.unary_unary("/a.B/Wait")
                for _ in range(4):
                    ends = await asyncio.gather(*(wait(b"hi", timeout=0.1) for _ in range(50)), return_exceptions=True)
                    assert {end.code() for end in ends if isinstance(end, grpc.aio.AioRpcError)} == {
                        grpc.StatusCode.DEADLINE_EXCEEDED
                    }
                await stream.write(b"second")
                assert await stream.read() == b"second"
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK


ABANDONS = """
const http2 = require('node:http2');
const session = http2.connect(process.argv[2]);
session.on('goaway', (code) => { console.log('goaway ' + code); process.exit(); });
session.on('error', (error) => { console.log(error.message); process.exit(); });
const ask = () => session.request({':method': 'POST', ':path': '/v1/chat/completions'})
    .end('{"model":"chat","stream":true,"messages":[]}');
const abandon = () => new Promise((resolve) => {
    const stream = ask();
    stream.on('error', () => {});
    stream.on('close', resolve);
    stream.on('data', () => stream.close(http2.constants.NGHTTP2_CANCEL));
});
const kept = ask();
kept.resume();
(async () => {
    for (let wave = 0; wave < 6; wave += 1) await Promise.all(Array.from({length: 30}, abandon));
    kept.once('data', () => { console.log('served on'); process.exit(); });
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: its HTTP/2 client is not tried")
async def test_completions_that_a_client_abandons(tmp_path: Path) -> None:
    """Node's HTTP/2 client: streams that are dropped after their first word leave its connection alone."""
    words = (Send(chunk(HELLO)), Pause(0.05)) * 2000
    async with ScriptedServer((ReadMessage(), Send(SSE_HEAD + chunk(ROLE)), *words)) as upstream:
        async with one_data_plane(patient(models(upstream.url))) as data_plane:
            script = tmp_path / "abandons.js"
            script.write_text(ABANDONS)
            node = await asyncio.create_subprocess_exec("node", script, data_plane.url, stdout=asyncio.subprocess.PIPE)
            async with asyncio.timeout(60):
                said, _ = await node.communicate()
            assert said.decode().strip() == "served on"
