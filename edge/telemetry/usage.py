"""Usage reports of keys and provider credentials, read from the shared state and converted to everyday units.

Reports contain no secret: they carry the name of a key, never the key or its hash.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import Allowance, AllowanceCounter
from edge.terms.snapshot import PRIORITIES

if TYPE_CHECKING:
    from edge.native import AllowanceView, SharedState
    from edge.terms import snapshot as plan

_NANO: Final = 1_000_000_000
_THOUSANDTHS: Final = 1000


class Bound(Struct, frozen=True):
    """A token bucket: configured rate per minute, burst on this node, what remains, and seconds until it is full.

    ``share`` is this node's part of ``limit``, per minute; None where the node may grant the whole limit.
    """

    limit: int
    burst: int
    remaining: int
    reset_s: float
    share: float | None = None


class KeyReport(Struct, frozen=True):
    """Limits and usage of one key. Counts start with the node, money is in US dollars, ``spent`` is for this month.

    ``may_spend_here`` is the amount that this node may have spent so far of a budget shared with other nodes; None if
    the budget is the node's alone.
    """

    name: str
    priority: str
    models: tuple[str, ...]  # empty: all models
    scope: str
    requests: Bound | None  # None: unlimited
    tokens: Bound | None
    concurrent: int | None
    budget: float | None
    inflight: int
    admitted: int
    refused: dict[str, int]  # number of 429s, by the limit that was reached
    prompt_tokens: int
    output_tokens: int
    cost: float
    spent: float
    may_spend_here: float | None = None


class CredentialReport(Struct, frozen=True):
    """Limits and usage of one provider credential; ``learned`` counts the responses that lowered one of its buckets."""

    name: str
    scope: str
    requests: Bound | None
    tokens: Bound | None
    inflight: int
    admitted: int
    prompt_tokens: int
    output_tokens: int
    cost: float
    learned: int


def month_of(wall: float) -> int:
    """Return the month of a Unix time as months since year 0, in UTC, the unit of the shared state."""
    then = datetime.fromtimestamp(wall, UTC)
    return then.year * 12 + then.month - 1


def spent_in(record: AllowanceView, month: int) -> int:
    """Return what a key has spent in a month, in US dollars * 1e9."""
    return record["spent_nano"] if record["spent_month"] >= month else 0


def key_report(
    key: plan.Key, allowance: plan.Allowance, shared_state: SharedState, now_ns: int, wall: float
) -> KeyReport:
    """Return the report of a key; ``allowance`` is the allowance of that key."""
    record = shared_state.read_allowance(allowance.slot)
    counts = record["counts"]
    requests, tokens = _bounds(allowance, shared_state, record, now_ns)
    month = month_of(wall)
    parted = allowance.shared and key.budget_nano and record["ceiling_month"] == month
    return KeyReport(
        name=key.name,
        priority=PRIORITIES[key.priority],
        models=key.models,
        scope=_scope(allowance),
        requests=requests,
        tokens=tokens,
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
        spent=spent_in(record, month) / _NANO,
        may_spend_here=min(record["ceiling_nano"], key.budget_nano) / _NANO if parted else None,
    )


def credential_report(credential: plan.Credential, shared_state: SharedState, now_ns: int) -> CredentialReport:
    """Return the report of a provider's credential."""
    record = shared_state.read_allowance(credential.allowance.slot)
    counts = record["counts"]
    requests, tokens = _bounds(credential.allowance, shared_state, record, now_ns)
    return CredentialReport(
        name=credential.name,
        scope=_scope(credential.allowance),
        requests=requests,
        tokens=tokens,
        inflight=record["inflight"],
        admitted=counts[AllowanceCounter.A_REQUESTS],
        prompt_tokens=counts[AllowanceCounter.A_PROMPT_TOKENS],
        output_tokens=counts[AllowanceCounter.A_OUTPUT_TOKENS],
        cost=counts[AllowanceCounter.A_COST_NANO] / _NANO,
        learned=counts[AllowanceCounter.A_LEARNED],
    )


def _scope(allowance: plan.Allowance) -> str:
    return "global" if allowance.shared else "node"


def _bounds(
    allowance: plan.Allowance, shared_state: SharedState, record: AllowanceView, now_ns: int
) -> tuple[Bound | None, Bound | None]:
    """Return the request bucket and the token bucket as the data path sees them; None: unlimited."""
    buckets = Allowance(shared_state, allowance)
    requests, tokens = buckets.left(now_ns)
    requests_burst, tokens_burst = buckets.bursts(now_ns)
    return (
        _bound(allowance.requests_per_minute, requests_burst, requests, record["requests_share"]),
        _bound(allowance.tokens_per_minute, tokens_burst, tokens, record["tokens_share"]),
    )


def _bound(per_minute: int, burst: int | None, left: tuple[int, int] | None, thousandths: int) -> Bound | None:
    if left is None or burst is None:
        return None
    remaining, reset_ns = left
    return Bound(
        per_minute, burst, remaining, round(reset_ns / _NANO, 3), thousandths / _THOUSANDTHS if thousandths else None
    )
