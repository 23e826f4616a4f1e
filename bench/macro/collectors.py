"""Measures whether requests wait for a collector that is down, slow or refuses data.

Usage: ``python -m bench.macro.collectors [--json]``. There is one edge for each kind of collector; all run at once,
record every request, and serve the same load in turn in short rounds of alternating order. Within each round, p99 is
compared with that of the edge that exports nothing. The result is the median of the rounds, and what became of the
records.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from bench.macro.load import Order
from bench.macro.processes import BenchError, load, on, proxy_cpus, upstream
from edge.errors import EdgeError
from edge.sim.node import EdgeProcess
from edge.sim.wire import refused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS: Final = 60.0
COUNT: Final = 2000
CONNECTIONS: Final = 4
SLOW_S: Final = 8.0
NONE: Final = "none"
_EXPORTED: Final = re.compile(r'^edge_traces_exported_total\{result="(\w+)"\} (\d+)', re.MULTILINE)
_LOST: Final = re.compile(r"^edge_worker_unrecorded_total\{[^}]*\} (\d+)", re.MULTILINE)


class Kind(Struct, frozen=True):
    """One kind of collector: the latency of its edge compared with the one without, and what became of the records."""

    collector: str
    p99_us: float
    ratio: float  # of p99 to that without a collector, median of the rounds
    rounds: int
    requests: int
    wrong: int
    sent: int
    dropped: int  # before they were offered to the collector, including those lost on the way to control
    failed: int


@contextlib.asynccontextmanager
async def collectors() -> AsyncIterator[dict[str, str]]:
    """Run the collectors; yield their URLs by name, with "" for none."""

    async def well(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async def slow(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(SLOW_S)
        return web.Response()

    async def refuses(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=403)

    app = web.Application(client_max_size=2**26)
    for kind in (well, slow, refuses):
        app.router.add_post(f"/{kind.__name__}/v1/traces", kind)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        with refused_port() as dead:
            urls = {kind.__name__: f"{root}/{kind.__name__}" for kind in (well, slow, refuses)}
            yield {NONE: "", "dead": f"http://127.0.0.1:{dead}", **urls}
    finally:
        await runner.cleanup()


async def measure(seconds: float, count: int = COUNT) -> list[Kind]:
    """Run rounds for ``seconds``.

    Raises:
        BenchError: a part of the benchmark does not work.
    """
    async with contextlib.AsyncExitStack() as stack:
        port = (await stack.enter_async_context(upstream())).port
        asking = await stack.enter_async_context(load())
        edges: dict[str, EdgeProcess] = {}
        for name, url in (await stack.enter_async_context(collectors())).items():
            provider = {"dialect": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk-not-a-key"}
            config = {
                "providers": {"local": provider},
                "models": {"chat": {"targets": ["local/gpt-4.1-mini"]}},
                "telemetry": {"sample": "100%", "otlp": url, "protocol": "http"},
            }
            with on(proxy_cpus()):
                edges[name] = await stack.enter_async_context(EdgeProcess(config, workers=1))
        names = list(edges)
        found: dict[str, list[float]] = {name: [] for name in names}
        wrong = dict.fromkeys(names, 0)
        end_s = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end_s or number < 3:
            for name in names if number % 2 else reversed(names):
                ran = await asking.run(Order(urlsplit(edges[name].url).port or 0, count, CONNECTIONS))
                if number:  # the first round is the warm-up
                    found[name].append(ran.p99_us)
                    wrong[name] += ran.wrong
            number += 1
        return [await _kind(name, edges[name].admin, found, wrong[name], requests=count * number) for name in names]


async def _kind(name: str, admin: str, found: dict[str, list[float]], wrong: int, *, requests: int) -> Kind:
    async with aiohttp.ClientSession() as client, client.get(f"{admin}/metrics") as answer:
        page = await answer.text()
    exported = {result: int(value) for result, value in _EXPORTED.findall(page)}
    lost = sum(int(value) for value in _LOST.findall(page))
    ratios = [own / none for own, none in zip(found[name], found[NONE], strict=True)]
    return Kind(
        collector=name,
        p99_us=median(found[name]),
        ratio=median(ratios),
        rounds=len(ratios),
        requests=requests,
        wrong=wrong,
        sent=exported.get("sent", 0),
        dropped=exported.get("dropped", 0) + lost,
        failed=exported.get("failed", 0),
    )


def main() -> int:
    """Measure, print the results, and return the exit status: 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro.collectors", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"total duration ({SECONDS:g})")
    asked = parser.parse_args()
    try:
        kinds = asyncio.run(measure(asked.seconds))
    except (BenchError, EdgeError) as fault:
        Console(stderr=True).print(f"bench: {fault}", style="red")
        return 2
    if asked.json:
        print(json.dumps({"bench": "collectors", "rows": to_builtins(kinds)}))
        return 0
    table = Table(title="100% of requests traced, by kind of collector", title_justify="left")
    for name in ("collector", "p99 us", "of none's", "requests", "wrong", "sent", "dropped", "failed"):
        table.add_column(name, justify="left" if name == "collector" else "right")
    for kind in kinds:
        figures = (kind.requests, kind.wrong, kind.sent, kind.dropped, kind.failed)
        table.add_row(kind.collector, f"{kind.p99_us:.0f}", f"{kind.ratio:.2f}", *(f"{figure:,}" for figure in figures))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
