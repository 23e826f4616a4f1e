"""A closed-loop load generator that checks every response.

It is a raw keep-alive HTTP/1.1 client on asyncio protocols that needs little CPU per request. Every complete response
is passed to ``verify``, and every failure is recorded with its request, connection and time. A request that was sent is
never repeated, because a client would see its failure; only a request that is still waiting for its scheduled time
moves to another connection when its own ends.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from edge import clock
from edge.sim.scores import quantile

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_RECONNECT_S = 0.02  # interval of connection attempts while a listener is being replaced
_RECONNECT_TRIES = 250
_NO_BODY = (204, 304)


class Answered(Struct, frozen=True):
    """A complete response: ``head`` in lower case with the status line, ``body`` without transfer coding."""

    status: int
    head: bytes
    body: bytes


class Failure(Struct, frozen=True):
    """A failed request: when (monotonic seconds), on which connection, and why."""

    number: int
    connection: int
    at_s: float
    reason: str


class ClosedLoopLoad:
    """Sends ``count`` requests over ``connections`` connections, as fast as they are answered or at a given rate.

    Args:
        port: port of the server.
        request: one request for all, or a function from the request's number.
        count: total number of requests.
        connections: number of connections, with one request at a time on each.
        verify: returns None if the response to request n is right, else what is wrong with it.
        rate: requests per second in total; 0: as fast as they are answered.
        host: host of the server.
        tls: how to verify the server; None: no TLS.
    """

    def __init__(
        self,
        port: int,
        request: bytes | Callable[[int], bytes],
        *,
        count: int,
        connections: int = 32,
        verify: Callable[[int, Answered], str | None],
        rate: float = 0.0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._where = (host, port)
        self._tls = tls
        self._request = request
        self._count = count
        self._connections = connections
        self._verify = verify
        self._rate = rate
        self._next = 0
        self._returned: list[int] = []
        self._running: set[asyncio.Task[None]] = set()
        self._began_s = 0.0
        self._ended_s = 0.0
        self._over = asyncio.Event()
        self._wires: set[_Wire] = set()
        self._latencies_s: list[float] = []
        self.right = 0
        self.failures: list[Failure] = []

    @property
    def finished(self) -> int:
        """Number of requests that have ended, right or wrong."""
        return self.right + len(self.failures)

    @property
    def begun(self) -> int:
        """Number of requests that were taken for sending; requests with this number or a higher one were not sent."""
        return self._next

    @property
    def reasons(self) -> dict[str, int]:
        """Number of failures by reason."""
        return dict(Counter(failure.reason for failure in self.failures))

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first request to the last response."""
        return self._ended_s - self._began_s

    def latency_s(self, share: float) -> float:
        """Return the latency quantile ``share`` (0..1) of the right responses; 0 without any."""
        return quantile(self._latencies_s, share)

    async def run(self, limit_s: float = 60.0) -> None:
        """Send all requests.

        Raises:
            TimeoutError: requests remain after ``limit_s``; the attributes hold the results so far.
        """
        self._began_s = _now_s()
        try:
            async with asyncio.timeout(limit_s):
                for index in range(min(self._connections, self._count)):
                    self._start(index)
                await self._over.wait()
        finally:
            for task in self._running:
                task.cancel()
            for wire in list(self._wires):
                wire.leave()
            await asyncio.gather(*self._running, return_exceptions=True)
            self._ended_s = _now_s()

    async def reached(self, finished: int, limit_s: float = 60.0) -> None:
        """Wait until ``finished`` requests have ended, so that a test can inject a fault at a known moment.

        Raises:
            TimeoutError: fewer requests have ended after ``limit_s``.
        """
        async with asyncio.timeout(limit_s):
            while self.finished < finished:
                await clock.sleep(_RECONNECT_S / 10)

    # ---- called by the connections

    def take(self) -> tuple[int, bytes, float] | None:
        """Return the next request as (number, bytes, time due in seconds), or None if all have been taken."""
        if self._returned:
            number = self._returned.pop()
        elif self._next < self._count:
            number = self._next
            self._next += 1
        else:
            return None
        due_s = self._began_s + number / self._rate if self._rate else 0.0
        return number, self._request if isinstance(self._request, bytes) else self._request(number), due_s

    def settle(self, connection: int, number: int, took_s: float, answer: Answered | str) -> None:
        """Record the end of a request: a response to verify, or the reason why there is none."""
        wrong = answer if isinstance(answer, str) else self._verify(number, answer)
        if wrong is None:
            self.right += 1
            self._latencies_s.append(took_s)
        else:
            self.failures.append(Failure(number, connection, _now_s(), wrong))
        if self.finished >= self._count:
            self._over.set()

    def lost(self, wire: _Wire, unsent: int | None) -> None:
        """Replace a connection that ended if requests remain; ``unsent`` is the number of a request to reassign."""
        self._wires.discard(wire)
        if unsent is not None:
            self._returned.append(unsent)
        if self._returned or self._next < self._count:
            self._start(wire.index)

    def _start(self, index: int) -> None:
        task = asyncio.create_task(self._connect(index))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _connect(self, index: int) -> None:
        reason = ""
        loop = asyncio.get_running_loop()
        for _ in range(_RECONNECT_TRIES):
            try:
                _, wire = await loop.create_connection(lambda: _Wire(self, index), *self._where, ssl=self._tls)
            except OSError as fault:
                reason = type(fault).__name__
                await clock.sleep(_RECONNECT_S)
            else:
                self._wires.add(wire)
                return
        while (taken := self.take()) is not None:
            self.settle(index, taken[0], 0.0, f"cannot connect: {reason}")


class _Wire(asyncio.Protocol):
    """A connection that sends one request at a time."""

    def __init__(self, closed_loop: ClosedLoopLoad, index: int) -> None:
        self.index = index
        self._closed_loop = closed_loop
        self._transport: asyncio.Transport | None = None
        self._number = -1  # number of the request in flight; -1: none
        self._waiting: tuple[int, bytes] | None = None  # a request that was taken and is not due yet
        self._sent_s = 0.0
        self._leaving = False
        self._clear()

    def leave(self) -> None:
        """Close the connection without counting a failure."""
        self._leaving = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not subclass asyncio's
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            answer = self._parse()
        except ValueError as fault:
            self._settle(f"malformed answer: {fault}")
            self.leave_now()
            return
        if answer is None:
            return
        closes = b"\r\nconnection: close" in answer.head
        if len(self._buffer) > self._at:
            self._settle("bytes after the answer")
            self.leave_now()
            return
        self._settle(answer)
        if closes:
            self.leave_now()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._leaving:
            return
        if self._number >= 0:
            if self._head and self._length < 0 and not self._chunked and exc is None:
                self._settle(Answered(self._status, self._head, bytes(self._buffer[self._at :])))
            else:
                how = "reset" if exc is not None else "closed"
                self._settle(f"{how} {'before the answer' if not self._buffer else 'inside the answer'}")
        unsent, self._waiting = self._waiting, None
        self._closed_loop.lost(self, unsent[0] if unsent else None)

    def leave_now(self) -> None:
        """Close this connection, and let a new one replace it."""
        if self._transport is not None:
            self._transport.close()

    def _clear(self) -> None:
        self._buffer = bytearray()
        self._head = b""
        self._status = 0
        self._at = 0  # end of the parsed part of the buffer
        self._length = -1
        self._chunked = False
        self._body: list[bytes] = []

    def _ask(self) -> None:
        taken = self._closed_loop.take()
        if taken is None:
            self.leave()
            return
        number, request, due_s = taken
        wait_s = due_s - _now_s()
        self._waiting = (number, request)
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._waiting is None or self._transport is None or self._transport.is_closing():
            return  # connection_lost reassigns the request
        (self._number, request), self._waiting = self._waiting, None
        self._clear()
        self._sent_s = _now_s()
        self._transport.write(request)

    def _settle(self, answer: Answered | str) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            self._closed_loop.settle(self.index, number, _now_s() - self._sent_s, answer)

    def _parse(self) -> Answered | None:
        """Return the response once it is complete."""
        if self._number < 0:
            raise ValueError("a response without a request")
        if not self._head and not self._parse_head():
            return None
        if self._chunked:
            if not self._parse_chunks():
                return None
            return Answered(self._status, self._head, b"".join(self._body))
        if self._length < 0 or len(self._buffer) - self._at < self._length:
            return None
        start, self._at = self._at, self._at + self._length
        return Answered(self._status, self._head, bytes(self._buffer[start : self._at]))

    def _parse_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._head = bytes(self._buffer[: end + 2]).lower()
        self._at = end + 4
        self._status = int(self._head[9:12])
        self._chunked = b"\r\ntransfer-encoding: chunked" in self._head
        length = _LENGTH.search(self._head)
        self._length = 0 if self._status in _NO_BODY else int(length[1]) if length else -1
        return True

    def _parse_chunks(self) -> bool:
        while True:
            line = self._buffer.find(b"\r\n", self._at)
            if line < 0:
                return False
            size = int(bytes(self._buffer[self._at : line]).split(b";")[0], 16)
            end = line + 2 + size + 2
            if len(self._buffer) < end:
                return False
            if self._buffer[end - 2 : end] != b"\r\n":
                raise ValueError("a chunk that does not end in CRLF, or trailers")
            self._at = end
            if size == 0:
                return True
            self._body.append(bytes(self._buffer[line + 2 : end - 2]))


def _now_s() -> float:
    return clock.now_ns() / 1e9
