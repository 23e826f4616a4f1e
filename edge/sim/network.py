"""How far is it from here to there, and does it get there at all?  Wide-area links as relays on loopback.

A ``Link`` listens on a port of its own and carries bytes to an address, each way later by half of its round trip. Cut,
it is a black hole: what is sent into it waits, as in TCP that retransmits, and nobody can connect. Reset, its
connections break at once. A ``Network`` is all links of a test or a demo, with a place at either end of each.
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
# What is under way in one direction of one connection; then the sender has to wait, as for a full window.
WINDOW: Final = 1 << 20
_S: Final = 1_000_000_000
# linux/asm-generic/socket.h; Python has no name for it.
_SO_DETACH_FILTER: Final = 27
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # struct linger: an RST instead of the end


class Link:
    """One way through the network: ``async with Link("a", "b") as link``, then ``link.leads_to(host, port)``.

    Args:
        source: the place that connects.
        target: the place that is connected to.
        rtt_s: round trip; half of it each way, and the whole of it once for opening a connection.
        jitter_s: each piece comes up to this much later still, never before the one before it.
        bytes_per_s: what it carries each way; 0: as fast as it goes.
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
        self.connections = 0  # taken, all time
        self._chance = Random(f"{source} {target}")
        self._address: tuple[str, int] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """What is connected to, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets through."""
        return not self._open.is_set()

    def leads_to(self, host: str, port: int) -> None:
        """Carry new connections there; those that are open stay where they are."""
        self._address = (host, port)

    def cut(self) -> None:
        """Become a black hole. New connections are not refused: they are never answered."""
        self._open.clear()
        if self._server is not None:
            turn_away([self._server])

    def mend(self) -> None:
        """Carry again, what has been waiting first."""
        self._open.set()
        for sock in self._sockets():
            with contextlib.suppress(OSError):  # no filter was attached
                sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def reset(self) -> None:
        """Break every connection that is open, at both ends and with an RST."""
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
        # the end of the link cancels it, and a side that broke the connection ends it for both
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
        """Take one direction until its end; a half that has ended ends the other side's half only."""
        while data := await reader.read(READ):
            self.carried += len(data)
            await way.put(data)
        await way.put(b"")

    def delay_s(self) -> float:
        """How long the next piece travels."""
        return self.rtt_s / 2 + self.jitter_s * self._chance.random()

    async def wait_open(self) -> None:
        """Wait while it is cut."""
        await self._open.wait()


class _Way:
    """What is under way in one direction of one connection, in order."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._last_ns = 0
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Send a piece on its way; no bytes: the end. Waits while too much is under way."""
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
        """Hand over each piece when its time has come, until the end."""
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
        """Open one more way from a place to another."""
        link = await self._stack.enter_async_context(Link(source, target, rtt_s=rtt_s, jitter_s=jitter_s))
        self.links.append(link)
        return link

    def between(self, source: str | None = None, target: str | None = None) -> list[Link]:
        """Return the links from and to these places; None: any."""
        return [
            link
            for link in self.links
            if (source is None or link.source == source) and (target is None or link.target == target)
        ]

    def cut(self, source: str | None = None, target: str | None = None) -> None:
        """Black-hole the links from and to these places."""
        for link in self.between(source, target):
            link.cut()

    def mend(self, source: str | None = None, target: str | None = None) -> None:
        """Let them carry again."""
        for link in self.between(source, target):
            if link.is_cut:
                link.mend()

    def isolate(self, place: str) -> None:
        """Cut everything from and to a place; what is within it goes on."""
        for link in self.links:
            if (link.source == place) != (link.target == place):
                link.cut()
