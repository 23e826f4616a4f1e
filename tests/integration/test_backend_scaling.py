"""Backends that a source of addresses adds get their part of the load of clients that keep their channels."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from nodes import RunningNode
from soon import until
from test_discovery_node import used

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AGE_S = 3.0
GRACE_S = 0.5
STREAMS = 16
CALLERS = 4
FINE = {grpc.StatusCode.OK}


class Backend(grpc.GenericRpcHandler):
    """A server of grpcio whose method ``Call`` echoes, and whose ``Follow`` sends a message and then goes on for ever.

    ``calling`` and ``following`` are the numbers of calls and streams that are open now.
    """

    def __init__(self) -> None:
        self.calling = 0
        self.following = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Find the method by its name."""
        if details.method.endswith("/Call"):
            return grpc.unary_unary_rpc_method_handler(self.call)
        return grpc.unary_stream_rpc_method_handler(self.follow)

    async def call(self, message: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Echo."""
        self.calling += 1
        try:
            await asyncio.sleep(0.02)
        finally:
            self.calling -= 1
        return message

    async def follow(self, message: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        """Send the message now and then, until the client or its connection leaves."""
        self.following += 1
        try:
            while True:
                yield message
                await asyncio.sleep(0.2)
        finally:
            self.following -= 1

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listen on a free port; yield the address."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


def channel(node: RunningNode) -> grpc.aio.Channel:
    """Return a channel with a connection of its own."""
    return grpc.aio.insecure_channel(node.url.removeprefix("http://"), options=[("grpc.use_local_subchannel_pool", 1)])


class Clients:
    """Callers and followers that keep their channels; ``called`` and ``ended`` count how calls and streams end."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.called: Counter[grpc.StatusCode] = Counter()
        self.ended: Counter[grpc.StatusCode] = Counter()

    async def call(self) -> None:
        """Call again and again on one channel."""
        async with channel(self.node) as kept:
            ask = kept.unary_unary("/a.B/Call")
            while True:
                self.called[await ask(b"hello", timeout=20).code()] += 1

    async def follow(self) -> None:
        """Keep one stream open on one channel; when it ends with its connection, open it again."""
        async with channel(self.node) as kept:
            while True:
                stream = kept.unary_stream("/a.B/Follow")(b"tick", wait_for_ready=True)
                with contextlib.suppress(grpc.aio.AioRpcError):
                    async for _ in stream:
                        pass
                self.ended[await stream.code()] += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them all."""
        tasks = [asyncio.create_task(self.call()) for _ in range(CALLERS)]
        tasks += [asyncio.create_task(self.follow()) for _ in range(STREAMS)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def loads(backends: list[Backend], during_s: float) -> list[float]:
    """Return how many calls and streams each backend has had open, on average."""
    end_s = time.monotonic() + during_s
    seen: list[list[int]] = []
    while time.monotonic() < end_s:
        seen.append([each.calling + each.following for each in backends])
        await asyncio.sleep(0.01)
    return [sum(column) / len(seen) for column in zip(*seen, strict=True)]


def config(file: Path) -> dict[str, Any]:
    """Return a node whose service is discovered, and whose listener ends connections at their age."""
    age = {"max_connection_age": f"{AGE_S:g}s", "max_connection_age_grace": f"{GRACE_S * 1000:g}ms"}
    web = {"match": {"grpc": "a.B"}, "discover": f"file://{file}", "breaker": {"slow_start": "100ms"}}
    return {"services": {"g": web}, "listen": [{"address": "127.0.0.1:0", **age}]}


@pytest.mark.alone
async def test_discovered_backends_get_calls_and_streams(tmp_path: Path) -> None:
    """Two become four: calls spread at once, streams as their connections age; the load is even within two ages."""
    file = tmp_path / "g.json"
    backends = [Backend() for _ in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(each.serve()) for each in backends]
        file.write_text(json.dumps(addresses[:2]))
        node = await stack.enter_async_context(RunningNode(tmp_path, config(file), "--workers", "1"))
        clients = Clients(node)
        await stack.enter_async_context(clients.running())
        await until(lambda: sum(each.following for each in backends) == STREAMS and sum(clients.called.values()) > 50)
        assert [each.calling + each.following for each in backends[2:]] == [0, 0]
        file.write_text(json.dumps(addresses))
        await used(node, set(addresses))
        await asyncio.sleep(2 * AGE_S)
        found = await loads(backends, 1.0)
        assert min(found) > 0.6 * sum(found) / 4, found
        assert sum(each.following for each in backends[2:]) >= STREAMS / 4
        assert set(clients.called) == FINE
        assert set(clients.ended) == {grpc.StatusCode.UNAVAILABLE}  # a stream that its connection's age ends
