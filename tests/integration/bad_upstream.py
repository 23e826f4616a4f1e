"""An upstream that behaves well, badly or not at all, by chance.

All choices come from the given ``random.Random``, so that a seed reproduces a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from typing import TYPE_CHECKING

from loopback import LoopbackServer
from one_data_plane import DONE, HELLO, ROLE, SSE_HEAD, STOP, chunk, sse, whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from h2peer import Call

USAGE = b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}'
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
RESET = struct.pack("ii", 1, 0)
EMPTY = b"content-length: 0\r\n\r\n"
GOOD = (
    whole(USAGE),
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + whole(USAGE),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(USAGE[:20]) + chunk(USAGE[20:]) + b"0\r\n\r\n",
    sse(ROLE, HELLO, HELLO, STOP, LAST, DONE),
    whole(b'{"choices":[{"message":{"content":"' + b"x" * 300_000 + b'"}}]}'),
    b"HTTP/1.1 204 No Content\r\n\r\n",
)
BAD = (
    b"HTTP/1.1 500 No\r\n" + EMPTY,
    b"HTTP/1.1 429 Slow\r\nretry-after: 0.01\r\n" + EMPTY,
    b"HTTP/1.1 503 Away\r\nconnection: close\r\n" + EMPTY,
    whole(b'{"error":{"message":"no"}}', b"400 Bad Request"),
    b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + USAGE,
    whole(USAGE) + b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01 no HTTP at all \r\n\r\n",
    sse(ROLE, b'data: {"error":{"message":"overloaded"}}\n\n', end=False),
    sse(ROLE, HELLO, end=False),
    SSE_HEAD,
)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


def cut(chance: Random, data: bytes, pieces: int) -> list[bytes]:
    """Return the data in at most this many pieces."""
    places = sorted(chance.sample(range(1, len(data)), min(chance.randint(0, pieces), len(data) - 1)))
    return [data[start:end] for start, end in itertools.pairwise((0, *places, len(data)))]


class Upstream(LoopbackServer):
    """An HTTP/1.1 server that behaves well until ``mischief`` is set; ``url`` is its root."""

    def __init__(self, chance: Random, mischief: float = 0.5) -> None:
        self._chance = chance
        self.mischief = mischief

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (
            contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError),
            contextlib.closing(writer),
        ):
            while await self._answer(reader, writer):
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        chance = self._chance
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        bad = chance.random() < self.mischief
        way = chance.random() if bad else 1.0
        if way < 0.1:  # an answer before the request is read, if it has a body
            writer.write(chance.choice(BAD[:4]))
            return chance.random() < 0.3
        if way < 0.2:
            reset(writer)
            return False
        if b"expect: 100-continue" in head and chance.random() < 0.8:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(chance.choice((0, 0, 0, 0.03)))
        if b"content-length" in head:
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        elif b"transfer-encoding" in head:
            while await reader.readuntil(b"\r\n") != b"0\r\n":
                await reader.readuntil(b"\r\n")
            await reader.readuntil(b"\r\n")
        if way < 0.3:
            await reader.read()  # silent until edge leaves
            return False
        data = chance.choice(BAD if bad else GOOD)
        for piece in cut(chance, data, 3):
            writer.write(piece)
            if bad and chance.random() < 0.15:
                reset(writer) if chance.random() < 0.5 else writer.close()
                return False
            await asyncio.sleep(chance.choice((0, 0, 0, 0.001, 0.02)))
        return not bad or (data in BAD[:2])


def bad_service(chance: Random, mischief: float = 0.5) -> Callable[[Call], Awaitable[None]]:
    """The misbehaviour of an HTTP/2 service, gRPC or not; with ``mischief`` 0 it behaves well."""

    async def answer(call: Call) -> None:
        bad = chance.random() < mischief
        if not bad or not await _spoiled(chance, call):
            await _spoken(chance, call, bad)

    return answer


async def _spoiled(chance: Random, call: Call) -> bool:
    """End a call before its answer, or make it odd; return True if the call is over."""
    way = chance.random()
    if way < 0.1:
        await call.reset(chance.choice((0, 1, 2, 7, 8, 11)))
    elif way < 0.2:
        reset(call.wire.writer)
    elif way < 0.3:
        grpc = (("content-type", call.field("content-type") or "text/plain"), ("grpc-status", "14"))
        await call.head(chance.choice((200, 429, 503)), *grpc, end=True)
    elif way < 0.4:
        await call.body()
        await call.until_reset()
    elif way < 0.5:
        await call.wire.say_goodbye(chance.choice((None, 0)))
        return False
    elif way < 0.6:
        await call.head(103)
        return False
    else:
        return False
    return True


async def _spoken(chance: Random, call: Call, bad: bool) -> None:
    """Answer with a few messages; a bad answer may begin early, be cut off, or end in an error."""
    grpc = call.field("content-type") == "application/grpc"
    if not bad or chance.random() < 0.7:
        await call.body()
    await call.head(200, ("content-type", "application/grpc" if grpc else "text/plain"))
    for _ in range(chance.randint(0, 3)):
        message = b"m" * chance.choice((1, 1_000, 100_000))
        await call.data(b"\0" + len(message).to_bytes(4, "big") + message)
        await asyncio.sleep(chance.choice((0, 0, 0.001, 0.02)))
        if bad and chance.random() < 0.2:
            await call.reset(chance.choice((0, 2, 8)))
            return
    if grpc:
        await call.end(("grpc-status", chance.choice(("0", "8", "14")) if bad else "0"))
    else:
        await call.data(end=True)
