"""The metrics of shadow copies: what became of them, and how they compare with what the callers got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.native import RouteCounter
from edge.telemetry import catalog_shadow

if TYPE_CHECKING:
    from edge.native import RouteView, SharedState
    from edge.telemetry.reading import Reading
    from edge.terms.snapshot import Snapshot

_RESULTS: Final = {
    "agreed": RouteCounter.R_SHADOW_AGREED,
    "differed": RouteCounter.R_SHADOW_DIFFERED,
    "uncompared": RouteCounter.R_SHADOW_UNCOMPARED,
    "busy": RouteCounter.R_SHADOW_BUSY,
    "memory": RouteCounter.R_SHADOW_MEMORY,
    "unusable": RouteCounter.R_SHADOW_UNUSABLE,
    "unfit": RouteCounter.R_SHADOW_UNFIT,
}
_COMPARED: Final = (
    (catalog_shadow.FIRST, 1e-6, RouteCounter.R_SHADOW_FIRST_US, RouteCounter.R_SHADOW_COPY_FIRST_US),
    (catalog_shadow.TOTAL, 1e-6, RouteCounter.R_SHADOW_TOTAL_US, RouteCounter.R_SHADOW_COPY_TOTAL_US),
    (catalog_shadow.TOKENS, 1, RouteCounter.R_SHADOW_OUTPUT_TOKENS, RouteCounter.R_SHADOW_COPY_OUTPUT_TOKENS),
)
_CIRCUITS: Final = {"closed": 0, "open": 1, "half_open": 2}
_NANO: Final = 1e-9


def add(page: Reading, shared_state: SharedState, snapshot: Snapshot, now_ns: int) -> None:
    """Add the samples of every route that is copied."""
    for index, route in snapshot.shadows.items():
        taken = snapshot.routes[index]
        target = snapshot.targets[taken.members[0].target]
        labels = (route.name, target.id.removeprefix(f"shadow:{route.name}:"))
        _add(page, labels, shared_state.read_route(taken.slot))
        page.add(catalog_shadow.CIRCUIT, labels, _CIRCUITS[shared_state.read_target(target.slot, now_ns)["state"]])


def _add(page: Reading, labels: tuple[str, str], view: RouteView) -> None:
    counts = view["counts"]
    for result, counter in _RESULTS.items():
        page.add(catalog_shadow.COPIES, (*labels, result), counts[counter])
    for metric, unit, caller, copy in _COMPARED:
        page.add(metric, (*labels, "caller"), counts[caller] * unit)
        page.add(metric, (*labels, "copy"), counts[copy] * unit)
    page.add(catalog_shadow.INFLIGHT, labels, view["inflight"])
    page.add(catalog_shadow.COST, labels, counts[RouteCounter.R_COST_NANO] * _NANO)
