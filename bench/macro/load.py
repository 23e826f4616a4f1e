"""The load process: it sends the same request repeatedly, and checks each response.

``python -m bench.macro.load`` reads one :class:`Order` per line as JSON, sends its requests and prints a :class:`Ran`;
it ends when its standard input ends. Its CPU time is not counted, but it shares the machine with the proxy.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from array import array
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import uvloop
from msgspec import Struct

from bench.macro import greeter
from bench.macro.certificates import HOST
from bench.macro.clients import Long, Paced, Streamed, Translated, Whole

if TYPE_CHECKING:
    from collections.abc import Coroutine

Kind = Literal["whole", "long", "stream", "paced", "translated", "call", "call-stream"]
STREAMED: Final = frozenset[Kind]({"stream", "paced", "call-stream"})


class Order(Struct, frozen=True):
    """A run to be made."""

    port: int
    count: int  # total number of requests
    connections: int
    kind: Kind = "whole"
    streams: int = 0  # concurrent gRPC calls per connection
    fresh: bool = False  # a new connection for each request
    rate: int = 0  # requests per second, sent whether or not earlier ones are answered; 0: as fast as answers come
    key: str = ""  # what is sent instead of wire.KEY
    ca: str = ""  # PEM file of the authority; empty: no TLS
    limit_s: float = 60.0


class Ran(Struct, frozen=True):
    """The results of an Order."""

    right: int
    wrong: int
    seconds: float
    p50_us: float
    p99_us: float
    first_p99_us: float = 0.0  # from sending a request to the first bytes of its stream
    events: int = 0  # events of streams: SSE events or gRPC messages
    chunks: int = 0  # chunks in which the events arrived: HTTP/1.1 chunks or DATA frames
    said: str = ""  # the last bytes of the first wrong response over HTTP/1.1


class Run:
    """The state of a run, and what a connection does next."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.count
        self.right = self.wrong = self.events = self.chunks = 0
        self.said = ""
        self.took_ns = array("q")
        self.first_ns = array("q")
        self.over = asyncio.get_running_loop().create_future()
        self.opened: set[Whole | greeter.Calls] = set()
        self._idle: deque[Whole] = deque()
        self._due_ns: deque[int] = deque()  # open loop: requests that wait for a connection
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls = ssl.create_default_context(cafile=order.ca) if order.ca else None

    async def connect(self) -> None:
        """Open a connection."""
        kind = _KINDS[self.order.kind]
        loop = asyncio.get_running_loop()
        host = HOST if self._tls else None
        await loop.create_connection(
            lambda: kind(self), "127.0.0.1", self.order.port, ssl=self._tls, server_hostname=host
        )

    def free(self, connection: Whole) -> None:
        """Give a connection its next request, or with a rate keep it until one is due."""
        if not self.order.rate:
            connection.ask()
        elif self._due_ns:
            connection.ask(self._due_ns.popleft())
        else:
            self._idle.append(connection)

    def done(self, connection: Whole) -> None:
        """Use a connection again, or replace it."""
        if not self.order.fresh:
            self.free(connection)
            return
        connection.leave()
        if self.left > len(self._tasks):
            self._spawn(self.connect())

    async def send_at_rate(self) -> None:
        """Send every request when it is due; one that finds no idle connection waits, and its time runs."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(self.order.count):
            due += 1 / self.order.rate
            await asyncio.sleep(due - loop.time())
            if self._idle:
                self._idle.popleft().ask()
            else:
                self._due_ns.append(time.perf_counter_ns())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.fail(str(fault))

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

    async def carry_out(self) -> None:
        """Open the connections, and wait until every request is answered."""
        async with asyncio.timeout(self.order.limit_s):
            for _ in range(min(self.order.connections, self.order.count)):
                await self.connect()
            if self.order.rate:
                self._spawn(self.send_at_rate())
            await self.over

    def leave(self) -> None:
        """Close every connection."""
        self.left = 0
        for task in self._tasks:
            task.cancel()
        for connection in list(self.opened):
            connection.leave()


_KINDS: Final[dict[Kind, type[Whole | greeter.Calls]]] = {
    "whole": Whole,
    "long": Long,
    "stream": Streamed,
    "paced": Paced,
    "translated": Translated,
    "call": greeter.Calls,
    "call-stream": greeter.Streams,
}


def _percentile_us(took_ns: array[int], percent: int) -> float:
    ordered = sorted(took_ns)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] / 1000 if ordered else 0.0


async def carry_out(order: Order) -> Ran:
    """Send the requests of an Order.

    Raises:
        OSError: a connection failed or was lost.
        TimeoutError: the run took longer than ``limit_s``.
    """
    run = Run(order)
    started_ns = time.perf_counter_ns()
    try:
        await run.carry_out()
    finally:
        seconds = (time.perf_counter_ns() - started_ns) / 1e9
        run.leave()
    return Ran(
        run.right,
        run.wrong,
        seconds,
        p50_us=_percentile_us(run.took_ns, 50),
        p99_us=_percentile_us(run.took_ns, 99),
        first_p99_us=_percentile_us(run.first_ns, 99),
        events=run.events,
        chunks=run.chunks,
        said=run.said,
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
