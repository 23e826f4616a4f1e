"""Scripted peers on raw sockets, for faults below HTTP.

A script is a list of steps; the same steps drive a server (``ScriptedServer``) and a client (``play_client``). Nothing
is parsed, buffered or repaired beyond what a step says, so that refusals, resets, half heads and smuggling attempts are
exactly what the test wrote. Every wait is bounded: a step that takes longer than ``limit_s`` ends the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Literal, Self

from edge import clock
from edge.sim.wire_steps import (
    STREAM_HEAD,
    Again,
    Close,
    HalfClose,
    Hold,
    Pause,
    ReadBytes,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    Reset,
    Send,
    Step,
    Truncate,
    answer,
    chunk,
    request,
)
from edge.sim.wire_tls import TlsWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

__all__ = [
    "LIMIT_S", "STREAM_HEAD", "Again", "Close", "Ended", "HalfClose", "Hold", "Pause", "Peer", "ReadBytes",
    "ReadHead", "ReadMessage", "ReadToEnd", "ReadUntil", "Reset", "Script", "ScriptedServer", "Send", "Step",
    "Truncate", "answer", "chunk", "now_s", "play_client", "refused_port", "request", "unreachable_port",
]  # fmt: skip

LIMIT_S = 30.0
_READ = 65536
_POLL_S = 0.002

Ended = Literal["running", "script", "peer_closed", "peer_reset", "closed", "reset", "timeout", "stopped", "tls_failed"]


Script = tuple[Step, ...]


class Peer:
    """One side of a connection, and the record of what it received. Times are monotonic seconds."""

    def __init__(self, sock: socket.socket, limit_s: float = LIMIT_S, tls: TlsWire | None = None) -> None:
        self._sock = sock
        self.tls = tls
        self._limit_s = limit_s
        self._consumed = 0
        self._over = asyncio.Event()
        self._heard = bytearray()
        self.messages: list[bytes] = []  # what each ReadHead and ReadMessage consumed
        self.ended: Ended = "running"
        self.said_goodbye = False  # over TLS: the other side has sent a close_notify
        self.opened_s = now_s()
        self.first_byte_s: float | None = None
        self.ended_s: float | None = None

    @property
    def received(self) -> bytes:
        """Everything that was received, in order."""
        return bytes(self._heard)

    async def play(self, script: Sequence[Step]) -> Ended:
        """Run a script to its end, close the socket, and return how it ended."""
        ended: Ended = "stopped"
        try:
            if self.tls is not None:
                await self._shake(self.tls)
            ended = await self._steps(script)
        except TimeoutError:
            ended = "timeout"
        except EOFError:
            ended = "peer_closed"
        except (ConnectionError, BrokenPipeError):
            ended = "peer_reset"
        except ssl.SSLError:
            ended = "tls_failed"
        finally:
            self.ended = ended
            self.ended_s = now_s()
            self._sock.close()
            self._over.set()
        return ended

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._sock.close()

    async def wait_end(self, limit_s: float = LIMIT_S) -> Ended:
        """Wait until the script has ended.

        Raises:
            TimeoutError: it has not ended after ``limit_s``.
        """
        async with asyncio.timeout(limit_s):
            await self._over.wait()
        return self.ended

    async def _steps(self, script: Sequence[Step]) -> Ended:
        position = 0
        while position < len(script):
            step = script[position]
            position += 1
            if isinstance(step, Again):
                position = 0
            elif isinstance(step, Pause):
                await clock.sleep(step.seconds)
            elif isinstance(step, Hold):
                async with asyncio.timeout(self._limit_s):
                    await step.until.wait()
            elif isinstance(step, Close):
                await self._say_goodbye()
                return "closed"
            elif isinstance(step, Truncate):
                return "closed"
            elif isinstance(step, Reset):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "reset"
            else:
                async with asyncio.timeout(self._limit_s):
                    await self._act(step)
        return "script"

    async def _act(self, step: Step) -> None:
        match step:
            case Send():
                await self._send(step)
            case HalfClose():
                await self._say_goodbye()
                self._sock.shutdown(socket.SHUT_WR)
            case ReadHead():
                self.messages.append(await self._until(b"\r\n\r\n"))
            case ReadMessage():
                self.messages.append(await self._message())
            case ReadUntil():
                await self._until(step.mark)
            case ReadBytes():
                await self._exactly(step.size)
            case _:
                while True:
                    await self._more()

    async def _send(self, step: Send) -> None:
        loop = asyncio.get_running_loop()
        size = step.piece or len(step.data) or 1
        for start in range(0, len(step.data), size):
            piece = step.data[start : start + size]
            await loop.sock_sendall(self._sock, piece if self.tls is None else self.tls.seal(piece))
            if step.gap_s:
                await clock.sleep(step.gap_s)

    async def _more(self) -> None:
        """Read once; raise EOFError if the other side has closed."""
        data = b""
        if not self.said_goodbye:
            data = await asyncio.get_running_loop().sock_recv(self._sock, _READ)
        if not data:
            raise EOFError
        if self.tls is not None:
            data, self.said_goodbye = self.tls.open(data)
            if self.said_goodbye and not data:
                raise EOFError
        if self.first_byte_s is None:
            self.first_byte_s = now_s()
        self._heard += data

    async def _shake(self, tls: TlsWire) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._limit_s):
            done, data = tls.shake()
            while not done:
                await loop.sock_sendall(self._sock, data)
                if not (came := await loop.sock_recv(self._sock, _READ)):
                    raise EOFError
                done, data = tls.shake(came)
            await loop.sock_sendall(self._sock, data)
        data, self.said_goodbye = tls.open(b"")  # what came with the end of the handshake
        self._heard += data

    async def _say_goodbye(self) -> None:
        if self.tls is not None:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(self._sock, self.tls.goodbye())

    async def _exactly(self, size: int) -> bytes:
        while len(self._heard) - self._consumed < size:
            await self._more()
        start, self._consumed = self._consumed, self._consumed + size
        return bytes(self._heard[start : self._consumed])

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._heard.find(mark, self._consumed)) < 0:
            await self._more()
        return await self._exactly(at + len(mark) - self._consumed)

    async def _message(self) -> bytes:
        head = await self._until(b"\r\n\r\n")
        if re.search(rb"\r\ntransfer-encoding:[^\r]*chunked", head, re.IGNORECASE):
            return head + await self._chunks()
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        return head + await self._exactly(int(length[1]) if length else 0)

    async def _chunks(self) -> bytes:
        raw = b""
        while True:
            line = await self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                raw += line
                while (trailer := await self._until(b"\r\n")) != b"\r\n":
                    raw += trailer
                return raw + b"\r\n"
            raw += line + await self._exactly(size + 2)


class ScriptedServer:
    """A small upstream: connection n plays script n, and connections beyond the last script play the last one.

    Use as ``async with ScriptedServer(script, ...) as server``; ``server.port``, ``server.peers``.
    ``receive_buffer`` (bytes) limits what the kernel buffers, for tests of back-pressure. With ``tls`` every connection
    begins with a handshake.
    """

    def __init__(
        self,
        *scripts: Sequence[Step],
        limit_s: float = LIMIT_S,
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not scripts:
            raise ValueError("a scripted server needs at least one script")
        self._scripts = scripts
        self._limit_s = limit_s
        self._tls = tls
        self._tasks: set[asyncio.Task[object]] = set()
        self._listener = _bound()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.peers: list[Peer] = []
        self.host = "127.0.0.1"
        self.port: int = self._listener.getsockname()[1]

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The root URL, without a trailing slash."""
        return f"http{'' if self._tls is None else 's'}://{self.address}"

    async def __aenter__(self) -> Self:
        self._listener.listen(1024)
        # Not sock_accept: if it is cancelled right after accepting, nothing would close that connection.
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in self.peers:
            peer.close()  # a script that was cancelled before its first step has not closed its socket
        self._listener.close()

    async def wait_peers(self, count: int, limit_s: float = LIMIT_S) -> list[Peer]:
        """Wait until ``count`` connections have been accepted.

        Raises:
            TimeoutError: fewer have been accepted after ``limit_s``.
        """
        async with asyncio.timeout(limit_s):
            while len(self.peers) < count:
                await clock.sleep(_POLL_S)
        return self.peers

    async def wait_asked(self, count: int) -> list[Peer]:
        """Wait until a ReadHead or ReadMessage is done on ``count`` connections: an accepted one may be unused."""
        async with asyncio.timeout(LIMIT_S):
            while sum(bool(peer.messages) for peer in self.peers) < count:
                await clock.sleep(_POLL_S)
        return self.peers

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # the client has left again
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(len(self.peers), len(self._scripts) - 1)]
            peer = Peer(sock, self._limit_s, None if self._tls is None else TlsWire(self._tls))
            self.peers.append(peer)
            task = asyncio.create_task(peer.play(script))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def play_client(
    port: int, *script: Step, host: str = "127.0.0.1", limit_s: float = LIMIT_S, tls: TlsWire | None = None
) -> Peer:
    """Connect, over TLS if it is given, play a script, and return its record.

    Raises:
        OSError: the connection failed.
        TimeoutError: there was no connection within ``limit_s``.
    """
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    peer = Peer(sock, limit_s, tls)
    await peer.play(script)
    return peer


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """Reserve a port on which connections are refused: bound, so that no other socket gets it, but not listening."""
    with _bound() as sock:
        yield sock.getsockname()[1]


@contextlib.asynccontextmanager
async def unreachable_port() -> AsyncIterator[int]:
    """Reserve a port that never completes a connection: its accept queue is full, so Linux drops every further SYN."""
    listener = _bound()
    listener.listen(0)
    address = listener.getsockname()
    fillers = [socket.socket() for _ in range(4)]
    try:
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        await clock.sleep(0.01)
        yield address[1]
    finally:
        for sock in (*fillers, listener):
            sock.close()


def now_s() -> float:
    """Return CLOCK_MONOTONIC in seconds."""
    return clock.now_ns() / 1e9


def _bound() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock
