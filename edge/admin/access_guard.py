"""Protocol detection on the admin listener: HTTP/1.1 connections and gRPC connections share one address.

A connection that begins with the HTTP/2 preface (RFC 9113, section 3.4) is spliced to the gRPC server's socket, with
back-pressure in both directions. Any other connection is handed to the HTTP server together with the bytes read so far.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PREFACE: Final = b"PRI * HTTP/2.0\r\n"
# A client that connects and sends nothing must not hold a connection for ever.
FIRST_BYTES_S: Final = 10.0


class AccessGuard(asyncio.Protocol):
    """A connection whose protocol is not known yet.

    Args:
        http: returns a new protocol for an HTTP/1.1 connection.
        calls: returns the path of the gRPC server's Unix socket, once it serves there; OSError = it cannot.
        tasks: holds references to the connecting tasks, which the event loop itself does not keep alive.
    """

    def __init__(
        self, http: Callable[[], asyncio.Protocol], calls: Callable[[], Awaitable[str]], tasks: set[asyncio.Task[None]]
    ) -> None:
        self._http = http
        self._calls = calls
        self._tasks = tasks
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer for the first bytes."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(FIRST_BYTES_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        del exc
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Choose the protocol as soon as the bytes read equal the preface or differ from it."""
        self._seen += data
        if len(self._seen) < len(PREFACE) and PREFACE.startswith(self._seen):
            return
        self._timer.cancel()
        if self._seen.startswith(PREFACE):
            self._transport.pause_reading()
            task = asyncio.get_running_loop().create_task(self._splice())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        protocol = self._http()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._seen)

    async def _splice(self) -> None:
        outer, inner = _Pipe(), _Pipe()
        outer.connection_made(self._transport)
        inner.other = outer  # before it connects: an HTTP/2 server sends first, and its first bytes must not be lost
        try:
            path = await self._calls()
            await asyncio.get_running_loop().create_unix_connection(lambda: inner, path)
        except OSError:
            self._transport.abort()
            return
        outer.other = inner
        self._transport.set_protocol(outer)
        inner.write(self._seen)
        if self._transport.is_closing():
            inner.close()
            return
        self._transport.resume_reading()


class _Pipe(asyncio.Protocol):
    """One end of a spliced connection; it forwards what it reads to the other end."""

    other: _Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.other is not None:
            self.other.close()

    def pause_writing(self) -> None:
        if self.other is not None and not self.other._transport.is_closing():  # noqa: SLF001 - same class
            self.other._transport.pause_reading()  # noqa: SLF001

    def resume_writing(self) -> None:
        if self.other is not None and not self.other._transport.is_closing():  # noqa: SLF001
            self.other._transport.resume_reading()  # noqa: SLF001
