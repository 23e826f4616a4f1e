"""Decay of the per-route histograms of output tokens: once a minute, every count is halved.

Workers count the output tokens of complete responses in these histograms, and reserve tokens by them for requests
without ``max_tokens``. Halving lets the estimate follow changes: after some minutes, old responses have little weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

EVERY_S: Final = 60.0
# With fewer responses than this a histogram keeps its counts; otherwise a quiet route would lose them all.
_FEW: Final = 64


class OutputHistogram:
    """Halves the histograms of a node's routes once a minute."""

    def __init__(self, shared_state: SharedState, now_ns: int) -> None:
        self._shared_state = shared_state
        self._halved_ns = now_ns

    def poll(self, snapshot: Snapshot, now_ns: int) -> None:
        """Halve the histograms if a minute has passed. Called once a second."""
        if now_ns - self._halved_ns < EVERY_S * 1e9:
            return
        self._halved_ns = now_ns
        for route in snapshot.routes:
            if sum(self._shared_state.read_route(route.slot)["output_hist"]) > _FEW:
                self._shared_state.halve_outputs(route.slot)
