"""Facts that only the supervisor knows: restarts per process, and whether the node is draining."""

from __future__ import annotations

from msgspec import Struct


class SupervisorState(Struct, frozen=True):
    """Restarts since the node was started, by process name; ``leaving`` is set once the node begins to drain."""

    restarts: dict[str, int]
    leaving: bool = False
