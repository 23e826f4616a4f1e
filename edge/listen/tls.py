"""TLS settings of a listener: server certificate, optional client certificates, TLS 1.2 or newer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.errors import ConfigInvalidError
from edge.native import TlsContext

if TYPE_CHECKING:
    from edge.terms.snapshot import ListenTls

ALPN: Final = (b"h2", b"http/1.1")


def server_context(tls: ListenTls, ticket_secret: bytes) -> TlsContext:
    """Return the TLS context of a listener.

    Args:
        tls: its settings.
        ticket_secret: 32 random bytes that the workers of the node share, so that each resumes the others' sessions.
            A session that began with another certificate or under other authorities begins anew.

    Raises:
        ConfigInvalidError: a configured file is missing or cannot be loaded.
    """
    context = TlsContext(True, ALPN)
    try:
        context.load_identity(tls.cert, tls.key)
    except OSError as error:
        raise ConfigInvalidError(
            [f"listen: tls: cert {tls.cert} with key {tls.key} cannot be used: {error.strerror or error}"]
        ) from error
    if tls.client_ca is not None:
        try:
            context.load_authorities(tls.client_ca, None)
        except OSError as error:
            raise ConfigInvalidError(
                [f"listen: tls: client_ca {tls.client_ca} cannot be used: {error.strerror or error}"]
            ) from error
        context.verify_peer(True)
    context.share_tickets(ticket_secret, scope=b"\0".join(_content(file) for file in (tls.cert, tls.client_ca)))
    return context


def _content(file: str | None) -> bytes:
    return b"" if file is None else Path(file).read_bytes()
