"""Division of a monthly budget among the nodes that share it; pure functions.

For every shared budget each node publishes what it has spent this month, and a *ceiling*: it spends no more than that
until it has published a higher one. The ceiling is what the node has spent plus its part of what was left at that time.
Nodes that hear each other can therefore use a budget completely, and a node that is cut off stops at its part of what
was left when it was last heard. No failure has to be detected and no clock agreed on: the others count a silent node's
ceiling as spent.

What a node has published is stored without a lease, so neither its end nor a restart loses money. Amounts are US
dollars * 1e9; months are counted from year 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from edge.regions.digest import UNREADABLE
from edge.regions.shares import FORGOTTEN_NS, SILENT_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION: Final = 1
MOST_TOLD: Final = 4096
"""Keys that one node publishes; with further keys it spends no more than a node may spend unpublished."""

_Money = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # the range of the shared state; larger values are unreadable

EARLY: Final = 100
"""Before anything is known of other nodes, a node may spend this fraction (1/EARLY) of a budget."""
ASSUMED: Final = 3
"""Without a store, a node assumes that so many nodes share a budget, as the shared state does (EDGE_ASSUMED_NODES)."""


class Part(Struct, frozen=True, array_like=True):
    """What a node has spent of a budget, and may spend before it publishes again; as JSON [spent, ceiling]."""

    spent: _Money
    ceiling: _Money


class Told(Struct, frozen=True):
    """What one node publishes about a month, by key.

    ``forgotten`` is the Unix time in ms at which an operator had what was published before forgotten; 0: never.
    """

    month: Annotated[int, Meta(ge=0, le=2**31)]
    keys: Annotated[dict[str, Part], Meta(max_length=MOST_TOLD)] = field(default_factory=dict)
    v: int = VERSION
    forgotten: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


def decode(value: bytes) -> Told | None:
    """Return the document of a node, or None if it is unreadable or has another version."""
    try:
        told = msgspec.json.decode(value, type=Told)
    except UNREADABLE:
        return None
    return told if told.v == VERSION else None


def encode(told: Told) -> bytes:
    """Return the document as it is stored."""
    return msgspec.json.encode(told)


def later(known: Told | None, told: Told) -> Told:
    """Merge what is known of a node with its new document; within a month only an operator decreases spending."""
    if known is None or known.month < told.month:
        return told
    if known.month > told.month:
        return known
    if known.forgotten != told.forgotten:
        return told if told.forgotten > known.forgotten else known
    # if both spent the same, max() returns the new one, so that its ceiling applies
    kept = {name: max(told.keys.get(name, part), part, key=_spent) for name, part in known.keys.items()}
    return Told(told.month, {**told.keys, **kept}, forgotten=told.forgotten)


def counted(part: Part, silent_ns: int) -> int:
    """Return the amount to count as spent for a node that has been silent for ``silent_ns``.

    A silent node may spend up to its ceiling. A node that has been silent for so long that it must be gone is counted
    with what it published; otherwise its part would be unusable for everybody until the month ends.
    """
    return max(part.spent, part.ceiling) if SILENT_NS <= silent_ns < FORGOTTEN_NS else part.spent


def elsewhere(name: str, month: int, others: Iterable[tuple[Told, int]]) -> int:
    """Return what other nodes have spent, or may have spent, with a key; ``others`` pairs each with its silence."""
    parts = ((told.keys.get(name), silent_ns) for told, silent_ns in others if told.month == month)
    return sum(counted(part, silent_ns) for part, silent_ns in parts if part is not None)


def ceiling(budget: int, spent: int, others: int, nodes: int) -> int:
    """Return the ceiling of one of ``nodes`` nodes that has spent ``spent``, when others have spent ``others``."""
    return spent + max(budget - spent - others, 0) // max(nodes, 1)


def urgent(told: Part | None, spent: int) -> bool:
    """Return whether spending must be published before the next heartbeat: half of the way to the ceiling is used."""
    if told is None:
        return spent > 0
    return spent > told.spent and 2 * (spent - told.spent) >= told.ceiling - told.spent


def of_gone(told: Mapping[str, Told], month: int, stands: Iterable[str], alive: Iterable[str]) -> list[str]:
    """Return the nodes that are gone and whose spending of this month is missing from the store."""
    return sorted(name for name in told.keys() - {*stands, *alive} if told[name].month == month and told[name].keys)


def _spent(part: Part) -> int:
    return part.spent
