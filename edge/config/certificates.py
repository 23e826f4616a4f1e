"""The certificate files that a configuration names, and whether they can be used together now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.check_network import placed_tls, tls_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.problems import Path, Problem
    from edge.config.schema import Config


def files(config: Config) -> tuple[str, ...]:
    """Return each file of a certificate, key or authority of listeners and upstreams, once.

    Those of etcd are not among them: its client looks after its own.
    """
    named = [file for _, cert, key, _, trusted in _sections(config) for file in (cert, key, trusted)]
    return tuple(dict.fromkeys(file for file in named if file))


def problems(config: Config) -> Iterator[Problem]:
    """Yield what is wrong with the present content of these files."""
    for path, cert, key, name, trusted in _sections(config):
        yield from tls_files(path, cert, key, name, trusted)


def _sections(config: Config) -> Iterator[tuple[Path, str | None, str | None, str, str | None]]:
    """Yield place, certificate, key, and the name and file of the authorities of each TLS section."""
    for index, listen in enumerate(config.listen):
        for path, tls in placed_tls(("listen", index), listen):
            yield path, tls.cert, tls.key, "client_ca", tls.client_ca
    for name, provider in config.providers.items():
        yield ("providers", name, "tls"), provider.tls.cert, provider.tls.key, "ca", provider.tls.ca
    for name, service in config.services.items():
        if service.tls is not None:
            yield ("services", name, "tls"), service.tls.cert, service.tls.key, "ca", service.tls.ca
    if config.peers is not None and config.peers.tls is not None:
        peers = config.peers.tls
        yield ("peers", "tls"), peers.cert, peers.key, "ca", peers.ca
