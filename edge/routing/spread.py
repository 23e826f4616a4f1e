"""Choice of the discovered addresses that one node uses, and their places in a pool. Pure.

A pool has a bounded number of members. Where a source names more, each node takes a part, which its name decides
(rendezvous hashing): nodes take different parts, and an address that comes or goes moves no other.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.terms.places import Endpoint


class Place(Struct, frozen=True):
    """An address with its tier within the pool of its source, counted from 1."""

    endpoint: Endpoint
    tier: int


def places(endpoints: Sequence[Endpoint], *, most: int, zone: str, node: str) -> list[Place]:
    """Return at most ``most`` of the addresses, best tier first.

    Where ``zone`` has addresses, those of a tier that are in it come before the others of the tier: the pool spills to
    the others while they are full or failing. If there are too many addresses, the best tier gets three quarters of the
    places, so that it still has something to spill to.
    """
    zones = bool(zone) and any(endpoint.zone == zone for endpoint in endpoints)
    by_rank: dict[tuple[int, bool], list[Endpoint]] = {}
    for endpoint in _once(endpoints):
        by_rank.setdefault((endpoint.tier, zones and endpoint.zone != zone), []).append(endpoint)
    ranks = sorted(by_rank)
    chosen: list[Place] = []
    left: list[Place] = []
    for number, rank in enumerate(ranks, start=1):
        ordered = sorted(by_rank[rank], key=lambda endpoint: _order(node, endpoint.address))
        free = most - len(chosen)
        if number == 1 and len(ranks) > 1:
            free = max(most * 3 // 4, 1)
        chosen += [Place(endpoint, number) for endpoint in ordered[:free]]
        left += [Place(endpoint, number) for endpoint in ordered[free:]]
    chosen += left[: most - len(chosen)]
    return sorted(chosen, key=lambda place: (place.tier, place.endpoint.address))


def _once(endpoints: Iterable[Endpoint]) -> Iterable[Endpoint]:
    """Return each address once, at its best tier."""
    best: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        known = best.get(endpoint.address)
        if known is None or endpoint.tier < known.tier:
            best[endpoint.address] = endpoint
    return best.values()


def _order(node: str, address: str) -> bytes:
    return hashlib.blake2b(f"{node}\0{address}".encode(), digest_size=8).digest()
