"""Certificates of one authority for both sides of edge, for tests that run over TLS too."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

from edge.sim.wire_tls import TlsWire

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = "hosts: [a, b, e, edge, inner, me, other, other.internal, svc, there, x]"
"""The names by which clients of the tests ask, which a listener without keys would refuse otherwise."""
EDGE = "edge.test"
PROVIDER = "provider.test"


class Secure:
    """An authority with a certificate for edge and one for its upstreams, in files of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.pem = folder / "edge.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.renew()
        self._upstream = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(PROVIDER, "127.0.0.1").configure_cert(self._upstream)
        self._clients: dict[tuple[str, ...], ssl.SSLContext] = {}

    def renew(self) -> None:
        """Write a new certificate for edge, as a rename does."""
        issued = self.authority.issue_cert(EDGE, "127.0.0.1").private_key_and_cert_chain_pem
        partial = self.pem.with_suffix(".new")
        issued.write_to_path(str(partial))
        partial.rename(self.pem)

    @property
    def listen(self) -> str:
        """Configuration text of a TLS listener on a free port."""
        return f'\nlisten: [{{address: "127.0.0.1:0", {HOSTS}, tls: {{cert: {self.pem}, key: {self.pem}}}}}]\n'

    @property
    def verified(self) -> str:
        """Configuration text of ``tls`` for an upstream, without braces around it."""
        return f"tls: {{ca: {self.ca}, server_name: {PROVIDER}}}"

    def upstream(self, *alpn: str) -> ssl.SSLContext:
        """Return the context of a server that edge calls."""
        if not alpn:
            return self._upstream
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(PROVIDER, "127.0.0.1").configure_cert(context)
        context.set_alpn_protocols(list(alpn))
        return context

    def trusting(self, *alpn: str) -> ssl.SSLContext:
        """Return the context of a client; connections that share it can resume each other's sessions."""
        if alpn not in self._clients:
            context = self._clients[alpn] = ssl.create_default_context()
            self.authority.configure_trust(context)
            if alpn:
                context.set_alpn_protocols(list(alpn))
        return self._clients[alpn]

    def client(self, session: ssl.SSLSession | None = None) -> TlsWire:
        """Return a client's side of one connection, HTTP/1.1."""
        return TlsWire(self.trusting("http/1.1"), EDGE, session)
