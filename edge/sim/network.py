"""A simulated wide-area network: relays on loopback with latency that can be cut, reset and mended.

A ``Link`` listens on its own port and forwards bytes to an address, each way delayed by half of its round trip. A link
that is cut is a black hole: data sent into it waits, as with TCP that retransmits, and nobody can connect. A reset
breaks its connections at once. A ``Network`` holds all links of a test or a demo, each between two named places.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final, Self

from edge import clock
from edge.listen.server import turn_away

if TYPE_CHECKING:
    from collections.abc import Iterator

READ: Final = 65536
# Bytes in flight in one direction of one connection; beyond that the sender waits, as for a full window.
WINDOW: Final = 1 << 20
_S: Final = 1_000_000_000
# From linux/asm-generic/socket.h; Python's socket module does not define it.
_SO_DETACH_FILTER: Final = 27
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # struct linger: close with RST


class Link:
    """A link from one place to another: ``async with Link("a", "b") as link``, then ``link.leads_to(host, port)``.

    Args:
        source: the place that connects.
        target: the place that is connected to.
        rtt_s: round trip; half of it each way, and all of it once to open a connection.
        jitter_s: each piece is delayed by up to this much more, but never overtakes the one before it.
        bytes_per_s: bandwidth each way; 0: unlimited.
    """

    def __init__(
        self, source: str, target: str, *, rtt_s: float = 0.0, jitter_s: float = 0.0, bytes_per_s: float = 0.0
    ) -> None:
        self.source = source
        self.target = target
        self.rtt_s = rtt_s
        self.jitter_s = jitter_s
        self.bytes_per_s = bytes_per_s
        self.port = 0
        self.carried = 0  # bytes, both ways
        self.connections = 0  # accepted so far
        self._chance = Random(f"{source} {target}")
        self._address: tuple[str, int] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """The address to connect to, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_cut(self) -> bool:
        """Whether the link is cut."""
        return not self._open.is_set()

    def leads_to(self, host: str, port: int) -> None:
        """Forward new connections to this address; open ones keep theirs."""
        self._address = (host, port)

    def cut(self) -> None:
        """Become a black hole. New connections are not refused; they are never answered."""
        self._open.clear()
        if self._server is not None:
            turn_away(sock.fileno() for sock in self._server.sockets)

    def mend(self) -> None:
        """Forward again, beginning with the data that was waiting."""
        self._open.set()
        for sock in self._sockets():
            with contextlib.suppress(OSError):  # no filter was attached
                sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def reset(self) -> None:
        """Break every open connection at both ends with an RST."""
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has just ended
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()

    def _sockets(self) -> Iterator[socket.socket]:
        for sock in self._server.sockets if self._server is not None else ():
            with socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
                yield same

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=READ)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        # The end of the link cancels this task; a side that breaks the connection ends it for both.
        with contextlib.suppress(OSError, asyncio.CancelledError), self._held(writer):
            await clock.sleep(self.rtt_s)
            await self.wait_open()
            if self._address is not None:
                far_reader, far_writer = await asyncio.open_connection(*self._address, limit=READ)
                with self._held(far_writer):
                    await self._carry((reader, far_writer), (far_reader, writer))

    @contextlib.contextmanager
    def _held(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _carry(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                for reader, writer in ways:
                    way = _Way(self)
                    both.create_task(self._take(reader, way))
                    both.create_task(way.deliver(writer))
        except* OSError:
            for _, writer in ways:
                writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, way: _Way) -> None:
        """Read one direction until its end; a half-close of one side half-closes only the other side."""
        while data := await reader.read(READ):
            self.carried += len(data)
            await way.put(data)
        await way.put(b"")

    def delay_s(self) -> float:
        """Return the delay of the next piece."""
        return self.rtt_s / 2 + self.jitter_s * self._chance.random()

    async def wait_open(self) -> None:
        """Wait until the link is not cut."""
        await self._open.wait()


class _Way:
    """The data in flight in one direction of one connection, in order."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._last_ns = 0
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Add a piece; an empty one is the end. Waits while too much is in flight."""
        link = self._link
        begin_ns = max(clock.now_ns(), self._last_ns if link.bytes_per_s else 0)
        due_ns = begin_ns + int(link.delay_s() * _S)
        if link.bytes_per_s:
            due_ns += int(len(data) / link.bytes_per_s * _S)
        self._last_ns = due_ns = max(due_ns, self._last_ns)
        self._pieces.append((due_ns, data))
        self._size += len(data)
        self._changed.set()
        while self._size > WINDOW:
            self._changed.clear()
            await self._changed.wait()

    async def deliver(self, writer: asyncio.StreamWriter) -> None:
        """Write each piece when it is due, until the end."""
        while True:
            while not self._pieces:
                self._changed.clear()
                await self._changed.wait()
            due_ns, data = self._pieces.popleft()
            await clock.sleep(max(due_ns - clock.now_ns(), 0) / _S)
            await self._link.wait_open()
            self._size -= len(data)
            self._changed.set()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


class Network:
    """All links between places: ``async with Network() as network``, then ``await network.link("a", "b")``."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def link(self, source: str, target: str, *, rtt_s: float = 0.0, jitter_s: float = 0.0) -> Link:
        """Open a link from one place to another."""
        link = await self._stack.enter_async_context(Link(source, target, rtt_s=rtt_s, jitter_s=jitter_s))
        self.links.append(link)
        return link

    def between(self, source: str | None = None, target: str | None = None) -> list[Link]:
        """Return the links from and to these places; None: any place."""
        return [
            link
            for link in self.links
            if (source is None or link.source == source) and (target is None or link.target == target)
        ]

    def cut(self, source: str | None = None, target: str | None = None) -> None:
        """Cut the links from and to these places."""
        for link in self.between(source, target):
            link.cut()

    def mend(self, source: str | None = None, target: str | None = None) -> None:
        """Mend the links from and to these places."""
        for link in self.between(source, target):
            if link.is_cut:
                link.mend()

    def isolate(self, place: str) -> None:
        """Cut every link from and to a place, but not those within it."""
        for link in self.links:
            if (link.source == place) != (link.target == place):
                link.cut()
