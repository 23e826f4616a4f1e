"""Construction of a node's Sharing, which connects control to the store that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock
from edge.cluster.open import open_store
from edge.control import overriding
from edge.control.sharing import Sharing
from edge.control.sharing_deps import SharingDeps
from edge.terms.places import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.schema import Config
    from edge.control.node import Node
    from edge.control.operations import Operations
    from edge.control.spend import Spending
    from edge.native import IssuedIds
    from edge.terms.snapshot import Snapshot


def share(
    node: Node, operations: Operations, config: Config, spending: Spending | None, issued: IssuedIds | None = None
) -> Sharing:
    """Return the node's Sharing, not started. Nothing connects yet: a node serves before the store responds."""
    store = open_store(config) if config.cluster.etcd is not None else None
    deps = SharingDeps(
        snapshot=lambda: node.accounted,
        reports=node.targets,
        draining=lambda: node.leaving,
        load=lambda: sum(node.shared_state.read_route(route.slot)["inflight"] for route in node.snapshot.told_routes),
        addresses=lambda: _advertised(operations.ledger.config),
        peers_changed=operations.set_peers,
        overrides_changed=operations.apply_overrides,
        weights_changed=operations.apply_weights,
        dark_pages=lambda: () if node.chronicle is None else node.chronicle.pages.outages(),
    )
    return Sharing(
        node.shared_state,
        deps,
        store,
        region=node.snapshot.region,
        node=node.snapshot.node,
        instance=f"{clock.bits():016x}",
        peers=known_peers(node.snapshot),
        spending=spending,
        issued=issued,
    )


def known_peers(snapshot: Snapshot) -> tuple[Peer, ...]:
    """Return the edges of other regions in a Snapshot, so that a restart keeps them while the store is down."""
    return tuple(
        Peer(
            target.provider, f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        )
        for target in snapshot.targets
        if target.kind == "region"
    )


def _advertised(config: Config) -> tuple[str, ...]:
    return config.peers.advertise if config.peers is not None else ()


def aborted(node: Node, operations: Operations) -> Callable[[str, str], None]:
    """Return what lets the nodes of this region take a canary out that was taken out here, if there is a cluster."""

    def tell(name: str, reason: str) -> None:
        override = operations.checked_override(name, "eject", reason)
        if override is not None and node.sharing is not None:
            node.sharing.by_hand.aborted(name, override, lambda: overriding.adopt(operations, name, override))

    return tell
