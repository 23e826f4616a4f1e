"""A gRPC service in a process that can be killed. Messages are bytes, and large messages are counted.

``python grpc_target.py PORT NAME`` serves ``load.Target`` on that port (0: any), prints the port and ends when it is
killed. ``Call`` answers with its name and the message; ``Down`` sends as many messages of a size as asked; ``Up`` takes
messages and answers with their count, their bytes and a checksum.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_S = 20.0
CALL = "/load.Target/Call"
DOWN = "/load.Target/Down"
UP = "/load.Target/Up"
SHAPE = struct.Struct("!QQ")  # messages, bytes of each
TOTAL = struct.Struct("!QQI")  # messages, bytes, CRC-32
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


class Target(grpc.GenericRpcHandler):
    """The three methods."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Find the method by its name."""
        return {
            CALL: grpc.unary_unary_rpc_method_handler(self.call),
            DOWN: grpc.unary_stream_rpc_method_handler(self.down),
            UP: grpc.stream_unary_rpc_method_handler(self.up),
        }.get(details.method)

    async def call(self, message: bytes, _: grpc.aio.ServicerContext) -> bytes:
        """Return the name and the request."""
        return self._name + b":" + message

    async def down(self, message: bytes, _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """Send messages."""
        count, size = SHAPE.unpack(message)
        for number in range(count):
            yield block(number, size)

    async def up(self, messages: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> bytes:
        """Take messages."""
        return (await total(messages)).pack()


class Total:
    """Counts messages and bytes, and checks them."""

    def __init__(self) -> None:
        self.messages = self.bytes = self.checksum = 0

    def add(self, message: bytes) -> None:
        """Count a message."""
        self.messages += 1
        self.bytes += len(message)
        self.checksum = zlib.crc32(message, self.checksum)

    def pack(self) -> bytes:
        """Return the counts as an answer."""
        return TOTAL.pack(self.messages, self.bytes, self.checksum)


def block(number: int, size: int) -> bytes:
    """Return the message of this number; consecutive messages differ."""
    return number.to_bytes(8, "big") * (size // 8)


async def total(messages: AsyncIterator[bytes]) -> Total:
    """Count messages as they arrive."""
    counted = Total()
    async for message in messages:
        counted.add(message)
    return counted


class TargetProcess:
    """Such a service in its own process: ``async with TargetProcess("a") as target: target.address``.

    Args:
        name: what it calls itself.
        port: where it listens; 0 = any.
    """

    def __init__(self, name: str, port: int = 0) -> None:
        self._name = name
        self._port = port
        self._child: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """The address of the service."""
        return f"127.0.0.1:{self._port}"

    async def kill(self) -> None:
        """End the process as the kernel's out-of-memory killer would."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()

    async def __aenter__(self) -> Self:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(self._port), self._name, stdout=asyncio.subprocess.PIPE
        )
        assert self._child.stdout is not None
        try:
            self._port = int(await asyncio.wait_for(self._child.stdout.readline(), START_S))
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


async def _serve(port: int, name: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Target(name),))
    print(server.add_insecure_port(f"127.0.0.1:{port}"), flush=True)  # noqa: T201 (that is what it prints)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
