"""What does the sharing need of the rest of control, and what does it show of itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.balance.report import TargetReport
    from edge.regions.digest import ManualOverride
    from edge.terms import places
    from edge.terms.snapshot import Snapshot


class NothingSharedError(EdgeError):
    """Something was asked for in all regions, and this node knows no other."""

    kind = "nothing_shared"
    source = "client"


class SharingDeps(Struct, frozen=True):
    """What the rest of control gives the sharing: facts that change, and steps to take."""

    snapshot: Callable[[], Snapshot]
    reports: Callable[[int], Mapping[str, TargetReport]]
    draining: Callable[[], bool]
    load: Callable[[], int]
    addresses: Callable[[], tuple[str, ...]]
    met: Callable[[Sequence[places.Peer]], None]  # other regions' edges, whenever they change
    handed: Callable[[Mapping[str, ManualOverride]], None]  # what people did everywhere, whenever that changes


class SharingState(Struct, frozen=True):
    """How the sharing stands; ages are seconds, None: never."""

    connected: bool
    view_age_s: float | None
    error: str
    relists: int
    errors: int
    writes: int
    write_failures: int
    unwritten: str  # why it takes no writes though it answers
    grant_moves: int
    grant_conflicts: int
    regions_fresh: int  # ours among them
    suspect: tuple[str, ...]  # regions that most likely have trouble of their own
    name_conflict: bool  # another node goes by our name
    unread: int
