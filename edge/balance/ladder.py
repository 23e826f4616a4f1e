"""On which rung of its ladder each model stands: who answers it now, and what is left below.

The rungs, from the best: the first choice, another target of the same tier, another tier, another model, another
region, an old answer from the cache, and edge's own 503. A model has those that its configuration gives it. Beside them
stands the queue: requests that wait for a place, at whatever rung they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import RouteCounter
from edge.terms.rungs import SAYS, Rung

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.balance.report import TargetReport
    from edge.native import SharedState
    from edge.terms.snapshot import Member, Route, Snapshot, Target

_ORDER: Final = tuple(SAYS)


class Standing(Struct, frozen=True):
    """Where one model stands. Counts are of the node, since its records were empty."""

    model: str
    rung: Rung
    targets: tuple[str, ...]  # that answer at this rung
    out: tuple[str, ...]  # better ones that cannot
    below: tuple[Rung, ...]  # what is left, best first
    until_s: float | None  # seconds until one of ``out`` may be tried again; None: that is not known
    waiting: int  # requests in the queue now
    queue: int  # that may wait, per worker; 0: none
    stale: int  # old answers that were given instead of an error
    unavailable: int  # edge's own 503 because no target could answer
    shed: int  # edge's own 503 because there was no room


def ladder(shared_state: SharedState, snapshot: Snapshot, reports: Mapping[str, TargetReport]) -> list[Standing]:
    """Return where each alias stands, in the order of the configuration; a target's own id is none."""
    own = {target.id for target in snapshot.targets} | {f"{name}/*" for name in snapshot.providers}
    found = []
    for route in snapshot.told_routes:
        if route.kind != "model" or route.name in own or not route.members:
            continue
        found.append(standing(route, snapshot.targets, reports, shared_state.read_route(route.slot)["counts"]))
    return found


def standing(
    route: Route, targets: Sequence[Target], reports: Mapping[str, TargetReport], counts: Sequence[int]
) -> Standing:
    """Return where one model stands.

    Args:
        route: the model.
        targets: those of the Snapshot, to which its members point.
        reports: the states of targets by id; a target without one is taken for usable.
        counts: the counters of the route.
    """
    best = min(member.tier for member in route.members)
    first = {targets[member.target].model for member in route.members if member.tier == best}
    usable = {
        member.target
        for member in route.members
        if (report := reports.get(targets[member.target].id)) is None or report.usable
    }
    rungs = {member.target: _rung(member, targets[member.target], best, first) for member in route.members}
    well = [member for member in route.members if member.target in usable]
    now = min((rungs[member.target] for member in well), key=_ORDER.index, default=None)
    fallbacks = _fallbacks(route)
    if now == "first_choice":
        now = _within(route.members, best, usable)
    rung: Rung = fallbacks[0] if now is None else now
    answering = [member for member in well if rungs[member.target] == _base(rung)]
    tier = min((member.tier for member in answering), default=0)
    out = [member for member in route.members if member.target not in usable and (not tier or member.tier <= tier)]
    below = {rungs[member.target] for member in well} - {_base(rung)}
    left = sorted({*below, *fallbacks} - {rung}, key=_ORDER.index)
    waits = [report.until_s for member in out if (report := reports[targets[member.target].id]).until_s is not None]
    return Standing(
        route.name,
        rung,
        tuple(targets[member.target].id for member in answering if member.tier == tier),
        tuple(targets[member.target].id for member in out),
        tuple(each for each in left if _ORDER.index(each) > _ORDER.index(rung)),
        min(waits, default=None),
        counts[RouteCounter.R_WAITING],
        route.queue.limit,
        counts[RouteCounter.R_CACHE_STALE],
        counts[RouteCounter.R_UNAVAILABLE],
        sum(counts[each] for each in (RouteCounter.R_SHED_HIGH, RouteCounter.R_SHED_NORMAL, RouteCounter.R_SHED_LOW)),
    )


def _rung(member: Member, target: Target, best: int, first: set[str]) -> Rung:
    """Return the rung on which a model stands while this target answers it."""
    if target.kind == "region":
        return "other_region"
    if member.tier == best:
        return "first_choice"
    return "other_tier" if target.model in first else "other_model"


def _within(members: Sequence[Member], best: int, usable: set[int]) -> Rung:
    return "first_choice" if all(each.target in usable for each in members if each.tier == best) else "other_target"


def _base(rung: Rung) -> Rung:
    return "first_choice" if rung == "other_target" else rung


def _fallbacks(route: Route) -> list[Rung]:
    """Return what is left when no target can answer."""
    stale = route.cache is not None and route.cache.stale_if_error_ns > 0
    return ["stale_cache", "unavailable"] if stale else ["unavailable"]
