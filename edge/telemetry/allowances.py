"""Samples of what keys and credentials have used and have left, from their usage reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.telemetry import catalog
from edge.telemetry.usage import credential_report, key_report

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.telemetry.metric import Metric
    from edge.telemetry.reading import Reading
    from edge.telemetry.usage import CredentialReport, KeyReport
    from edge.terms.snapshot import Snapshot


def add(page: Reading, shared_state: SharedState, snapshot: Snapshot, now_ns: int, wall_s: float) -> None:
    """Add the samples of every key and credential that has a record."""
    for key in snapshot.keys:
        if key.allowance is not None:
            _add_key(page, key_report(key, key.allowance, shared_state, now_ns, wall_s))
    for credential in snapshot.credentials:
        report = credential_report(credential, shared_state, now_ns)
        page.add(catalog.CREDENTIAL_REQUESTS, (report.name,), report.admitted)
        page.add(catalog.CREDENTIAL_COST, (report.name,), report.cost)
        page.add(catalog.CREDENTIAL_LEARNED, (report.name,), report.learned)
        _add_use(page, report, catalog.CREDENTIAL_TOKENS, catalog.CREDENTIAL_REMAINING)


def _add_key(page: Reading, report: KeyReport) -> None:
    page.add(catalog.KEY_REQUESTS, (report.name,), report.admitted)
    for reason, count in report.refused.items():
        page.add(catalog.KEY_REFUSED, (report.name, reason), count)
    page.add(catalog.KEY_COST, (report.name,), report.cost)
    page.add(catalog.KEY_INFLIGHT, (report.name,), report.inflight)
    page.add(catalog.KEY_SPENT, (report.name,), report.spent)
    if report.budget is not None:
        limit = report.budget if report.may_spend_here is None else report.may_spend_here
        page.add(catalog.KEY_BUDGET, (report.name,), limit)
    _add_use(page, report, catalog.KEY_TOKENS, catalog.KEY_REMAINING)


def _add_use(page: Reading, report: KeyReport | CredentialReport, tokens: Metric, remaining: Metric) -> None:
    page.add(tokens, (report.name, "prompt"), report.prompt_tokens)
    page.add(tokens, (report.name, "output"), report.output_tokens)
    for name, bound in (("requests", report.requests), ("tokens", report.tokens)):
        if bound is not None:
            page.add(remaining, (report.name, name), bound.remaining / bound.burst)
