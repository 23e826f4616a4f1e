"""Client and server of ``helloworld.Greeter`` for the gRPC scenarios: small messages, unary or streamed.

:class:`Calls` and :class:`Streams` are clients, :class:`Server` is the upstream. It tells the two methods apart by the
request message, because nothing decodes field sections here.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from bench.macro.frames import (
    DATA,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    OPENING,
    PREFACE,
    WINDOW,
    Peer,
    frame,
    message,
)
from bench.macro.wire import KEY
from edge.wire.helloworld.helloworld_pb2 import HelloReply, HelloRequest

if TYPE_CHECKING:
    from bench.macro.load import Run

MESSAGES: Final = 500
CALL: Final = "/helloworld.Greeter/SayHello"
STREAM: Final = "/helloworld.Greeter/SayHelloStreamReply"
_MANY: Final = "again and again"
ASKED: Final = message(HelloRequest(name="everybody on the line").SerializeToString())
ASKED_STREAM: Final = message(HelloRequest(name=_MANY).SerializeToString())
REPLY: Final = message(HelloReply(message="Hello, everybody on the line!").SerializeToString())
SAID: Final = message(HelloReply(message="Hello once more. ".ljust(93, ".")).SerializeToString())


def request(path: str) -> tuple[tuple[str, str], ...]:
    """Return the field section of a call."""
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-bench/1"),
        ("authorization", f"Bearer {KEY}"),
        ("grpc-accept-encoding", "identity, deflate, gzip"),
        ("grpc-timeout", "60S"),
    )


_ASKING: Final = {"call": request(CALL), "stream": request(STREAM)}
_ANSWERING: Final = {
    "head": ((":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "identity, gzip")),
    "trailers": (("grpc-status", "0"),),
}


class Calls(Peer):
    """A client connection with as many concurrent unary calls as the Order says."""

    SECTION = "call"
    MESSAGE = ASKED

    def __init__(self, run: Run) -> None:
        super().__init__(_ASKING, PREFACE + OPENING)
        self._run = run
        self._next = 1
        self._sent_ns: dict[int, int] = {}
        self._answered: set[int] = set()  # streams whose message has arrived
        self._leaving = False
        for _ in range(run.order.streams):
            self._ask()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first calls."""
        self._run.opened.add(self)
        super().connection_made(transport)

    def _ask(self) -> None:
        if self._run.left > 0:
            self._run.left -= 1
            stream, self._next = self._next, self._next + 2
            self._sent_ns[stream] = time.perf_counter_ns()
            self.headers(self.SECTION, stream)
            self.out.append(frame(DATA, END_STREAM, stream, self.MESSAGE))
            self.asked(stream)

    def asked(self, stream: int) -> None:
        """Handle the start of a call."""

    def settled(self, stream: int, *, right: bool) -> None:
        """Count this response, and start the next call."""
        self._run.took_ns.append(time.perf_counter_ns() - self._sent_ns.pop(stream))
        self._run.settle(right=right)
        self._ask()

    def on_data(self, stream: int, payload: bytes, ended: int) -> None:
        """Check the response: anything but the message, or an end without trailers, is wrong.

        An empty frame before the trailers says nothing; nginx sends one.
        """
        if ended or payload not in (REPLY, b""):
            self.settled(stream, right=False)
        elif payload:
            self._answered.add(stream)

    def on_headers(self, stream: int, ended: int) -> None:
        """Handle the head or the trailers, which follow the message."""
        if ended and stream in self._sent_ns:
            self.settled(stream, right=stream in self._answered)
            self._answered.discard(stream)

    def on_end(self, said: str) -> None:
        """Fail: a correct proxy resets no stream and sends no GOAWAY here."""
        self._fail(said)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, because the results would not be comparable."""
        self._fail(str(exc or "closed"))

    def _fail(self, said: str) -> None:
        if not self._leaving:
            self._run.fail(f"a connection ended: {said}")

    def leave(self) -> None:
        """Close the connection."""
        self._leaving = True
        self._transport.close()


class Streams(Calls):
    """A client connection with as many concurrent server streams as the Order says."""

    SECTION = "stream"
    MESSAGE = ASKED_STREAM

    def __init__(self, run: Run) -> None:
        self._bytes: dict[int, int] = {}
        super().__init__(run)

    def asked(self, stream: int) -> None:
        """Handle the start of a stream."""
        self._bytes[stream] = 0

    def on_data(self, stream: int, payload: bytes, ended: int) -> None:  # noqa: ARG002
        """Count the bytes of messages, which all have the same size."""
        self._bytes[stream] += len(payload)
        self._run.chunks += 1

    def on_headers(self, stream: int, ended: int) -> None:
        """Handle the head or the trailers; all messages have arrived before the trailers."""
        if ended and stream in self._sent_ns:
            events, more = divmod(self._bytes.pop(stream), len(SAID))
            self._run.events += events
            self.settled(stream, right=events == MESSAGES and not more)


class Server(Peer):
    """A proxy's connection to the upstream. Streams take turns; each message is a DATA frame, as fast as it is read."""

    def __init__(self) -> None:
        super().__init__(_ANSWERING, OPENING)
        self._running: dict[int, int] = {}  # remaining messages by stream
        self._credit = WINDOW
        self._ticking = self._paused = False
        self._loop = asyncio.get_running_loop()

    def on_data(self, stream: int, payload: bytes, ended: int) -> None:  # noqa: ARG002
        """Answer a message; ignore the empty frame that ends it."""
        if payload == ASKED_STREAM:
            self.headers("head", stream)
            self._running[stream] = MESSAGES
            self._go()
        elif payload:
            self.headers("head", stream)
            self.out.append(frame(DATA, 0, stream, REPLY))
            self.headers("trailers", stream, END_STREAM)
            self._credit -= len(REPLY)

    def on_window(self, stream: int, more: int) -> None:
        """Count the connection's window; a stream fits into its initial window."""
        if stream == 0:
            self._credit += more
            self._go()

    def on_setting(self, number: int, value: int) -> None:
        """Abort unless a whole stream fits into its window."""
        if number == INITIAL_WINDOW_SIZE and value < MESSAGES * len(SAID):
            self._transport.abort()

    def on_end(self, _: str) -> None:
        """Drop all streams: the run was aborted and nothing reads them."""
        self._running.clear()

    def connection_lost(self, _: Exception | None) -> None:
        """Drop all streams."""
        self._running.clear()

    def pause_writing(self) -> None:
        """Pause, because the proxy does not keep up."""
        self._paused = True

    def resume_writing(self) -> None:
        """Resume."""
        self._paused = False
        self._go()

    def _go(self) -> None:
        if self._running and not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        """Send one message of each stream."""
        self._ticking = False
        if self._paused:
            return
        for stream, left in list(self._running.items()):
            if self._credit < len(SAID):
                break
            self._credit -= len(SAID)
            self.out.append(frame(DATA, 0, stream, SAID))
            if left > 1:
                self._running[stream] = left - 1
            else:
                del self._running[stream]
                self.headers("trailers", stream, END_STREAM)
        else:
            self._go()
        self.flush()
