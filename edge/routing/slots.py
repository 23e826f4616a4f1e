"""Assigns records of the shared state; a target that stays keeps its record, so that a reload forgets nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.errors import ConfigInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROUTE: Final = "route:"
KEY: Final = "key:"
CREDENTIAL: Final = "credential:"
ALLOWANCE: Final = (KEY, CREDENTIAL)
"""What stands before names in a Snapshot's ``slots``; a name without any is a target's. None of them has a colon."""


class Most(Struct, frozen=True):
    """How many records of each kind the shared state has; None: no bound, before there is a shared state."""

    targets: int | None = None
    routes: int | None = None
    allowances: int | None = None


def assign_all(
    previous: Mapping[str, int],
    most: Most,
    *,
    targets: Iterable[str],
    routes: Iterable[str],
    allowances: Iterable[str],
) -> dict[str, int]:
    """Return the slots of everyone in one mapping: targets by id, the others by what they are and their name.

    Args:
        previous: what the last call returned.
        most: records there are.
        targets: ids.
        routes: names, without ``route:``.
        allowances: names, with ``key:`` or ``credential:``; they share one kind of record.

    Raises:
        ConfigInvalidError: more names than records.
    """
    of_routes = {name: slot for name, slot in previous.items() if name.startswith(ROUTE)}
    of_allowances = {name: slot for name, slot in previous.items() if name.startswith(ALLOWANCE)}
    of_targets = {name: slot for name, slot in previous.items() if name not in of_routes | of_allowances}
    return (
        assign(targets, of_targets, most.targets, "targets")
        | assign([ROUTE + name for name in routes], of_routes, most.routes, "routes")
        | assign(allowances, of_allowances, most.allowances, "keys and limited providers")
    )


def assign(wanted: Iterable[str], previous: Mapping[str, int], capacity: int | None, called: str) -> dict[str, int]:
    """Return a slot for each name in ``wanted``, and before them those of ``previous`` that are not wanted any more.

    A name that had a slot keeps it. New names get numbers that nobody ever had while there are any, because exchanges
    begun before the reload may still count into a freed record; only then those that have been free the longest. So a
    target that is taken out and put back later mostly finds its history.

    Args:
        wanted: names, without repeats.
        previous: what the last call returned; its order says who was freed first.
        capacity: records there are; None for no bound.
        called: what the records are of, for the error.

    Raises:
        ConfigInvalidError: more names than records.
    """
    names = list(wanted)
    if capacity is not None and len(names) > capacity:
        raise ConfigInvalidError(
            [f"{len(names)} {called} need more records than the {capacity} this node started with; restart it"]
        )
    slots = {name: previous[name] for name in names if name in previous}
    freed = {name: slot for name, slot in previous.items() if name not in slots}
    taken = set(previous.values())
    fresh = (number for number in range(len(taken) + len(names)) if number not in taken)
    for name in names:
        if name in slots:
            continue
        slot = next(fresh)
        if capacity is not None and slot >= capacity:
            slot = freed.pop(next(iter(freed)))
        slots[name] = slot
    return freed | {name: slots[name] for name in names}


def taken_over(now: Mapping[str, int], previous: Mapping[str, int]) -> dict[str, int]:
    """Return the slots, by name, of those whose record was another's in ``previous``; both as :func:`assign_all`."""
    owners = {(_kind(name), slot): name for name, slot in previous.items()}
    return {name: slot for name, slot in now.items() if owners.get((_kind(name), slot), name) != name}


def _kind(name: str) -> str:
    """Return which records a name counts among."""
    return ROUTE if name.startswith(ROUTE) else KEY if name.startswith(ALLOWANCE) else ""


def room(highest: int) -> int:
    """Return how many records to make for slots 0 to ``highest``: twice as many, in steps of 64, for later reloads."""
    return ((highest + 1) * 2 + 63) // 64 * 64
