"""Shadow copies of gRPC calls, with grpcio at both ends: callers lose no time and pay nothing."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
import pytest
from callers import clear, keys
from one_data_plane import OneDataPlane, one_data_plane
from test_shadow import ended

from edge.native import AllowanceCounter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNARY, DOWN, UP, BOTH = (f"/shop.Orders/{name}" for name in ("Unary", "Down", "Up", "Both"))
METHODS = {
    UNARY: grpc.unary_unary_rpc_method_handler,
    DOWN: grpc.unary_stream_rpc_method_handler,
    UP: grpc.stream_unary_rpc_method_handler,
    BOTH: grpc.stream_stream_rpc_method_handler,
}
WORDS = [b"one", b"two", b"three"]


class Orders(grpc.GenericRpcHandler):
    """A gRPC server that says its name, keeps what it is asked, and ends calls with ``code``.

    While ``gate`` is not set it answers nothing, and a call with streams of both sides waits for no message.
    """

    def __init__(self, name: bytes, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        self.name = name
        self.code = code
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[str, list[bytes], dict[str, str]]] = []
        self.address = ""
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))

    async def __aenter__(self) -> Self:
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Find the method by its name."""
        path, sent = details.method, dict(details.invocation_metadata)

        async def one(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return b" ".join([each async for each in several(message, context)])

        async def several(messages: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            kept: list[bytes] = []
            self.asked.append((path, kept, sent))
            if isinstance(messages, bytes):
                kept.append(messages)
            else:
                async for message in messages:
                    kept.append(message)
                    if path == BOTH:
                        yield self.name
            await self.gate.wait()
            if self.code is not grpc.StatusCode.OK:
                await context.abort(self.code, "not here")
            for word in WORDS if path == DOWN else [self.name, *kept]:
                yield word

        return METHODS[path](several if path in {DOWN, BOTH} else one)


def text(own: Orders, shadow: Orders, more: str = "", extra: str = "") -> str:
    """Return configuration text of a service whose calls are copied."""
    return (
        f"services: {{shop: {{match: {{grpc: shop.Orders}}, targets: ['{own.address}'], "
        f"shadow: {{target: '{shadow.address}', methods: [POST]{more}}}}}}}\n"
        f'listen: [{{address: "127.0.0.1:0", hosts: [edge]}}]\n{extra}'
    )


def channel(data_plane: OneDataPlane) -> grpc.aio.Channel:
    """Connect to edge without retries of grpc."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}", options=[("grpc.enable_retries", 0)])


async def said(calls: grpc.aio.Channel, path: str, metadata: tuple[tuple[str, str], ...] = ()) -> list[bytes]:
    """Make a call of this method with grpcio; return the messages of its answer."""
    if path == UNARY:
        return [await calls.unary_unary(path)(b"hello", timeout=20, metadata=metadata)]
    if path == DOWN:
        return [each async for each in calls.unary_stream(path)(b"hello", timeout=20, metadata=metadata)]
    return [await calls.stream_unary(path)(iter(WORDS), timeout=20, metadata=metadata)]


@pytest.mark.parametrize("path", [UNARY, DOWN, UP])
async def test_a_call_is_copied_whole(path: str) -> None:
    """The shadow gets each message once; the caller gets the messages, and the status, of its own server."""
    async with Orders(b"own") as own, Orders(b"shadow") as shadow:
        async with one_data_plane(text(own, shadow)) as data_plane, channel(data_plane) as calls:
            answer = await said(calls, path)
            assert answer == (WORDS if path == DOWN else [b"own " + b" ".join(own.asked[0][1])])
            assert await ended(data_plane) == {"agreed": 1}
            assert [(each[0], each[1]) for each in shadow.asked] == [(each[0], each[1]) for each in own.asked]
            assert own.asked[0][1] == (WORDS if path == UP else [b"hello"])
            assert shadow.asked[0][2]["x-edge-shadow"] == "shop"
            assert "x-edge-shadow" not in own.asked[0][2]


@pytest.mark.parametrize("path", [UNARY, DOWN, UP])
async def test_another_status_of_the_shadow_is_counted_and_not_told(path: str) -> None:
    """The caller's call ends with OK while its copy fails."""
    async with Orders(b"own") as own, Orders(b"shadow", grpc.StatusCode.NOT_FOUND) as shadow:
        async with one_data_plane(text(own, shadow)) as data_plane, channel(data_plane) as calls:
            assert await said(calls, path)
            assert await ended(data_plane) == {"differed": 1}


async def test_a_conversation_is_not_copied() -> None:
    """A call whose answers begin before its requests end cannot be asked again; it counts as unfit, and passes."""
    async with Orders(b"own") as own, Orders(b"shadow") as shadow:
        async with one_data_plane(text(own, shadow)) as data_plane, channel(data_plane) as calls:
            call = calls.stream_stream(BOTH)(None, timeout=20)
            for word in WORDS:
                await call.write(word)
                assert await call.read() == b"own"
            await call.done_writing()
            assert [await call.read() for _ in range(4)] == [b"own", *WORDS]
            assert await call.code() is grpc.StatusCode.OK
            assert await ended(data_plane) == {"unfit": 1}
            assert shadow.asked == []


async def test_no_key_pays_for_the_copy_of_a_call() -> None:
    """Three calls are three requests of the key, whose limit is reached no sooner, and no money is spent."""
    extra = keys(one="requests_per_minute: 3, requests_burst: 3, concurrent: 1, budget: 1, models: ['service:shop']")
    metadata = (("authorization", f"Bearer {clear('one')}"),)
    async with Orders(b"own") as own, Orders(b"shadow") as shadow:
        async with one_data_plane(text(own, shadow, extra=extra)) as data_plane, channel(data_plane) as calls:
            for number, path in enumerate((UNARY, DOWN, UP), 1):
                shadow.gate.clear()  # the copy is still in flight when the caller asks again
                assert await said(calls, path, metadata)
                shadow.gate.set()
                await ended(data_plane, number)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await said(calls, UNARY, metadata)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            (slot,) = (key.slot for key in data_plane.snapshot.keys)
            counts = data_plane.shared_state.read_allowance(slot)["counts"]
            assert counts[AllowanceCounter.A_REQUESTS] == 3
            assert counts[AllowanceCounter.A_COST_NANO] == 0
            assert all("authorization" not in each[2] for each in shadow.asked)


async def median_s(calls: grpc.aio.Channel, path: str, count: int) -> float:
    """Return the median time of a call, in seconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await said(calls, path)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


@pytest.mark.alone
@pytest.mark.parametrize("path", [UNARY, DOWN])
async def test_latency_of_calls(path: str) -> None:
    """With every call copied to a shadow that hangs, the caller's median is within 10% or half a millisecond."""
    async with Orders(b"own") as own, Orders(b"shadow") as shadow:
        shadow.gate.clear()
        off, on = text(own, shadow, ", share: 0%"), text(own, shadow)
        async with one_data_plane(off) as data_plane, channel(data_plane) as calls:
            await median_s(calls, path, 100)
            without: list[float] = []
            copied: list[float] = []
            for _ in range(5):  # in turn: the machine has other work
                await data_plane.swap(off)
                without.append(await median_s(calls, path, 60))
                await data_plane.swap(on)
                copied.append(await median_s(calls, path, 60))
            shadow.gate.set()
            print(f"{path}: {min(without) * 1e3:.3f} ms, copied {min(copied) * 1e3:.3f} ms")  # noqa: T201  # for -s
            assert min(copied) <= max(min(without) * 1.1, min(without) + 0.0005)
