"""Idle HTTP/2 connections to an upstream that have died, or are about to end, cost no request anything."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from h2peer import Call, FrameClient, Upstream, Wire, lower, plain, request, service
from one_data_plane import DONE, HELLO, ROLE, STOP, STREAM, models, one_data_plane, patient, post
from soon import until

from edge.native import Outcome

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from one_data_plane import OneDataPlane
    from secure import Secure

CONTENT = b'{"id":"a","choices":[{"message":{"content":"hello"}}]}'
NO_BUDGET = "defaults: {{retry: {{budget: 0%, attempts: {}}}}}"


@pytest.fixture(params=["h2c", "tls"])
def upstream_tls(request: pytest.FixtureRequest, secure: Secure) -> tuple[ssl.SSLContext | None, str]:
    """Run the test twice: the provider speaks h2c by prior knowledge, then h2 over TLS by ALPN."""
    if request.param == "h2c":
        return None, ", protocol: h2c"
    return secure.upstream("h2", "http/1.1"), f", {secure.verified}"


def provider(upstream: Upstream, more: str, attempts: int = 1) -> str:
    """Return configuration text of a model ``chat`` at this upstream, which may not retry."""
    scheme = "http" if upstream.tls is None else "https"
    text = models(f"{scheme}://127.0.0.1:{upstream.port}", defaults=NO_BUDGET.format(attempts))
    return patient(text.replace("/v1'}", f"/v1'{more}}}"))


def cut(wire: Wire, how: str) -> None:
    """End a connection: with a reset by the kernel, or with a clean close of both directions."""
    transport = wire.writer.transport
    if how == "reset":
        linger = struct.pack("ii", 1, 0)
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


async def answered(call: Call) -> None:
    """Answer as a provider does, whole or as a stream."""
    body = await call.body()
    if b'"stream":true' in body:
        await call.head(200, ("content-type", "text/event-stream"))
        for event in (ROLE, HELLO, STOP, DONE):
            await call.data(event)
        await call.data(end=True)
        return
    await call.head(200, ("content-type", "application/json"), ("content-length", str(len(CONTENT))))
    await call.data(CONTENT, end=True)


def once_each(how: str) -> Callable[[Call], Awaitable[None]]:
    """Answer the first request of each connection; the second takes the connection down."""

    async def answer(call: Call) -> None:
        if call.stream == 1:
            await answered(call)
        else:
            cut(call.wire, how)

    return answer


def unharmed(edge: OneDataPlane) -> None:
    """Check that the provider's circuit counts no failure."""
    target = edge.target("p0/m")
    assert (target["state"], target["consecutive"]) == ("closed", 0)
    assert edge.outcomes("p0/m")[Outcome.FAIL_RESET] == 0


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("body", [b'{"model":"chat","messages":[]}', STREAM])
async def test_connections_that_died_while_idle_blame_nobody(
    upstream_tls: tuple[ssl.SSLContext | None, str], how: str, attempts: int, body: bytes
) -> None:
    """A request that a dead pooled connection takes along is sent again on a new one, and the circuit stays closed."""
    tls, more = upstream_tls
    async with Upstream(once_each(how), tls=tls) as upstream:
        async with one_data_plane(provider(upstream, more, attempts)) as edge:
            for _ in range(8):
                answer = await edge.ask(post(body), b"hello")
                assert answer.startswith(b"HTTP/1.1 200")
                assert b"x-edge-attempts: 1\r\n" in answer
            unharmed(edge)
        assert len(upstream.wires) == 8


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_six_warm_connections_die(upstream_tls: tuple[ssl.SSLContext | None, str], how: str) -> None:
    """Six warm connections that all die under their next request open no circuit, and no request fails."""
    tls, more = upstream_tls
    gate = asyncio.Event()
    dying: set[Wire] = set()

    async def answer(call: Call) -> None:
        if call.wire in dying:
            cut(call.wire, how)
            return
        await gate.wait()
        await answered(call)

    async with Upstream(answer, settings={3: 1}, tls=tls) as upstream:
        async with one_data_plane(provider(upstream, more)) as edge:
            gate.set()
            assert b"hello" in await edge.ask(post(), b"hello")  # edge learns how many streams a connection takes
            gate.clear()
            asked = [asyncio.create_task(edge.ask(post(), b"hello")) for _ in range(6)]
            await until(lambda: len(upstream.calls) == 7)
            gate.set()
            for task in asked:
                assert b"hello" in await task
            dying.update(upstream.wires)
            assert len(dying) == 6
            for answer_ in await asyncio.gather(*[edge.ask(post(), b"hello") for _ in range(6)]):
                assert answer_.startswith(b"HTTP/1.1 200")
                assert b"x-edge-attempts: 1\r\n" in answer_
            unharmed(edge)


@pytest.mark.parametrize("how", ["goodbye", "close", "reset"])
@pytest.mark.parametrize("between", [0, 400])
async def test_an_idle_connection_with_news_is_not_used(how: str, between: int) -> None:
    """What has come on an idle connection, and is not read yet, may be its end: a request takes another connection.

    Requests of others that are read between the two make the turn of the event loop end before the news is read.
    """
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        others = [socket.create_connection(("127.0.0.1", data_plane.port)) for _ in range(between)]
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/a"))
            assert await client.answer(1) == 200
            await asyncio.sleep(0.2)
            free, held = threading.Event(), threading.Event()

            def hold() -> None:
                held.set()
                free.wait(20)

            data_plane.thread.loop.call_soon_threadsafe(hold)
            await asyncio.to_thread(held.wait)
            client.send(client.headers(3, request("POST", "/a"), "END_STREAM"))
            await client.drain()
            for other in others:
                other.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            if how == "goodbye":
                await upstream.wires[0].say_goodbye()
            else:
                cut(upstream.wires[0], how)
            await asyncio.sleep(0.05)  # the kernel has delivered all of it, the request first
            free.set()
            assert await client.answer(3) == 200
            assert lower(client.fields[3][0])["x-edge-attempts"] == "1"
            assert len(upstream.wires[0].calls) == 1
            assert len(upstream.wires) == 2
            assert data_plane.outcomes(f"echo/{upstream.address}")[Outcome.FAIL_RESET] == 0
        for other in others:
            other.close()


async def test_an_idle_connection_is_used_again_after_news() -> None:
    """What came and was not the end costs one new connection at most: the old one is used again."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/a"))
            assert await client.answer(1) == 200
            await asyncio.sleep(0.2)
            for stream in range(3, 13, 2):
                upstream.wires[0].h2.ping(b"are you?")
                await upstream.wires[0].flush()
                client.ask(stream, request("GET", "/a"))
                assert await client.answer(stream) == 200
                await asyncio.sleep(0.11)
            assert len(upstream.wires) <= 2
            assert sum(len(wire.calls) for wire in upstream.wires) == 6
