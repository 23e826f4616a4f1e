"""A provider that can stream to thousands of clients at once, in a process of its own.

``python stream_provider.py THINKS_S STREAMS_S`` listens on a free port and prints it. Each request is answered with a
content token after THINKS_S seconds, another one STREAMS_S seconds later, and the end of the stream. It reads nothing
of a request but its length, so that it needs far less processor time than what is measured in front of it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Self, cast

import uvloop

START_S = 30.0
BACKLOG = 4096
CONTENT = b'{"id":"c1","choices":[{"index":0,"delta":{"content":" hello"},"finish_reason":null}]}'
STOP = b'{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def _event(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST = HEAD + _event(CONTENT)
LAST = _event(CONTENT) + _event(STOP) + _event(b"[DONE]") + b"0\r\n\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self, thinks_s: float, streams_s: float) -> None:
        self._thinks_s = thinks_s
        self._streams_s = streams_s
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not subclass asyncio's

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]):
            return
        self._buffer = b""
        self._loop.call_later(self._thinks_s, self._begin)

    def _begin(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(FIRST)
            self._loop.call_later(self._streams_s, self._end)

    def _end(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(LAST)


class StreamProvider:
    """The process: ``async with StreamProvider(0.5, 10.0) as provider: provider.port``."""

    def __init__(self, thinks_s: float, streams_s: float) -> None:
        self._words = (str(thinks_s), str(streams_s))
        self.port = 0

    @property
    def url(self) -> str:
        """The root URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__)), *self._words, stdout=asyncio.subprocess.PIPE
        )
        assert self._child.stdout is not None
        self.port = int(await asyncio.wait_for(self._child.stdout.readline(), START_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._child.kill()
        await self._child.wait()


async def _serve(thinks_s: float, streams_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(thinks_s, streams_s), "127.0.0.1", 0, backlog=BACKLOG)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]), float(sys.argv[2])))
