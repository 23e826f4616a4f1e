"""Comparison of two proxies on a machine that also does other work, in many short rounds.

In each round both proxies serve the same load one after the other, in alternating order. The ratio is taken within the
round; the result is the median of the rounds, with the minimum and the maximum. Microseconds are shown for orientation
only: they depend on the machine and the hour, ratios much less so.
"""

from __future__ import annotations

import contextlib
from statistics import median
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from bench.macro.load import Order
from bench.macro.processes import upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.macro.load import Ran
    from bench.macro.proxies import Proxy
    from bench.macro.scenarios import Scenario

WARM_SHARE = 4  # a warm-up has 1/WARM_SHARE of the requests of a run


class Load(Protocol):
    """The load generator."""

    async def run(self, order: Order) -> Ran:
        """Send the requests of an order, and return the results."""


class Cost(Struct, frozen=True):
    """What a proxy used in one run."""

    us: float  # of CPU time per unit
    per_s: float  # units per second
    merged: float = 0.0  # share of a stream's events that arrived in one chunk or DATA frame with another


class Row(Struct, frozen=True):
    """The result of one scenario."""

    scenario: str
    unit: str
    subject: str
    beside: str
    subject_us: float
    beside_us: float
    subject_per_s: float
    beside_per_s: float
    ratio: float
    ratio_min: float
    ratio_max: float
    rounds: int
    bar: float | None
    subject_merged: float = 0.0
    beside_merged: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether the bar is reached; True if there is none."""
        return self.bar is None or self.ratio <= self.bar


def row_of(scenario: Scenario, rounds: list[tuple[Cost, Cost]]) -> Row:
    """Return the medians of rounds, which are pairs of (subject, beside)."""
    ratios = [subject.us / beside.us for subject, beside in rounds]
    return Row(
        scenario=scenario.name,
        unit=scenario.unit,
        subject=scenario.subject.name,
        beside=scenario.beside.name,
        subject_us=median(subject.us for subject, _ in rounds),
        beside_us=median(beside.us for _, beside in rounds),
        subject_per_s=median(subject.per_s for subject, _ in rounds),
        beside_per_s=median(beside.per_s for _, beside in rounds),
        ratio=median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        rounds=len(rounds),
        bar=scenario.bar,
        subject_merged=median(subject.merged for subject, _ in rounds),
        beside_merged=median(beside.merged for _, beside in rounds),
    )


async def _cost(scenario: Scenario, proxy: Proxy, asking: Load, count: int) -> Cost:
    before_ns = proxy.cpu_ns(workers=scenario.workers)
    order = Order(proxy.port, count, scenario.connections, stream=scenario.stream, streams=scenario.streams)
    ran = await asking.run(order)
    units = scenario.units(ran)
    merged = 1 - ran.chunks / ran.events if ran.events else 0.0
    return Cost((proxy.cpu_ns(workers=scenario.workers) - before_ns) / units / 1000, units / ran.seconds, merged)


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
        port = await stack.enter_async_context(upstream())
        running: dict[str, Proxy] = {}
        for scenario in scenarios:
            for variant in (scenario.subject, scenario.beside):
                if variant.name not in running:
                    running[variant.name] = await stack.enter_async_context(variant.started(port))
            pair = running[scenario.subject.name], running[scenario.beside.name]
            least = scenario.connections * max(1, scenario.streams)
            count = max(least, int(scenario.count * share))
            for proxy in pair:
                await _cost(scenario, proxy, asking, max(least, count // WARM_SHARE))
            measured = []
            for number in range(rounds):
                order = pair if number % 2 == 0 else pair[::-1]
                costs = {proxy.name: await _cost(scenario, proxy, asking, count) for proxy in order}
                subject, beside = (costs[proxy.name] for proxy in pair)
                measured.append((subject, beside))
                note(
                    f"{scenario.name} {number + 1}/{rounds}: {subject.us:.1f} and {beside.us:.1f} us a {scenario.unit}"
                )
            rows.append(row_of(scenario, measured))
    return rows
