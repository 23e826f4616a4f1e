"""Responses that edge generates itself: a table of problems, and error bodies in the shape of OpenAI's error object.

Bodies name targets, reasons and times, but never a credential or the text of an upstream. Status codes follow RFC 9110;
``type`` and ``code`` follow OpenAI's error object, so that OpenAI's SDKs raise the exception class that their users
expect.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

# This module is native.proxy.hooks.Replies, of which these three are a part.
from edge.listen.grpc_status import broken_call as broken_call  # noqa: PLC0414 - mypy's spelling of a re-export
from edge.listen.grpc_status import call_end as call_end  # noqa: PLC0414 - mypy's spelling of a re-export
from edge.listen.grpc_status import call_fields as call_fields  # noqa: PLC0414 - mypy's spelling of a re-export
from edge.native import Reply
from edge.terms import exhaustion
from edge.terms.target_state import BY_CODE, PASSED_OVER, RATE_LIMITED, USABLE, reason_for

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


class Row(NamedTuple):
    """One kind of problem: HTTP status, OpenAI's ``type`` and ``code``, the request field at fault, and the message."""

    status: int
    type: str
    code: str | None
    param: str | None
    sentence: str


PROBLEMS: Final[dict[str, Row]] = {
    "unknown_path": Row(404, "invalid_request_error", "unknown_path", None, "No route matches the path {0!r}."),
    "odd_path": Row(
        400,
        "invalid_request_error",
        "odd_path",
        None,
        "Some servers would take the path {0!r} for one that leads elsewhere, because of its dot segments, empty "
        "segments, parameters or encoded separators; send it in normalized form.",
    ),
    "foreign_host": Row(
        403,
        "invalid_request_error",
        "foreign_host",
        None,
        "The Host {0!r} is refused: this listener requires no key, and a web page could make any name resolve to it. "
        "Use an IP address or localhost, or write the name in listen.hosts of edge.yaml.",
    ),
    "foreign_page": Row(
        403,
        "invalid_request_error",
        "foreign_page",
        None,
        "The web page {0!r} is refused: this listener requires no key, so any page could spend your providers' credit. "
        "To permit it, write its origin in listen.cors of edge.yaml.",
    ),
    "method": Row(
        405, "invalid_request_error", "method_not_allowed", None, "The method {0} is not supported on this path."
    ),
    "body_missing": Row(400, "invalid_request_error", "body_missing", None, "This path requires a JSON body."),
    "body_too_large": Row(
        413,
        "invalid_request_error",
        "body_too_large",
        None,
        "The body is larger than {0} bytes; send a smaller one or raise limits.body.",
    ),
    "body_coding": Row(
        415,
        "invalid_request_error",
        "body_coding",
        None,
        "The body's content-encoding is not supported; send it as it is, or as one of: {0}.",
    ),
    "body_broken": Row(
        400,
        "invalid_request_error",
        "body_broken",
        None,
        "The body is not valid {0}, or expands more than a hundredfold.",
    ),
    "buffers_full": Row(
        503,
        "overloaded",
        "buffers_full",
        None,
        "This node's buffers for requests are full; retry in {0} s.",
    ),
    "malformed_json": Row(
        400, "invalid_request_error", "malformed_json", None, "The body is not a valid JSON object: {0}."
    ),
    "model_too_long": Row(
        400,
        "invalid_request_error",
        "model_too_long",
        "model",
        "The name of the model has more than {0} bytes; send the name of a model of GET /v1/models.",
    ),
    "model_missing": Row(
        400, "invalid_request_error", "model_missing", "model", "The body names no model; add the string field 'model'."
    ),
    "grpc_timeout": Row(
        400, "invalid_request_error", "grpc_timeout", None, "grpc-timeout {0!r} must be one to eight digits and a unit."
    ),
    "request_timeout": Row(
        400,
        "invalid_request_error",
        "request_timeout",
        None,
        "x-request-timeout {0!r} must be a positive number of seconds, such as 1.5, 1.5s or 200ms.",
    ),
    "compressed_call": Row(
        501,
        "invalid_request_error",
        "compressed_call",
        None,
        "Compressed messages are not supported; send them with grpc-encoding: identity.",
    ),
    "one_message": Row(
        400, "invalid_request_error", "one_message", None, "This method takes exactly one message, not {0}."
    ),
    "cannot_carry": Row(
        400,
        "invalid_request_error",
        "cannot_carry",
        None,
        "No target of this model can be asked this: {0}. Leave it out, or ask a model whose provider has this dialect.",
    ),
    "stream_form": Row(
        400,
        "invalid_request_error",
        "stream_form",
        None,
        "Streams are sent as server-sent events only; add alt=sse to the query.",
    ),
    "bad_message": Row(400, "invalid_request_error", "bad_message", None, "{0}"),
    "missing_key": Row(
        401,
        "invalid_request_error",
        "missing_api_key",
        None,
        "The request has no key; send a key of this edge in Authorization: Bearer KEY, x-api-key or x-goog-api-key.",
    ),
    "unknown_key": Row(
        401,
        "invalid_request_error",
        "invalid_api_key",
        None,
        "The key is not known to this edge; send a key of this edge, not one of a provider.",
    ),
    "model_not_allowed": Row(
        403, "invalid_request_error", "model_not_allowed", "model", "This key does not permit {0!r}."
    ),
    "rate_limited_requests": Row(
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "This key's requests per minute are used up; retry in {0} s.",
    ),
    "rate_limited_tokens": Row(
        429,
        "tokens",
        "rate_limit_exceeded",
        None,
        "This key's tokens per minute are used up; retry in {0} s.",
    ),
    "rate_limited_concurrent": Row(
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "This key has reached its limit of concurrent requests; retry in {0} s.",
    ),
    "rate_limited_budget": Row(
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
        "This key's monthly budget is spent; the next month begins in {0} s.",
    ),
    "rate_limited_budget_held": Row(
        429,
        "insufficient_quota",
        "budget_reserved",
        None,
        "What is left of this key's monthly budget is reserved by requests in progress; retry in {0} s.",
    ),
    "model_unpriced": Row(
        403,
        "invalid_request_error",
        "model_not_priced",
        "model",
        "This key has a budget, and {0!r} has no price here; an operator can write it in providers.NAME.prices.",
    ),
    "peer_loop": Row(
        503,
        "service_unavailable",
        "peer_loop",
        None,
        "The request looped between regions or crossed too many of them: it has passed through {0}.",
    ),
    "unknown_model": Row(
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
        "The model {0!r} does not exist here; GET /v1/models lists the models, or use provider/model.",
    ),
}
"""Rows by kind, as the data path names them. ``{0}`` is the detail. For ``rate_limited_*`` and ``buffers_full`` the
detail is the number of whole seconds until a retry may succeed."""

_MORE: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    # RFC 9110 11.6.1 requires a challenge with every 401.
    "missing_key": [(b"www-authenticate", b"Bearer")],
    "unknown_key": [(b"www-authenticate", b"Bearer")],
    # A retry within seconds cannot succeed; the SDKs of OpenAI and Anthropic obey this field.
    "rate_limited_budget": [(b"x-should-retry", b"false")],
}
"""Additional header fields of a response, by kind."""

_JSON_FAULTS: Final = {
    1: "it is malformed at byte {at}",
    2: "it is not an object",
    3: "it has a field at byte {at} twice, or in another case than documented, which readers may interpret differently",
    4: "'model' must be a string and 'stream' a boolean (byte {at})",
    5: "it is nested deeper than 128 levels at byte {at}",
}
"""Fault sentences by native.codec.request_peek.PeekError."""


def passed_over(code: int) -> str:
    """Return the label for why a target of a better tier did not answer, for ``x-edge-reason``."""
    return BY_CODE[code].label if code else PASSED_OVER[0]


def _body(status: int, message: str, kind: str, code: str | None, param: str | None = None, **more: Any) -> bytes:
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code, "status": status, **more}}
    )


def problem(kind: str, detail: str) -> Reply:
    """Return the reply to a request that edge refuses; ``detail`` fills the message."""
    row = PROBLEMS[kind]
    if len(detail) > _LONGEST_DETAIL:  # what a caller wrote is quoted in part
        detail = detail[:_LONGEST_DETAIL] + "…"
    fields = [_JSON, *_MORE.get(kind, ())]
    if kind.startswith("rate_limited_") or kind == "buffers_full":
        fields.append((b"retry-after", detail.encode()))
    if kind == "malformed_json":
        fault, _, at = detail.partition(":")
        detail = _JSON_FAULTS[int(fault)].format(at=at)
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
) -> Reply:
    """Return the reply for an exchange that has no usable target left, or none that edge can connect to.

    If every target of a model is rate-limited, this is 429, so that SDKs raise the error that their users expect.

    Args:
        route: the model or service that was requested.
        failed_attempts: (target, outcome, detail) of each attempt, in order.
        states: the current state of every target.
        wait_s: seconds until the earliest recovery; becomes Retry-After, at least one second.
        service: whether the route is an internal service, whose callers expect 502 and 504 where they apply.
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
    message = (
        f"No target of {route!r} can answer now: {'; '.join(parts) or 'none is usable'}. Retry in {retry_after} s."
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
