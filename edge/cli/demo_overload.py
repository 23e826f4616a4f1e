"""Output of ``edge demo overload``: figures, a table over time, and a plot."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from edge.sim.overload import Summary


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 1 if the result misses what is promised."""
    import msgspec  # noqa: PLC0415

    from edge.sim import overload  # noqa: PLC0415

    plan = overload.phases(fast=args.fast)
    seen: list[str] = []

    def tell(at_s: float, phase: str) -> None:
        if phase not in seen and not args.json:
            seen.append(phase)
            print(f"{at_s:5.1f} s  {phase}", flush=True)

    if not args.json:
        print(
            "A primary with a capacity of 100 requests at once, a backup of 30, and a load of 80 at once: 20 of a key "
            f"with high priority, 60 with low. The primary will be dead for {plan.dead:g} s."
        )
    summary = asyncio.run(overload.run(plan, tell))
    if args.plot:
        Path(args.plot).write_text(_plot(summary), encoding="utf-8")
    if args.json:
        print(msgspec.json.encode(summary).decode())
    else:
        _show(summary)
    return 0 if summary.good else 1


def _show(summary: Summary) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="Each second", expand=False)
    for name in ("s", "high answered", "low answered", "low shed", "failed", "backup p95", "primary", "backup"):
        table.add_column(name, justify="right")
    for point in summary.series:
        dead = summary.dead_from_s < point.at_s <= summary.dead_until_s
        table.add_row(
            f"{point.at_s:.0f}",
            f"{point.high_ok:.0f}",
            f"{point.low_ok:.0f}",
            f"{point.low_shed:.0f}",
            f"{point.failed:.0f}",
            f"{point.backup_p95_ms:.0f} ms" if point.backup_p95_ms else "",
            str(point.inflight["primary"]),
            str(point.inflight["backup"]),
            style="yellow" if dead else "",
        )
    console = Console()
    console.print(table)
    rows = (
        ("high: requests, failed", f"{summary.requests['high']}, {summary.high_failed}"),
        ("low: answered, shed with Retry-After", f"{summary.low_ok}, {summary.low_shed_with_retry_after}"),
        (
            "low: shed without Retry-After, failed",
            f"{summary.low_shed - summary.low_shed_with_retry_after}, {summary.low_failed}",
        ),
        ("Retry-After", f"{summary.retry_after_s[0]} to {summary.retry_after_s[1]} s"),
        ("the backup, idle", f"{summary.unloaded_ms:.0f} ms"),
        ("the backup during the outage, p50 / p95 / worst", _late(summary)),
        ("p95 / idle (promised: at most 2)", f"{summary.times_unloaded:.2f}"),
        ("swing of the backup's load once settled", f"{summary.swing:.0%} of its median"),
    )
    figures = Table(expand=False, show_header=False)
    for row in rows:
        figures.add_row(*row)
    console.print(figures)


def _late(summary: Summary) -> str:
    return f"{summary.backup_p50_ms:.0f} / {summary.backup_p95_ms:.0f} / {summary.backup_max_ms:.0f} ms"


def _plot(summary: Summary) -> str:
    from edge.sim.plot import Line, Panel, svg  # noqa: PLC0415

    points = summary.series

    def values(read: Any) -> list[float]:
        return [read(point) for point in points]

    idle = [summary.unloaded_ms] * len(points)
    panels = (
        Panel(
            "requests per second",
            (
                Line("high answered", values(lambda point: point.high_ok)),
                Line("low answered", values(lambda point: point.low_ok)),
                Line("low shed", values(lambda point: point.low_shed), dashed=True),
                Line("failed", values(lambda point: point.failed)),
            ),
        ),
        Panel(
            "latency of the backup, ms",
            (
                Line("p95", values(lambda point: point.backup_p95_ms)),
                Line("idle", idle, dashed=True),
                Line("twice idle", [2 * value for value in idle], dashed=True),
            ),
        ),
        Panel(
            "in flight",
            (
                Line("primary", values(lambda point: point.inflight["primary"])),
                Line("backup", values(lambda point: point.inflight["backup"])),
            ),
        ),
    )
    title = "A primary (100 at once) dies before a backup (30 at once) under 80 at once: 20 high, 60 low"
    shade = (summary.dead_from_s, summary.dead_until_s)
    return svg(title, [point.at_s for point in points], panels, shade=shade)
