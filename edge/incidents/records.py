"""Pages of the history as plain values, for the admin API and for export as JSON and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from edge.incidents.minutes import MINUTE_S, NOT_FAULTS
from edge.incidents.packing import HOUR

if TYPE_CHECKING:
    from edge.incidents.database import Database, Wanted
    from edge.incidents.minutes import Series
    from edge.incidents.packing import Point

MOST_ROWS: Final = 20_000
"""Rows after which a page ends; the rows of an hour stand on one page, so that it may have more."""
MOST_HOURS: Final = 24 * 31

COLUMNS: Final = (
    "at", "kind", "provider", "model", "region", "capability", "requests", "failed", "failures",
    "first_p50_s", "first_p95_s", "first_p99_s", "total_p50_s", "total_p95_s", "total_p99_s",
    "prompt_tokens", "output_tokens", "cost_usd", "open_share",
)  # fmt: skip


def page(db: Database, wanted: Wanted) -> dict[str, Any]:
    """Return rows in order of time, and in ``next`` the minute to go on from; None: that is all.

    ``columns`` names the values of each row. ``failed`` leaves out what callers did themselves, and ``open_share`` is
    the share of the minute in which the target was out of rotation because it failed.
    """
    known = db.series(wanted)
    rows: list[list[Any]] = []
    start = wanted.start
    for _ in range(MOST_HOURS):
        if start >= wanted.end or len(rows) >= MOST_ROWS:
            break
        end = min((start // HOUR + 1) * HOUR, wanted.end)
        part = structs.replace(wanted, start=start, end=end)
        found = [
            (one.at, series, one) for number, series in known for part_ in db.read(number, part) for one in part_[0]
        ]
        rows += [_row(series, one) for _, series, one in sorted(found, key=lambda each: each[0])]
        start = end
    return {"columns": COLUMNS, "rows": rows, "next": start if start < wanted.end else None}


def _row(series: Series, point: Point) -> list[Any]:
    failed = sum(count for reason, count in point.failures.items() if reason not in NOT_FAULTS)
    return [
        point.at * MINUTE_S,
        series.kind,
        series.provider,
        series.model,
        series.region,
        series.capability,
        point.requests,
        failed,
        point.failures,
        *point.first_s,
        *point.total_s,
        point.prompt,
        point.output,
        point.cost_nano / 1e9,
        round(point.open_s / MINUTE_S, 3),
    ]
