"""Which aliases are degraded or down, from the states of their targets and the incidents that touch them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge.terms.public_status import AliasStatus, Condition, PastOutage, PublicStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge.incidents.incident import Incident
    from edge.terms.snapshot import Snapshot


class Now(Struct, frozen=True):
    """The state of the targets at one moment, and the incidents that are open."""

    usable: Mapping[str, bool]  # by target id, whether it may be given a request
    until_s: Mapping[str, float | None]  # by target id, seconds until its state may change by itself
    incidents: Sequence[Incident]
    wall: float  # Unix time


def public_status(snapshot: Snapshot, now: Now, closed: Iterable[Incident]) -> PublicStatus:
    """Return what clients may know.

    Args:
        snapshot: names aliases and their targets.
        now: the state of the targets.
        closed: incidents that are over, oldest first.
    """
    names = _aliases(snapshot)
    aliases = tuple(_alias(snapshot, name, index, now) for name, index in names.items())
    past = [each for each in closed if each.closed and not each.joined_into and set(each.routes) & names.keys()]
    last = None
    if past:
        newest = past[-1]
        touched = tuple(sorted(set(newest.routes) & names.keys()))
        last = PastOutage(touched, newest.first_symptom, newest.recovered or newest.closed)
    return PublicStatus(now.wall, aliases, last)


def _aliases(snapshot: Snapshot) -> dict[str, int]:
    """Return the aliases by name; a target that is asked for by its own id is none."""
    own = {target.id for target in snapshot.targets}
    return {name: index for name, index in sorted(snapshot.models.items()) if name not in own}


def _alias(snapshot: Snapshot, name: str, index: int, now: Now) -> AliasStatus:
    states = [(member.tier, snapshot.targets[member.target].id) for member in snapshot.routes[index].members]
    best = min((tier for tier, _ in states), default=1)
    well = {target for _, target in states if now.usable.get(target, True)}
    preferred = {target for tier, target in states if tier == best}
    condition: Condition = "operational" if preferred <= well else "degraded" if well else "down"
    if condition == "operational":
        return AliasStatus(name, condition)
    ill = {target for _, target in states} - well
    since = [each.first_symptom for each in now.incidents if ill & set(each.targets)]
    waits = [until for target in ill if (until := now.until_s.get(target)) is not None]
    return AliasStatus(name, condition, min(since, default=0.0), round(now.wall + min(waits)) if waits else 0.0)
