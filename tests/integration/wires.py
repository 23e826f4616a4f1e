"""Sends a request over HTTP/2 and returns its answer as HTTP/1.1 bytes, for tests that cover both.

A request in HTTP/1.1 bytes is sent over HTTP/2 with the h2 package. The answer is converted to HTTP/1.1, so that one
assertion covers both: the end of a stream becomes the last chunk of an answer without a length, and a reset becomes a
closed connection.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import h2.config
import h2.connection
import h2.events

if TYPE_CHECKING:
    import ssl

# What HTTP/2 says in another way (RFC 9113 8.2.2, 8.3.1).
LEFT_OUT = (b"host", b"connection", b"transfer-encoding", b"keep-alive")


class Said(NamedTuple):
    """The received answer as HTTP/1.1 text, and how it ended."""

    received: bytes
    ended: str


def translate(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the header list and the body of one HTTP/1.1 request."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    pairs = [tuple(field.split(b": ", 1)) for field in fields]
    named = {name.lower(): value for name, value in pairs}
    if b"transfer-encoding" in named:
        body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.+?)\r\n", body, re.DOTALL))
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", named[b"host"]), (b":path", target)]
    return pseudo + [(name, value) for name, value in named.items() if name not in LEFT_OUT], body


async def over_http2(
    port: int, data: bytes, wait_for: bytes | None, limit_s: float, tls: ssl.SSLContext | None = None
) -> Said:
    """Send a request; read until ``wait_for`` has come or, if it is None, until the answer ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        async with asyncio.timeout(limit_s):
            return await _Exchange(reader, writer).run(data, wait_for)
    finally:
        writer.close()


class _Exchange:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.connection = h2.connection.H2Connection(config)
        self.received = b""
        self.sized = False
        self.ended = "running"

    async def run(self, data: bytes, wait_for: bytes | None) -> Said:
        fields, body = translate(data)
        self.connection.initiate_connection()
        self.connection.send_headers(1, fields, end_stream=not body)
        while self.ended == "running" and (wait_for is None or wait_for not in self.received):
            if body:
                size = min(
                    self.connection.local_flow_control_window(1), self.connection.max_outbound_frame_size, len(body)
                )
                if size:
                    self.connection.send_data(1, body[:size], end_stream=size == len(body))
                    body = body[size:]
            self.writer.write(self.connection.data_to_send())
            came = await self.reader.read(65536)
            if not came:
                self.ended = "peer_closed"
                break
            for event in self.connection.receive_data(came):
                self.take(event)
            if self.ended != "running":
                body = b""
        return Said(self.received, self.ended)

    def take(self, event: h2.events.Event) -> None:
        """Return the received answer as HTTP/1.1 text."""
        if isinstance(event, h2.events.ResponseReceived):
            fields = dict(event.headers)
            status = int(fields.pop(b":status"))
            self.sized = b"content-length" in fields
            self.received += b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
            self.received += b"".join(b"%b: %b\r\n" % pair for pair in fields.items()) + b"\r\n"
        elif isinstance(event, h2.events.DataReceived):
            self.received += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.received += b"" if self.sized else b"0\r\n\r\n"
            self.ended = "peer_closed"
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            self.ended = "peer_closed"
