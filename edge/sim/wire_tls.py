"""TLS for scripted peers, without I/O of its own: bytes for the socket and bytes from it."""

from __future__ import annotations

import contextlib
import ssl


class TlsWire:
    """One side of a TLS connection.

    Args:
        context: its policy.
        server_name: the name that a client expects; None = this is the server.
        session: what a client resumes, from the :attr:`session` of an earlier connection.
    """

    def __init__(
        self, context: ssl.SSLContext, server_name: str | None = None, session: ssl.SSLSession | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
            session=session,
        )

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session to resume; a TLS 1.3 server sends it after the handshake."""
        return self._ssl.session

    @property
    def resumed(self) -> bool:
        """Whether this connection has resumed an earlier session."""
        return bool(self._ssl.session_reused)

    def shake(self, received: bytes = b"") -> tuple[bool, bytes]:
        """Take what was received; return whether the handshake is complete, and what to send.

        Raises:
            ssl.SSLError: the handshake has failed.
        """
        self._incoming.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._ssl.do_handshake()
            return True, self._outgoing.read()
        return False, self._outgoing.read()

    def seal(self, data: bytes) -> bytes:
        """Return the records that carry this data."""
        self._ssl.write(data)
        return self._outgoing.read()

    def open(self, received: bytes) -> tuple[bytes, bool]:
        """Return the data in what was received, and whether the other side has ended TLS (close_notify).

        Raises:
            ssl.SSLError: what was received is not the continuation of this connection.
        """
        self._incoming.write(received)
        data = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self._ssl.read(65536):
                data += piece
            return data, True
        return data, False

    def goodbye(self) -> bytes:
        """Return a close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self._ssl.unwrap()
        return self._outgoing.read()
