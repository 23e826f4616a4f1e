"""Status reports of targets: one shared-state record becomes a state, a reason and a time.

Several states can hold at once (resting and open, out and drained). The report names the one that would remain if the
others ended: manual actions first, then states that only an operator can fix, then states that end by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from edge.native import Outcome, TargetCounter, TripReason

if TYPE_CHECKING:
    from edge.native import TargetView
    from edge.terms.snapshot import Breaker

State = Literal["closed", "open", "half_open", "ramping", "resting", "out", "manual"]

_S: Final = 1_000_000_000
_MANUAL: Final = {1: "drained by hand: finishes its requests, gets no new ones", 2: "ejected by hand"}
_OUT: Final = {
    Outcome.REFUSED_CREDENTIAL: "the provider rejected our credential or our balance (401, 402 or 403): "
    "check the key and the account",
    Outcome.FAIL_STATUS: "its health service reports NOT_SERVING (grpc.health.v1)",
    Outcome.MISCONFIGURED: "the provider does not know this model (404): check the target's name",
}
_TRIPPED: Final[dict[int, str]] = {
    TripReason.TRIP_TRIAL: "the trial request failed",
    TripReason.TRIP_RETRY_AFTER: "failing, and the provider named the time to retry (Retry-After)",
    TripReason.TRIP_REMOTE: "failing here as well as in other regions",
}


class TargetReport(Struct, frozen=True):
    """Current status of one target. ``until_s``: seconds until the state may change by itself; None: no such time."""

    state: State
    usable: bool  # the target may be given a request now, if only a trial request
    why: str  # one sentence; "" in the state closed
    until_s: float | None
    inflight: int
    latency_ms: dict[str, float | None]  # per cell: "stream" (first token), "whole" (first byte); None = no data
    error_ratio: float  # in the last ten seconds, 0..1
    slow_ratio: float
    volume: int  # attempts that ended in the last ten seconds; error_ratio and slow_ratio refer to them
    consecutive: int  # failures in a row
    trips: int
    attempts: dict[str, int]  # by outcome, outcomes without attempts left out
    limit: float | None = None  # learned concurrency limit; None: nothing is learned
    since: float | None = None  # Unix time of the manual action; None: there is none


def report(view: TargetView, *, now_ns: int, policy: Breaker) -> TargetReport:
    """Return the report of one target.

    Args:
        view: the record, from ``SharedState.read_target``.
        now_ns: monotonic nanoseconds.
        policy: the breaker of the target's route, whose thresholds appear in the reason.
    """
    state, why, until_ns = _state(view, now_ns, policy)
    counts = view["counts"]
    total, failed, slow = view["window"]
    stream_ms, whole_ms = view["ewma_ms"]
    waits = state in ("open", "half_open") and until_ns > now_ns
    return TargetReport(
        state=state,
        usable=not waits and state not in ("resting", "out", "manual"),
        why=why,
        until_s=round(max(until_ns - now_ns, 0) / _S, 3) if until_ns else None,
        inflight=view["inflight"],
        latency_ms={"stream": round(stream_ms, 1) or None, "whole": round(whole_ms, 1) or None},
        error_ratio=round(failed / total, 4) if total else 0.0,
        slow_ratio=round(slow / total, 4) if total else 0.0,
        volume=total,
        consecutive=view["consecutive"],
        trips=counts[TargetCounter.T_TRIPS],
        limit=round(view["limit"], 1) or None,
        attempts={outcome.name.lower(): counts[outcome] for outcome in Outcome if counts[outcome]},
    )


def _state(view: TargetView, now_ns: int, policy: Breaker) -> tuple[State, str, int]:
    """Return the state, the reason, and the monotonic nanoseconds at which the state may end (0: unknown)."""
    if view["manual"]:
        return "manual", _MANUAL.get(view["manual"], "taken out by hand"), 0
    if view["out_until_ns"] > now_ns:
        return "out", _OUT.get(Outcome(view["out_reason"]), "out of rotation"), view["out_until_ns"]
    return _circuit(view, now_ns, policy)


def _circuit(view: TargetView, now_ns: int, policy: Breaker) -> tuple[State, str, int]:
    """Return the same three values for a target that is neither out nor under a manual override."""
    if view["state"] == "open":
        until_ns = max(view["until_ns"], view["rest_until_ns"])
        suffix = "" if until_ns > now_ns else "; the next request may try it"
        return "open", _tripped(view["trip_reason"], policy) + suffix, until_ns
    if view["rest_until_ns"] > now_ns:
        return "resting", "the provider rate-limits us (429)", view["rest_until_ns"]
    if view["state"] == "half_open":
        return "half_open", "a trial request is under way", view["until_ns"]
    ramped_ns = view["until_ns"] + policy.slow_start_ns
    if view["until_ns"] and now_ns < ramped_ns:
        return "ramping", "recovered, and taking a growing share of its traffic", ramped_ns
    return "closed", "", 0


def _tripped(reason: int, policy: Breaker) -> str:
    if reason == TripReason.TRIP_CONSECUTIVE:
        return f"{policy.consecutive_failures} failures in a row"
    if reason == TripReason.TRIP_RATIO:
        return (
            f"at least {policy.failure_ratio:.0%} of the responses of the last {policy.window_ns // _S} s were failures"
        )
    if reason == TripReason.TRIP_SLOW:
        limit = f"{policy.slow_threshold_ns / _S:g} s"
        return f"at least {policy.slow_ratio:.0%} of the last {policy.window_ns // _S} s took over {limit}"
    return _TRIPPED.get(reason, "taken out by its circuit breaker")
