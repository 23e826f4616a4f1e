"""The upstream of the macro benchmarks: a process with fixed responses that uses as little CPU as possible.

``python -m bench.macro.upstream`` prints its ports, without and with TLS, and ends when its standard input ends. Its
CPU time is not counted, but it shares the machine, so it only looks for the end of each request. The events of a stream
are written one at a time, one per turn; ``--turn-ms`` is long enough that a proxy that keeps up reads each event by
itself. Within a turn the streams are spread over its milliseconds (the resolution of the loop's timers), like streams
of different clients. A connection that begins with HTTP/2's preface is handled as a gRPC Greeter.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import ssl
import sys
from typing import Final, cast

import uvloop

from bench.macro import wire
from bench.macro.frames import PREFACE
from bench.macro.greeter import Server

_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"
_MS_S: Final = 0.001


class Streams:
    """All running streams, by the millisecond of the turn in which they write."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, turn_ms: int, writes: tuple[bytes, ...] = wire.STREAM_WRITES
    ) -> None:
        self._loop = loop
        self._writes = writes
        self._running: list[dict[Connection, int]] = [{} for _ in range(turn_ms)]
        self._phase = 0
        self._next = 0
        self._due = 0.0
        self._ticking = False

    def begin(self, connection: Connection) -> None:
        """Start a stream on this connection at its next turn."""
        self._running[self._next % len(self._running)][connection] = 0
        self._next += 1
        if not self._ticking:
            self._ticking = True
            self._due = self._loop.time()
            self._tick()

    def forget(self, connection: Connection) -> None:
        """Stop the stream on a connection."""
        for running in self._running:
            running.pop(connection, None)

    def _tick(self) -> None:
        running = self._running[self._phase]
        self._phase = (self._phase + 1) % len(self._running)
        for connection, sent in list(running.items()):
            connection.write(self._writes[sent])
            if sent + 1 == len(self._writes):
                del running[connection]
            else:
                running[connection] = sent + 1
        if any(self._running):
            # A late tick is not caught up: two events at once would be read as one.
            self._due = max(self._due + _MS_S, self._loop.time())
            self._loop.call_at(self._due, self._tick)
        else:
            self._ticking = False


class Connection(asyncio.Protocol):
    """A connection of a proxy."""

    def __init__(self, streams: Streams, paced: Streams | None = None, messages: Streams | None = None) -> None:
        self._streams = streams
        self._paced = paced or streams
        self._messages = messages or streams
        self._buffer = b""
        self._parts: list[bytes] = []  # of a long body, while ``_missing`` bytes of it have not arrived
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not subclass asyncio's
        self.write = self._transport.write

    def connection_lost(self, _: Exception | None) -> None:
        """Stop the stream on this connection."""
        self._streams.forget(self)
        self._paced.forget(self)
        self._messages.forget(self)

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        if self._missing:
            self._missing -= len(data)
            self._parts.append(data)
            if self._missing > 0:
                return
            self._missing = 0
            buffer = b"".join(self._parts)
            self._parts.clear()
        else:
            buffer = self._buffer + data if self._buffer else data
        if buffer.startswith(PREFACE):
            greeter = Server()
            self._transport.set_protocol(greeter)
            greeter.connection_made(self._transport)
            greeter.data_received(buffer[len(PREFACE) :])
            return
        while buffer:
            head = buffer.find(_HEAD_END)
            if head < 0:
                break
            length = _LENGTH.search(buffer, 0, head)
            size = int(length[1]) if length else 0
            end = head + len(_HEAD_END) + size
            if len(buffer) < end:
                self._missing = end - len(buffer)
                self._parts.append(buffer)
                buffer = b""
                break
            if buffer.startswith(wire.MESSAGES):
                if b'"stream":true' in buffer[head:end]:
                    self._messages.begin(self)
                else:
                    self.write(wire.MESSAGE_ANSWER)
            elif b'"stream": true' in buffer[head:end]:
                (self._paced if wire.PACED in buffer[head:end] else self._streams).begin(self)
            else:
                self.write(wire.WHOLE_ANSWER)
            buffer = buffer[end:]
        self._buffer = buffer


async def _serve(turn_ms: int, cert: str, key: str) -> None:
    loop = asyncio.get_running_loop()
    streams, paced = Streams(loop, turn_ms), Streams(loop, wire.PACE_MS, wire.PACED_WRITES)
    messages = Streams(loop, turn_ms, wire.MESSAGE_WRITES)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    servers = [
        await loop.create_server(lambda: Connection(streams, paced, messages), "127.0.0.1", 0, ssl=tls, backlog=1024)
        for tls in (None, context)
    ]
    sys.stdout.write(" ".join(str(server.sockets[0].getsockname()[1]) for server in servers) + "\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    for server in servers:
        server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro.upstream", description=__doc__)
    parser.add_argument("--turn-ms", type=int, default=4, help="milliseconds between two events of a stream (4)")
    parser.add_argument("--cert", required=True, help="PEM file of the certificate that the port with TLS shows")
    parser.add_argument("--key", required=True, help="PEM file of its private key")
    asked = parser.parse_args()
    uvloop.run(_serve(asked.turn_ms, asked.cert, asked.key))


if __name__ == "__main__":
    main()
