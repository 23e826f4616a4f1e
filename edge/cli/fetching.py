"""An HTTP client for one request that reaches only the named host and cannot hang the command.

It uses no proxy and follows no redirect, because the request may carry a token. One deadline bounds everything,
including name resolution, TLS and a trickling response, and the size of a response is limited.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SILENCE_S: Final = 5.0
WHOLE_S: Final = 15.0
MOST: Final = 64 * 1024 * 1024  # bytes of a response


class NotHttpError(ValueError):
    """The response is not HTTP, cut short, or too long."""


def fetch(method: str, url: str, headers: Mapping[str, str | bytes], body: bytes | None) -> tuple[int, bytes]:
    """Send a request; return the status and the body of the response.

    Args:
        method: HTTP method.
        url: http or https, without user information.
        headers: header fields in addition to those that HTTP requires.
        body: None: no body.

    Raises:
        ValueError: the URL is invalid; nothing was sent.
        OSError: the server cannot be reached, or does not respond in time.
        NotHttpError: the response is not usable HTTP.
    """
    try:
        exchange = _Exchange(method, url, headers, body)
    except http.client.InvalidURL as error:
        raise ValueError(str(error)) from error
    exchange.start()
    exchange.join(WHOLE_S)
    if exchange.is_alive():
        exchange.cut()
        raise TimeoutError(f"no complete response within {WHOLE_S:g} s")
    failure = exchange.failure
    if len(exchange.body) > MOST:
        raise NotHttpError(f"its response is longer than {MOST >> 20} MiB")
    if isinstance(failure, http.client.IncompleteRead) or exchange.missing:
        raise NotHttpError("its response was cut short") from failure
    if isinstance(failure, http.client.HTTPException) and not isinstance(failure, OSError):
        raise NotHttpError("it does not speak HTTP") from failure
    if failure is not None:
        raise failure
    return exchange.status, exchange.body


class _Exchange(threading.Thread):
    """A request and its response, in a thread that may be abandoned: name resolution cannot be interrupted."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str | bytes], body: bytes | None) -> None:
        super().__init__(name="fetch", daemon=True)
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        if not parts.hostname:
            raise ValueError("the URL has no host")
        self._connection = kind(parts.hostname, parts.port, timeout=SILENCE_S)
        self._request = (method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body)
        self._headers = {"Connection": "close", **headers}
        self._sock: socket.socket | None = None
        self._abandoned = False
        self.failure: Exception | None = None
        self.status = 0
        self.body = b""
        self.missing = 0  # announced bytes that did not arrive

    def run(self) -> None:
        """Send the request and read the response; an exception is kept for the waiting thread."""
        try:
            with contextlib.closing(self._connection) as connection:
                connection.connect()
                self._sock = connection.sock
                if self._abandoned:
                    return
                connection.request(*self._request, self._headers)
                with connection.getresponse() as answer:
                    self.status = answer.status
                    self.body = answer.read(MOST + 1)
                    self.missing = answer.length or 0
        except Exception as error:  # noqa: BLE001  # raised again by fetch()
            self.failure = error

    def cut(self) -> None:
        """Make the thread end soon: shut its socket down, or keep it from sending once it is connected."""
        self._abandoned = True
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
