"""Reads HTTP/1.1 messages with llhttp (httptools), strictly: the twin of the parsers in native/http.

``http1_differences`` lists where the native parsers refuse what llhttp takes. There is no difference in the other
direction.
"""

from __future__ import annotations

from typing import Any

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

Fields = list[tuple[bytes, bytes]]
VERSIONS = {"1.1": 11, "1.0": 10, "0.9": 9, "2.0": 20}


class Message:
    """One message as llhttp reads it; ``body`` may be a part when the message is not ``complete``."""

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.version = 0
        self.status = 0
        self.fields: Fields = []
        self.body = b""
        self.has_head = False
        self.complete = False


class _Callbacks:
    """Collects what httptools calls back with; ``silent`` while a head is said again."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.messages: list[Message] = []
        self.parser = kind(self)
        self.silent = False

    def on_message_begin(self) -> None:
        """Begin a message."""
        if not self.silent:
            self.messages.append(Message())

    def on_url(self, part: bytes) -> None:
        """Add to the target."""
        if not self.silent:
            self.messages[-1].target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field; trailers are dropped."""
        if not self.messages[-1].has_head:
            self.messages[-1].fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take what the first line says."""
        if self.silent:
            return
        message = self.messages[-1]
        message.has_head = True
        message.version = VERSIONS[self.parser.get_http_version()]
        if self.kind is HttpRequestParser:
            message.method = self.parser.get_method()
        else:
            message.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Add to the body."""
        self.messages[-1].body += data

    def on_message_complete(self) -> None:
        """End the message."""
        if not self.silent:
            self.messages[-1].complete = True


def named(fields: Fields, name: bytes) -> list[bytes]:
    """The values of a field."""
    return [value for key, value in fields if key.lower() == name]


def body_of(fields: Fields) -> bytes | None:
    """The framing of a request's body as one field line; None = it has no body."""
    if named(fields, b"transfer-encoding"):
        return b"transfer-encoding: chunked\r\n"
    lengths = named(fields, b"content-length")
    return b"content-length: " + lengths[0] + b"\r\n" if lengths and int(lengths[0]) else None


def read_requests(data: bytes) -> tuple[list[Message], bool]:
    """The requests on one connection, and whether llhttp refuses something behind them. No tunnel is taken.

    httptools reads no body behind a request with Upgrade, and stops; such a body is read by a parser that has read a
    head with the same framing and without Upgrade.
    """
    seen = _Callbacks(HttpRequestParser)
    rest = data
    while True:
        try:
            seen.parser.feed_data(rest)
        except HttpParserUpgrade as upgrade:
            rest = rest[upgrade.args[0] :]
            framing = body_of(seen.messages[-1].fields)
            if framing is not None:
                closes = b"" if seen.parser.should_keep_alive() else b"connection: close\r\n"
                seen.messages[-1].complete = False
                seen.silent = True
                seen.parser = HttpRequestParser(seen)
                seen.parser.feed_data(b"POST / HTTP/1.1\r\n" + closes + framing + b"\r\n")
                seen.silent = False
            if not rest:
                return seen.messages, False
        except (HttpParserError, HttpParserCallbackError):
            return seen.messages, True
        else:
            return seen.messages, False


def is_final(messages: list[Message]) -> bool:
    """Whether the last of these responses is complete and no interim one; what stands behind it does not count."""
    return bool(messages) and messages[-1].complete and (messages[-1].status >= 200 or messages[-1].status == 101)


class _EndedError(Exception):
    """The final response is complete, or has no body."""


class _OneResponse(_Callbacks):
    def __init__(self, *, to_head: bool) -> None:
        super().__init__(HttpResponseParser)
        self.to_head = to_head

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.to_head and self.messages[-1].status >= 200:
            self.messages[-1].complete = True
            raise _EndedError

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if is_final(self.messages):
            raise _EndedError


def read_response(data: bytes, *, to_head: bool = False) -> tuple[list[Message], bool]:
    """The responses up to the first final one, and whether llhttp refuses something. No tunnel is taken."""
    seen = _OneResponse(to_head=to_head)
    try:
        seen.parser.feed_data(data)
    except HttpParserCallbackError as error:
        if not isinstance(error.__context__, _EndedError):
            raise
        return seen.messages, False
    except HttpParserUpgrade:
        return seen.messages, False
    except HttpParserError:
        return seen.messages, not is_final(seen.messages)
    return seen.messages, False
