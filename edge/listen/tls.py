"""TLS settings of a listener: server certificate, optional client certificates, TLS 1.2 or newer."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from edge.errors import ConfigInvalidError

if TYPE_CHECKING:
    from edge.terms.snapshot import ListenTls

ALPN: Final = ["h2", "http/1.1"]


def server_context(tls: ListenTls) -> ssl.SSLContext:
    """Return the SSLContext of a listener.

    Raises:
        ConfigInvalidError: a configured file is missing or cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # includes ssl.SSLError
        raise ConfigInvalidError(
            [f"listen: tls: cert {tls.cert} with key {tls.key} cannot be used: {error.strerror or error}"]
        ) from error
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:
            raise ConfigInvalidError(
                [f"listen: tls: client_ca {tls.client_ca} cannot be used: {error.strerror or error}"]
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
