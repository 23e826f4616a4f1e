"""What has become of the targets since we last looked?  Reads every record once a second and says what changed.

A change is one log line with its reason. Two of them a person must see: a provider refused our credential or our
balance, and a provider does not know the model that the configuration names; these are errors, the others information.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.balance.report import TargetReport, report
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.terms.snapshot import Breaker, Snapshot

PERIOD_S: Final = 1.0
_SENTENCES: Final = {
    "closed": "target is healthy again",
    "open": "target is left alone: its circuit opened",
    "half_open": "target is being tried",
    "ramping": "target is back",
    "resting": "target rests",
    "out": "TARGET IS OUT until someone mends it",
    "manual": "target was taken out by hand",
}


def read_targets(shared_state: SharedState, snapshot: Snapshot, now_ns: int) -> dict[str, TargetReport]:
    """Return a report per target id, judged by the policy of the first route that uses it."""
    policies: dict[int, Breaker] = {}
    for route in snapshot.routes:
        for member in route.members:
            policies.setdefault(member.target, route.breaker)
    return {
        target.id: report(shared_state.read_target(target.slot, now_ns), now_ns=now_ns, policy=policies[index])
        for index, target in enumerate(snapshot.targets)
        if index in policies
    }


class StateWatch:
    """Remembers each target's state, so that only changes are said."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def look(self, reports: dict[str, TargetReport]) -> list[tuple[int, str, dict[str, object]]]:
        """Return (level, sentence, facts) for each target whose state is another than at the last look.

        A target seen for the first time is expected to be closed.
        """
        lines: list[tuple[int, str, dict[str, object]]] = []
        for name, now in reports.items():
            before = self._states.get(name, "closed")
            if now.state == before:
                continue
            facts: dict[str, object] = {"target": name, "was": before, "now": now.state}
            if now.why:
                facts["why"] = now.why
            if now.until_s is not None:
                facts["for_s"] = round(now.until_s, 1)
            lines.append((_level(before, now.state), _SENTENCES[now.state], facts))
        self._states = {name: now.state for name, now in reports.items()}
        return lines


def _level(before: str, now: str) -> int:
    if now == "out":
        return logs.ERROR
    if now == "half_open":
        return logs.DEBUG
    # A trial that failed is no news: the outage goes on.
    return logs.WARNING if now == "open" and before != "half_open" else logs.INFO
