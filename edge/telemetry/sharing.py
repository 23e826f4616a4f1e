"""How stands what this node shares with others?  Samples of the copy of the store, the regions and the shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge.telemetry import catalog

if TYPE_CHECKING:
    from edge.telemetry.reading import Reading


class SharingFacts(Struct, frozen=True):
    """What control knows of it; a node by itself has none."""

    connected: bool
    view_age_s: float | None  # None: the store was never heard
    regions_fresh: int
    writes: int
    write_failures: int
    relists: int
    grant_moves: int
    name_conflict: bool  # another node goes by our name
    suspect: dict[str, bool]  # by region
    shares: dict[str, tuple[float, float]]  # by allowance: requests and tokens a minute that this node may grant
    places: dict[str, float]  # by allowance: requests at once; only where they are bounded


def add(page: Reading, facts: SharingFacts | None) -> None:
    """Add the samples of a node that shares."""
    if facts is None:
        return
    page.add(catalog.CLUSTER_CONNECTED, (), facts.connected)
    if facts.view_age_s is not None:
        page.add(catalog.CLUSTER_VIEW_AGE, (), facts.view_age_s)
    page.add(catalog.CLUSTER_WRITES, ("written",), facts.writes)
    page.add(catalog.CLUSTER_WRITES, ("failed",), facts.write_failures)
    page.add(catalog.CLUSTER_RELISTS, (), facts.relists)
    page.add(catalog.REGIONS_FRESH, (), facts.regions_fresh)
    for region, suspect in facts.suspect.items():
        page.add(catalog.REGION_SUSPECT, (region,), suspect)
    page.add(catalog.CLUSTER_TWIN, (), facts.name_conflict)
    page.add(catalog.SHARE_MOVES, (), facts.grant_moves)
    for allowance, (requests, tokens) in facts.shares.items():
        if requests:
            page.add(catalog.SHARE, (allowance, "requests"), requests)
        if tokens:
            page.add(catalog.SHARE, (allowance, "tokens"), tokens)
    for allowance, places in facts.places.items():
        page.add(catalog.SHARE_CONCURRENT, (allowance,), places)
