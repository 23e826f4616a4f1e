"""How much has each key used, and what may it still?  Read from the Board, in units that people understand.

Nothing here is a secret: neither a key nor its hash, only its name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import AllowanceCounter
from edge.terms.snapshot import CLASSES

if TYPE_CHECKING:
    from edge.native import AllowanceView
    from edge.terms.snapshot import Allowance, Credential, Key

_NANO: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _NANO
_THOUSANDTHS: Final = 1000


class Bound(Struct, frozen=True):
    """A bucket: units that come back in a minute, most at once, how many may be used now, seconds until it is full."""

    limit: float
    burst: int
    remaining: int
    reset_s: float


class KeyReport(Struct, frozen=True):
    """A caller's key. Counts are since the node was started, money is US dollars, ``spent`` is this month's."""

    name: str
    priority: str
    models: tuple[str, ...]  # empty: everything
    scope: str
    requests: Bound | None  # None: no bound
    tokens: Bound | None
    concurrent: int | None
    budget: float | None
    inflight: int
    admitted: int
    refused: dict[str, int]  # 429s, by what was used up
    prompt_tokens: int
    output_tokens: int
    cost: float
    spent: float


class CredentialReport(Struct, frozen=True):
    """A provider's credential, where its limits are known; ``learned``: answers by which it lowered a bucket itself."""

    name: str
    scope: str
    requests: Bound | None
    tokens: Bound | None
    inflight: int
    prompt_tokens: int
    output_tokens: int
    cost: float
    learned: int


def month_of(wall: float) -> int:
    """Return months since year 0 of a Unix time, in UTC, as the Board counts them."""
    then = datetime.fromtimestamp(wall, UTC)
    return then.year * 12 + then.month - 1


def key_report(key: Key, allowance: Allowance, record: AllowanceView, now_ns: int, wall: float) -> KeyReport:
    """Report on a key; ``record`` is what the Board knows of its allowance."""
    counts = record["counts"]
    return KeyReport(
        name=key.name,
        priority=CLASSES[key.priority],
        models=key.models,
        scope=_scope(allowance),
        requests=_requests(allowance, record, now_ns),
        tokens=_tokens(allowance, record, now_ns),
        concurrent=key.concurrent or None,
        budget=key.budget_nano / _NANO if key.budget_nano else None,
        inflight=record["inflight"],
        admitted=counts[AllowanceCounter.A_REQUESTS],
        refused={
            "requests": counts[AllowanceCounter.A_REFUSED_REQUESTS],
            "tokens": counts[AllowanceCounter.A_REFUSED_TOKENS],
            "concurrent": counts[AllowanceCounter.A_REFUSED_CONCURRENT],
            "budget": counts[AllowanceCounter.A_REFUSED_BUDGET],
        },
        prompt_tokens=counts[AllowanceCounter.A_PROMPT_TOKENS],
        output_tokens=counts[AllowanceCounter.A_OUTPUT_TOKENS],
        cost=counts[AllowanceCounter.A_COST_NANO] / _NANO,
        spent=record["spent_nano"] / _NANO if record["spent_month"] == month_of(wall) else 0.0,
    )


def credential_report(credential: Credential, record: AllowanceView, now_ns: int) -> CredentialReport:
    """Report on a provider's credential; ``record`` is what the Board knows of its allowance."""
    counts = record["counts"]
    return CredentialReport(
        name=credential.name,
        scope=_scope(credential.allowance),
        requests=_requests(credential.allowance, record, now_ns),
        tokens=_tokens(credential.allowance, record, now_ns),
        inflight=record["inflight"],
        prompt_tokens=counts[AllowanceCounter.A_PROMPT_TOKENS],
        output_tokens=counts[AllowanceCounter.A_OUTPUT_TOKENS],
        cost=counts[AllowanceCounter.A_COST_NANO] / _NANO,
        learned=counts[AllowanceCounter.A_LEARNED],
    )


def _scope(allowance: Allowance) -> str:
    return "global" if allowance.shared else "node"


def _requests(allowance: Allowance, record: AllowanceView, now_ns: int) -> Bound | None:
    share = record["requests_share"] if allowance.shared else 0
    return _bound(allowance.requests_per_minute, allowance.requests_burst, share, record["requests_tat"], now_ns)


def _tokens(allowance: Allowance, record: AllowanceView, now_ns: int) -> Bound | None:
    share = record["tokens_share"] if allowance.shared else 0
    return _bound(allowance.tokens_per_minute, allowance.tokens_burst, share, record["tokens_tat"], now_ns)


def _bound(per_minute: int, burst: int, share: int, full_ns: int, now_ns: int) -> Bound | None:
    """Say how a bucket stands that is full again at ``full_ns``; ``share``: thousandths a minute of this node, or 0."""
    if not per_minute:
        return None
    thousandths = per_minute * _THOUSANDTHS
    if share:
        burst, thousandths = max(burst * share // thousandths, 1), share
    unit_ns = -(-_MINUTE_NS * _THOUSANDTHS // thousandths)
    missing_ns = max(full_ns - now_ns, 0)
    remaining = max(burst * unit_ns - missing_ns, 0) // unit_ns
    return Bound(thousandths / _THOUSANDTHS, burst, remaining, round(missing_ns / _NANO, 3))
