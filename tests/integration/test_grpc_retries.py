"""A gRPC call is retried only before any part of its answer, and only if the transport or the server allows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from one_data_plane import OneDataPlane, one_data_plane

from edge import clock
from edge.native import Outcome
from edge.sim.wire import Close, ReadBytes, ReadToEnd, Reset, ScriptedServer, refused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Behaviour = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]


class Handler(grpc.GenericRpcHandler):
    """Every method ``Call`` behaves as configured; ``Many`` sends a message and then fails; calls are counted."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.calls = 0
        self.timeouts: list[float | None] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Find the method by its name."""
        if details.method.endswith("/Call"):
            return grpc.unary_unary_rpc_method_handler(self.call)
        if details.method.endswith("/Many"):
            return grpc.unary_stream_rpc_method_handler(self.many)
        return None

    async def call(self, message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one message with one."""
        self.calls += 1
        self.timeouts.append(context.time_remaining())
        return await self.behave(message, context)

    async def many(self, message: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """Send a message, then UNAVAILABLE."""
        self.calls += 1
        yield message
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


async def good(message: bytes, _: grpc.aio.ServicerContext) -> bytes:
    """Echo the message."""
    return message


def failing(code: grpc.StatusCode, trailing: tuple[tuple[str, str], ...] = ()) -> Behaviour:
    """Fail every call with this status."""

    async def behave(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(code, "as told", trailing)
        raise AssertionError

    return behave


async def serve(behave: Behaviour) -> tuple[grpc.aio.Server, Handler, str]:
    """Return a server on a free port, its handler and its address."""
    server = grpc.aio.server()
    handler = Handler(behave)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, handler, f"127.0.0.1:{port}"


def text(*addresses: str, extra: str = "") -> str:
    """Return a configuration of one gRPC service over these addresses, the first preferred."""
    targets = ", ".join(f"{{target: '{address}', tier: {tier}}}" for tier, address in enumerate(addresses, start=1))
    return f"services: {{g: {{match: {{grpc: a.B}}, targets: [{targets}]{extra}}}}}"


async def ask(
    data_plane: OneDataPlane, method: str = "Call", timeout_s: float = 5.0
) -> tuple[grpc.StatusCode, str, bytes]:
    """Return (status, details, answer) of a unary call."""
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{data_plane.port}", options=[("grpc.enable_retries", 0)]
    ) as channel:
        call = channel.unary_unary(f"/a.B/{method}")(b"hi", timeout=timeout_s)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or "", b""
        return grpc.StatusCode.OK, "", answer


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_statuses(code: grpc.StatusCode) -> None:
    """Only UNAVAILABLE is retried; every other status is the service's answer to its caller."""
    first, handler, one = await serve(failing(code))
    second, other, two = await serve(good)
    try:
        async with one_data_plane(text(one, two)) as data_plane:
            told, details, answer = await ask(data_plane)
            if code is grpc.StatusCode.UNAVAILABLE:
                assert (told, answer, other.calls) == (grpc.StatusCode.OK, b"hi", 1)
            else:
                assert (told, details, other.calls) == (code, "as told", 0)
            assert handler.calls == 1
            broke = code.name in ("UNAVAILABLE", "INTERNAL", "UNKNOWN", "DATA_LOSS")
            outcomes = data_plane.outcomes(f"g/{one}")
            assert outcomes[Outcome.FAIL_STATUS] == broke
            assert outcomes[Outcome.CLIENT_FAULT] == (not broke)
    finally:
        await asyncio.gather(first.stop(None), second.stop(None))


@pytest.mark.parametrize("fault", ["refused", "reset", "closed"])
async def test_transport(fault: str) -> None:
    """A connection that is refused, or lost before the answer, costs the caller nothing."""
    second, other, two = await serve(good)
    script = (ReadBytes(60), Reset() if fault == "reset" else Close())
    try:
        with refused_port() as port:
            async with ScriptedServer(script) as bad:
                one = f"127.0.0.1:{port}" if fault == "refused" else bad.address
                async with one_data_plane(text(one, two)) as data_plane:
                    assert await ask(data_plane) == (grpc.StatusCode.OK, "", b"hi")
                    assert other.calls == 1
    finally:
        await second.stop(None)


async def test_not_after_the_first_message() -> None:
    """After the first message the end of the call is passed on, whatever it is."""
    first, handler, one = await serve(good)
    second, other, two = await serve(good)
    try:
        async with one_data_plane(text(one, two)) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                call = channel.unary_stream("/a.B/Many")(b"hi", timeout=20)
                seen = []
                with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - the loop is the statement
                    async for message in call:
                        seen.append(message)  # noqa: PERF401 - it raises in the middle
            assert (seen, caught.value.code()) == ([b"hi"], grpc.StatusCode.UNAVAILABLE)
            assert (handler.calls, other.calls) == (1, 0)
    finally:
        await asyncio.gather(first.stop(None), second.stop(None))


@pytest.mark.parametrize(("pushback", "calls", "at_least_s"), [("-1", 0, 0.0), ("soon", 0, 0.0), ("300", 1, 0.3)])
async def test_pushback(pushback: str, calls: int, at_least_s: float) -> None:
    """A server's pushback is obeyed: no retry, or not before its time."""
    first, _, one = await serve(failing(grpc.StatusCode.UNAVAILABLE, (("grpc-retry-pushback-ms", pushback),)))
    second, other, two = await serve(good)
    try:
        async with one_data_plane(text(one, two)) as data_plane:
            began_s = clock.now_ns() / 1e9
            await ask(data_plane)
            assert other.calls == calls
            assert clock.now_ns() / 1e9 - began_s >= at_least_s
    finally:
        await asyncio.gather(first.stop(None), second.stop(None))


async def test_deadline_goes_on_less_the_elapsed() -> None:
    """The second target gets what is left of the caller's deadline."""
    first, handler, one = await serve(failing(grpc.StatusCode.UNAVAILABLE, (("grpc-retry-pushback-ms", "400"),)))
    second, other, two = await serve(good)
    try:
        async with one_data_plane(text(one, two)) as data_plane:
            assert (await ask(data_plane, timeout_s=20.0))[0] is grpc.StatusCode.OK
            assert handler.timeouts[0] is not None
            assert other.timeouts[0] is not None
            # grpcio reads its clock in coarse steps: what it calls remaining may be a few ms over what was set
            assert 10 < handler.timeouts[0] < 20.1
            assert other.timeouts[0] < handler.timeouts[0] - 0.3
    finally:
        await asyncio.gather(first.stop(None), second.stop(None))


async def test_deadline_of_the_caller() -> None:
    """A call to a silent target ends with DEADLINE_EXCEEDED at the caller's deadline."""
    async with ScriptedServer((ReadToEnd(),)) as silent, one_data_plane(text(silent.address)) as data_plane:
        began_s = clock.now_ns() / 1e9
        assert (await ask(data_plane, timeout_s=0.5))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        assert clock.now_ns() / 1e9 - began_s < 10.0
        for _ in range(1000):
            if data_plane.data_plane.active == 0:
                break
            await clock.sleep(0.02)
        assert data_plane.target(f"g/{silent.address}")["inflight"] == 0


async def test_nothing_left() -> None:
    """Without a target the caller gets UNAVAILABLE, a sentence, and a retry time."""
    with refused_port() as port:
        async with one_data_plane(text(f"127.0.0.1:{port}", extra=", retry: {attempts: 1}")) as data_plane:
            code, details, _ = await ask(data_plane)
            assert code is grpc.StatusCode.UNAVAILABLE
            assert "No target of 'g' can answer now" in details


async def test_unknown_service() -> None:
    """A service that is not configured is UNIMPLEMENTED."""
    with refused_port() as port:
        async with one_data_plane(text(f"127.0.0.1:{port}")) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary("/x.Y/Call")(b"", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
