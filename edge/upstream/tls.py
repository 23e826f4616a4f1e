"""How is an upstream's identity checked?  One SSLContext per distinct policy, shared by all its connections.

Making a context loads the whole certificate store (about 10 ms), so it is done once, not per connection.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.terms.snapshot import UpstreamTls

ALPN: Final = ["http/1.1"]


class TlsError(EdgeError):
    """A file of an upstream's TLS settings cannot be used; the sentence names it."""

    kind = "tls_files"


class TlsContexts:
    """SSL contexts by policy. The server name is not part of a context: it is given with each connection."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[str | None, str | None, str | None, bool], ssl.SSLContext] = {}

    def get(self, policy: UpstreamTls) -> ssl.SSLContext:
        """Return the context for this policy.

        Raises:
            TlsError: a named file is missing or is not what it should be.
        """
        key = (policy.ca, policy.cert, policy.key, policy.verify)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = _make(policy)
        return context


def _make(policy: UpstreamTls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=policy.ca)
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(f"ca file {policy.ca} cannot be used: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    if policy.cert is not None:
        try:
            context.load_cert_chain(policy.cert, policy.key)
        except OSError as error:
            files = policy.cert if policy.key is None else f"{policy.cert} with {policy.key}"
            raise TlsError(f"client certificate {files} cannot be used: {error.strerror or error}") from error
    if not policy.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
