"""Client connections of the load process over HTTP/1.1: one request at a time each, each response checked.

Only the first and the last bytes of a response are checked: the load shares the machine with the proxy. What a
connection does next is decided by its :class:`bench.macro.load.Run`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

from bench.macro import wire

if TYPE_CHECKING:
    from bench.macro.load import Run

_GOOD: Final = b"HTTP/1.1 200 "
_TAIL: Final = wire.WHOLE_CONTENT[-48:]


class Whole(asyncio.Protocol):
    """A connection whose requests do not stream."""

    REQUEST = wire.WHOLE_REQUEST

    def __init__(self, run: Run) -> None:
        self._run = run
        self._request = self.REQUEST
        if run.order.key:
            self._request = self.REQUEST.replace(wire.KEY.encode(), run.order.key.encode())
        self._buffer = b""
        self._sent_ns = 0
        self._waiting = self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report that the connection can take a request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not subclass asyncio's
        self._run.opened.add(self)
        self._run.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail; a connection that ends between two requests is not kept alive, which is wrong too."""
        self._run.opened.discard(self)
        if not self._leaving and (self._waiting or self._run.left):
            self._run.fail(f"a connection ended: {exc or 'closed'}; last bytes {self._buffer[-200:]!r}")

    def ask(self, since_ns: int = 0) -> None:
        """Send the next request, if there is one; ``since_ns`` is when it was due, if that was earlier than now."""
        self._buffer = b""
        self._waiting = self._run.left > 0
        if self._waiting:
            self._run.left -= 1
            self._sent_ns = since_ns or time.perf_counter_ns()
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Check whether the response is complete."""
        if self._buffer:
            data = self._buffer + data
        self._buffer = data
        if data.endswith(_TAIL) or not data.startswith(_GOOD):
            self.settled(right=data.startswith(_GOOD))

    def settled(self, *, right: bool) -> None:
        """Count this response, and report that the connection is free."""
        self._waiting = False
        if not right and not self._run.said:
            self._run.said = self._buffer[-500:].decode(errors="replace")
        self._run.took_ns.append(time.perf_counter_ns() - self._sent_ns)
        self._run.settle(right=right)
        self._run.done(self)

    def leave(self) -> None:
        """Close the connection."""
        self._leaving = True
        self._transport.close()


class Long(Whole):
    """A connection whose requests have a prompt of 64 KiB."""

    REQUEST = wire.LONG_REQUEST


class Streamed(Whole):
    """A connection whose responses are event streams."""

    REQUEST = wire.STREAM_REQUEST
    EVENTS = wire.EVENTS
    _events = 0

    def data_received(self, data: bytes) -> None:
        """Count events and the chunks that carry them: the first event of a chunk follows its size line."""
        if not self._buffer:
            self._run.first_ns.append(time.perf_counter_ns() - self._sent_ns)
            if not data.startswith(_GOOD):
                self._buffer = data
                self.settled(right=False)
                return
        self._buffer = data
        self._events += data.count(b"data: ")
        self._run.chunks += data.count(b"\r\ndata: ")
        if data.endswith(wire.LAST_CHUNK):
            self._run.events += self._events
            right, self._events = self._events == self.EVENTS, 0
            self.settled(right=right)


class Paced(Streamed):
    """A connection whose responses are streams of few events, as far apart as a model writes them."""

    REQUEST = wire.PACED_REQUEST
    EVENTS = wire.PACED_EVENTS


class Translated(Whole):
    """A connection whose answers edge has translated: their bytes are edge's, so that only their ends are compared."""

    def data_received(self, data: bytes) -> None:
        """Check whether the response is complete."""
        data = self._buffer + data
        self._buffer = data
        if data.endswith(b"}") or not data.startswith(_GOOD):
            self.settled(right=data.startswith(_GOOD) and b'"finish_reason"' in data)
