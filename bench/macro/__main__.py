"""Compares the CPU time of edge with that of Envoy.

``python -m bench.macro [--check] [--json]``, which ``make bench`` runs, measures the CPU time of each proxy per request
and per streamed chunk, with one worker each, in one run. The exit status is 1 if ``--check`` is given and a bar is
missed, and 2 if nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from msgspec import to_builtins
from rich.console import Console

from bench.macro.compare import compare
from bench.macro.h2load import H2Load
from bench.macro.processes import BenchError, load
from bench.macro.rows import Row, table_of
from bench.macro.scenarios import SCENARIOS, Scenario
from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 9
WIDTH = 120  # of a table that is not for a terminal


async def _rows(asked: argparse.Namespace, chosen: list[Scenario], note: Callable[[str], None]) -> list[Row]:
    if asked.load == "h2load":
        return await compare(chosen, H2Load(), rounds=asked.rounds, share=asked.share, note=note)
    async with load() as asking:
        return await compare(chosen, asking, rounds=asked.rounds, share=asked.share, note=note)


def main() -> int:
    """Measure, print the results, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bar is missed")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds per scenario ({ROUNDS})")
    parser.add_argument("--share", type=float, default=1.0, help="share of the requests of a full run (1)")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help=", ".join(scenario.name for scenario in SCENARIOS)
    )
    parser.add_argument(
        "--load", choices=("own", "h2load"), default="own", help="load generator; h2load is a cross-check (own)"
    )
    asked = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if not asked.only or scenario.name in asked.only]
    if not chosen or asked.rounds < 1:
        parser.error("nothing to measure: --only names no scenario, or --rounds is less than 1")

    progress = Console(stderr=True)
    try:
        rows = asyncio.run(_rows(asked, chosen, lambda text: progress.print(text, style="dim", markup=False)))
    except (BenchError, EdgeError) as fault:
        progress.print(f"bench: {fault}", style="red", markup=False)
        return 2
    if asked.json:
        print(
            json.dumps(
                {
                    "bench": "macro",
                    "rows": [{**to_builtins(row), "allowed": row.allowed, "reached": row.reached} for row in rows],
                }
            )
        )
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table_of(rows))
        for scenario in chosen:
            print(f"{scenario.name}: {scenario.says}; {scenario.connections} connections")
    return 1 if asked.check and not all(row.reached for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
