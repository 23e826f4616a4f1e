"""Backends that end their connections by age, or come and go, cost no call that can be told again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from one_data_plane import one_data_plane

from native.state.counters import TargetCounter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The grace is longer than a busy machine keeps a call waiting: what is cut after it is rightly unavailable.
AGE = [("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 3_000)]


class Backend(grpc.GenericRpcHandler):
    """A server of grpcio whose method ``Call`` echoes, and whose ``Wait`` sends a message and then nothing."""

    def __init__(self, options: list[tuple[str, int]]) -> None:
        self.options = options
        self.calls = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Find the method by its name."""
        if details.method.endswith("/Call"):
            return grpc.unary_unary_rpc_method_handler(self.call)
        return grpc.unary_stream_rpc_method_handler(self.wait)

    async def call(self, message: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Echo."""
        self.calls += 1
        await asyncio.sleep(0.005)
        return message

    async def wait(self, message: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        """Send one message, and never end."""
        yield message
        await asyncio.sleep(60)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listen on a free port; yield the address."""
        server = grpc.aio.server(options=self.options)
        server.add_generic_rpc_handlers((self,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


def text(*addresses: str) -> str:
    """Return a service over these addresses, with a short slow start."""
    targets = ", ".join(f'"{address}"' for address in addresses)
    return f"""
services: {{g: {{match: {{grpc: a.B}}, targets: [{targets}], breaker: {{slow_start: 100ms}}}}}}
listen: [{{address: "127.0.0.1:0"}}]
"""


async def call_on(port: int, stop: asyncio.Event, codes: Counter[grpc.StatusCode]) -> None:
    """Call again and again on one channel; count the statuses."""
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        ask = channel.unary_unary("/a.B/Call")
        while not stop.is_set():
            call = ask(b"hello", timeout=20)
            codes[await call.code()] += 1


async def test_calls_survive_the_age_of_a_backend() -> None:
    """Calls go on while a backend ends its connections every 300 ms."""
    codes: Counter[grpc.StatusCode] = Counter()
    stop = asyncio.Event()
    async with Backend(AGE).serve() as address, one_data_plane(text(address)) as data_plane:
        running = [asyncio.create_task(call_on(data_plane.port, stop, codes)) for _ in range(4)]
        await asyncio.sleep(1.5)
        stop.set()
        await asyncio.gather(*running)
        connects = data_plane.target(f"g/{address}")["counts"][TargetCounter.T_CONNECTS]
    assert set(codes) == {grpc.StatusCode.OK}
    assert connects >= 3


async def test_a_stream_that_ages_out_is_unavailable() -> None:
    """A stream that is longer than age and grace ends with UNAVAILABLE, so that clients try again."""
    async with Backend(AGE).serve() as address, one_data_plane(text(address)) as data_plane:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            stream = channel.unary_stream("/a.B/Wait")(b"one", timeout=20)
            assert await stream.read() == b"one"
            assert await stream.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.alone
async def test_two_backends_become_four() -> None:
    """Long-lived clients' calls spread evenly over two more backends at once: each call is balanced by itself."""
    codes: Counter[grpc.StatusCode] = Counter()
    stop = asyncio.Event()
    backends = [Backend(AGE) for _ in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(each.serve()) for each in backends]
        # placeholders hold room in the shared state for the targets that come later
        data_plane = await stack.enter_async_context(one_data_plane(text(*addresses)))
        await data_plane.swap(text(*addresses[:2]))
        running = [asyncio.create_task(call_on(data_plane.port, stop, codes)) for _ in range(8)]
        await asyncio.sleep(0.3)
        assert backends[2].calls + backends[3].calls == 0
        await data_plane.swap(text(*addresses))
        await asyncio.sleep(0.6)  # two ages
        before = [each.calls for each in backends]
        await asyncio.sleep(0.6)
        shares = [each.calls - known for each, known in zip(backends, before, strict=True)]
        stop.set()
        await asyncio.gather(*running)
    assert set(codes) == {grpc.StatusCode.OK}
    assert min(shares) > 0.6 * sum(shares) / 4, shares
