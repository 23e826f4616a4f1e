"""``edge top``: rates, latencies and tokens of routes and targets, refreshed every second.

Rates and quantiles are differences between two readings of ``/api/metrics``, so they describe only the time between
the two.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.amounts import seconds
from edge.cli.screen import screen, style_of

if TYPE_CHECKING:
    import argparse

    from rich.console import Group
    from rich.table import Table

    from edge.cli.rates import Page, Route, Target

# Quantiles of a single second fluctuate; those of ten are steady and still recent.
WINDOW: Final = 10
_DASH: Final = "-"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge top`` to the parser."""
    parser = subparsers.add_parser("top", help="show the current traffic of a running node: rates, latencies, tokens")
    add_address(parser)
    parser.add_argument("--every", type=seconds, default=1.0, metavar="SECONDS", help="time between readings (1)")
    parser.add_argument("--once", action="store_true", help="take two readings, print, and exit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show routes and targets once, or until Ctrl-C."""
    with interpreting(args):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from rich.live import Live  # noqa: PLC0415

    every_s = max(args.every, 0.1)
    seen: deque[tuple[float, Page]] = deque(maxlen=WINDOW + 1)
    seen.append(_read(args))
    time.sleep(every_s)
    seen.append(_read(args))
    console = screen()
    if args.once:
        console.print(_shown(seen))
        return 0
    with Live(_shown(seen), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            time.sleep(every_s)
            seen.append(_read(args))
            live.update(_shown(seen), refresh=True)


def _read(args: argparse.Namespace) -> tuple[float, Page]:
    from edge.cli import rates  # noqa: PLC0415  # not for --help

    _, families = ask(args, "/api/metrics", shape=list)
    return time.monotonic(), rates.page_of(families)


def _shown(seen: deque[tuple[float, Page]]) -> Group:
    from rich.console import Group  # noqa: PLC0415

    from edge.cli import rates  # noqa: PLC0415

    (then, before), (at, now) = seen[0], seen[-1]
    seconds = max(at - then, 1e-3)
    return Group(_routes(rates.routes(before, now, seconds)), "", _targets(rates.targets(before, now, seconds)))


def _routes(rows: list[Route]) -> Table:
    table = _table(
        "route",
        "requests\nper s",
        "failed",
        "in\nflight",
        "waiting",
        "refused\nper s",
        "p50",
        "p95",
        "tokens\nper s",
        "$\nper h",
    )
    for row in rows:
        table.add_row(
            row.name,
            _rate(row.requests),
            _share(row.failed),
            str(row.inflight),
            str(row.waiting),
            _rate(row.refused),
            _time(row.first_p50),
            _time(row.first_p95),
            _rate(row.tokens),
            f"{row.dollars:.2f}" if row.dollars else _DASH,
        )
    return table


def _targets(rows: list[Target]) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("target", "attempts\nper s", "failed", "in\nflight", "state", "first\np50", "p95", "tokens\nper s")
    for row in rows:
        table.add_row(
            row.name,
            _rate(row.attempts),
            _share(row.failed),
            str(row.inflight),
            Text(
                ", no ".join([row.state or _DASH, *row.missing]), style=style_of("open" if row.missing else row.state)
            ),
            _time(row.first_p50),
            _time(row.first_p95),
            _rate(row.tokens),
        )
    return table


def _table(first: str, *others: str) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _rate(value: float) -> str:
    return f"{value:.1f}" if value else _DASH


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"


def _time(value: float | None) -> str:
    if value is None:
        return _DASH
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:g} s"
