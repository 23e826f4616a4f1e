"""Selection of the class that follows a source, by its URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge.config.discovery import parse_source
from edge.discovery.file import FileSource
from edge.discovery.store import StoreSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.discovery.source import Source
    from edge.terms.places import Endpoint
    from edge.terms.ports import Store


def open_source(
    url: str,
    changed: Callable[[str, tuple[Endpoint, ...]], None],
    known: tuple[Endpoint, ...] = (),
    *,
    zone: str = "",
    store: Callable[[], Store],
    environ: Mapping[str, str] = os.environ,
) -> Source:
    """Return the follower of a source, not started.

    Args:
        url: a URL that ``edge.config.check`` has accepted.
        changed: called with the URL and the new addresses after each change.
        known: addresses to begin with.
        zone: the zone of this node.
        store: returns the store whose keys are etcd's own; it is asked only for ``etcd://``.
        environ: where Kubernetes names its API server.
    """
    source = parse_source(url)
    if source.kind == "file":
        return FileSource(url, changed, known)
    if source.kind == "etcd":
        return StoreSource(url, store(), source.name, changed, known=known)
    if source.kind == "k8s":
        from edge.discovery.kubernetes import KubernetesSource  # noqa: PLC0415  # ssl and aiohttp, which few need

        return KubernetesSource(source, changed, known, zone=zone, environ=environ)
    from edge.discovery.dns import DnsSource  # noqa: PLC0415  # dnspython takes 100 ms to import

    return DnsSource(source, changed, known)
