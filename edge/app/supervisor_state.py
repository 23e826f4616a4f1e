"""What does only the supervisor know?  How often it started each process again, and whether the node is leaving."""

from __future__ import annotations

from msgspec import Struct


class SupervisorState(Struct, frozen=True):
    """Restarts since the node was started, by process name; ``leaving`` once it is told to drain."""

    restarts: dict[str, int]
    leaving: bool = False
