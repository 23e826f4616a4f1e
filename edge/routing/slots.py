"""Assignment of shared state records to names; a name keeps its record, so that a reload loses no state."""

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
"""Prefixes of names in a Snapshot's ``slots``. A name without a prefix is a target id; no id begins with a prefix."""


class Most(Struct, frozen=True):
    """How many records of each kind the shared state has; None: unlimited, because it does not exist yet."""

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
    """Return the slots of all names in one mapping: targets by id, others by prefix and name.

    Args:
        previous: the result of the previous call.
        most: number of records of each kind.
        targets: target ids.
        routes: route names, without ``route:``.
        allowances: names with ``key:`` or ``credential:``; both use the same kind of record.

    Raises:
        ConfigInvalidError: there are more names than records.
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
    """Return a slot for each name in ``wanted``, preceded by the freed slots of names that are no longer wanted.

    A name that had a slot keeps it. A new name gets a slot that was never used as long as there are any, because
    exchanges begun before the reload may still count into a freed record; after that, the slot that has been free for
    the longest time. A target that is removed and added again later therefore usually finds its history.

    Args:
        wanted: names, without duplicates.
        previous: the result of the previous call; its order says which slot was freed first.
        capacity: number of records; None for no limit.
        called: what the records are for, for the error message.

    Raises:
        ConfigInvalidError: there are more names than records.
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
    """Return name and slot of those whose record belonged to another name in ``previous``; see :func:`assign_all`."""
    owners = {(_kind(name), slot): name for name, slot in previous.items()}
    return {name: slot for name, slot in now.items() if owners.get((_kind(name), slot), name) != name}


def _kind(name: str) -> str:
    """Return the kind of record that a name uses, as a prefix."""
    return ROUTE if name.startswith(ROUTE) else KEY if name.startswith(ALLOWANCE) else ""


def room(highest: int) -> int:
    """Return how many records to create for slots 0 to ``highest``: twice as many, to allow growth, in steps of 64."""
    return ((highest + 1) * 2 + 63) // 64 * 64
