"""Measures the latency that a proxy adds for a single client.

Usage: ``python -m bench.macro.overhead [--json]``. One connection sends one request at a time: directly to the
upstream, through edge, and through Envoy, in short rounds one after the other. The overhead of a proxy is its latency
minus the direct latency of the same round; the results are medians of the rounds. Everything runs on one CPU: nothing
could run in parallel anyway, and this excludes the time to wake an idle CPU, which under a hypervisor exceeds that of
the proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from statistics import median

from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from bench.macro.load import Order
from bench.macro.processes import BenchError, load, on, proxy_cpus, upstream
from bench.macro.proxies import Direct
from bench.macro.scenarios import EDGE, ENVOY
from edge.errors import EdgeError

ROUNDS = 15
COUNT = 1000
_STRAIGHT = Direct()


class Added(Struct, frozen=True):
    """One path to the upstream: its latency, and what it adds to the direct latency, in microseconds."""

    proxy: str
    p50_us: float
    p99_us: float
    added_p50_us: float
    added_p99_us: float


def added(rounds: list[dict[str, tuple[float, float]]]) -> list[Added]:
    """Return a row for each path; a round maps the path's name to (p50, p99) in microseconds and includes "direct"."""
    rows = []
    for name in rounds[0]:
        own = [measured[name] for measured in rounds]
        straight = [measured[_STRAIGHT.name] for measured in rounds]
        rows.append(
            Added(
                name,
                p50_us=median(p50 for p50, _ in own),
                p99_us=median(p99 for _, p99 in own),
                added_p50_us=median(through[0] - direct[0] for through, direct in zip(own, straight, strict=True)),
                added_p99_us=median(through[1] - direct[1] for through, direct in zip(own, straight, strict=True)),
            )
        )
    return rows


async def measure(rounds: int, count: int) -> list[Added]:
    """Run the rounds.

    Raises:
        BenchError: a part of the benchmark does not work, or a response was wrong.
    """
    async with contextlib.AsyncExitStack() as stack:
        behind = await stack.enter_async_context(upstream())
        asking = await stack.enter_async_context(load())
        ways = [await stack.enter_async_context(variant.started(behind)) for variant in (_STRAIGHT, EDGE, ENVOY)]
        measured = []
        for number in range(rounds + 1):
            found = {}
            for way in ways:
                ran = await asking.run(Order(way.port, count, connections=1))
                found[way.name] = ran.p50_us, ran.p99_us
            if number:  # the first round is the warm-up
                measured.append(found)
        return added(measured)


def main() -> int:
    """Measure, print the results, and return the exit status: 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro.overhead", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds ({ROUNDS})")
    parser.add_argument("--count", type=int, default=COUNT, help=f"requests per path and round ({COUNT})")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.count < 1:
        parser.error("nothing to measure: --rounds and --count must be at least 1")
    try:
        with on(proxy_cpus()):
            rows = asyncio.run(measure(asked.rounds, asked.count))
    except (BenchError, EdgeError) as fault:
        Console(stderr=True).print(f"bench: {fault}", style="red")
        return 2
    if asked.json:
        print(json.dumps({"bench": "overhead", "rows": to_builtins(rows)}))
        return 0
    table = Table(title="Latency of one caller, one request at a time, in microseconds", title_justify="left")
    for name in ("", "p50", "p99", "added p50", "added p99"):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        figures = (row.p50_us, row.p99_us, row.added_p50_us, row.added_p99_us)
        table.add_row(row.proxy, *(f"{figure:.0f}" for figure in figures))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
