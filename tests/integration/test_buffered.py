"""The bytes of requests that a worker holds are limited, counted and released."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from h2peer import FrameClient, Upstream, plain
from h2peer import request as h2_request
from hyperframe.frame import RstStreamFrame
from one_data_plane import HELLO, STREAM, models, one_data_plane, patient, post, sse, whole
from test_services import request, services

from edge.native import RouteCounter, WorkerCounter
from edge.sim.wire import (
    Again,
    Close,
    Hold,
    Pause,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    unreachable_port,
)
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

GOOD = (ReadMessage(), Send(whole()), Again())
SILENT = (ReadToEnd(),)
SMALL = "limits: {body: 64KiB, max_buffered: 128KiB, client_idle: 20s}"
PATIENT = "connect: 2s, first_byte: 500ms, first_token: 700ms, stream_idle: 500ms, total: 5s"
CHAT = b'{"model":"chat","messages":[],"user":"'


def body(size: int) -> bytes:
    """Return a chat request's body of this size."""
    return CHAT + b"u" * (size - len(CHAT) - 2) + b'"}'


def held(data_plane: OneDataPlane) -> int:
    """Return the bytes that the data plane reports as buffered."""
    return int(data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BUFFERED])


def refused(data_plane: OneDataPlane) -> int:
    """Return how many requests were refused for lack of memory."""
    return int(data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_UNBUFFERED])


async def until_held(data_plane: OneDataPlane, size: int) -> None:
    """Wait until exactly this many bytes are buffered."""
    async with asyncio.timeout(15):
        while held(data_plane) != size:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.005)


class Half:
    """A client that has sent a part of a request over HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.rest = rest

    @classmethod
    async def sent(cls, data_plane: OneDataPlane, data: bytes, size: int) -> Half:
        """Send the head and the first ``size`` bytes of the body."""
        head, _, content = data.partition(b"\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(head + b"\r\n\r\n" + content[:size])
        return cls(reader, writer, content[size:])

    async def finish(self) -> bytes:
        """Send the rest; return the answer's head."""
        self.writer.write(self.rest)
        answer = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 15)
        self.writer.close()
        return answer

    def leave(self) -> None:
        """Close the connection."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def test_every_ending_gives_back_what_it_held() -> None:
    """Half-sent bodies count exactly, and are released whether finished, cancelled, reset or refused."""
    draw = random.Random(4711)
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane(
            models(upstream.url, extra="limits: {body: 64KiB, max_buffered: 8MiB}")
        ) as data_plane:
            halves = []
            total = 0
            async with FrameClient.connect(data_plane.port) as client:
                for number in range(40):
                    size = draw.randrange(1000, 60_000)
                    part = draw.randrange(1, size)
                    halves.append(await Half.sent(data_plane, post(body(size)), part))
                    total += part
                    part = draw.randrange(1, 600)
                    client.send(client.headers(2 * number + 1, h2_request("POST", "/v1/chat/completions")))
                    client.data(2 * number + 1, body(600)[:part])
                    total += part
                await until_held(data_plane, total)
                for number in draw.sample(range(40), 30):
                    if number % 3:
                        client.data(2 * number + 1, b'garbage"}', "END_STREAM")
                    else:
                        client.send(RstStreamFrame(2 * number + 1, error_code=8))
                for half in draw.sample(halves, 35):
                    halves.remove(half)
                    kind = draw.choice(("finish", "finish", "leave", "reset", "spoil"))
                    if kind == "finish":
                        assert b" 200 OK" in await half.finish()
                    elif kind == "spoil":
                        half.rest = b"}" * len(half.rest)
                        assert b" 400 " in await half.finish()
                    else:
                        half.leave() if kind == "leave" else half.reset()
                assert held(data_plane) > 0
            for half in halves:
                half.leave()
            await until_held(data_plane, 0)
            assert refused(data_plane) == 0


async def test_what_does_not_fit_is_refused() -> None:
    """A body above the limit gets 503 with Retry-After and reaches no target; with room again, it passes."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url, extra=SMALL)) as data_plane:
        first = await Half.sent(data_plane, post(body(60_000)), 59_000)
        second = await Half.sent(data_plane, post(body(60_000)), 59_000)
        await until_held(data_plane, 118_000)
        chunked = post().partition(b"content-length")[0] + b"transfer-encoding: chunked\r\n\r\n"
        chunked += b"%x\r\n" % 20_000 + body(20_000) + b"\r\n0\r\n\r\n"
        for late in (post(body(20_000)), chunked):
            peer = await data_plane.raw(late)
            assert peer.received.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nconnection: close\r\n" in peer.received
            assert b"\r\nretry-after: " in peer.received
            error = json.loads(peer.received.partition(b"\r\n\r\n")[2])["error"]
            assert (error["type"], error["code"]) == ("overloaded", "buffers_full")
        assert refused(data_plane) == 2
        assert data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_REFUSED] == 0
        assert held(data_plane) == 118_000
        assert b" 200 OK" in await first.finish()
        await until_held(data_plane, 59_000)
        assert (await data_plane.ask(post(body(20_000)), b"}}")).startswith(b"HTTP/1.1 200 ")
        assert b" 200 OK" in await second.finish()
        await until_held(data_plane, 0)


async def test_who_asks_first_is_told_before_it_sends() -> None:
    """A client that waits for 100 gets 503 instead if the announced body does not fit."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url, extra=SMALL)) as data_plane:
        first = await Half.sent(data_plane, post(body(65_000)), 64_000)
        second = await Half.sent(data_plane, post(body(65_000)), 64_000)
        await until_held(data_plane, 128_000)
        head = post(body(10_000), fields=b"expect: 100-continue\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        assert (await data_plane.raw(head)).received.startswith(b"HTTP/1.1 503 ")
        first.leave()
        second.reset()
        await until_held(data_plane, 0)


async def test_over_http2_the_connection_goes_on() -> None:
    """Only the stream whose body does not fit is refused; in gRPC as UNAVAILABLE with a retry time."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url, extra=SMALL)) as data_plane:
        first = await Half.sent(data_plane, post(body(65_000)), 64_900)
        second = await Half.sent(data_plane, post(body(65_000)), 64_900)
        await until_held(data_plane, 129_800)
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, h2_request("POST", "/v1/chat/completions")))
            client.data(1, body(2000))
            await client.until(lambda: client.ended(1))
            assert client.status(1) == 503
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                said = inference_pb2.Message(role=inference_pb2.ROLE_USER, parts=[inference_pb2.Part(text="u" * 2000)])
                asked = inference_pb2.ChatRequest(model="chat", messages=[said])
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await inference_pb2_grpc.InferenceStub(channel).Chat(asked, timeout=10)
            assert error.value.code() == grpc.StatusCode.UNAVAILABLE
            first.leave()
            await until_held(data_plane, 64_900)
            client.send(client.headers(3, h2_request("POST", "/v1/chat/completions")))
            client.data(3, body(2000), "END_STREAM")
            await client.until(lambda: client.ended(3))
            assert client.status(3) == 200
        second.leave()
        await until_held(data_plane, 0)


async def test_a_body_is_held_until_its_answer_begins() -> None:
    """A body counts while another attempt may need it, also after a failure, and no longer from the first content."""
    answer = sse(HELLO, end=False)
    failing, answering = asyncio.Event(), asyncio.Event()
    async with (
        ScriptedServer((ReadMessage(), Hold(failing), Close())) as bad,
        ScriptedServer((ReadMessage(), Hold(answering), Send(answer), ReadUntil(b"go on"))) as good,
    ):
        text = models(bad.url, good.url).replace(PATIENT, "stream_idle: 20s")
        async with one_data_plane(text) as data_plane:
            _, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
            sent = STREAM[:-1] + b',"user":"%b"}' % (b"u" * 5000)
            writer.write(post(sent))
            await bad.wait_asked(1)
            assert held(data_plane) == len(sent)
            failing.set()
            await good.wait_asked(1)
            assert held(data_plane) == len(sent)
            answering.set()
            await until_held(data_plane, 0)
            assert data_plane.data_plane.active == 1
            writer.close()


async def test_a_services_body_is_only_not_kept() -> None:
    """Without room a service still gets its requests, but these cannot be retried."""
    tail = " retry: {attempts: 3}"
    async with (
        ScriptedServer((ReadMessage(), Close())) as bad,
        ScriptedServer(GOOD) as good,
    ):
        text = services(bad.address, good.address, extra=f",{tail}") + models("http://127.0.0.1:9", extra=SMALL)
        put = request(b"PUT", fields=b"content-length: 10000\r\n", body=b"a" * 10_000)
        async with one_data_plane(text) as data_plane:
            # a kept body is sent again
            assert b"x-edge-attempts: 2\r\n" in await data_plane.ask(put, b"}}")
            await until_held(data_plane, 0)
        async with one_data_plane(text) as data_plane:
            first = await Half.sent(data_plane, post(body(65_000)), 64_900)
            second = await Half.sent(data_plane, post(body(65_000)), 64_900)
            await until_held(data_plane, 129_800)
            # its body comes after its head: the target has been asked by then, and nothing has to be held
            late = await Half.sent(data_plane, put, 0)
            async with asyncio.timeout(15):
                while not (bad.peers[1:] and b"\r\n\r\n" in bad.peers[1].received):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            answer = await late.finish()
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"x-edge-attempts: 1\r\n" in answer
            assert held(data_plane) == 129_800
            assert refused(data_plane) == 0
            first.leave()
            second.leave()
            await until_held(data_plane, 0)


async def test_a_service_that_cannot_be_reached_yet() -> None:
    """A body that must wait for a connection is refused if it does not fit, and no target is blamed."""
    async with unreachable_port() as port:
        text = services(f"127.0.0.1:{port}").replace("connect: 2s", "connect: 5s")
        async with one_data_plane(text + models("http://127.0.0.1:9", extra=SMALL)) as data_plane:
            waiting = request(b"PUT", fields=b"content-length: 50000\r\n", body=b"a" * 50_000)
            first = await Half.sent(data_plane, waiting, 50_000)
            second = await Half.sent(data_plane, waiting, 50_000)
            await until_held(data_plane, 100_000)
            peer = await data_plane.raw(waiting)
            assert peer.received.startswith(b"HTTP/1.1 503 ")
            assert b"buffers_full" in peer.received
            assert held(data_plane) == 100_000
            view = data_plane.shared_state.read_route(
                next(route.slot for route in data_plane.snapshot.routes if route.kind == "service")
            )
            assert view["counts"][RouteCounter.R_5XX] == 1
            assert data_plane.target(f"billing/127.0.0.1:{port}")["consecutive"] == 0
            assert data_plane.target(f"billing/127.0.0.1:{port}")["inflight"] == 2
            first.leave()
            second.reset()
            await until_held(data_plane, 0)


async def test_a_pipelined_body_counts_while_it_waits() -> None:
    """The body of a pipelined request counts until it is answered or its client has left."""
    slow = (ReadHead(), Pause(0.3), Send(whole()), Again())
    async with ScriptedServer(slow) as upstream:
        text = patient(services(upstream.address) + models(upstream.url))
        async with one_data_plane(text) as data_plane:
            half = await Half.sent(data_plane, request() + post(body(5000)), 10**6)
            await until_held(data_plane, 5000)
            assert b" 200 OK" in await half.finish()
            await until_held(data_plane, 0)
            half = await Half.sent(data_plane, request() + post(body(5000)), 10**6)
            await until_held(data_plane, 5000)
            half.reset()
            await until_held(data_plane, 0)


async def test_a_pipelined_body_that_does_not_fit() -> None:
    """The earlier request is answered, then comes 503, and the connection ends."""
    slow = (ReadHead(), Pause(0.3), Send(whole()), Again())
    async with ScriptedServer(slow) as upstream:
        text = services(upstream.address) + models(upstream.url, extra="limits: {body: 1KiB, max_buffered: 1KiB}")
        async with one_data_plane(patient(text)) as data_plane:
            peer = await data_plane.raw(request() + post(body(5000)))
            assert peer.received.startswith(b"HTTP/1.1 200 OK")
            assert peer.received.count(b"HTTP/1.1 ") == 2
            assert b"HTTP/1.1 503 " in peer.received
            assert held(data_plane) == 0


async def test_a_reload_may_lower_the_bound() -> None:
    """Under a lower limit buffered bytes are kept, and new requests are refused."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url, extra=SMALL)) as data_plane:
        first = await Half.sent(data_plane, post(body(60_000)), 59_000)
        await until_held(data_plane, 59_000)
        await data_plane.swap(models(upstream.url, extra="limits: {body: 1KiB, max_buffered: 1KiB}"))
        assert (await data_plane.raw(post(body(100)))).received.startswith(b"HTTP/1.1 503 ")
        first.leave()
        await until_held(data_plane, 0)
        assert b" 200 OK" in await data_plane.ask(post(body(100)), b"}}")


async def test_over_http2_an_upload_that_is_not_kept_goes_on() -> None:
    """A large upload over HTTP/2 buffers no more than the retry buffer, and nothing at the end."""
    async with Upstream(plain()) as upstream:
        text = services(upstream.address).replace("protocol: http1", "protocol: h2c")
        async with one_data_plane(text) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, h2_request("PUT", "/api/x", "billing.internal")))
            client.data(1, b"a" * 16_000)
            await until_held(data_plane, 16_000)
            for _ in range(8):
                await client.until(lambda: client.room(1) >= 16_000)
                client.data(1, b"a" * 16_000)
            await until_held(data_plane, 0)
            client.data(1, b"", "END_STREAM")
            assert await client.answer(1) == 200


async def test_a_dead_workers_bytes_are_forgotten() -> None:
    """The bytes of a killed worker are no longer reported."""
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        half = await Half.sent(data_plane, post(body(500)), 400)
        await until_held(data_plane, 400)
        data_plane.shared_state.clear_worker(0)
        assert held(data_plane) == 0
        half.leave()
