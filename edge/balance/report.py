"""Status reports of targets: one shared-state record becomes a state, a reason and a time.

Several states can hold at once (rate-limited and open, quarantined and drained). The report names the one that would
remain if the others ended: manual actions first, then states that only an operator can fix, then states that end by
themselves. Labels and sentences stand in ``edge.terms.target_state``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import Outcome, TargetCounter, TripReason
from edge.terms.capabilities import NAMES, part_of
from edge.terms.snapshot import Breaker  # noqa: TC001  # msgspec reads the annotation at run time
from edge.terms.target_state import (
    HALF_OPEN,
    MANUAL,
    OPEN,
    QUARANTINED,
    RATE_LIMITED,
    SLOW_START,
    USABLE,
    Label,
    Severity,
    reason_for,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.native import CapabilityView, TargetView
    from edge.terms.target_state import TargetState

_S: Final = 1_000_000_000
_CELLS: Final = ("stream", "whole")
_LEAST_PENALTY_MS: Final = 1.0  # less does not move traffic


class Use(Struct, frozen=True):
    """How one route uses a target."""

    route: str
    tier: int
    weight: float
    breaker: Breaker


class RouteReport(Struct, frozen=True):
    """A target as one route sees it: each route has a tier, a weight and a slow start of its own for the target."""

    route: str
    tier: int  # 1 is preferred
    weight: float
    state: Label


class CapabilityReport(Struct, frozen=True):
    """One capability of a target. ``until_s``: seconds until the state may change by itself; None: no such time."""

    name: str  # of edge.terms.capabilities
    state: Label
    severity: Severity
    usable: bool  # requests that need it may be sent there now, if only a trial request
    why: str  # one sentence; "" in the state usable
    until_s: float | None
    error_ratio: float  # of requests that need it, in the last ten seconds, 0..1
    volume: int
    trips: int


class TargetReport(Struct, frozen=True):
    """Current status of one target. ``until_s``: seconds until the state may change by itself; None: no such time."""

    state: Label
    severity: Severity
    usable: bool  # the target may be given a request now, if only a trial request
    why: str  # one sentence; "" in the state usable
    until_s: float | None
    inflight: int
    # Averages of the last ten seconds' successes: "stream" (first token) and "whole" (first byte); None = no data.
    latency_ms: dict[str, float | None]
    # What recent failures add to these in the balancer's eyes; it fades within a minute or two. None = nothing.
    penalty_ms: dict[str, float | None]
    error_ratio: float  # in the last ten seconds, 0..1
    slow_ratio: float
    volume: int  # attempts that ended in the last ten seconds; error_ratio and slow_ratio refer to them
    consecutive: int  # failures in a row
    trips: int
    attempts: dict[str, int]  # by outcome, outcomes without attempts left out
    routes: tuple[RouteReport, ...]  # every route that uses the target, in the order of the configuration
    limit: float | None = None  # learned concurrency limit; None: nothing is learned
    since: float | None = None  # Unix time of the manual action; None: there is none
    capabilities: tuple[CapabilityReport, ...] = ()  # those that do not work, or failed in the last ten seconds


def report(view: TargetView, *, now_ns: int, uses: Sequence[Use]) -> TargetReport:
    """Return the report of one target.

    Args:
        view: the record, from ``SharedState.read_target``.
        now_ns: monotonic nanoseconds.
        uses: every route that uses the target, at least one. The state of the target itself is ``slow_start`` until
            the slow start of every route has ended.
    """
    state, code, until_ns = _state(view, now_ns, max(use.breaker.slow_start_ns for use in uses))
    reason = reason_for(state, code)
    counts = view["counts"]
    total, failed, slow = view["window"]
    parts = [_capability(number, part, now_ns, uses) for number, part in view["capabilities"].items()]
    waits = state in (OPEN, HALF_OPEN) and until_ns > now_ns
    return TargetReport(
        state=state.label,
        severity=reason.severity or state.severity,
        usable=not waits and state not in (RATE_LIMITED, QUARANTINED, MANUAL),
        why=_why(state, code, uses, due=not waits),
        until_s=round(max(until_ns - now_ns, 0) / _S, 3) if until_ns else None,
        inflight=view["inflight"],
        latency_ms={
            # a first byte within microseconds is a measurement too, and not the absence of one
            name: max(round(ms, 1), 0.1) if ms else None
            for name, ms in zip(_CELLS, view["measured_ms"], strict=True)
        },
        penalty_ms={
            name: round(ms, 1) if ms >= _LEAST_PENALTY_MS else None
            for name, ms in zip(_CELLS, view["penalty_ms"], strict=True)
        },
        error_ratio=round(failed / total, 4) if total else 0.0,
        slow_ratio=round(slow / total, 4) if total else 0.0,
        volume=total,
        consecutive=view["consecutive"],
        trips=counts[TargetCounter.T_TRIPS],
        limit=round(view["limit"], 1) or None,
        attempts={outcome.name.lower(): counts[outcome] for outcome in Outcome if counts[outcome]},
        routes=tuple(
            RouteReport(use.route, use.tier, use.weight, _state(view, now_ns, use.breaker.slow_start_ns)[0].label)
            for use in uses
        ),
        capabilities=tuple(part for part in parts if part.state != USABLE.label or part.error_ratio),
    )


def states_of(reports: Mapping[str, TargetReport]) -> dict[str, Label]:
    """Return the state of each target by id, and by ``capabilities.part_of`` of each capability that is reported."""
    states = {name: each.state for name, each in reports.items()}
    for name, each in reports.items():
        states |= {part_of(name, part.name): part.state for part in each.capabilities}
    return states


def _capability(number: int, part: CapabilityView, now_ns: int, uses: Sequence[Use]) -> CapabilityReport:
    name, (total, failed, _) = NAMES[number], part["window"]
    state, code, until_ns = _circuit(part, now_ns, max(use.breaker.slow_start_ns for use in uses))
    waits = state in (OPEN, HALF_OPEN) and until_ns > now_ns
    why = _why(state, code, uses, due=not waits)
    return CapabilityReport(
        name=name,
        state=state.label,
        severity=state.severity,
        usable=not waits,
        why=f"requests that need {name}: {why}" if why else "",
        until_s=round(max(until_ns - now_ns, 0) / _S, 3) if until_ns else None,
        error_ratio=round(failed / total, 4) if total else 0.0,
        volume=total,
        trips=part["trips"],
    )


def _state(view: TargetView, now_ns: int, slow_start_ns: int) -> tuple[TargetState, int, int]:
    """Return the state, the code of its reason (0: none), and the monotonic ns at which it may end (0: unknown)."""
    if view["manual"]:
        return MANUAL, view["manual"], 0
    if view["quarantined_until_ns"] > now_ns:
        return QUARANTINED, view["quarantine_reason"], view["quarantined_until_ns"]
    return _circuit(view, now_ns, slow_start_ns, view["rate_limited_until_ns"])


def _circuit(
    view: TargetView | CapabilityView, now_ns: int, slow_start_ns: int, limited_ns: int = 0
) -> tuple[TargetState, int, int]:
    """Return the same three values of a circuit: that of a capability, or of a target without a manual override."""
    if view["state"] == "open":
        return OPEN, view["trip_reason"], max(view["until_ns"], limited_ns)
    if limited_ns > now_ns:
        return RATE_LIMITED, 0, limited_ns
    if view["state"] == "half_open":
        return HALF_OPEN, 0, view["until_ns"]
    if view["until_ns"] and now_ns < view["until_ns"] + slow_start_ns:
        return SLOW_START, 0, view["until_ns"] + slow_start_ns
    return USABLE, 0, 0


def _why(state: TargetState, code: int, uses: Sequence[Use], *, due: bool) -> str:
    """Return the sentence for operators: the reason, the threshold behind it, and what to do."""
    if state is USABLE:
        return ""
    reason = reason_for(state, code)
    said = reason.sentence
    if state is OPEN:
        # Any of the routes may have opened the circuit, so the threshold is named only if they agree on it.
        thresholds = {_threshold(code, use.breaker) for use in uses}
        said += thresholds.pop() if len(thresholds) == 1 else ""
        said += "; the next request may try it" if due else ""
    return f"{said}: {reason.remedy}" if reason.remedy else said


def _threshold(code: int, policy: Breaker) -> str:
    """Return the threshold that opened a circuit, by the name that it has in the configuration."""
    if code == TripReason.TRIP_CONSECUTIVE:
        return f" (consecutive_failures: {policy.consecutive_failures})"
    if code == TripReason.TRIP_RATIO:
        return f" (failure_ratio: {policy.failure_ratio:.0%} in {policy.window_ns // _S} s)"
    if code == TripReason.TRIP_SLOW:
        over = f"{policy.slow_threshold_ns / _S:g} s"
        return f" (slow_ratio: {policy.slow_ratio:.0%} over {over} in {policy.window_ns // _S} s)"
    return ""
