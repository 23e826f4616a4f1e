"""How is an upstream's identity checked?  One SSLContext per distinct policy, shared by all its connections.

Making a context loads the whole certificate store (about 10 ms), so it is done once, not per connection.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.terms.snapshot import UpstreamTls

ALPN: Final = {"http1": ["http/1.1"], "h2": ["h2"]}
"""What is offered, by a target's protocol: never both, for the pool is made for one of them."""


class TlsError(EdgeError):
    """A file of an upstream's TLS settings cannot be used; the sentence names it."""

    kind = "tls_files"


class TlsContexts:
    """SSL contexts by policy. The server name is not part of a context: it is given with each connection."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[str | None, str | None, str | None, bool, str], ssl.SSLContext] = {}

    def get(self, policy: UpstreamTls, protocol: str = "http1") -> ssl.SSLContext:
        """Return the context for this policy and a target's protocol.

        Raises:
            TlsError: a named file is missing or is not what it should be.
        """
        key = (policy.ca, policy.cert, policy.key, policy.verify, protocol)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = _make(policy, ALPN[protocol])
        return context


def _make(policy: UpstreamTls, alpn: list[str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=policy.ca)
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(f"ca file {policy.ca} cannot be used: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(alpn)
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
