"""Is this operator's connection HTTP/1.1 or gRPC?  The first bytes tell; each is led to where it is spoken.

A connection that begins with HTTP/2's preface (RFC 9113 3.4) is spliced to the gRPC server's socket, with back-pressure
both ways; any other is handed to the HTTP server as if it had always been there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

PREFACE: Final = b"PRI * HTTP/2.0\r\n"
# Whoever connects and says nothing is let go.
FIRST_BYTES_S: Final = 10.0


class AccessGuard(asyncio.Protocol):
    """One connection, until it is known what it speaks.

    Args:
        http: makes the protocol of an HTTP/1.1 connection.
        path: the gRPC server's socket.
        tasks: keeps what is being connected alive.
    """

    def __init__(self, http: Callable[[], asyncio.Protocol], path: str, tasks: set[asyncio.Task[None]]) -> None:
        self._http = http
        self._path = path
        self._tasks = tasks
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, but not for ever."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(FIRST_BYTES_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        del exc
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the bytes differ from the preface, or are it."""
        self._seen += data
        if len(self._seen) < len(PREFACE) and PREFACE.startswith(self._seen):
            return
        self._timer.cancel()
        if self._seen.startswith(PREFACE):
            self._transport.pause_reading()
            task = asyncio.get_running_loop().create_task(self._lead())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        protocol = self._http()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._seen)

    async def _lead(self) -> None:
        outer, inner = _Pipe(), _Pipe()
        outer.connection_made(self._transport)
        inner.other = outer  # before it is connected: an HTTP/2 server speaks first, and its words are not repeated
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: inner, self._path)
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
    """One end of a spliced connection: what comes here goes out there."""

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
        if self.other is not None and not self.other._transport.is_closing():  # noqa: SLF001 - its own kind
            self.other._transport.pause_reading()  # noqa: SLF001

    def resume_writing(self) -> None:
        if self.other is not None and not self.other._transport.is_closing():  # noqa: SLF001
            self.other._transport.resume_reading()  # noqa: SLF001
