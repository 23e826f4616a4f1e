"""Clients that make a worker hold memory for as few bytes as they can, and an upstream whose answers they ask for.

Each kind opens its connections and returns; what it opened stays open until the crowd is left. Their requests carry the
key ``mallory``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import hpack
import one_data_plane
from callers import bearer, clear
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from secure import EDGE
from soon import handed_over

from edge.sim.wire_tls import TlsWire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MIB: Final = 1 << 20
WHOLE: Final = 3 * MIB
"""Bytes of a large answer: less than limits.max_response."""
UPLOAD: Final = 60_000
"""Bytes of an upload: they fit into the first window of an HTTP/2 stream."""
OPENING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS: Final = ("tiny", "slow_reader", "slow_upload", "silent", "held")
WIRES: Final = ("http1", "http2")


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process alone occupies."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", text, re.MULTILINE)))


class Upstream:
    """A provider: an answer of 3 MiB if the request says "large", its first part if it says "held", else a word."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=one_data_plane.server_tls())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await handed_over()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The URL of its root."""
        assert self._server is not None
        scheme = "http" if one_data_plane.SECURE is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                found = re.search(rb"content-length: (\d+)", head)
                content = await reader.readexactly(int(found[1])) if found else b""
                size = WHOLE if b'"large"' in content or b'"held"' in content else 100
                answer = b'{"choices":[{"message":{"content":"' + b"a" * (size - 40) + b'"}}]}'
                fields = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
                writer.write(b"HTTP/1.1 200 OK\r\n" + fields + (answer[:-9] if b'"held"' in content else answer))
                await writer.drain()
        writer.transport.abort()


def chat(user: str, size: int = 0) -> bytes:
    """Return a chat request's body."""
    return b'{"model":"chat","messages":[],"user":"%s","metadata":"%s"}' % (user.encode(), b"u" * size)


def head_of(length: int, key: str = "mallory") -> bytes:
    """Return the head of a request over HTTP/1.1; a length below 0: the body comes in chunks."""
    framing = b"content-length: %d" % length if length >= 0 else b"transfer-encoding: chunked"
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" + bearer(key) + framing + b"\r\n\r\n"


def opening(key: str = "mallory") -> bytes:
    """Return the preface of an HTTP/2 connection that opens its windows wide, and the head of a request on stream 1."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"), (":authority", "localhost")]
    block = hpack.Encoder().encode([*fields, ("authorization", f"Bearer {clear(key)}")])
    frames = (
        SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 30}),
        WindowUpdateFrame(0, window_increment=1 << 30),
        HeadersFrame(1, block, flags=["END_HEADERS"]),
    )
    return OPENING + b"".join(frame.serialize() for frame in frames)


async def shaken(sock: socket.socket, wire: str) -> TlsWire | None:
    """Return TLS of a connection after its handshake; None = without TLS (see ``with_tls_too``)."""
    if one_data_plane.SECURE is None:
        return None
    loop = asyncio.get_running_loop()
    tls = TlsWire(one_data_plane.SECURE.trusting("h2" if wire == "http2" else "http/1.1"), EDGE)
    done, data = tls.shake()
    while not done:
        await loop.sock_sendall(sock, data)
        if not (came := await loop.sock_recv(sock, 65536)):
            raise ConnectionError("edge closed the connection during the handshake")
        done, data = tls.shake(came)
    await loop.sock_sendall(sock, data)
    return tls


class Crowd:
    """``count`` connections of each kind that is opened."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._sockets: list[socket.socket] = []
        self._tls: dict[socket.socket, TlsWire] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.cut = 0
        """Slow readers whose connection edge has ended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._sockets:
            sock.close()

    async def open(self, kind: str, wire: str) -> None:
        """Open the connections of one kind over one wire, and send what it sends at once."""
        act: Callable[[str], Awaitable[None]] = getattr(self, f"_{kind}")
        await asyncio.gather(*(act(wire) for _ in range(self._count)))

    async def _connect(self, wire: str) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        self._sockets.append(sock)
        if (tls := await shaken(sock, wire)) is not None:
            self._tls[sock] = tls
        return sock

    async def _send(self, sock: socket.socket, data: bytes) -> None:
        if sock in self._tls:
            data = self._tls[sock].seal(data)
        with contextlib.suppress(OSError):  # edge has refused it
            await asyncio.get_running_loop().sock_sendall(sock, data)

    def _go_on(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        self._tasks.append(asyncio.create_task(run()))

    async def _tiny(self, wire: str) -> None:
        """A body in pieces of two bytes, without its end."""
        sock = await self._connect(wire)
        content = chat("tiny", UPLOAD)[:UPLOAD]
        pieces = [content[at : at + 2] for at in range(0, len(content), 2)]
        if wire == "http1":
            await self._send(sock, head_of(-1) + b"".join(b"2\r\n" + piece + b"\r\n" for piece in pieces))
        else:
            front = b"\0\0\2\0\0\0\0\0\1"  # a DATA frame of two bytes on stream 1
            await self._send(sock, opening() + b"".join(front + piece for piece in pieces))

    async def _ask(self, wire: str, content: bytes) -> socket.socket:
        sock = await self._connect(wire)
        data = DataFrame(1, content, flags=["END_STREAM"]).serialize()
        await self._send(sock, head_of(len(content)) + content if wire == "http1" else opening() + data)
        return sock

    async def _slow_reader(self, wire: str) -> None:
        """A large answer, read at 100 bytes a second."""
        sock = await self._ask(wire, chat("large"))
        self._go_on(self._sip(sock))

    async def _sip(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            # a reset shows at once, although there may be more to read
            while not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                if not await loop.sock_recv(sock, 100):
                    break
                await asyncio.sleep(1)
        self.cut += 1

    async def _slow_upload(self, wire: str) -> None:
        """Most of a body, and then a byte a second."""
        sock = await self._connect(wire)
        content = chat("upload", UPLOAD)
        if wire == "http1":
            await self._send(sock, head_of(len(content)) + content[:-200])
        else:
            parts = [content[at : at + 16_000] for at in range(0, len(content) - 200, 16_000)]
            await self._send(sock, opening() + b"".join(DataFrame(1, part).serialize() for part in parts))
        self._go_on(self._drip(sock, b"u" if wire == "http1" else DataFrame(1, b"u").serialize()))

    async def _drip(self, sock: socket.socket, drop: bytes) -> None:
        for _ in itertools.repeat(None):
            await asyncio.sleep(1)
            await self._send(sock, drop)

    async def _silent(self, wire: str) -> None:
        """A connection on which nothing is asked."""
        sock = await self._connect(wire)
        if wire == "http2":
            await self._send(sock, OPENING + SettingsFrame().serialize())

    async def _held(self, wire: str) -> None:
        """A large answer whose end does not come."""
        await self._ask(wire, chat("held"))
