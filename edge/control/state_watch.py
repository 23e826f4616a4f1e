"""Reports of all targets, read from the shared state once a second, and a log line for each change of state.

The level of a line follows the severity of the state: an error where a person must repair something (the provider
refused edge's credential or balance, or does not know the configured model), a warning where a circuit opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.balance.report import CapabilityReport, TargetReport, Use, report, states_of
from edge.telemetry import logs
from edge.terms.capabilities import NAMES, part_of, split
from edge.terms.target_state import HALF_OPEN, OPEN, USABLE

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot
    from edge.terms.target_state import Severity

PERIOD_S: Final = 1.0
_LEVELS: Final[dict[Severity, int]] = {
    "ok": logs.INFO,
    "limited": logs.INFO,
    "failing": logs.WARNING,
    "attention": logs.ERROR,
}


def read_targets(shared_state: SharedState, snapshot: Snapshot, now_ns: int) -> dict[str, TargetReport]:
    """Return a report per target id for every target that a route uses, in the order of the configuration."""
    uses: dict[int, list[Use]] = {}
    for route in snapshot.told_routes:
        for member in route.members:
            uses.setdefault(member.target, []).append(Use(route.name, member.tier, member.weight, route.breaker))
    return {
        target.id: report(shared_state.read_target(target.slot, now_ns), now_ns=now_ns, uses=uses[index])
        for index, target in enumerate(snapshot.targets)
        if index in uses
    }


class StateWatch:
    """Remembers each target's state and reports changes."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def poll(self, reports: dict[str, TargetReport]) -> list[tuple[int, str, dict[str, object]]]:
        """Return (level, message, facts) for each target, or capability of one, whose state has changed.

        What is seen for the first time counts as usable before, and so does a capability that is reported no more.
        """
        lines: list[tuple[int, str, dict[str, object]]] = []
        for name, now in reports.items():
            before = self._states.get(name, USABLE.label)
            if now.state != before:
                lines.append(_line("target", before, now, {"target": name}))
            for part in now.capabilities:
                before = self._states.get(part_of(name, part.name), USABLE.label)
                if part.state != before:
                    lines.append(_line("capability", before, part, {"target": name, "capability": part.name}))
        states = states_of(reports)
        for name, before in self._states.items():
            target, number = split(name)
            if number >= 0 and name not in states and target in reports and before != USABLE.label:
                facts = {"target": target, "capability": NAMES[number], "was": before, "now": USABLE.label}
                lines.append((logs.INFO, f"capability is {USABLE.label}", dict(facts)))
        self._states = dict(states)
        return lines


def _line(
    what: str, before: str, now: TargetReport | CapabilityReport, names: dict[str, object]
) -> tuple[int, str, dict[str, object]]:
    facts = {**names, "was": before, "now": now.state}
    if now.why:
        facts["why"] = now.why
    if now.until_s is not None:
        facts["for_s"] = round(now.until_s, 1)
    return _level(before, now), f"{what} is {now.state}", facts


def _level(before: str, now: TargetReport | CapabilityReport) -> int:
    if now.state == HALF_OPEN.label:
        return logs.DEBUG
    if now.state == OPEN.label and before == HALF_OPEN.label:
        return logs.INFO  # a trial request failed: the outage has been reported already
    return _LEVELS[now.severity]
