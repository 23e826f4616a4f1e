"""Weights that operators have set while the node runs, instead of those in the configuration. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.terms.snapshot import Snapshot


def weighed(snapshot: Snapshot, weights: Mapping[str, float]) -> Snapshot:
    """Return the Snapshot with these weights, by target id, in every route; those of unknown targets are left out."""
    known = {index: weights[target.id] for index, target in enumerate(snapshot.targets) if target.id in weights}
    if not known:
        return structs.replace(snapshot, weights={})
    routes = tuple(
        structs.replace(
            route,
            members=tuple(
                structs.replace(member, weight=known.get(member.target, member.weight)) for member in route.members
            ),
        )
        for route in snapshot.routes
    )
    return structs.replace(
        snapshot, routes=routes, weights={snapshot.targets[index].id: weight for index, weight in known.items()}
    )
