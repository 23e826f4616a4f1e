"""Silent HTTP/2 upstreams are pinged sparingly, and a connection that does not answer is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2peer import Call, FrameClient, Upstream, plain, request, service
from one_data_plane import OneDataPlane, one_data_plane
from soon import until

from edge import clock
from edge.sim.wire import Pause, ScriptedServer

if TYPE_CHECKING:
    from edge.sim.wire import Step

NS_PER_MS = 1_000_000
GET = request("GET", "/a")


def pool(data_plane: OneDataPlane) -> Any:
    """Return the native pool of the only target."""
    return data_plane.data_plane.router.targets[0].pool


async def _silence(call: Call) -> None:
    await call.until_reset()


async def test_a_ping_keeps_the_connection() -> None:
    """A silent upstream that answers pings keeps its connection, with at most two pings per silence."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        pool(data_plane).silence_ns = 100 * NS_PER_MS
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, GET)
            assert await client.answer(1) == 200
            await until(lambda: upstream.wires[0].pings == 2)
            await clock.sleep(1.2)
            assert upstream.wires[0].pings == 2
            client.ask(3, GET)
            assert await client.answer(3) == 200
            await until(lambda: upstream.wires[0].pings == 3)
        assert len(upstream.wires) == 1


async def test_no_answer_is_a_lost_connection() -> None:
    """If an upstream never answers, requests fail when the ping does, long before their own deadline."""
    still: tuple[Step, ...] = (Pause(20),)
    async with ScriptedServer(still) as upstream, one_data_plane(service(f"127.0.0.1:{upstream.port}")) as data_plane:
        pool(data_plane).silence_ns = 100 * NS_PER_MS
        pool(data_plane).pong_ns = 100 * NS_PER_MS
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("POST", "/a"))
            assert await client.answer(1, 4) == 502
            assert b"did not answer a ping" in client.body(1)


async def test_a_suspect_connection_gets_no_new_requests() -> None:
    """After a timeout on a silent connection, new requests soon use another connection."""
    async with Upstream(_silence) as upstream:
        text = service(upstream.address).replace("first_byte: 5s", "first_byte: 1200ms")
        async with one_data_plane(text) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("POST", "/a"))
            await until(lambda: upstream.calls)
            upstream.wires[0].freeze()
            assert await client.answer(1) == 504
            upstream.answer = plain()
            await clock.sleep(1.1)
            client.ask(3, request("POST", "/a"))
            assert await client.answer(3) == 200
            assert len(upstream.wires) == 2


async def test_old_connections_are_replaced() -> None:
    """A connection beyond its age takes no new requests; the running ones end there, and GOAWAY is sent."""

    async def answer(call: Call) -> None:
        if call.field(":path") == "/slow":
            await call.head(200)
            await until(lambda: len(upstream.wires) == 2)
            await call.data(b"slow", end=True)
        else:
            await plain()(call)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        pool(data_plane).age_limit_ns = 1
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request("GET", "/slow"))
            await until(lambda: upstream.calls)
            await clock.sleep(1.3)
            client.ask(3, GET)
            assert await client.answer(3) == 200
            assert await client.answer(1) == 200
            assert client.body(1) == b"slow"
        await until(lambda: upstream.wires[0].closed)
        assert upstream.wires[0].goaway == 0


async def test_idle_connections_are_let_go() -> None:
    """An idle connection is closed with GOAWAY after its time."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        pool(data_plane).idle_limit_ns = 100 * NS_PER_MS
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, GET)
            assert await client.answer(1) == 200
        await until(lambda: upstream.wires[0].closed)
        assert upstream.wires[0].goaway == 0
