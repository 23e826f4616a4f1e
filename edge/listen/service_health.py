"""Whether a gRPC service behind edge can be called: what grpc.health.v1 says of it by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock
from edge.terms.target_state import OPEN

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot


class ServiceHealth:
    """Reads the targets' records of a node.

    Args:
        shared_state: the node's shared state.
    """

    def __init__(self, shared_state: SharedState) -> None:
        self._shared_state = shared_state

    def is_usable(self, snapshot: Snapshot, service: str) -> bool:
        """Return whether a target of any method of the service is in rotation.

        One that is not: its circuit is open, or it is quarantined, as after it has reported NOT_SERVING itself.
        """
        now_ns = clock.now_ns()
        routes = {match.route for match in snapshot.services if match.grpc.partition("/")[0] == service}
        slots = {snapshot.targets[member.target].slot for route in routes for member in snapshot.routes[route].members}
        views = (self._shared_state.read_target(slot, now_ns) for slot in slots)
        return any(view["state"] != OPEN.label and view["quarantined_until_ns"] <= now_ns for view in views)
