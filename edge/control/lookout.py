"""One second's look at the node and what it heard from others, as signs for the incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge import clock
from edge.incidents import signs, tally
from edge.incidents.signs import Look, Usual, subject_of
from edge.telemetry.usage import month_of, spent_in
from edge.terms.target_state import HALF_OPEN, OPEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.balance.report import TargetReport
    from edge.control.node import Node
    from edge.incidents.signs import Sign
    from edge.incidents.tally import Tally

STORE_SILENT_S: Final = 15.0
_DOWN: Final = (OPEN.label, HALF_OPEN.label)
_NANO: Final = 1_000_000_000


class Lookout:
    """Looks once a second.

    Args:
        node: the node as control sees it.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._usual = Usual()

    def looks(self, reports: Mapping[str, TargetReport]) -> list[Look]:
        """Return every target that a route uses, other regions' edges left out."""
        kinds = {target.id: target for target in self._node.snapshot.targets}
        self._usual.forget(kinds)
        return [
            Look(
                id=name,
                provider=kinds[name].provider,
                service=kinds[name].kind == "service",
                state=report.state,
                why=report.why,
                failed=round(report.error_ratio * report.volume),
                total=report.volume,
                consecutive=report.consecutive,
                first_ms=report.latency_ms["stream"],
                lacks=tuple((part.name, part.why) for part in report.capabilities if part.state in _DOWN),
            )
            for name, report in reports.items()
            if name in kinds and kinds[name].kind != "region"
        ]

    def signs(self, looks: list[Look]) -> list[Sign]:
        """Return everything that is wrong now, here and elsewhere."""
        own = self._node.snapshot.region
        found = [sign for look in looks for sign in signs.of_target(look, own, self._usual)]
        sharing = self._node.sharing
        if sharing is not None:
            pictures = {region: picture for region, picture in sharing.pictures.items() if picture.fresh}
            states = {
                region: {name: target.state for name, target in picture.targets.items()}
                for region, picture in pictures.items()
            }
            found += signs.elsewhere(own, states, {look.id: subject_of(look) for look in looks})
            found += signs.of_regions(region for region, picture in pictures.items() if picture.suspect)
            if sharing.shared:
                state = sharing.state()
                if not state.connected or state.view_age_s is None or state.view_age_s > STORE_SILENT_S:
                    found.append(signs.of_store(state.view_age_s, state.error, own))
        return found + signs.of_budgets(self._budgets(), own)

    def _budgets(self) -> dict[str, tuple[float, float]]:
        """Return what each key with a budget has spent this month here, and may spend here, in US dollars."""
        month = month_of(clock.wall())
        found = {}
        for key in self._node.accounted.keys:
            if key.allowance is None or not key.budget_nano:
                continue
            record = self._node.shared_state.read_allowance(key.allowance.slot)
            parted = key.allowance.shared and record["ceiling_month"] == month
            most = min(record["ceiling_nano"], key.budget_nano) if parted else key.budget_nano
            found[key.name] = (spent_in(record, month) / _NANO, most / _NANO)
        return found

    def tally(self, now_ns: int) -> Tally:
        """Return all counters now."""
        state = self._node.shared_state
        return tally.take(self._node.snapshot, lambda slot: state.read_target(slot, now_ns), state.read_route)
