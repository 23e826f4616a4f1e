"""How much of a month's budget may this node spend when others spend of the same?  Pure: sums, and one division.

Each node tells what it has spent this month of every common budget, and beside it a *ceiling* that it does not go
beyond until a higher one was told: what it has spent, and one part in so many of what was left then. So nodes that
hear each other use a budget up to the end, and one that is cut off stops at its part of what was left when it was last
heard: there is nothing to notice and no time to agree on. The others count a silent node's ceiling as spent.

What a node has told is kept without a lease, so that neither its end nor a restart forgets money. Amounts are US
dollars * 1e9, months count from year 0.
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
"""Keys that one node tells of; what it spends with others stays below the one part that everybody has."""

_Money = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # what the shared state can hold; whoever writes more is not read

EARLY: Final = 100
"""Before anything was heard of the others: one part in so many,"""
ASSUMED: Final = 3
"""and once it seems that there is no store, in so many. The shared state assumes the same (EDGE_ASSUMED_NODES)."""


class Part(Struct, frozen=True, array_like=True):
    """What a node has spent of a budget, and what it may have spent before it tells again. As JSON [spent, ceiling]."""

    spent: _Money
    ceiling: _Money


class Told(Struct, frozen=True):
    """What one node tells of a month, by key."""

    month: Annotated[int, Meta(ge=0, le=2**31)]
    keys: Annotated[dict[str, Part], Meta(max_length=MOST_TOLD)] = field(default_factory=dict)
    v: int = VERSION


def decode(value: bytes) -> Told | None:
    """Return what a node told; None when it is of another version, or none at all."""
    try:
        told = msgspec.json.decode(value, type=Told)
    except UNREADABLE:
        return None
    return told if told.v == VERSION else None


def encode(told: Told) -> bytes:
    """Return what to write."""
    return msgspec.json.encode(told)


def later(known: Told | None, told: Told) -> Told:
    """Return what holds of a node after it told anew: of one month no spending is ever taken back."""
    if known is None or known.month < told.month:
        return told
    if known.month > told.month:
        return known
    # of two that have spent the same the new one comes first, and its ceiling holds
    kept = {name: max(told.keys.get(name, part), part, key=_spent) for name, part in known.keys.items()}
    return Told(told.month, {**told.keys, **kept})


def counted(part: Part, silent_ns: int) -> int:
    """Return what is to be taken for spent by a node that was not heard for so long.

    While it is silent it may go up to its ceiling. A node that is silent for so long that it must be gone has spent
    what it told: its part would be lost to all until the month ends.
    """
    return max(part.spent, part.ceiling) if SILENT_NS <= silent_ns < FORGOTTEN_NS else part.spent


def elsewhere(name: str, month: int, others: Iterable[tuple[Told, int]]) -> int:
    """Return what other nodes have spent with a key, or may have; each comes with the time since it was heard."""
    parts = ((told.keys.get(name), silent_ns) for told, silent_ns in others if told.month == month)
    return sum(counted(part, silent_ns) for part, silent_ns in parts if part is not None)


def ceiling(budget: int, spent: int, others: int, nodes: int) -> int:
    """Return how far one of so many nodes may go that has spent, and told, so much."""
    return spent + max(budget - spent - others, 0) // max(nodes, 1)


def urgent(told: Part | None, spent: int) -> bool:
    """Tell whether spending must be told before the next heartbeat: half of the way to the ceiling is used."""
    if told is None:
        return spent > 0
    return spent > told.spent and 2 * (spent - told.spent) >= told.ceiling - told.spent


def of_gone(told: Mapping[str, Told], month: int, stands: Iterable[str], alive: Iterable[str]) -> list[str]:
    """Return the nodes that are gone, and whose spending of this month the store has lost."""
    return sorted(name for name in told.keys() - {*stands, *alive} if told[name].month == month and told[name].keys)


def _spent(part: Part) -> int:
    return part.spent
