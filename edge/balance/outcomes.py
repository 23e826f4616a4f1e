"""What counts?  The one table: which status of an upstream means what for the target that gave it.

Three variants share the rows. ``model``: the upstream model is named by our configuration. ``wildcard``: the caller
chose it (``provider/model`` that no alias names), so what only says "no such model" or "not for this key" is the
caller's: nobody must be able to bench a provider for everybody. ``service``: an internal service, whose 401 or 404
is an answer like any other.

Another region's edge has a table of its own: it speaks for its targets and not of itself, so that a model which nobody
can answer over there says nothing about that region's other models.

``docs/outcomes.md`` shows the same rows, and the faults below HTTP that are no status at all.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from edge.terms.actions import (
    ACTION_CLIENT,
    ACTION_ELSEWHERE,
    ACTION_FAIL,
    ACTION_MISCONFIGURED,
    ACTION_OUT,
    ACTION_RELAY,
    ACTION_REST,
)

STATUSES: Final = 600
MODEL: Final = "model"
WILDCARD: Final = "model-wildcard"
SERVICE: Final = "service"
REGION: Final = "region"

RELAY, CLIENT, FAIL = ACTION_RELAY, ACTION_CLIENT, ACTION_FAIL
REST, OUT, MISCONFIGURED = ACTION_REST, ACTION_OUT, ACTION_MISCONFIGURED
ELSEWHERE = ACTION_ELSEWHERE

ACTIONS: Final = {
    ACTION_RELAY: "good",
    ACTION_CLIENT: "the caller's",
    ACTION_FAIL: "failure",
    ACTION_REST: "rests",
    ACTION_OUT: "out",
    ACTION_MISCONFIGURED: "misconfigured",
    ACTION_ELSEWHERE: "elsewhere",
}
"""What the documents and the status call each action."""


class Row(Struct, frozen=True):
    """Statuses ``first`` to ``last``, what they mean in each variant, and why."""

    first: int
    last: int
    model: int
    wildcard: int
    service: int
    why: str


def _row(first: int, actions: tuple[int, int, int], why: str, last: int | None = None) -> Row:
    return Row(first, first if last is None else last, *actions, why)


ROWS: Final[tuple[Row, ...]] = (
    _row(0, (FAIL, FAIL, FAIL), "Not a status of HTTP.", 99),
    _row(
        100,
        (FAIL, FAIL, FAIL),
        "Interim answers are consumed; one in a final answer's place, or an unasked 101, is a broken upstream.",
        199,
    ),
    _row(
        200,
        (RELAY, RELAY, RELAY),
        "A good answer. For models the body is checked too: an error under a 200 is a failure.",
        299,
    ),
    _row(
        300,
        (MISCONFIGURED, MISCONFIGURED, RELAY),
        "A provider's redirect is never followed (it would carry our "
        "key elsewhere): base_url is wrong. A service's is its answer.",
        399,
    ),
    _row(400, (CLIENT, CLIENT, CLIENT), "Malformed, too long for the model, or against its content policy."),
    _row(401, (OUT, OUT, CLIENT), "Our key is wrong or revoked. A service speaks of the caller's."),
    _row(402, (OUT, OUT, CLIENT), "Our account is empty."),
    _row(
        403,
        (OUT, CLIENT, CLIENT),
        "Our key may not do this. Where the caller chose the model, it is the choice that is refused.",
    ),
    _row(404, (MISCONFIGURED, CLIENT, CLIENT), "The upstream model that our configuration names is not there."),
    _row(405, (MISCONFIGURED, CLIENT, CLIENT), "The path that we made from base_url takes no such method."),
    _row(406, (CLIENT, CLIENT, CLIENT), "The caller's Accept fields."),
    _row(407, (MISCONFIGURED, MISCONFIGURED, CLIENT), "A proxy between us and the provider wants a login."),
    _row(
        408,
        (FAIL, FAIL, CLIENT),
        "A provider that did not read a request which we hold whole "
        "is at fault; a service that waited for a slow caller is not.",
    ),
    _row(409, (CLIENT, CLIENT, CLIENT), "A conflict of the caller's own requests, such as a reused idempotency key."),
    _row(410, (MISCONFIGURED, CLIENT, CLIENT), "The upstream model that our configuration names was taken away."),
    _row(411, (CLIENT, CLIENT, CLIENT), "About this request only; includes 413 too large, 415, 416, 417 and 418.", 420),
    _row(421, (FAIL, FAIL, FAIL), "This server is not the one for this host: another may be."),
    _row(422, (CLIENT, CLIENT, CLIENT), "A field with a value that the upstream does not take."),
    _row(423, (CLIENT, CLIENT, CLIENT), "A lock that the caller's requests contend for."),
    _row(424, (FAIL, FAIL, CLIENT), "Model servers (text-generation-inference) use it for a generation that broke."),
    _row(
        425,
        (FAIL, FAIL, CLIENT),
        "Too early (RFC 8470) asks for another try; we send no early data, so another target may take it.",
    ),
    _row(426, (MISCONFIGURED, MISCONFIGURED, CLIENT), "Wants a protocol that this base_url is not asked in."),
    _row(427, (CLIENT, CLIENT, CLIENT), "About this request only.", 428),
    _row(
        429,
        (REST, REST, CLIENT),
        "Asked too often: it rests until Retry-After or x-ratelimit-reset. A service limits its own callers.",
    ),
    _row(
        430,
        (CLIENT, CLIENT, CLIENT),
        "About this request only; includes 431 and 451 and whatever "
        "4xx comes later: an unknown status must not bench a target.",
        499,
    ),
    _row(500, (FAIL, FAIL, FAIL), "It broke."),
    _row(501, (CLIENT, CLIENT, CLIENT), "It does not do what this request asks; another request may be fine."),
    _row(502, (FAIL, FAIL, FAIL), "What stands before it could not reach it; 503 says overloaded, 504 too slow.", 504),
    _row(505, (CLIENT, CLIENT, CLIENT), "It refuses the request's form; nothing is known of its health."),
    _row(
        506,
        (FAIL, FAIL, FAIL),
        "Any other 5xx, known or not: 507, 508, 520 to 527 of a content network, 529 overloaded.",
        599,
    ),
)


class RegionRow(Struct, frozen=True):
    """Statuses ``first`` to ``last`` of another region's edge, what they mean, and why."""

    first: int
    last: int
    action: int
    why: str


REGION_ROWS: Final[tuple[RegionRow, ...]] = (
    RegionRow(0, 199, FAIL, "No final answer of HTTP."),
    RegionRow(200, 299, RELAY, "A good answer, checked like a provider's."),
    RegionRow(300, 399, MISCONFIGURED, "What listens there is no edge: an edge never redirects."),
    RegionRow(400, 400, CLIENT, "The caller's own, over there as here."),
    RegionRow(401, 401, OUT, "It does not believe us: token or names differ. A provider's 401 is never relayed."),
    RegionRow(402, 403, CLIENT, "A provider's word to this caller, relayed."),
    RegionRow(404, 404, ELSEWHERE, "It does not know the model: its configuration is another."),
    RegionRow(405, 405, MISCONFIGURED, "What listens there is no edge."),
    RegionRow(406, 406, CLIENT, "About this request only."),
    RegionRow(407, 407, MISCONFIGURED, "A proxy between the regions wants a login."),
    RegionRow(408, 420, CLIENT, "About this request only; includes 413 and 415 to 418."),
    RegionRow(421, 421, FAIL, "Not the server that the address promised."),
    RegionRow(422, 425, CLIENT, "About this request only."),
    RegionRow(426, 426, MISCONFIGURED, "What listens there speaks another protocol."),
    RegionRow(427, 428, CLIENT, "About this request only."),
    RegionRow(429, 429, ELSEWHERE, "What it may use of this model is used up."),
    RegionRow(430, 499, CLIENT, "About this request only."),
    RegionRow(500, 500, FAIL, "It broke: an edge never answers 500."),
    RegionRow(501, 501, CLIENT, "It does not do what this request asks."),
    RegionRow(502, 502, FAIL, "What stands before it could not reach it."),
    RegionRow(
        503,
        504,
        ELSEWHERE,
        "No target of this model can answer there either, or none did in time.",
    ),
    RegionRow(505, 505, CLIENT, "It refuses the request's form."),
    RegionRow(506, 599, FAIL, "Any other 5xx."),
)


def region_table() -> bytes:
    """Return 600 action codes, one per status, for another region's edge."""
    codes = bytearray(STATUSES)
    for row in REGION_ROWS:
        codes[row.first : row.last + 1] = bytes([row.action]) * (row.last + 1 - row.first)
    return bytes(codes)


def table(variant: str) -> bytes:
    """Return 600 action codes, one per status, of the variant ``model``, ``model-wildcard`` or ``service``."""
    codes = bytearray(STATUSES)
    for row in ROWS:
        code = {MODEL: row.model, WILDCARD: row.wildcard, SERVICE: row.service}[variant]
        codes[row.first : row.last + 1] = bytes([code]) * (row.last + 1 - row.first)
    return bytes(codes)


TABLES: Final[dict[str, bytes]] = {variant: table(variant) for variant in (MODEL, WILDCARD, SERVICE)} | {
    REGION: region_table()
}
"""The tables by name, as ``Snapshot.outcomes`` carries them."""
