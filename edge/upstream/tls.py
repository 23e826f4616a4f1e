"""SSL contexts for upstream connections: one per distinct policy, shared by all connections that use it.

Creating a context loads the whole certificate store (about 10 ms), so it happens once per policy, not per connection.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError
from edge.upstream.exhausted import out_of_descriptors

if TYPE_CHECKING:
    from edge.terms.snapshot import UpstreamTls

ALPN: Final = {"http1": ["http/1.1"], "h2": ["h2"]}
"""ALPN offers by a target's protocol; never both, because a pool is built for one protocol."""


class TlsError(EdgeError):
    """A file of an upstream's TLS settings cannot be loaded; the message names it."""

    kind = "tls_files"


class TlsContexts:
    """Caches SSL contexts by policy. The server name is not part of a context: each connection supplies its own."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[str | None, str | None, str | None, bool, str], ssl.SSLContext] = {}

    def get(self, policy: UpstreamTls, protocol: str = "http1") -> ssl.SSLContext:
        """Return the context for a policy and a target's protocol.

        Raises:
            TlsError: a configured file is missing or cannot be loaded.
            OSError: no descriptor is free to read the files. OpenSSL does not report that for the system's authorities,
                and the context would reject every certificate for as long as it is cached.
        """
        key = (policy.ca, policy.cert, policy.key, policy.verify, protocol)
        context = self._contexts.get(key)
        if context is None:
            exhausted = out_of_descriptors()
            if exhausted is not None:
                raise exhausted
            context = self._contexts[key] = _make(policy, ALPN[protocol])
        return context


def _make(policy: UpstreamTls, alpn: list[str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=policy.ca)
    except OSError as error:  # includes ssl.SSLError
        raise TlsError(f"cannot load ca file {policy.ca}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(alpn)
    if policy.cert is not None:
        try:
            context.load_cert_chain(policy.cert, policy.key)
        except OSError as error:
            files = policy.cert if policy.key is None else f"{policy.cert} with {policy.key}"
            raise TlsError(f"cannot load client certificate {files}: {error.strerror or error}") from error
    if not policy.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
