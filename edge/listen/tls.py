"""TLS settings of a listener: server certificate, optional client certificates, TLS 1.2 or newer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.errors import ConfigInvalidError
from edge.native import TlsContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.terms.snapshot import ListenTls

ALPN: Final = (b"h2", b"http/1.1")


def server_context(tls: Sequence[ListenTls], ticket_secret: bytes) -> TlsContext:
    """Return the TLS context of a listener.

    Args:
        tls: its settings, by certificate: at least one. A client is shown the one for the name that it asks for, else
            the first. ``client_ca`` is the same in all.
        ticket_secret: 32 random bytes that the workers of the node share, so that each resumes the others' sessions.
            A session that began with another certificate or under other authorities begins anew.

    Raises:
        ConfigInvalidError: a configured file is missing or cannot be loaded.
    """
    contexts = [_context(one) for one in tls]
    scope = b"\0".join(_content(file) for one in tls for file in (one.cert, one.client_ca))
    for context in contexts:
        context.share_tickets(ticket_secret, scope=scope)
    contexts[0].serve_others(contexts[1:])
    return contexts[0]


def _context(tls: ListenTls) -> TlsContext:
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
    return context


def _content(file: str | None) -> bytes:
    return b"" if file is None else Path(file).read_bytes()
