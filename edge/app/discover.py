"""Construction of a node's Discovering, which connects control to the sources that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cluster.open import open_store
from edge.control.discovering import Discovering
from edge.discovery.open import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.schema import Config
    from edge.control.discovering import Found
    from edge.discovery.source import Source
    from edge.terms.places import Endpoint
    from edge.terms.ports import Store


def discover(found: Callable[[Found], None], known: Found) -> Discovering:
    """Return the node's Discovering, not started.

    Args:
        found: called with all addresses after changes.
        known: addresses to begin with.
    """
    stores: list[Store] = []  # one for all sources in etcd; cluster.etcd cannot change while the node runs

    def open_one(
        url: str, changed: Callable[[str, tuple[Endpoint, ...]], None], before: tuple[Endpoint, ...], config: Config
    ) -> Source:
        def store() -> Store:
            if not stores:
                stores.append(open_store(config, whole=True))
            return stores[0]

        return open_source(url, changed, before, zone=config.node.zone, store=store)

    return Discovering(found, known, open_one)
