"""Incidents and actions that other nodes tell: what is told, what is taken, and which of them a reader sees already.

They travel with a node's minutes (``edge.incidents.told_minutes``). Each node tells its own alone. An incident of
another node keeps its id with ``@REGION`` behind it, and says in ``where`` who tells it and in ``heard`` until when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.incidents.incident import KINDS, decode, encode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from edge.incidents.database import Action
    from edge.incidents.incident import Incident

MOST_INCIDENTS: Final = 10
MOST_ACTIONS: Final = 50
TOLD_FOR_S: Final = 3600.0
"""How long an incident that is over, and an action, are told again for those who were away."""
SILENT_S: Final = 900.0
"""An open incident of which nothing was heard for so long is shown as such: its node may be gone."""
_EVENTS: Final = 12  # the first ones, and the last ones
_LONGEST: Final = 500
_NO_DATE: Final = 253_402_300_800
"""Unix time of the year 10000, which cannot be written as a date."""
_MOST: Final = 2**53
_MOST_NAMES: Final = 100


def to_tell(incident: Incident) -> Incident:
    """Return a copy of an incident as other nodes are told: its timeline without the middle, and no receiver's name."""
    events, left = incident.events, max(len(incident.events) - 2 * _EVENTS, 0)
    kept = [*events[:_EVENTS], *events[-_EVENTS:]] if left else events
    told = structs.replace(
        incident,
        events=[structs.replace(event, text=event.text[:_LONGEST]) for event in kept],
        left_out=incident.left_out + left,
        told=[],
        shared_id="",
    )
    return decode(encode(told))  # the incident itself goes on changing


def recent_actions(actions: Iterable[Action], wall: float) -> tuple[Action, ...]:
    """Return those actions of this node that are told at a moment (Unix time), oldest first."""
    return tuple(action for action in actions if action.at > wall - TOLD_FOR_S)[-MOST_ACTIONS:]


def sound(incident: Incident) -> bool:
    """Return whether an incident that another node tells may be kept: of bounded size, and all of it can be shown."""
    names = (incident.kinds, incident.targets, incident.regions, incident.routes, incident.missing)
    texts = [incident.id, incident.subject, incident.acknowledged, incident.joined_into, *incident.capabilities]
    texts += [text for each in names for text in each]
    texts += [*incident.impact.attempts_failed, *incident.impact.answered_by]
    texts += [text for event in incident.events for text in (event.what, event.text)]
    times = (incident.opened, incident.first_symptom, incident.recovered, incident.closed, incident.page_said)
    impact = incident.impact
    counts = [incident.left_out, impact.requests, impact.failed, impact.delayed, impact.degraded, impact.shed]
    counts += [*impact.attempts_failed.values(), *impact.answered_by.values()]
    return (
        bool(incident.id and incident.subject and "@" not in incident.id and not incident.where)
        and KINDS.issuperset(incident.kinds)
        and all(0 <= at < _NO_DATE for at in (*times, *(event.at for event in incident.events)))
        and all(0 <= count <= _MOST for count in (*counts, abs(impact.extra_usd)))
        and len(incident.events) <= 2 * _EVENTS
        and len(texts) <= 10 * _MOST_NAMES
        and all(text.isprintable() and len(text) <= 2 * _LONGEST for text in texts)
    )


def taken(incident: Incident, node: str, wall: float) -> Incident:
    """Return an incident as it is kept here, told by ``node`` (REGION/NODE) at a moment (Unix time)."""
    name = f"{incident.id}@{node.partition('/')[0]}"
    return structs.replace(incident, id=name, where=node, heard=wall, told=[], shared_id="")


def may_take(action: Action, node: str, wall: float) -> bool:
    """Return whether an action is one that ``node`` may tell now."""
    texts = (action.what, action.subject, action.reason, action.by)
    fresh = wall - 2 * TOLD_FOR_S < action.at < wall + SILENT_S
    return fresh and action.where == node and all(text.isprintable() and len(text) <= 2 * _LONGEST for text in texts)


def same(one: Incident, other: Incident) -> bool:
    """Return whether two nodes tell of one outage: the same subject, at the same time."""
    return (
        one.subject == other.subject
        and (not one.closed or other.first_symptom < one.closed)
        and (not other.closed or one.first_symptom < other.closed)
    )


def joined(incidents: Sequence[Incident]) -> list[Incident]:
    """Return incidents without those of other nodes that a listed one is the same outage as; own ones come first."""
    kept: list[Incident] = []
    for incident in sorted(incidents, key=lambda each: (bool(each.where), each.opened)):
        if not incident.where or not any(same(incident, known) for known in kept):
            kept.append(incident)
    return kept


def beside(incident: Incident, incidents: Collection[Incident]) -> list[Incident]:
    """Return what other nodes tell of the same outage, the last word of each region."""
    regions: dict[str, Incident] = {}
    for other in sorted(incidents, key=lambda each: each.heard):
        if other.where and other.id != incident.id and same(incident, other):
            regions[other.where.partition("/")[0]] = other
    return [regions[name] for name in sorted(regions)]
