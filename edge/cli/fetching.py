"""How is one HTTP request sent so that only who was named hears it, and nobody can hold the command?

No proxy is asked and no redirect is followed: the request may carry a token. One deadline holds over everything, names
and TLS included, whatever trickles in meanwhile, and an answer has a greatest size.
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
MOST: Final = 64 * 1024 * 1024  # bytes of an answer


class NotHttpError(ValueError):
    """What came is no answer: not HTTP, cut short, or without end."""


def fetch(method: str, url: str, headers: Mapping[str, str | bytes], body: bytes | None) -> tuple[int, bytes]:
    """Return status and body of the answer.

    Args:
        method: of HTTP.
        url: http or https, without a user.
        headers: sent beside those that HTTP needs.
        body: None: there is none.

    Raises:
        ValueError: the URL is none; nothing was sent.
        OSError: nobody answers, or not in time.
        NotHttpError: what answers is something else.
    """
    try:
        exchange = _Exchange(method, url, headers, body)
    except http.client.InvalidURL as error:
        raise ValueError(str(error)) from error
    exchange.start()
    exchange.join(WHOLE_S)
    if exchange.is_alive():
        exchange.cut()
        raise TimeoutError(f"no whole answer within {WHOLE_S:g} s")
    failure = exchange.failure
    if len(exchange.body) > MOST:
        raise NotHttpError(f"its answer is longer than {MOST >> 20} MiB")
    if isinstance(failure, http.client.IncompleteRead) or exchange.missing:
        raise NotHttpError("its answer was cut short") from failure
    if isinstance(failure, http.client.HTTPException) and not isinstance(failure, OSError):
        raise NotHttpError("it does not speak HTTP") from failure
    if failure is not None:
        raise failure
    return exchange.status, exchange.body


class _Exchange(threading.Thread):
    """A request and its answer, in a thread that may be left behind: resolving a name cannot be interrupted."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str | bytes], body: bytes | None) -> None:
        super().__init__(name="asking", daemon=True)
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        if not parts.hostname:
            raise ValueError("it names no host")
        self._connection = kind(parts.hostname, parts.port, timeout=SILENCE_S)
        self._request = (method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body)
        self._headers = {"Connection": "close", **headers}
        self._sock: socket.socket | None = None
        self._left = False
        self.failure: Exception | None = None
        self.status = 0
        self.body = b""
        self.missing = 0  # bytes that were promised and did not come

    def run(self) -> None:
        """Ask; what goes wrong is kept for who waits."""
        try:
            with contextlib.closing(self._connection) as connection:
                connection.connect()
                self._sock = connection.sock
                if self._left:
                    return
                connection.request(*self._request, self._headers)
                with connection.getresponse() as answer:
                    self.status = answer.status
                    self.body = answer.read(MOST + 1)
                    self.missing = answer.length or 0
        except Exception as error:  # noqa: BLE001  # raised again by who waits
            self.failure = error

    def cut(self) -> None:
        """Have the thread end soon: what it reads is at its end, or it asks nothing any more."""
        self._left = True
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
