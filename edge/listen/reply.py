"""Responses that edge generates itself: error bodies in the shape of OpenAI's error object.

Bodies name targets, reasons and times, but never a credential or the text of an upstream. Status codes follow RFC 9110;
``type`` and ``code`` follow OpenAI's error object, so that OpenAI's SDKs raise the exception class that their users
expect.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

# This module is native.proxy.hooks.Replies, of which these are a part.
from edge.listen.grpc_status import broken_call as broken_call  # noqa: PLC0414 - mypy's spelling of a re-export
from edge.listen.grpc_status import call_end as call_end  # noqa: PLC0414 - mypy's spelling of a re-export
from edge.listen.grpc_status import call_fields as call_fields  # noqa: PLC0414 - mypy's spelling of a re-export
from edge.listen.problems import MORE, PROBLEMS, WAITS
from edge.listen.socket_messages import socket_error as socket_error  # noqa: PLC0414
from edge.listen.socket_messages import socket_event as socket_event  # noqa: PLC0414
from edge.listen.socket_messages import socket_items as socket_items  # noqa: PLC0414
from edge.listen.socket_messages import socket_warm_up as socket_warm_up  # noqa: PLC0414
from edge.native import Reply
from edge.terms import capabilities, exhaustion
from edge.terms.target_state import BY_CODE, CAPABILITY_DOWN, PASSED_OVER, RATE_LIMITED, USABLE, reason_for

if TYPE_CHECKING:
    from collections.abc import Sequence

Fields = list[tuple[bytes, bytes]]
# A target's name, its state (Barred), the reason for that (see terms.target_state), seconds until it may be usable.
State = tuple[str, int, int, float]

_JSON: Final = (b"content-type", b"application/json")
# Characters of a caller's text in an error.
_LONGEST_DETAIL: Final = 200
# The shortest Retry-After that edge sends.
_RETRY_FLOOR_S: Final = 1


_JSON_FAULTS: Final = {
    1: "it is malformed at byte {at}",
    2: "it is not an object",
    3: "it has a field at byte {at} twice, or in another case than documented, which readers may interpret differently",
    4: "'model' must be a string and 'stream' a boolean (byte {at})",
    5: "it is nested deeper than 128 levels at byte {at}",
}
"""Fault sentences by native.codec.request_peek.PeekError."""

_FORM_FAULTS: Final = {
    1: "its parts are not what every reader would take them for (byte {at})",
    3: "one of the parts model, stream and n occurs twice (byte {at})",
    4: "model, stream and n must be short texts, without a file name, a transfer coding or the boundary (byte {at})",
}
"""The same, of forms."""


def passed_over(code: int, capability: int = -1) -> str:
    """Return the word for why a target was passed over, for ``x-edge-reason`` and records: open, vision_down."""
    if code == CAPABILITY_DOWN.code:
        return f"{capabilities.NAMES[capability]}_down"
    return BY_CODE[code].label if code else PASSED_OVER[0]


def _body(status: int, message: str, kind: str, code: str | None, param: str | None = None, **more: Any) -> bytes:
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code, "status": status, **more}}
    )


def problem(kind: str, detail: str) -> Reply:
    """Return the reply to a request that edge refuses; ``detail`` fills the message."""
    row = PROBLEMS[kind]
    if len(detail) > _LONGEST_DETAIL and kind != "not_offered":  # what a caller wrote is quoted in part
        detail = detail[:_LONGEST_DETAIL] + "…"
    fields = [_JSON, *MORE.get(kind, ())]
    if kind.startswith("rate_limited_") or kind in WAITS:
        fields.append((b"retry-after", detail.encode()))
    if kind in {"malformed_json", "malformed_form"}:
        fault, _, at = detail.partition(":")
        if fault.isdigit():  # else a reader's own words
            detail = (_JSON_FAULTS if kind == "malformed_json" else _FORM_FAULTS)[int(fault)].format(at=at)
        detail = detail[:300]
    return Reply(row.status, fields, _body(row.status, row.sentence.format(detail), row.type, row.code, row.param))


def too_long(status: int, most: int) -> Reply:
    """Return the reply for a provider's error response whose body exceeds ``most`` bytes."""
    message = (
        f"The provider answered {status} with a body larger than {most} bytes; limits.max_response sets that limit."
    )
    return Reply(status, [_JSON], _body(status, message, "invalid_request_error", "answer_too_long"))


def refusal(status: int, reason: str) -> Reply:
    """Return the reply to a request whose head or framing is refused."""
    content = _body(status, f"The request was refused: {reason}.", "invalid_request_error", "refused")
    return Reply(status, [_JSON], content)


def _sentence(state: dict[str, Any]) -> str:
    why = f" ({state['why']})" if state["why"] else ""
    until = f" for another {state['retry_after_s']:g} s" if state["retry_after_s"] else ""
    return f"{state['target']} is {state['state']}{why}{until}"


def _account(
    failed_attempts: Sequence[tuple[str, str, str]], states: Sequence[State]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    tried = [{"target": target, "outcome": outcome, "detail": detail} for target, outcome, detail in failed_attempts]
    targets = [
        {
            "target": target,
            "state": BY_CODE[code].label,
            "why": reason_for(BY_CODE[code], reason).sentence if code else "",
            "retry_after_s": round(wait, 1),
        }
        for target, code, reason, wait in states
    ]
    return tried, targets


def _status_of_service(failed_attempts: Sequence[tuple[str, str, str]]) -> int:
    """Return 502 if the last attempt got a bad response, 504 if it timed out, and 503 otherwise."""
    last = failed_attempts[-1][1] if failed_attempts else ""
    if last in {"fail_first_byte", "fail_first_token", "fail_stalled"}:
        return 504
    if last in {"fail_reset", "fail_malformed", "fail_truncated"}:
        return 502
    return 503


def unavailable(
    route: str,
    failed_attempts: Sequence[tuple[str, str, str]],
    states: Sequence[State],
    wait_s: float,
    service: bool,
    *,
    excluded: str = "",
) -> Reply:
    """Return the reply for an exchange that has no usable target left, or none that edge can connect to.

    If every target of a model is rate-limited, this is 429, so that SDKs raise the error that their users expect.

    Args:
        route: the model or service that was requested.
        failed_attempts: (target, outcome, detail) of each attempt, in order.
        states: the current state of every target.
        wait_s: seconds until the earliest recovery; becomes Retry-After, at least one second.
        service: whether the route is an internal service, whose callers expect 502 and 504 where they apply.
        excluded: which targets are never asked this operation, and why.
    """
    status = _status_of_service(failed_attempts) if service else 503
    retry_after = max(_RETRY_FLOOR_S, math.ceil(wait_s))
    tried, targets = _account(failed_attempts, states)
    exhausted = exhaustion.CODES.get(failed_attempts[-1][2]) if failed_attempts else None
    if exhausted is not None:
        message = f"No target of {route!r} can be asked now: {failed_attempts[-1][2]}. Retry in {retry_after} s."
        content = _body(503, message, "overloaded", exhausted, tried=tried, targets=targets)
        return Reply(503, [_JSON, (b"retry-after", str(retry_after).encode())], content)
    if not service and states and all((code, reason) == (RATE_LIMITED.code, 0) for _, code, reason, _ in states):
        message = f"Every target of {route!r} is rate-limited by its provider. Retry in {retry_after} s."
        content = _body(429, message, "requests", "upstream_rate_limited", tried=tried, targets=targets)
        return Reply(429, [_JSON, (b"retry-after", str(retry_after).encode())], content)
    parts = [f"{item['target']} failed ({item['detail']})" for item in tried]
    parts += [_sentence(item) for item in targets if item["state"] != USABLE.label]
    never = f" Never asked: {excluded}." if excluded else ""
    message = (
        f"No target of {route!r} can answer now: {'; '.join(parts) or 'none is usable'}.{never} "
        f"Retry in {retry_after} s."
    )
    content = _body(status, message, "service_unavailable", "no_usable_target", tried=tried, targets=targets)
    return Reply(status, [_JSON, (b"retry-after", str(retry_after).encode())], content)


def deadline(
    route: str, failed_attempts: Sequence[tuple[str, str, str]], states: Sequence[State], wait_s: float
) -> Reply:
    """Return the reply for an exchange whose total deadline expired; arguments as for :func:`unavailable`."""
    retry_after = max(_RETRY_FLOOR_S, math.ceil(wait_s))
    tried, targets = _account(failed_attempts, states)
    message = f"No target of {route!r} answered within the total deadline."
    content = _body(504, message, "timeout", "deadline_exceeded", tried=tried, targets=targets)
    return Reply(504, [_JSON, (b"retry-after", str(retry_after).encode())], content)


def overloaded(
    route: str, failed_attempts: Sequence[tuple[str, str, str]], states: Sequence[State], retry_after: int
) -> Reply:
    """Return the reply for an exchange whose usable targets are all at their concurrency limit.

    ``retry_after`` is in whole seconds; the other arguments are those of :func:`unavailable`. Envoy and gRPC's own
    servers also use 503 and UNAVAILABLE for overload, and OpenAI uses 503.
    """
    tried, targets = _account(failed_attempts, states)
    message = (
        f"{route!r} is overloaded: {'; '.join([_sentence(item) for item in targets if item['state'] != USABLE.label])}."
    )
    if all(item["state"] == USABLE.label for item in targets):
        message = f"{route!r} is overloaded: other requests are already waiting for capacity."
    message += f" Retry in {retry_after} s."
    content = _body(503, message, "overloaded", "overloaded", tried=tried, targets=targets)
    return Reply(503, [_JSON, (b"retry-after", str(retry_after).encode())], content)


def as_event(content: bytes) -> bytes:
    """Return an error body as the last event of a stream; ``[DONE]`` does not follow it."""
    return b"data: " + content.replace(b"\n", b" ") + b"\n\n"


def event(code: str, detail: str, target: str, request_id: str) -> bytes:
    """Return the event that ends a broken stream: it says what failed, at which target, and the id to ask about."""
    message = f"The response broke off: {detail} ({target}). It is incomplete. Request {request_id}."
    return as_event(_body(502, message, "server_error", f"stream_{code}", target=target))
