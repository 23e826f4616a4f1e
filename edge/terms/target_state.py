"""Holds why a target is not used, or not fully: a code, a label, a sentence and a severity for each state.

Error bodies, ``x-edge-reason``, ``edge status``, the admin API, the log and the metrics take their words from here, so
that a state has one name everywhere. Codes are those of ``native.balance.balancer.Barred``; codes of reasons are those
of ``native.balance.breaker.TripReason``, ``native.state.counters.Outcome`` and ``SharedState.set_manual``. A test
compares them with the compiled enums; this module does not import those, so that a command can show a state without
loading the compiled part.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from edge.terms import capabilities

Severity = Literal["ok", "limited", "failing", "attention"]
"""``ok``: the target gets its traffic. ``limited``: it gets less or none, and nothing is wrong with it. ``failing``: it
gets none because it fails; edge tries it again by itself. ``attention``: a person must repair something first."""

Label = Literal[
    "usable",
    "open",
    "half_open",
    "rate_limited",
    "quarantined",
    "full",
    "manual",
    "tried",
    "exhausted",
    "spill_limited",
    "slow_start",
    "unhealthy_elsewhere",
    "capability_down",
    "kept_elsewhere",
]


class TargetState(Struct, frozen=True):
    """One state: the native code, the label for tables and metrics, the sentence for people, and the severity."""

    code: int
    label: Label
    sentence: str
    severity: Severity


class Reason(Struct, frozen=True):
    """What lies behind a state. ``remedy`` is for operators only; ``severity`` None: that of the state."""

    sentence: str
    remedy: str = ""
    severity: Severity | None = None


USABLE: Final = TargetState(0, "usable", "the target takes requests", "ok")
OPEN: Final = TargetState(1, "open", "the circuit is open: the target failed, or was slow, too often", "failing")
HALF_OPEN: Final = TargetState(
    2, "half_open", "the circuit is half-open, and a trial request is in progress", "failing"
)
RATE_LIMITED: Final = TargetState(3, "rate_limited", "the provider asked for fewer requests with status 429", "limited")
QUARANTINED: Final = TargetState(
    4,
    "quarantined",
    "the target refused edge's credential or balance, lacks the model or path, or reports that it is not serving",
    "attention",
)
FULL: Final = TargetState(
    5, "full", "the target has as many requests in flight as its limit allows, in total or for this priority", "limited"
)
MANUAL: Final = TargetState(6, "manual", "an operator drained or ejected the target", "limited")
TRIED: Final = TargetState(7, "tried", "this request has tried the target already", "limited")
EXHAUSTED: Final = TargetState(
    8, "exhausted", "the limits configured for the provider's account are used up", "limited"
)
SPILL_LIMITED: Final = TargetState(
    9, "spill_limited", "the target replaces a better tier and takes low-priority requests step by step", "limited"
)
SLOW_START: Final = TargetState(
    10, "slow_start", "the target has recovered and takes a growing share of its traffic", "limited"
)
UNHEALTHY_ELSEWHERE: Final = TargetState(
    11, "unhealthy_elsewhere", "other regions find the target unhealthy, so that it gets less traffic", "limited"
)
CAPABILITY_DOWN: Final = TargetState(
    12, "capability_down", "what the request needs fails at the target, while other requests succeed", "failing"
)
KEPT_ELSEWHERE: Final = TargetState(
    13, "kept_elsewhere", "the conversation stays at another target, which has its prompt in its cache", "ok"
)

STATES: Final = (
    USABLE,
    OPEN,
    HALF_OPEN,
    RATE_LIMITED,
    QUARANTINED,
    FULL,
    MANUAL,
    TRIED,
    EXHAUSTED,
    SPILL_LIMITED,
    SLOW_START,
    UNHEALTHY_ELSEWHERE,
    CAPABILITY_DOWN,
    KEPT_ELSEWHERE,
)
REPORTED: Final = (USABLE, SLOW_START, RATE_LIMITED, HALF_OPEN, OPEN, QUARANTINED, MANUAL)
"""The states that the record of a target shows. The others depend on the request."""

BY_CODE: Final = {state.code: state for state in STATES}
BY_LABEL: Final[dict[str, TargetState]] = {state.label: state for state in STATES}

PASSED_OVER: Final = ("passed_over", "another request took the target at that instant")
"""Label and sentence for a usable target of a better tier that did not answer."""

TRIPPED: Final = {
    0: Reason("the circuit breaker opened"),
    1: Reason("too many consecutive failures"),
    2: Reason("too large a share of failures"),
    3: Reason("too large a share of slow responses"),
    4: Reason("the trial request failed"),
    5: Reason("the trial request failed with Retry-After"),
    6: Reason("the target failed here as other regions had reported"),
    7: Reason("too many consecutive requests were late without a byte, or one stayed silent to its deadline"),
    8: Reason("the target declines them"),
}
"""Why a circuit opened, by TripReason."""

QUARANTINE: Final = {
    6: Reason("the health service of the target reports NOT_SERVING", severity="failing"),
    11: Reason(
        "the provider refused edge's credential or balance with status 401, 402 or 403",
        "check the provider's key and account",
    ),
    12: Reason(
        "the provider lacks the model or path that edge asks for, with a status such as 404",
        "check the target's name and base_url",
    ),
}
"""Why a target is quarantined, by Outcome."""

BY_HAND: Final = {
    1: Reason("an operator drained the target: it finishes its requests and gets no new ones"),
    2: Reason("an operator ejected the target"),
}
"""What an operator did, by the code of ``SharedState.set_manual``."""

MISSING: Final = {
    number: Reason(f"requests that need {name} fail there, while others succeed")
    for number, name in enumerate(capabilities.NAMES)
}
"""What does not work at a target, by Capability."""

_REASONS: Final = {
    OPEN.code: TRIPPED,
    QUARANTINED.code: QUARANTINE,
    MANUAL.code: BY_HAND,
    CAPABILITY_DOWN.code: MISSING,
}


def reason_for(state: TargetState, code: int) -> Reason:
    """Return what lies behind a state; where nothing more precise is known, the sentence of the state itself."""
    return _REASONS.get(state.code, {}).get(code) or Reason(state.sentence)
