"""Connections of clients end at their age without a failed request, so that clients spread over what was added."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import grpc
import pytest
from h2peer import Call, FrameClient, Upstream, plain, request, service
from hyperframe.frame import GoAwayFrame
from one_data_plane import OneDataPlane, one_data_plane
from soon import until

from edge.sim.service import ServiceSpec, SimService
from edge.wire.helloworld import helloworld_pb2, helloworld_pb2_grpc
from native.codec.grpc import frame_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AGE_S = 0.6
GET = b"GET /a HTTP/1.1\r\nhost: edge\r\n\r\n"


def aged(grace: str = "0s") -> str:
    """Return a listener whose connections live for AGE_S."""
    more = f"max_connection_age: {AGE_S:g}s, max_connection_age_grace: {grace}"
    return f'\nlisten: [{{address: "127.0.0.1:0", hosts: [edge], {more}}}]\n'


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a request on a connection; return the head of its answer."""
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(5)
    return head


async def test_http1_is_told_with_a_response() -> None:
    """No answer is lost: the one after the age says connection: close, and only then the connection ends."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address, extra=aged())) as data_plane:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        heads = [await ask(reader, writer)]
        while b"connection: close" not in heads[-1]:
            await asyncio.sleep(0.02)
            heads.append(await ask(reader, writer))
        assert time.monotonic() - began > 0.85 * AGE_S
        assert await reader.read() == b""
        assert {head[:15] for head in heads} == {b"HTTP/1.1 200 OK"}
        writer.close()


async def test_an_idle_http1_connection_is_not_closed_under_a_request() -> None:
    """A connection that is idle at its age takes one more request, so that none meets a closing socket."""
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address, extra=aged())) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        await ask(reader, writer)
        await asyncio.sleep(AGE_S * 1.1 + 0.5)  # the age, its jitter, and the clock of such deadlines
        assert b"connection: close" in await ask(reader, writer)
        assert await reader.read() == b""
        writer.close()


async def test_http2_is_told_by_goaway() -> None:
    """GOAWAY comes at the age; a stream that is open goes on to its end, and then the connection ends."""
    go_on = asyncio.Event()

    async def answer(call: Call) -> None:
        await call.head(200)
        await go_on.wait()
        await call.data(b"late", end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address, extra=aged())) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1, request(path="/a"))
            await client.until(lambda: len(client.of(GoAwayFrame)) == 2)
            last = client.of(GoAwayFrame)[-1]
            assert (last.error_code, last.last_stream_id) == (0, 1)
            go_on.set()
            assert await client.answer(1) == 200
            assert client.body(1) == b"late"
            await client.until(lambda: client.closed)


@pytest.mark.parametrize("grace", ["0s", "300ms"])
async def test_a_call_ends_with_the_grace(grace: str) -> None:
    """A call that outlives age and grace is UNAVAILABLE, and its backend hears of it; without a bound it goes on."""
    go_on = asyncio.Event()

    async def answer(call: Call) -> None:
        await call.body()
        await call.head(200, ("content-type", "application/grpc"))
        await call.data(frame_message(b"one"))
        await go_on.wait()
        await call.data(frame_message(b"two"))
        await call.end(("grpc-status", "0"))

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address, extra=aged(grace))) as data_plane:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            stream = channel.unary_stream("/a.B/Many")(b"")
            assert await stream.read() == b"one"
            if grace == "0s":
                await asyncio.sleep(2 * AGE_S)
                go_on.set()
                assert (await stream.read(), await stream.code()) == (b"two", grpc.StatusCode.OK)
            else:
                assert await stream.code() == grpc.StatusCode.UNAVAILABLE
                await until(lambda: upstream.calls[0].reset_code is not None)
                go_on.set()


@pytest.mark.prove
async def test_connections_that_began_together_do_not_end_together() -> None:
    """Ages differ by up to a tenth, upwards and downwards."""
    async with (
        Upstream(plain()) as upstream,
        one_data_plane(service(upstream.address, extra=aged().replace(f"age: {AGE_S:g}s", "age: 4s"))) as data_plane,
    ):
        told: list[float] = []

        async def one() -> None:
            async with FrameClient.connect(data_plane.port) as client:
                began = time.monotonic()
                await client.until(lambda: client.of(GoAwayFrame))
                told.append(time.monotonic() - began)

        await asyncio.gather(*[one() for _ in range(24)])
    assert min(told) > 3.55
    assert max(told) - min(told) > 0.24  # a turn of the clock for such deadlines


class Balancer:
    """Passes each connection to the address that has the fewest of them, as an L4 balancer before edges does."""

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)
        self.open: Counter[int] = Counter()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = min(self.ports, key=lambda each: self.open[each])
        self.open[port] += 1
        ahead, behind = await asyncio.open_connection("127.0.0.1", port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, behind), copy(ahead, writer))
        self.open[port] -= 1


async def edges(stack: contextlib.AsyncExitStack, address: str, count: int) -> list[OneDataPlane]:
    """Start data planes before one service."""
    text = f"services: {{greeter: {{match: {{grpc: helloworld.Greeter}}, targets: ['{address}']}}}}" + aged()
    return [await stack.enter_async_context(one_data_plane(text)) for _ in range(count)]


@contextlib.asynccontextmanager
async def clients(port: int, count: int, failed: list[grpc.RpcError]) -> AsyncIterator[None]:
    """Run clients that each keep one channel and call on it without a pause."""

    async def call() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub = helloworld_pb2_grpc.GreeterStub(channel)
            while True:
                try:
                    await stub.SayHello(helloworld_pb2.HelloRequest(name="you"), timeout=10)
                except grpc.RpcError as error:
                    failed.append(error)
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(call()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.alone
async def test_two_edges_become_four() -> None:
    """Long-lived clients of two edges spread evenly over four within two connection ages, and no call fails."""
    failed: list[grpc.RpcError] = []
    async with SimService(ServiceSpec()) as sim, contextlib.AsyncExitStack() as stack:
        running = await edges(stack, sim.address, 4)
        ports = [each.port for each in running]
        async with Balancer(*ports[:2]) as balancer, clients(balancer.port, 12, failed):
            await until(lambda: sum(balancer.open.values()) == 12)
            assert [balancer.open[port] for port in ports] == [6, 6, 0, 0]
            balancer.ports = ports
            await asyncio.sleep(2 * AGE_S)
            # a connection that was just told to begin anew still counts while its last calls end
            await until(lambda: all(2 <= balancer.open[port] <= 4 for port in ports), limit_s=1.0)
        assert failed == []
