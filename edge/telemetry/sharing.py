"""Samples of what this node shares with others: the copy of the store, the regions, and the shares of allowances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge.telemetry import catalog_node

if TYPE_CHECKING:
    from edge.telemetry.reading import Reading


class SharingFacts(Struct, frozen=True):
    """What control knows about the cluster; a node without a cluster has none of it."""

    connected: bool
    view_age_s: float | None  # None: the store was never reached
    regions_fresh: int
    writes: int
    write_failures: int
    relists: int
    grant_moves: int
    name_conflict: bool  # another node has the same name
    suspect: dict[str, bool]  # by region
    shares: dict[str, tuple[float, float]]  # by allowance: requests and tokens per minute that this node may grant
    places: dict[str, float]  # by allowance: concurrent requests, only where they are limited


def add(page: Reading, facts: SharingFacts | None) -> None:
    """Add the samples, if the node has a cluster."""
    if facts is None:
        return
    page.add(catalog_node.CLUSTER_CONNECTED, (), facts.connected)
    if facts.view_age_s is not None:
        page.add(catalog_node.CLUSTER_VIEW_AGE, (), facts.view_age_s)
    page.add(catalog_node.CLUSTER_WRITES, ("written",), facts.writes)
    page.add(catalog_node.CLUSTER_WRITES, ("failed",), facts.write_failures)
    page.add(catalog_node.CLUSTER_RELISTS, (), facts.relists)
    page.add(catalog_node.REGIONS_FRESH, (), facts.regions_fresh)
    for region, suspect in facts.suspect.items():
        page.add(catalog_node.REGION_SUSPECT, (region,), suspect)
    page.add(catalog_node.NAME_CONFLICT, (), facts.name_conflict)
    page.add(catalog_node.SHARE_MOVES, (), facts.grant_moves)
    for allowance, (requests, tokens) in facts.shares.items():
        if requests:
            page.add(catalog_node.SHARE, (allowance, "requests"), requests)
        if tokens:
            page.add(catalog_node.SHARE, (allowance, "tokens"), tokens)
    for allowance, places in facts.places.items():
        page.add(catalog_node.SHARE_CONCURRENT, (allowance,), places)
