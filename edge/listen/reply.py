"""What does edge say when it answers for itself?  One table: problem -> status, type and code, in OpenAI's shape.

Bodies carry names of targets, reasons and times; never a credential, never an upstream's own words. Status codes follow
RFC 9110; ``type`` and ``code`` follow OpenAI's error objects, so that its SDKs raise the class their users expect.
"""

from __future__ import annotations

import math
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

# The data path finds every answer of ours in this module.
from edge.listen.grpc_status import broken_call, call_end, call_fields  # noqa: F401
from edge.native import Barred, Outcome, TripReason

Fields = list[tuple[bytes, bytes]]
Problem = tuple[int, Fields, bytes]
# A target's name, what bars it (Barred), the reason behind that (see _WHY), seconds until it may be usable.
State = tuple[str, int, int, float]

_JSON: Final = (b"content-type", b"application/json")
# What a client may do when nothing can say better.
_RETRY_FLOOR_S: Final = 1


class Row(NamedTuple):
    """One kind of problem: its status, OpenAI's ``type`` and ``code``, the field it speaks of, and the sentence."""

    status: int
    type: str
    code: str | None
    param: str | None
    sentence: str


PROBLEMS: Final[dict[str, Row]] = {
    "unknown_path": Row(404, "invalid_request_error", "unknown_path", None, "No route for the path {0!r}."),
    "odd_path": Row(
        400,
        "invalid_request_error",
        "odd_path",
        None,
        "The path {0!r} has dot segments or encoded separators; send it in its plain form.",
    ),
    "method": Row(405, "invalid_request_error", "method_not_allowed", None, "{0} is not offered on this path."),
    "body_missing": Row(400, "invalid_request_error", "body_missing", None, "This path needs a JSON body."),
    "body_too_large": Row(
        413,
        "invalid_request_error",
        "body_too_large",
        None,
        "The body is larger than {0} bytes; raise limits.body or send less.",
    ),
    "buffers_full": Row(
        503,
        "overloaded",
        "buffers_full",
        None,
        "This node holds as many bytes of requests as it may; retry in {0} s.",
    ),
    "malformed_json": Row(
        400, "invalid_request_error", "malformed_json", None, "The body is not a JSON object that edge can read: {0}."
    ),
    "model_missing": Row(
        400, "invalid_request_error", "model_missing", "model", "The body names no model; add a string 'model'."
    ),
    "grpc_timeout": Row(
        400, "invalid_request_error", "grpc_timeout", None, "grpc-timeout {0!r} is not one to eight digits and a unit."
    ),
    "request_timeout": Row(
        400,
        "invalid_request_error",
        "request_timeout",
        None,
        "x-request-timeout {0!r} is not a number of seconds above 0, such as 1.5, 1.5s or 200ms.",
    ),
    "compressed_call": Row(
        501, "invalid_request_error", "compressed_call", None, "Compressed messages are not read here; send identity."
    ),
    "one_message": Row(
        400, "invalid_request_error", "one_message", None, "This method takes exactly one message, not {0}."
    ),
    "bad_message": Row(400, "invalid_request_error", "bad_message", None, "{0}"),
    "missing_key": Row(
        401,
        "invalid_request_error",
        "missing_api_key",
        None,
        "No key was sent: send Authorization: Bearer KEY, or x-api-key, or x-goog-api-key, with a key of this edge.",
    ),
    "unknown_key": Row(
        401,
        "invalid_request_error",
        "invalid_api_key",
        None,
        "This key is not known here: send a key of this edge, not one of a provider.",
    ),
    "model_not_allowed": Row(
        403, "invalid_request_error", "model_not_allowed", "model", "This key may not ask for {0!r}."
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
        "This key has as many requests in flight as it may; retry in {0} s.",
    ),
    "rate_limited_budget": Row(
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
        "This key's budget of the month is spent; the next one begins in {0} s.",
    ),
    "peer_loop": Row(
        503,
        "service_unavailable",
        "peer_loop",
        None,
        "This request came round, or too far: it has been in {0}.",
    ),
    "unknown_model": Row(
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
        "No model {0!r} here; GET /v1/models lists what there is, or write provider/model.",
    ),
}
"""By kind, as the data path names them. ``{0}`` is the detail; of ``rate_limited_*`` and
``buffers_full`` the whole seconds until it may be tried again."""

_MORE: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    # RFC 9110 11.6.1 wants a challenge beside every 401.
    "missing_key": [(b"www-authenticate", b"Bearer")],
    "unknown_key": [(b"www-authenticate", b"Bearer")],
    # Waiting some seconds does not help here, and the SDKs of OpenAI and Anthropic take this for an answer.
    "rate_limited_budget": [(b"x-should-retry", b"false")],
}
"""Fields beside those of every answer, by kind."""

_JSON_FAULTS: Final = {
    1: "it is malformed at byte {at}",
    2: "it is not an object",
    3: "it says the same thing twice at byte {at}, and two readers could disagree",
    4: "'model' must be a string and 'stream' a boolean (byte {at})",
    5: "it is nested deeper than 128 levels at byte {at}",
}
"""By native.codec.peek.PeekError."""

_BARRED: Final[dict[int, str]] = {
    Barred.USABLE: "usable",
    Barred.BARRED_OPEN: "open",
    Barred.BARRED_TRIAL: "on trial",
    Barred.BARRED_RESTING: "resting",
    Barred.BARRED_OUT: "out",
    Barred.BARRED_FULL: "full",
    Barred.BARRED_MANUAL: "taken out by hand",
    Barred.BARRED_TRIED: "tried",
    Barred.BARRED_EXHAUSTED: "exhausted",
    Barred.BARRED_RAMP: "filling up",
    Barred.ASIDE_RAMPING: "ramping",
    Barred.ASIDE_REGIONS: "ill in other regions",
}

PASSED_OVER: Final = (
    (_BARRED[Barred.BARRED_OPEN], "Its circuit is open: it failed, or was slow, too often."),
    (_BARRED[Barred.BARRED_TRIAL], "One request is trying whether it is back."),
    (_BARRED[Barred.BARRED_RESTING], "It asked for fewer requests (429)."),
    (_BARRED[Barred.BARRED_OUT], "It refused edge's credential or balance, or does not have what edge asks it for."),
    (_BARRED[Barred.BARRED_FULL], "It has as many requests as it may, of this class or of all."),
    (_BARRED[Barred.BARRED_MANUAL], "Somebody drained or ejected it."),
    (_BARRED[Barred.BARRED_EXHAUSTED], "What its provider grants edge is used up."),
    (_BARRED[Barred.BARRED_RAMP], "It stands in for a better tier, and is given the low class step by step."),
    (_BARRED[Barred.ASIDE_RAMPING], "It has just come back, and is given its traffic step by step."),
    (_BARRED[Barred.ASIDE_REGIONS], "Other regions find it ill, so it gets less for a while."),
    ("passed over", "It was taken at that instant by another request."),
)
"""The words of ``x-edge-reason`` where nothing failed, for the documents."""

_WHY: Final[dict[tuple[int, int], str]] = {
    (Barred.BARRED_OPEN, TripReason.TRIP_CONSECUTIVE): "too many failures in a row",
    (Barred.BARRED_OPEN, TripReason.TRIP_RATIO): "too large a share of failures",
    (Barred.BARRED_OPEN, TripReason.TRIP_SLOW): "too large a share of slow answers",
    (Barred.BARRED_OPEN, TripReason.TRIP_TRIAL): "it failed its trial",
    (Barred.BARRED_OPEN, TripReason.TRIP_RETRY_AFTER): "it failed and asked to be left alone",
    (Barred.BARRED_OPEN, TripReason.TRIP_REMOTE): "it failed, as other regions had said",
    (Barred.BARRED_TRIAL, 0): "one request is trying whether it is back",
    (Barred.BARRED_RESTING, 0): "it asked for fewer requests",
    (Barred.BARRED_OUT, Outcome.FAIL_STATUS): "it says of itself that it does not serve",
    (Barred.BARRED_OUT, Outcome.REFUSED_CREDENTIAL): "it refused edge's credential or balance",
    (Barred.BARRED_OUT, Outcome.MISCONFIGURED): "it does not have what edge asks it for",
    (Barred.BARRED_FULL, 0): "it has as many requests as it may",
    (Barred.BARRED_EXHAUSTED, 0): "what its provider grants edge is used up",
    (Barred.BARRED_RAMP, 0): "it is given more of the low class step by step",
}
"""By what bars a target and what stands behind it: the TripReason of its circuit, or the Outcome that put it out."""


def passed_over(code: int) -> str:
    """Return the word for why a target of a better tier did not answer; of one that is usable by now it was a race."""
    return _BARRED[code] if code else "passed over"


def _body(status: int, message: str, kind: str, code: str | None, param: str | None = None, **more: Any) -> bytes:
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code, "status": status, **more}}
    )


def problem(kind: str, detail: str) -> Problem:
    """Return (status, fields, body) for a request that edge refuses; ``detail`` fills the sentence."""
    row = PROBLEMS[kind]
    fields = [_JSON, *_MORE.get(kind, ())]
    if kind.startswith("rate_limited_") or kind == "buffers_full":
        fields.append((b"retry-after", detail.encode()))
    if kind == "malformed_json":
        fault, _, at = detail.partition(":")
        detail = _JSON_FAULTS[int(fault)].format(at=at)
    return row.status, fields, _body(row.status, row.sentence.format(detail), row.type, row.code, row.param)


def too_long(status: int, most: int) -> Problem:
    """Return the answer for "the provider refused the request, in more words than are passed on"; ``most`` in bytes."""
    message = f"The provider answered {status}, with more than {most} bytes; limits.answer bounds what goes on."
    return status, [_JSON], _body(status, message, "invalid_request_error", "answer_too_long")


def refusal(status: int, reason: str) -> bytes:
    """Return a whole HTTP/1.1 answer, ready to send, for a connection whose framing cannot be trusted."""
    content = _body(status, f"The request was refused: {reason}.", "invalid_request_error", "refused")
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ndate: {formatdate(usegmt=True)}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content


def _sentence(state: dict[str, Any]) -> str:
    why = f" ({state['why']})" if state["why"] else ""
    until = f" for another {state['retry_after_s']:g} s" if state["retry_after_s"] else ""
    return f"{state['target']} is {state['state']}{why}{until}"


def _account(
    failed_attempts: list[tuple[str, str, str]], states: list[State]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    tried = [{"target": target, "outcome": outcome, "detail": detail} for target, outcome, detail in failed_attempts]
    targets = [
        {
            "target": target,
            "state": _BARRED[code],
            "why": _WHY.get((code, reason), ""),
            "retry_after_s": round(wait, 1),
        }
        for target, code, reason, wait in states
    ]
    return tried, targets


def _status_of_service(failed_attempts: list[tuple[str, str, str]]) -> int:
    """Bad gateway when the last attempt got a bad answer, timeout when it got none, else unavailable."""
    last = failed_attempts[-1][1] if failed_attempts else ""
    if last in {"fail_first_byte", "fail_first_token", "fail_stalled"}:
        return 504
    if last in {"fail_reset", "fail_malformed", "fail_truncated"}:
        return 502
    return 503


def unavailable(
    route: str,
    failed_attempts: list[tuple[str, str, str]],
    states: list[State],
    wait_s: float,
    service: bool,
) -> Problem:
    """Return the answer for "nothing usable is left".

    Args:
        route: the model or service that was asked for.
        failed_attempts: (target, outcome, detail) of the attempts made, in order.
        states: every target, now.
        wait_s: seconds until the earliest recovery; becomes Retry-After, at least one second.
        service: an internal service, whose callers expect 502 and 504 where they fit.
    """
    status = _status_of_service(failed_attempts) if service else 503
    retry_after = max(_RETRY_FLOOR_S, math.ceil(wait_s))
    tried, targets = _account(failed_attempts, states)
    parts = [f"{item['target']} failed ({item['detail']})" for item in tried]
    parts += [_sentence(item) for item in targets if item["state"] != "usable"]
    message = (
        f"No target of {route!r} can answer now: {'; '.join(parts) or 'none is usable'}. Retry in {retry_after} s."
    )
    content = _body(status, message, "service_unavailable", "no_usable_target", tried=tried, targets=targets)
    return status, [_JSON, (b"retry-after", str(retry_after).encode())], content


def deadline(route: str, failed_attempts: list[tuple[str, str, str]], states: list[State], wait_s: float) -> Problem:
    """Return the answer for "the exchange's total deadline ran out before an answer came"; arguments as above."""
    retry_after = max(_RETRY_FLOOR_S, math.ceil(wait_s))
    tried, targets = _account(failed_attempts, states)
    message = f"No target of {route!r} answered within the total deadline."
    content = _body(504, message, "timeout", "deadline_exceeded", tried=tried, targets=targets)
    return 504, [_JSON, (b"retry-after", str(retry_after).encode())], content


def overloaded(
    route: str, failed_attempts: list[tuple[str, str, str]], states: list[State], retry_after: int
) -> Problem:
    """Return the answer for "every target that could answer has as many requests as it takes".

    ``retry_after`` is in whole seconds; the other arguments are those of :func:`unavailable`. Envoy and gRPC's own
    servers say the same with 503 and UNAVAILABLE, and OpenAI with 503.
    """
    tried, targets = _account(failed_attempts, states)
    message = (
        f"{route!r} is overloaded: {'; '.join([_sentence(item) for item in targets if item['state'] != 'usable'])}."
    )
    if all(item["state"] == "usable" for item in targets):
        message = f"{route!r} is overloaded: others are waiting for a place already."
    message += f" Retry in {retry_after} s."
    content = _body(503, message, "overloaded", "overloaded", tried=tried, targets=targets)
    return 503, [_JSON, (b"retry-after", str(retry_after).encode())], content


def as_event(content: bytes) -> bytes:
    """Return an error body as the last event of a stream; no ``[DONE]`` follows it."""
    return b"data: " + content.replace(b"\n", b" ") + b"\n\n"


def event(code: str, detail: str, target: str, request_id: str) -> bytes:
    """Return the event that ends a broken stream honestly: what went wrong, where, and the id to ask about."""
    message = f"The answer broke off: {detail} ({target}). What came before is incomplete. Request {request_id}."
    return as_event(_body(502, message, "server_error", f"stream_{code}", target=target))
