"""Rates, ratios and quantiles between two readings of a node's metrics, by route and by target.

A counter that is lower than in the earlier reading was reset, so its whole value counts as the increase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from edge.telemetry.reading import quantile_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

Page = dict[str, dict[tuple[str, ...], Any]]
"""Family -> label values -> number, or {bounds, buckets, sum} or {count, sum}."""


class Route(Struct, frozen=True):
    """A route between two readings; None: there is no data."""

    name: str
    requests: float  # per second, like all rates here
    failed: float | None  # share of the responses that were 5xx or broken off
    inflight: int
    waiting: int
    refused: float
    first_p50: float | None  # seconds
    first_p95: float | None
    tokens: float
    dollars: float  # per hour


class Target(Struct, frozen=True):
    """A target between two readings; None: there is no data."""

    name: str
    attempts: float
    failed: float | None
    inflight: int
    state: str  # label of edge.terms.target_state; "": no route uses the target
    first_p50: float | None
    first_p95: float | None
    tokens: float
    missing: tuple[str, ...] = ()  # capabilities whose circuit is not closed


def page_of(families: Iterable[dict[str, Any]]) -> Page:
    """Return the content of ``/api/metrics`` by family and label values."""
    return {
        family["name"]: {tuple(sample["labels"]): sample["value"] for sample in family["samples"]}
        for family in families
    }


def routes(before: Page, now: Page, seconds: float) -> list[Route]:
    """Return every route of the newer reading, busiest first."""
    found = []
    for labels in now.get("edge_requests_total", {}):
        (name,) = labels
        answers = {kind: _rise(before, now, "edge_responses_total", (name, kind)) for kind in ("2xx", "3xx", "4xx")}
        failed = sum(_rise(before, now, "edge_responses_total", (name, kind)) for kind in ("5xx", "broken"))
        ended = failed + sum(answers.values())
        shed = sum(_rise(before, now, "edge_shed_total", (name, kind)) for kind in ("high", "normal", "low"))
        refused = shed + sum(
            _rise(before, now, family, labels) for family in ("edge_rate_limited_total", "edge_unavailable_total")
        )
        found.append(
            Route(
                name=name,
                requests=_rise(before, now, "edge_requests_total", labels) / seconds,
                failed=failed / ended if ended else None,
                inflight=int(now["edge_requests_inflight"][labels]),
                waiting=int(now["edge_queue_waiting"][labels]),
                refused=refused / seconds,
                first_p50=quantile(0.5, before, now, "edge_time_to_first_token_seconds", labels),
                first_p95=quantile(0.95, before, now, "edge_time_to_first_token_seconds", labels),
                tokens=sum(_rise(before, now, "edge_tokens_total", (name, kind)) for kind in ("prompt", "output"))
                / seconds,
                dollars=_rise(before, now, "edge_cost_usd_total", labels) / seconds * 3600,
            )
        )
    return sorted(found, key=lambda route: (-route.requests, route.name))


def targets(before: Page, now: Page, seconds: float) -> list[Target]:
    """Return every target of the newer reading, busiest first."""
    found = []
    outcomes = {labels[1] for labels in now.get("edge_attempts_total", {})}
    states = now.get("edge_target_state", {})
    parts = now.get("edge_target_capability_circuit", {})
    for labels in now.get("edge_attempts_started_total", {}):
        (name,) = labels
        ended = {outcome: _rise(before, now, "edge_attempts_total", (name, outcome)) for outcome in outcomes}
        counted = sum(count for outcome, count in ended.items() if outcome not in ("cancelled", "client_fault"))
        found.append(
            Target(
                name=name,
                attempts=_rise(before, now, "edge_attempts_started_total", labels) / seconds,
                failed=1 - ended["ok"] / counted if counted else None,
                inflight=int(now["edge_attempts_inflight"][labels]),
                state=next((state for (target, state), holds in states.items() if holds and target == name), ""),
                first_p50=quantile(0.5, before, now, "edge_attempt_time_to_first_token_seconds", labels),
                first_p95=quantile(0.95, before, now, "edge_attempt_time_to_first_token_seconds", labels),
                tokens=sum(
                    _rise(before, now, "edge_target_tokens_total", (name, kind)) for kind in ("prompt", "output")
                )
                / seconds,
                missing=tuple(sorted(part for (target, part), circuit in parts.items() if circuit and target == name)),
            )
        )
    return sorted(found, key=lambda target: (-target.attempts, target.name))


def quantile(share: float, before: Page, now: Page, family: str, labels: tuple[str, ...]) -> float | None:
    """Return the upper bound (seconds) of the bucket that holds the quantile; None: all buckets are empty.

    For the last bucket, which has no upper bound, return its lower bound.
    """
    newer = now[family][labels]
    older = before.get(family, {}).get(labels)
    buckets = newer["buckets"]
    if older is not None and sum(older["buckets"]) <= sum(buckets):
        buckets = [count - then for count, then in zip(buckets, older["buckets"], strict=True)]
    place = quantile_bucket(share, buckets)
    return None if place is None else float(newer["bounds"][min(place, len(newer["bounds"]) - 1)])


def _rise(before: Page, now: Page, family: str, labels: tuple[str, ...]) -> float:
    """Return the increase of a counter, which is its whole value if it was reset."""
    newer = float(now.get(family, {}).get(labels, 0))
    older = float(before.get(family, {}).get(labels, 0))
    return newer - older if newer >= older else newer
