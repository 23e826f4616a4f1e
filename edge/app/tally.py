"""What does only the supervisor know?  How often it started each process again; control reads it for the metrics."""

from __future__ import annotations

from msgspec import Struct


class Tally(Struct, frozen=True):
    """Restarts since the node was started, by process name."""

    restarts: dict[str, int]
