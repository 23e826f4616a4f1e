"""The table that maps each upstream HTTP status to an action for the target that sent it.

The rows serve three variants. ``model``: our configuration names the upstream model. ``wildcard``: the caller chose the
model (``provider/model`` without an alias), so "no such model" and "not allowed for this key" are the caller's errors;
otherwise one caller could take a provider out of rotation for everybody. ``service``: an internal service, whose 401 or
404 is an ordinary response.

Edges of other regions have a table of their own. Such an edge reports on its targets, not on itself: if a model has no
usable target over there, the region's other models may still be fine.

``docs/outcomes.md`` shows the same rows, and the faults below HTTP, which have no status.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from edge.terms.actions import (
    ACTION_CLIENT,
    ACTION_DECLINED,
    ACTION_ELSEWHERE,
    ACTION_FAIL,
    ACTION_MISCONFIGURED,
    ACTION_QUARANTINE,
    ACTION_RATE_LIMITED,
    ACTION_RELAY,
    ACTION_TOO_LONG,
    ACTION_UNCLEAR,
)

STATUSES: Final = 600
MODEL: Final = "model"
WILDCARD: Final = "model-wildcard"
SERVICE: Final = "service"
REGION: Final = "region"

RELAY, CLIENT, FAIL = ACTION_RELAY, ACTION_CLIENT, ACTION_FAIL
RATE_LIMITED, QUARANTINE, MISCONFIGURED = ACTION_RATE_LIMITED, ACTION_QUARANTINE, ACTION_MISCONFIGURED
ELSEWHERE, UNCLEAR = ACTION_ELSEWHERE, ACTION_UNCLEAR

ACTIONS: Final = {
    ACTION_RELAY: "good",
    ACTION_CLIENT: "the caller's",
    ACTION_FAIL: "failure",
    ACTION_RATE_LIMITED: "rate limited",
    ACTION_QUARANTINE: "quarantined",
    ACTION_MISCONFIGURED: "misconfigured",
    ACTION_ELSEWHERE: "elsewhere",
    ACTION_DECLINED: "declined",
    ACTION_UNCLEAR: "unclear",
    ACTION_TOO_LONG: "too long",
}
"""The word for each action in the documentation and the status output."""


class Row(Struct, frozen=True):
    """Statuses ``first`` to ``last``, their action in each variant, and the reason."""

    first: int
    last: int
    model: int
    wildcard: int
    service: int
    why: str


def _row(first: int, actions: tuple[int, int, int], why: str, last: int | None = None) -> Row:
    return Row(first, first if last is None else last, *actions, why)


ROWS: Final[tuple[Row, ...]] = (
    _row(0, (FAIL, FAIL, FAIL), "Not an HTTP status.", 99),
    _row(
        100,
        (FAIL, FAIL, FAIL),
        "Interim responses are consumed. One in place of a final response, or an unrequested 101, is a fault.",
        199,
    ),
    _row(
        200,
        (RELAY, RELAY, RELAY),
        "A good response. For models the body is checked too: an error under a 200 is a failure.",
        299,
    ),
    _row(
        300,
        (MISCONFIGURED, MISCONFIGURED, RELAY),
        "A provider's redirect is never followed (it would carry our key elsewhere): base_url is wrong. "
        "A service's redirect is its response.",
        399,
    ),
    _row(400, (CLIENT, CLIENT, CLIENT), "Malformed, too long for the model, or against its content policy."),
    _row(
        401, (QUARANTINE, QUARANTINE, CLIENT), "Our key is wrong or revoked. A service means the caller's credential."
    ),
    _row(402, (UNCLEAR, UNCLEAR, CLIENT), "Our account has no balance, or not enough for this request."),
    _row(
        403,
        (UNCLEAR, CLIENT, CLIENT),
        "Our key has no permission, or this request is not permitted. Where the caller chose the model, only that "
        "choice is refused.",
    ),
    _row(
        404,
        (UNCLEAR, CLIENT, CLIENT),
        "The upstream model in our configuration does not exist, or something that this request names.",
    ),
    _row(405, (UNCLEAR, CLIENT, CLIENT), "The path built from base_url does not accept the method."),
    _row(406, (CLIENT, CLIENT, CLIENT), "The caller's Accept fields cannot be satisfied."),
    _row(407, (MISCONFIGURED, MISCONFIGURED, CLIENT), "A proxy between us and the provider asks for credentials."),
    _row(
        408,
        (FAIL, FAIL, CLIENT),
        "A provider that did not read a fully buffered request is at fault; "
        "a service that waited for a slow caller is not.",
    ),
    _row(409, (CLIENT, CLIENT, CLIENT), "A conflict among the caller's requests, such as a reused idempotency key."),
    _row(
        410,
        (UNCLEAR, CLIENT, CLIENT),
        "The upstream model in our configuration was removed, or something that this request names.",
    ),
    _row(411, (CLIENT, CLIENT, CLIENT), "About this request only; includes 413 too large, 415, 416, 417 and 418.", 420),
    _row(421, (FAIL, FAIL, FAIL), "The server is not authoritative for this host; another one may be."),
    _row(422, (CLIENT, CLIENT, CLIENT), "A field has a value that the upstream does not accept."),
    _row(423, (CLIENT, CLIENT, CLIENT), "A lock that the caller's requests contend for."),
    _row(424, (FAIL, FAIL, CLIENT), "Model servers (text-generation-inference) send it when generation failed."),
    _row(
        425,
        (FAIL, FAIL, CLIENT),
        "Too early (RFC 8470) asks for a retry. We send no early data, so another target may accept the request.",
    ),
    _row(426, (MISCONFIGURED, MISCONFIGURED, CLIENT), "The upstream requires a protocol that base_url does not use."),
    _row(427, (CLIENT, CLIENT, CLIENT), "About this request only.", 428),
    _row(
        429,
        (RATE_LIMITED, RATE_LIMITED, CLIENT),
        "Too many requests: skipped until Retry-After or x-ratelimit-reset. A service limits its own callers.",
    ),
    _row(
        430,
        (CLIENT, CLIENT, CLIENT),
        "About this request only; includes 431, 451 and any 4xx defined later: "
        "an unknown status must not take a target out of rotation.",
        499,
    ),
    _row(500, (FAIL, FAIL, FAIL), "The upstream failed."),
    _row(501, (CLIENT, CLIENT, CLIENT), "The upstream does not support this request; another request may succeed."),
    _row(502, (FAIL, FAIL, FAIL), "A gateway could not reach the upstream; 503 means overloaded, 504 too slow.", 504),
    _row(505, (CLIENT, CLIENT, CLIENT), "The upstream rejects the HTTP version; this says nothing about its health."),
    _row(
        506,
        (FAIL, FAIL, FAIL),
        "Any other 5xx, known or not: 507, 508, 520 to 527 of content delivery networks, 529 overloaded.",
        599,
    ),
)


class RegionRow(Struct, frozen=True):
    """Statuses ``first`` to ``last`` from another region's edge, their action, and the reason."""

    first: int
    last: int
    action: int
    why: str


REGION_ROWS: Final[tuple[RegionRow, ...]] = (
    RegionRow(0, 199, FAIL, "Not a final HTTP response."),
    RegionRow(200, 299, RELAY, "A good response, checked like a provider's."),
    RegionRow(300, 399, MISCONFIGURED, "The server at this address is not an edge: an edge never redirects."),
    RegionRow(400, 400, CLIENT, "The caller's error, there as here."),
    RegionRow(401, 401, QUARANTINE, "The peer rejects our token or name. A provider's 401 is never relayed."),
    RegionRow(402, 403, CLIENT, "A provider's response to this caller, relayed."),
    RegionRow(404, 404, ELSEWHERE, "The peer does not know the model: its configuration differs."),
    RegionRow(405, 405, MISCONFIGURED, "The server at this address is not an edge."),
    RegionRow(406, 406, CLIENT, "About this request only."),
    RegionRow(407, 407, MISCONFIGURED, "A proxy between the regions asks for credentials."),
    RegionRow(408, 420, CLIENT, "About this request only; includes 413 and 415 to 418."),
    RegionRow(421, 421, FAIL, "The server is not authoritative for this address."),
    RegionRow(422, 425, CLIENT, "About this request only."),
    RegionRow(426, 426, MISCONFIGURED, "The server at this address speaks another protocol."),
    RegionRow(427, 428, CLIENT, "About this request only."),
    RegionRow(429, 429, ELSEWHERE, "The peer's limits for this model are used up."),
    RegionRow(430, 499, CLIENT, "About this request only."),
    RegionRow(500, 500, FAIL, "The server failed; an edge itself never answers 500."),
    RegionRow(501, 501, CLIENT, "The peer does not support this request."),
    RegionRow(502, 502, FAIL, "A gateway could not reach the peer."),
    RegionRow(
        503,
        504,
        ELSEWHERE,
        "No target of this model can answer there either, or none did in time.",
    ),
    RegionRow(505, 505, CLIENT, "The peer rejects the HTTP version."),
    RegionRow(506, 599, FAIL, "Any other 5xx."),
)


def region_table() -> bytes:
    """Return the action codes of another region's edge: 600 bytes, one per status."""
    codes = bytearray(STATUSES)
    for row in REGION_ROWS:
        codes[row.first : row.last + 1] = bytes([row.action]) * (row.last + 1 - row.first)
    return bytes(codes)


def table(variant: str) -> bytes:
    """Return 600 action codes, one byte per status; ``variant`` is ``model``, ``model-wildcard`` or ``service``."""
    codes = bytearray(STATUSES)
    for row in ROWS:
        code = {MODEL: row.model, WILDCARD: row.wildcard, SERVICE: row.service}[variant]
        codes[row.first : row.last + 1] = bytes([code]) * (row.last + 1 - row.first)
    return bytes(codes)


TABLES: Final[dict[str, bytes]] = {variant: table(variant) for variant in (MODEL, WILDCARD, SERVICE)} | {
    REGION: region_table()
}
"""The tables by name, as ``Snapshot.outcomes`` carries them."""
