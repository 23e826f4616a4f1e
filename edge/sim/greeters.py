"""Simulated gRPC Greeter services that can be killed, and a steady load of calls to them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final, Self

import grpc
import grpc.aio
import msgspec

from edge.errors import EdgeError
from edge.sim.load import Seen, Steady
from edge.wire.helloworld.helloworld_pb2 import HelloRequest
from edge.wire.helloworld.helloworld_pb2_grpc import GreeterStub

SERVICE: Final = "helloworld.Greeter"
NAME: Final = "demo"
START_S: Final = 20.0


class GreeterStartError(EdgeError):
    """A simulated gRPC service ended before it reported its address."""

    kind = "greeter_start"


class GreeterProcess:
    """An ``edge.sim.service`` process: ``async with GreeterProcess("a") as greeter: greeter.address``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._child: asyncio.subprocess.Process | None = None
        self.address = ""

    async def kill(self) -> None:
        """Kill the process; no effect if it has ended."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()

    async def __aenter__(self) -> Self:
        spec = msgspec.json.encode({"name": self._name}).decode()
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge.sim.service", spec, stdin=pipe, stdout=pipe
        )
        try:
            async with asyncio.timeout(START_S):
                await self._learn_address(self._child)
        except BaseException:
            await self.kill()
            raise
        return self

    async def _learn_address(self, child: asyncio.subprocess.Process) -> None:
        line = await child.stdout.readline() if child.stdout else b""
        if not line:
            raise GreeterStartError("a simulated gRPC service ended at its start; the reason is above")
        self.address = msgspec.json.decode(line)["address"]

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


class GreeterLoad(Steady):
    """A steady load of unary calls; ``async with GreeterLoad("127.0.0.1:8080") as load: await load.run(40)``.

    Args:
        address: host and port.
        rate: calls started per second.
        concurrency: maximum number of concurrent calls.
        timeout_s: deadline of each call.
    """

    def __init__(self, address: str, *, rate: float = 20.0, concurrency: int = 64, timeout_s: float = 10.0) -> None:
        super().__init__(rate=rate, concurrency=concurrency, timeout_s=timeout_s)
        # Retries of grpc itself would hide failures.
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self._stub = GreeterStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)

    async def ask(self, number: int, seen: Seen) -> None:
        """Call SayHello, and record who answered."""
        call = self._stub.SayHello(HelloRequest(name=f"{NAME} {number}"), timeout=self._timeout_s)
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            raise CallFailedError(f"{error.code().name}: {error.details()}") from error
        seen.headers(dict(await call.initial_metadata()))
        if f"{NAME} {number}," not in reply.message:
            raise CallFailedError("the response belongs to another call")


class CallFailedError(Exception):
    """A call failed as seen by the application; the text is gRPC's."""
