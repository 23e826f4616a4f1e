"""The load process: it sends the same request repeatedly on keep-alive connections, and checks each response.

``python -m bench.macro.load`` reads one :class:`Order` per line as JSON, sends its requests and prints a :class:`Ran`;
it ends when its standard input ends. Its CPU time is not counted, but it shares the machine with the proxy, so it
checks only the first and the last bytes of a response.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from typing import Final, cast

import msgspec
import uvloop
from msgspec import Struct

from bench.macro import greeter, wire

_GOOD = b"HTTP/1.1 200 "
_TAIL = wire.WHOLE_CONTENT[-48:]


class Order(Struct, frozen=True):
    """A run to be made."""

    port: int
    count: int  # total number of requests
    connections: int
    stream: bool = False
    streams: int = 0  # concurrent gRPC calls per connection; 0: HTTP/1.1
    limit_s: float = 60.0


class Ran(Struct, frozen=True):
    """The results of an Order."""

    right: int
    wrong: int
    seconds: float
    p50_us: float
    p99_us: float
    events: int = 0  # events of streams: SSE events or gRPC messages
    chunks: int = 0  # chunks in which the events arrived: HTTP/1.1 chunks or DATA frames


class Run:
    """The state of a run."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.count
        self.right = self.wrong = self.events = self.chunks = 0
        self.took_ns = array("q")
        self.over = asyncio.get_running_loop().create_future()
        self.fault = ""

    def settle(self, *, right: bool) -> None:
        """Count one response."""
        self.right += right
        self.wrong += not right
        if self.right + self.wrong == self.order.count and not self.over.done():
            self.over.set_result(None)

    def fail(self, fault: str) -> None:
        """Abort the run; with a lost connection, the results would not be comparable."""
        if not self.over.done():
            self.over.set_exception(ConnectionError(fault))


class Whole(asyncio.Protocol):
    """A connection whose requests do not stream."""

    REQUEST = wire.WHOLE_REQUEST

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent_ns = 0
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not subclass asyncio's
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail; a connection that ends between two requests is not kept alive, which is wrong too."""
        if self._waiting or self._run.left:
            self._run.fail(f"a connection ended: {exc or 'closed'}; last bytes {self._buffer[-200:]!r}")

    def ask(self) -> None:
        """Send the next request, if there is one."""
        self._buffer = b""
        self._waiting = self._run.left > 0
        if self._waiting:
            self._run.left -= 1
            self._sent_ns = time.perf_counter_ns()
            self._transport.write(self.REQUEST)

    def data_received(self, data: bytes) -> None:
        """Check whether the response is complete."""
        if self._buffer:
            data = self._buffer + data
        if data.endswith(_TAIL) or not data.startswith(_GOOD):
            self.settled(right=data.startswith(_GOOD))
        else:
            self._buffer = data

    def settled(self, *, right: bool) -> None:
        """Count this response, and send the next request."""
        self._run.took_ns.append(time.perf_counter_ns() - self._sent_ns)
        self._run.settle(right=right)
        self.ask()

    def leave(self) -> None:
        """Close the connection."""
        self._waiting = False
        self._transport.close()


class Streamed(Whole):
    """A connection whose requests stream."""

    REQUEST = wire.STREAM_REQUEST
    _events = 0

    def data_received(self, data: bytes) -> None:
        """Count events and the chunks that carry them: the first event of a chunk follows its size line."""
        if not self._buffer and not data.startswith(_GOOD):
            self.settled(right=False)
            return
        self._buffer = data
        self._events += data.count(b"data: ")
        self._run.chunks += data.count(b"\r\ndata: ")
        if data.endswith(wire.LAST_CHUNK):
            self._run.events += self._events
            right, self._events = self._events == wire.EVENTS, 0
            self.settled(right=right)


_KINDS: Final[dict[tuple[bool, bool], type[Whole | greeter.Calls]]] = {
    (False, False): Whole,
    (False, True): Streamed,
    (True, False): greeter.Calls,
    (True, True): greeter.Streams,
}


async def carry_out(order: Order) -> Ran:
    """Send the requests of an Order.

    Raises:
        OSError: a connection failed or was lost.
        TimeoutError: the run took longer than ``limit_s``.
    """
    run = Run(order)
    loop = asyncio.get_running_loop()
    kind = _KINDS[order.streams > 0, order.stream]
    opened: list[Whole | greeter.Calls] = []
    started_ns = time.perf_counter_ns()
    try:
        async with asyncio.timeout(order.limit_s):
            for _ in range(min(order.connections, order.count)):
                _, protocol = await loop.create_connection(lambda: kind(run), "127.0.0.1", order.port)
                opened.append(protocol)
            await run.over
    finally:
        seconds = (time.perf_counter_ns() - started_ns) / 1e9
        run.left = 0
        for protocol in opened:
            protocol.leave()
    took = sorted(run.took_ns)
    return Ran(
        run.right,
        run.wrong,
        seconds,
        p50_us=took[len(took) // 2] / 1000,
        p99_us=took[min(len(took) - 1, len(took) * 99 // 100)] / 1000,
        events=run.events,
        chunks=run.chunks,
    )


async def _obey() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            done = msgspec.json.encode(await carry_out(msgspec.json.decode(line, type=Order)))
        except (OSError, TimeoutError) as fault:
            done = msgspec.json.encode({"fault": f"{type(fault).__name__}: {fault}"})
        sys.stdout.write(done.decode() + "\n")
        sys.stdout.flush()


def main() -> None:
    """Make runs until standard input ends."""
    uvloop.run(_obey())


if __name__ == "__main__":
    main()
