"""Samples of what keys and credentials have used and have left, read from their records in the shared state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edge.native import AllowanceCounter
from edge.telemetry import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.native import AllowanceView, SharedState
    from edge.telemetry.catalog import Metric
    from edge.telemetry.reading import Reading
    from edge.terms.snapshot import Allowance, Snapshot

_NANO: Final = 1e-9
_MINUTE_NS: Final = 60_000_000_000
_REASONS: Final = {
    "requests": AllowanceCounter.A_REFUSED_REQUESTS,
    "tokens": AllowanceCounter.A_REFUSED_TOKENS,
    "concurrent": AllowanceCounter.A_REFUSED_CONCURRENT,
    "budget": AllowanceCounter.A_REFUSED_BUDGET,
}


def add(page: Reading, shared_state: SharedState, snapshot: Snapshot, now_ns: int, wall_s: float) -> None:
    """Add the samples of every key and credential that has a record."""
    for key in snapshot.keys:
        if key.allowance is None:
            continue
        view = shared_state.read_allowance(key.allowance.slot)
        _add_use(page, view, key.name, catalog.KEY_REQUESTS, catalog.KEY_TOKENS)
        for reason, counter in _REASONS.items():
            page.add(catalog.KEY_REFUSED, (key.name, reason), view["counts"][counter])
        page.add(catalog.KEY_COST, (key.name,), view["counts"][AllowanceCounter.A_COST_NANO] * _NANO)
        page.add(catalog.KEY_INFLIGHT, (key.name,), view["inflight"])
        spent = view["spent_nano"] if view["spent_month"] >= month_of(wall_s) else 0
        page.add(catalog.KEY_SPENT, (key.name,), spent * _NANO)
        if key.budget_nano:
            parted = key.allowance.shared and view["ceiling_month"] == month_of(wall_s)
            budget = min(view["ceiling_nano"], key.budget_nano) if parted else key.budget_nano
            page.add(catalog.KEY_BUDGET, (key.name,), budget * _NANO)
        for bound, share in remaining(key.allowance, view, now_ns):
            page.add(catalog.KEY_REMAINING, (key.name, bound), share)
    for credential in snapshot.credentials:
        view = shared_state.read_allowance(credential.allowance.slot)
        _add_use(page, view, credential.name, catalog.CREDENTIAL_REQUESTS, catalog.CREDENTIAL_TOKENS)
        page.add(catalog.CREDENTIAL_COST, (credential.name,), view["counts"][AllowanceCounter.A_COST_NANO] * _NANO)
        learned = view["counts"][AllowanceCounter.A_LEARNED]
        page.add(catalog.CREDENTIAL_LEARNED, (credential.name,), learned)
        for bound, share in remaining(credential.allowance, view, now_ns):
            page.add(catalog.CREDENTIAL_REMAINING, (credential.name, bound), share)


def month_of(wall_s: float) -> int:
    """Return the months since year 0 (UTC), as ``spent_month`` in the shared state counts them."""
    now = time.gmtime(wall_s)
    return now.tm_year * 12 + now.tm_mon - 1


def remaining(allowance: Allowance, view: AllowanceView, now_ns: int) -> Iterator[tuple[str, float]]:
    """Yield ("requests" or "tokens", fraction of the burst that is available now) for each limit that is set.

    The records use GCRA: the theoretical arrival time is ahead of now by the time it takes to regain what was used.
    """
    bounds = (
        ("requests", allowance.requests_per_minute, allowance.requests_burst, "requests_share", "requests_tat"),
        ("tokens", allowance.tokens_per_minute, allowance.tokens_burst, "tokens_share", "tokens_tat"),
    )
    for name, per_minute, burst, share_word, tat_word in bounds:
        if not per_minute:
            continue
        share = view["requests_share"] if share_word == "requests_share" else view["tokens_share"]
        tat = view["requests_tat"] if tat_word == "requests_tat" else view["tokens_tat"]
        rate = share / 1000 if allowance.shared and share else per_minute
        used = max(tat - now_ns, 0) * rate / _MINUTE_NS
        yield name, min(max(1.0 - used / max(burst, 1), 0.0), 1.0)


def _add_use(page: Reading, view: AllowanceView, name: str, requests: Metric, tokens: Metric) -> None:
    counts = view["counts"]
    page.add(requests, (name,), counts[AllowanceCounter.A_REQUESTS])
    page.add(tokens, (name, "prompt"), counts[AllowanceCounter.A_PROMPT_TOKENS])
    page.add(tokens, (name, "output"), counts[AllowanceCounter.A_OUTPUT_TOKENS])
