"""The steps of a script for scripted peers, and well-formed messages to send in them."""

from __future__ import annotations

import asyncio  # noqa: TC003  # msgspec reads the types of fields when it runs

from msgspec import Struct


class ReadHead(Struct, frozen=True):
    """Read up to the blank line that ends a head."""


class ReadMessage(Struct, frozen=True):
    """Read a head and its body, by content-length or chunks; if it has neither, read the head only."""


class ReadUntil(Struct, frozen=True):
    """Read until ``mark`` occurs in what this script has not consumed yet."""

    mark: bytes


class ReadBytes(Struct, frozen=True):
    """Read ``size`` bytes."""

    size: int


class ReadToEnd(Struct, frozen=True):
    """Read until the other side closes; also a way to stay silent and to notice the close."""


class Send(Struct, frozen=True):
    """Send bytes; with ``piece``, so many at a time in separate segments, with ``gap_s`` between them."""

    data: bytes
    piece: int = 0
    gap_s: float = 0.0


class Pause(Struct, frozen=True):
    """Do nothing, not even read, for ``seconds``."""

    seconds: float


class Hold(Struct, frozen=True):
    """Do nothing, not even read, until the event is set."""

    until: asyncio.Event


class HalfClose(Struct, frozen=True):
    """Send FIN, over TLS behind a close_notify, and keep reading."""


class Close(Struct, frozen=True):
    """Close the connection: FIN, behind a close_notify over TLS, or RST by the kernel if received data was not read."""


class Truncate(Struct, frozen=True):
    """Close the connection without a close_notify."""


class Reset(Struct, frozen=True):
    """Send RST."""


class Again(Struct, frozen=True):
    """Start the script over on the same connection, for keep-alive."""


Step = (
    ReadHead
    | ReadMessage
    | ReadUntil
    | ReadBytes
    | ReadToEnd
    | Send
    | Pause
    | Hold
    | HalfClose
    | Close
    | Truncate
    | Reset
    | Again
)


def answer(
    body: bytes = b"", *fields: tuple[str, str], status: str = "200 OK", kind: str = "application/json"
) -> bytes:
    """Return a well-formed response with a content-length."""
    head = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def request(
    body: bytes = b"", *fields: tuple[str, str], method: str = "POST", path: str = "/v1/chat/completions"
) -> bytes:
    """Return a well-formed request with a content-length and a JSON content type."""
    head = [
        f"{method} {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    head += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def chunk(data: bytes) -> bytes:
    """Return one chunk (RFC 9112 7.1); empty data makes the last chunk, without trailers."""
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
