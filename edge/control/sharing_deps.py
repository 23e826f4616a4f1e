"""The interface between Sharing and the rest of control: its dependencies and its reported state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edge.balance.report import TargetReport
    from edge.regions.digest import ManualOverride, SharedWeight
    from edge.terms import places
    from edge.terms.snapshot import Snapshot


class NothingSharedError(EdgeError):
    """An operation for all regions was requested, but this node has no cluster."""

    kind = "nothing_shared"
    source = "client"


class SharingDeps(Struct, frozen=True):
    """Callbacks of Sharing into the rest of control: current facts, and reactions to changes."""

    snapshot: Callable[[], Snapshot]
    reports: Callable[[int], Mapping[str, TargetReport]]
    draining: Callable[[], bool]
    load: Callable[[], int]
    addresses: Callable[[], tuple[str, ...]]
    peers_changed: Callable[[Sequence[places.Peer]], None]  # with all usable edges of other regions
    overrides_changed: Callable[[Mapping[str, ManualOverride]], None]  # with all overrides for all regions, by target
    weights_changed: Callable[[Mapping[str, SharedWeight]], None] = lambda _: None  # with all that hold here, by target
    dark_pages: Callable[[], Collection[str]] = tuple  # providers whose status pages speak of an outage


class SharingState(Struct, frozen=True):
    """The state of the sharing; ages are in seconds, None: never."""

    connected: bool
    view_age_s: float | None
    error: str
    relists: int
    errors: int
    writes: int
    write_failures: int
    unwritten: str  # why the store rejects writes although it answers reads
    grant_moves: int
    grant_conflicts: int
    regions_fresh: int  # this node's region included
    suspect: tuple[str, ...]  # regions whose own connectivity is probably at fault
    name_conflict: bool  # another node has this node's name
    unread: int
