"""Checks of ``discover``, the sources of addresses of providers and services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.discovery import parse_source
from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.schema import Config


def discovery(config: Config) -> Iterator[Problem]:
    """Check every source, and the zone that this node is in."""
    for name, provider in config.providers.items():
        yield from _source(config, ("providers", name, "discover"), provider.discover)
    for name, service in config.services.items():
        yield from _source(config, ("services", name, "discover"), service.discover)
    zone = config.node.zone
    if len(zone) > 63 or not zone.isprintable() or zone != zone.strip():  # noqa: PLR2004  # a label's value in Kubernetes
        yield Problem(("node", "zone"), f"{zone!r} is not a zone; write up to 63 printable characters")


def _source(config: Config, path: Path, url: str) -> Iterator[Problem]:
    if not url:
        return
    try:
        source = parse_source(url)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    if source.kind == "etcd" and config.cluster.etcd is None:
        yield Problem(path, "without cluster.etcd there is no etcd to ask; write cluster.etcd.endpoints")


def sources(config: Config) -> list[str]:
    """Return the URL of each source that a configuration names, once."""
    named = [provider.discover for provider in config.providers.values()]
    named += [service.discover for service in config.services.values()]
    return list(dict.fromkeys(url for url in named if url))
