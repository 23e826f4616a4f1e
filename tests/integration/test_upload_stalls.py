"""A stalled upload is attributed correctly: to the client that stopped sending or the service that stopped reading."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from h2peer import Call, FrameClient, Upstream
from h2peer import request as h2_request
from one_data_plane import chunk, models, one_data_plane, whole
from test_services import request, services

from edge.native import Outcome, WorkerCounter
from edge.sim.wire import (
    Again,
    Close,
    Pause,
    ReadBytes,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    play_client,
)

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

SILENT = (ReadHead(), ReadToEnd())
GOOD = (ReadMessage(), Send(whole()), Again())
EXPECTS = b"content-length: 5\r\nexpect: 100-continue\r\n"
FAULTS = (Outcome.FAIL_FIRST_BYTE, Outcome.FAIL_STALLED, Outcome.FAIL_RESET, Outcome.DEADLINE)


def text(*addresses: str, stall: str = "30s", **times: str) -> str:
    """Return a service with these deadlines; the others are long."""
    given = {"connect": "5s", "first_byte": "30s", "stream_idle": "30s", "total": "60s", **times}
    said = ", ".join(f"{name}: {value}" for name, value in given.items())
    short = "connect: 2s, first_byte: 600ms, stream_idle: 600ms, total: 5s"
    return services(*addresses).replace(short, said) + f"\nlimits: {{client_idle: {stall}}}\n"


def outcomes(data_plane: OneDataPlane, address: str) -> dict[str, int]:
    """Return the relevant outcomes of a target of the service."""
    counts = data_plane.outcomes(f"billing/{address}")
    return {outcome.name: counts[outcome] for outcome in (*FAULTS, Outcome.CANCELLED, Outcome.OK) if counts[outcome]}


async def settled(data_plane: OneDataPlane) -> None:
    """Wait until nothing is in flight."""
    async with asyncio.timeout(10):
        while data_plane.data_plane.active:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.01)


async def upload(port: int, head: bytes, *, piece: bytes = b"a" * 65536) -> bytes:
    """Send a head and as much of a body as is taken, until there is an answer; return the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)

    async def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(piece)
                await writer.drain()

    task = asyncio.create_task(send())
    try:
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.transport.abort()


async def test_a_client_that_waits_for_a_silent_service() -> None:
    """A client with Expect gets 504 after first_byte, because the service is silent."""
    async with ScriptedServer(SILENT) as upstream:
        async with one_data_plane(text(upstream.address, first_byte="700ms", stall="200ms")) as data_plane:
            peer = await data_plane.raw(request(b"POST", fields=EXPECTS), limit_s=20)
            assert peer.received.startswith(b"HTTP/1.1 504 ")
            assert b"fail_first_byte" in peer.received
            assert outcomes(data_plane, upstream.address) == {"FAIL_FIRST_BYTE": 1}


async def test_a_client_that_waits_is_taken_elsewhere() -> None:
    """A retryable request with Expect goes to another service if the first is silent."""
    willing = (ReadHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), ReadBytes(5), Send(whole()), ReadToEnd())
    async with ScriptedServer(SILENT) as silent, ScriptedServer(willing) as good:
        async with one_data_plane(text(silent.address, good.address, first_byte="400ms")) as data_plane:
            peer = await play_client(
                data_plane.port,
                Send(request(b"PUT", fields=EXPECTS)),
                ReadUntil(b"100 Continue\r\n\r\n"),
                Send(b"hello"),
                ReadUntil(b"}}"),
                Close(),
                limit_s=20,
            )
            assert b"HTTP/1.1 200 OK" in peer.received
            assert good.peers[0].received.endswith(b"\r\n\r\nhello")
            assert outcomes(data_plane, silent.address) == {"FAIL_FIRST_BYTE": 1}


async def test_a_client_that_waits_over_http2() -> None:
    """The same over HTTP/2 on both sides, without a first-byte deadline of calls."""

    async def silent(call: Call) -> None:
        await call.until_reset()

    async with Upstream(silent) as upstream:
        config = (
            f"services: {{s: {{match: {{grpc: pkg.S}}, targets: ['{upstream.address}']}}}}\n"
            "limits: {client_idle: 300ms}\n"
        )
        async with one_data_plane(config) as data_plane, FrameClient.connect(data_plane.port) as client:
            fields = h2_request(
                "POST", "/pkg.S/M", "edge", ("content-type", "application/grpc"), ("expect", "100-continue"),
                ("content-length", "5"),
            )  # fmt: skip
            client.send(client.headers(1, fields))
            await client.until(lambda: client.ended(1))
            assert dict(client.fields[1][0])["grpc-status"] in {"4", "14"}
            assert data_plane.outcomes(f"s/{upstream.address}")[Outcome.FAIL_FIRST_BYTE] == 1


async def test_a_client_told_to_go_on_that_does_not() -> None:
    """After the service's 100 a client that does not send gets 408, and the service is not blamed."""
    script = (ReadHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), ReadToEnd())
    async with ScriptedServer(script) as upstream:
        async with one_data_plane(text(upstream.address, stall="300ms")) as data_plane:
            peer = await data_plane.raw(request(b"POST", fields=EXPECTS), limit_s=20)
            assert peer.received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 ")
            assert outcomes(data_plane, upstream.address) == {"CANCELLED": 1}


@pytest.mark.parametrize("length", ["content-length: 1000", "transfer-encoding: chunked"])
async def test_a_client_that_stops_sending(length: str) -> None:
    """If a client stops its upload it gets 408, and no target is blamed."""
    async with ScriptedServer((ReadToEnd(),)) as upstream:
        async with one_data_plane(text(upstream.address, stall="300ms", first_byte="200ms")) as data_plane:
            sent = chunk(b"abc") if "chunked" in length else b"abc"
            peer = await data_plane.raw(request(b"PUT", fields=length.encode() + b"\r\n", body=sent), limit_s=20)
            assert peer.received.startswith(b"HTTP/1.1 408 ")
            assert outcomes(data_plane, upstream.address) == {"CANCELLED": 1}


async def test_a_client_that_stops_sending_over_http2() -> None:
    """The same over HTTP/2, and for a model's body without a length, which edge reads completely."""
    async with ScriptedServer((ReadToEnd(),)) as upstream:
        config = text(upstream.address, stall="300ms") + models("http://127.0.0.1:9")
        async with one_data_plane(config) as data_plane, FrameClient.connect(data_plane.port) as client:
            fields = h2_request("PUT", "/api/x", "billing.internal", ("content-length", "1000"))
            client.send(client.headers(1, fields))
            client.data(1, b"abc")
            client.send(client.headers(3, h2_request("POST", "/v1/chat/completions")))
            client.data(3, b'{"model":')
            await client.until(lambda: client.ended(1) and client.ended(3))
            assert (client.status(1), client.status(3)) == (408, 408)
            assert outcomes(data_plane, upstream.address) == {"CANCELLED": 1}


async def test_a_models_body_that_drips() -> None:
    """A body that edge reads completely has a time limit, in both HTTP versions."""
    limits = "limits: {body_timeout: 1s, client_idle: 30s, header_timeout: 1s}"
    async with one_data_plane(models("http://127.0.0.1:9", extra=limits)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, h2_request("POST", "/v1/chat/completions")))

            async def drip() -> None:
                while not client.ended(1):
                    client.data(1, b" ")
                    await asyncio.sleep(0.05)

            task = asyncio.create_task(drip())
            steps = [step for _ in range(200) for step in (Send(b" "), Pause(0.05))]
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: edge\r\ncontent-length: 1000\r\n\r\n"
            dripping = asyncio.create_task(play_client(data_plane.port, Send(head), *steps, ReadToEnd(), limit_s=20))
            await client.until(lambda: client.ended(1))
            assert client.status(1) == 408
            await task
            peer = await dripping
            assert peer.ended in {"peer_closed", "peer_reset"}
            assert data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_MALFORMED] == 2


async def test_a_service_that_stops_taking_an_upload() -> None:
    """If a service reads nothing of an upload for stream_idle, it fails: 504."""
    script = (ReadHead(), Pause(30.0))
    async with ScriptedServer(script, receive_buffer=65536) as upstream:
        async with one_data_plane(text(upstream.address, stream_idle="600ms")) as data_plane:
            answer = await upload(data_plane.port, request(b"POST", fields=b"content-length: 1000000000\r\n"))
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert outcomes(data_plane, upstream.address) == {"FAIL_STALLED": 1}
            await settled(data_plane)


async def test_a_service_that_stops_taking_an_upload_over_http2() -> None:
    """The same over HTTP/2 on both sides: the stream fails, the connection goes on."""
    codes = []

    async def stuck(call: Call) -> None:
        if call.field(":path") == "/api/x":
            codes.append(await call.until_reset())
        else:
            await call.head(200, end=True)

    async with Upstream(stuck) as upstream:
        config = text(upstream.address, stream_idle="600ms").replace("protocol: http1", "protocol: h2c")
        async with one_data_plane(config) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, h2_request("POST", "/api/x", "billing.internal")))

            async def send() -> None:
                while not client.ended(1):
                    if client.room(1) >= 16384:
                        client.data(1, b"a" * 16384)
                    else:
                        await client.until(lambda: client.room(1) >= 16384 or client.ended(1))

            await asyncio.wait_for(send(), 20)
            assert client.status(1) == 504
            assert outcomes(data_plane, upstream.address) == {"FAIL_STALLED": 1}
            client.ask(3, h2_request("GET", "/api/y", "billing.internal"))
            assert await client.answer(3) == 200
            assert len(upstream.wires) == 1
            assert codes


async def test_a_service_that_takes_an_upload_slowly() -> None:
    """A service that reads slowly has not stopped, although its client has to wait."""
    steps = [step for _ in range(24) for step in (ReadBytes(16384), Pause(0.1))]
    async with ScriptedServer((ReadHead(), *steps, ReadToEnd()), receive_buffer=32768) as upstream:
        async with one_data_plane(text(upstream.address, stream_idle="2s")) as data_plane:
            size = 4_000_000
            peer = asyncio.create_task(
                play_client(
                    data_plane.port,
                    Send(request(b"POST", fields=b"content-length: %d\r\n" % size) + b"a" * size),
                    ReadToEnd(),
                    limit_s=30,
                )
            )
            async with asyncio.timeout(20):
                while not upstream.peers or len(upstream.peers[0].received) < size:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert outcomes(data_plane, upstream.address) == {}
            peer.cancel()
            await asyncio.gather(peer, return_exceptions=True)


async def test_silence_on_both_sides_is_nobodys_fault() -> None:
    """An answer that waits for the rest of the request ends, and does not count against the target."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"begun")
    async with ScriptedServer((ReadHead(), Send(head), ReadToEnd())) as upstream:
        async with one_data_plane(text(upstream.address, stream_idle="300ms")) as data_plane:
            upload = request(b"POST", fields=b"transfer-encoding: chunked\r\n") + chunk(b"a")
            peer = await data_plane.raw(upload, limit_s=20)
            assert b"begun" in peer.received
            assert not peer.received.endswith(b"0\r\n\r\n")
            assert outcomes(data_plane, upstream.address) == {"CANCELLED": 1}


async def test_an_answer_that_stalls_before_the_client_may_send() -> None:
    """If an answer stalls while the client waits for 100, the target is to blame."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"begun")
    async with ScriptedServer((ReadHead(), Send(head), ReadToEnd())) as upstream:
        async with one_data_plane(text(upstream.address, stream_idle="300ms")) as data_plane:
            peer = await data_plane.raw(request(b"POST", fields=EXPECTS), limit_s=20)
            assert b"begun" in peer.received
            assert outcomes(data_plane, upstream.address) == {"FAIL_STALLED": 1}


@pytest.mark.parametrize(("body", "outcome"), [(b"a", "CANCELLED"), (b"a" * 9, "DEADLINE")])
async def test_total_while_an_upload_is_not_whole(body: bytes, outcome: str) -> None:
    """A total deadline counts against the target only after the upload is complete."""
    async with ScriptedServer(SILENT) as upstream:
        async with one_data_plane(text(upstream.address, total="1s")) as data_plane:
            sent = request(b"POST", fields=b"content-length: 9\r\n", body=body)
            assert (await data_plane.ask(sent, b"}", limit_s=20)).startswith(b"HTTP/1.1 504 ")
            assert outcomes(data_plane, upstream.address) == {outcome: 1}
