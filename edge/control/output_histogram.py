"""How long have answers been lately?  Once a minute half of what each route knows is forgotten.

Workers count output tokens of complete answers into a histogram, by which they reserve tokens for requests that name
no ``max_tokens``. Forgetting by half lets it follow the times: after some minutes, older answers weigh little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

EVERY_S: Final = 60.0
# A quiet route would otherwise forget everything: with fewer answers than these it keeps what it knows.
_FEW: Final = 64


class OutputHistogram:
    """Looks after the histograms of a node's routes."""

    def __init__(self, shared_state: SharedState, now_ns: int) -> None:
        self._shared_state = shared_state
        self._looked_ns = now_ns

    def look(self, snapshot: Snapshot, now_ns: int) -> None:
        """Halve, if a minute has passed. Called once a second."""
        if now_ns - self._looked_ns < EVERY_S * 1e9:
            return
        self._looked_ns = now_ns
        for route in snapshot.routes:
            if sum(self._shared_state.read_route(route.slot)["output_hist"]) > _FEW:
                self._shared_state.halve_outputs(route.slot)
