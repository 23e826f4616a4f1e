"""Comparison of proxies on a machine that also does other work, in many short rounds.

In each round all proxies serve the same load one after the other, in alternating order. The ratio is taken within the
round; the result is the median of the rounds, with the minimum and the maximum. Microseconds are shown for orientation
only: they depend on the machine and the hour, ratios much less so.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from bench.macro.processes import BenchError, upstream
from bench.macro.proxies import Direct
from bench.macro.rows import Cost, Row, less, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.macro.load import Order, Ran
    from bench.macro.processes import Upstream
    from bench.macro.proxies import Proxy
    from bench.macro.scenarios import Scenario

WARM_SHARE = 4  # a warm-up has 1/WARM_SHARE of the requests of a run
STRAIGHT = Direct()


class Load(Protocol):
    """The load generator."""

    async def run(self, order: Order) -> Ran:
        """Send the requests of an order, and return the results."""


class Measurement:
    """One scenario with its running proxies."""

    def __init__(self, scenario: Scenario, proxies: list[Proxy], asking: Load, behind: Upstream) -> None:
        self._scenario = scenario
        self._proxies = proxies
        self._asking = asking
        self._behind = behind

    async def cost(self, proxy: Proxy, count: int) -> Cost:
        """Send ``count`` requests through a proxy and return what it used, or with a rate what they took."""
        scenario = self._scenario
        before_ns = proxy.cpu_ns(workers=scenario.workers)
        try:
            ran = await self._asking.run(scenario.order(proxy, count, self._behind))
        except BenchError as fault:
            raise BenchError(f"{scenario.name}, {proxy.name}: {fault}") from fault
        units = scenario.units(ran)
        per_s = units / ran.seconds
        if scenario.rate:
            return Cost(ran.p50_us, per_s, tail_us=ran.p99_us)
        merged = 1 - ran.chunks / ran.events if ran.events else 0.0
        used_us = (proxy.cpu_ns(workers=scenario.workers) - before_ns) / units / 1000
        return Cost(used_us, per_s, merged, tail_us=ran.first_p99_us)

    async def round(self, count: int, *, reverse: bool) -> dict[str, Cost]:
        """Return the cost of each proxy by its name; a latency is less that of the way without a proxy."""
        proxies = self._proxies[::-1] if reverse else self._proxies
        costs = {proxy.name: await self.cost(proxy, count) for proxy in proxies}
        if self._scenario.rate:
            straight = costs.pop(STRAIGHT.name)
            costs = {name: less(cost, straight) for name, cost in costs.items()}
        return costs


async def compare(
    scenarios: Iterable[Scenario], asking: Load, *, rounds: int, share: float, note: Callable[[str], None]
) -> list[Row]:
    """Measure each scenario.

    Args:
        scenarios: rows of the table.
        asking: the load generator.
        rounds: number of rounds.
        share: share of each scenario's requests to send; 1 for all.
        note: called with a line of progress.

    Raises:
        BenchError: a part of the benchmark does not work, or a response was wrong.
    """
    rows = []
    async with contextlib.AsyncExitStack() as stack:
        behind = await stack.enter_async_context(upstream())
        running: dict[str, Proxy] = {}
        for scenario in scenarios:
            straight = (STRAIGHT,) if scenario.rate else ()
            present = (variant for variant in scenario.others if variant.installed)
            variants = (scenario.subject, scenario.beside, *present, *straight)
            for variant in variants:
                if variant.name not in running:
                    running[variant.name] = await stack.enter_async_context(variant.started(behind))
            proxies = [running[variant.name] for variant in variants]
            measurement = Measurement(scenario, proxies, asking, behind)
            least = scenario.connections * max(1, scenario.streams)
            count = max(least, int(scenario.count * share))
            for proxy in proxies:
                await measurement.cost(proxy, max(least, count // WARM_SHARE))
            measured = []
            for number in range(rounds):
                costs = await measurement.round(count, reverse=number % 2 == 1)
                measured.append(costs)
                found = ", ".join(f"{name} {cost.us:.1f}" for name, cost in costs.items())
                note(f"{scenario.name} {number + 1}/{rounds}: us per {scenario.unit}: {found}")
            rows.append(row_of(scenario, measured))
    return rows
