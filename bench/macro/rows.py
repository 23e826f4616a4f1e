"""The results of scenarios: medians over rounds, ratios, and whether the bars are reached."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.macro.scenarios import Scenario

# Where HAProxy itself is above a bar in the same run, this much of HAProxy's figure is the bar.
OF_HAPROXY: Final = 1.1


class Cost(Struct, frozen=True):
    """What a proxy used in one run."""

    us: float  # of CPU time per unit, or of latency
    per_s: float  # units per second
    merged: float = 0.0  # share of a stream's events that arrived in one chunk or DATA frame with another
    tail_us: float = 0.0  # the second figure of the scenario


class Other(Struct, frozen=True):
    """The result of a proxy that has no bar; ``ratio`` is to the same as the subject's, None: not installed."""

    name: str
    ratio: float | None = None
    us: float = 0.0
    per_s: float = 0.0
    tail_us: float = 0.0


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
    tail: str = ""
    subject_tail_us: float = 0.0
    beside_tail_us: float = 0.0
    tail_ratio: float = 0.0
    tail_bar: float | None = None
    others: tuple[Other, ...] = ()
    over_us: float = 0.0  # what the subject uses over what it stands beside, the median of the rounds
    over_bar: float | None = None

    @property
    def allowed(self) -> float | None:
        """The bar; 1.1 times HAProxy's ratio where HAProxy itself is above the bar."""
        haproxy = max((other.ratio or 0.0 for other in self.others if other.name.startswith("haproxy")), default=0.0)
        return self.bar if self.bar is None or haproxy <= self.bar else OF_HAPROXY * haproxy

    @property
    def reached(self) -> bool:
        """Whether the bars are reached; True if there is none."""
        allowed = self.allowed
        return (
            (allowed is None or self.ratio <= allowed)
            and (self.tail_bar is None or self.tail_ratio <= self.tail_bar)
            and (self.over_bar is None or self.over_us <= self.over_bar)
        )


def less(cost: Cost, straight: Cost) -> Cost:
    """Return what a proxy adds to the latency without one."""
    return Cost(cost.us - straight.us, cost.per_s, tail_us=cost.tail_us - straight.tail_us)


def _ratios(scenario: Scenario, own: Iterable[float], beside: Iterable[float]) -> list[float]:
    """Return the ratio of each round, or of added latencies the ratio of the medians alone.

    A difference of two latencies can be near zero in a single round, and a ratio to it means nothing.
    """
    if scenario.rate:
        return [median(own) / median(beside)]
    return [one / other for one, other in zip(own, beside, strict=True)]


def row_of(scenario: Scenario, rounds: list[dict[str, Cost]]) -> Row:
    """Return the medians of rounds, each of which has the cost of every proxy by its name."""
    subject, beside = ([costs[variant.name] for costs in rounds] for variant in (scenario.subject, scenario.beside))
    ratios = _ratios(scenario, [cost.us for cost in subject], [cost.us for cost in beside])
    tails = [cost.tail_us for cost in subject], [cost.tail_us for cost in beside]
    others = []
    for variant in scenario.others:
        if variant.name not in rounds[0]:
            others.append(Other(variant.name))
            continue
        own = [costs[variant.name] for costs in rounds]
        others.append(
            Other(
                variant.name,
                ratio=median(_ratios(scenario, [cost.us for cost in own], [cost.us for cost in beside])),
                us=median(cost.us for cost in own),
                per_s=median(cost.per_s for cost in own),
                tail_us=median(cost.tail_us for cost in own),
            )
        )
    return Row(
        scenario=scenario.name,
        unit=scenario.unit,
        subject=scenario.subject.name,
        beside=scenario.beside.name,
        subject_us=median(cost.us for cost in subject),
        beside_us=median(cost.us for cost in beside),
        subject_per_s=median(cost.per_s for cost in subject),
        beside_per_s=median(cost.per_s for cost in beside),
        ratio=median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        rounds=len(rounds),
        bar=scenario.bar,
        subject_merged=median(cost.merged for cost in subject),
        beside_merged=median(cost.merged for cost in beside),
        tail=scenario.tail,
        subject_tail_us=median(tails[0]),
        beside_tail_us=median(tails[1]),
        tail_ratio=median(_ratios(scenario, *tails)) if scenario.tail else 0.0,
        tail_bar=scenario.tail_bar,
        others=tuple(others),
        over_us=median(one.us - other.us for one, other in zip(subject, beside, strict=True)),
        over_bar=scenario.over_bar,
    )


def _verdict(reached: bool, bar: float | None) -> tuple[str, str]:
    return ("", "") if bar is None else (f"{bar:.3g}", "reached" if reached else "MISSED")


def table_of(rows: list[Row]) -> Table:
    """Return the rows as a table: subject, what it is compared with, then the others."""
    table = Table(title="CPU of the proxy, user and system, one worker", title_justify="left")
    for name in ("CPU per", "proxy", "us", "a second", "ratio", "min..max", "bar", ""):
        table.add_column(name, justify="right" if name in ("us", "a second", "ratio", "bar") else "left", no_wrap=True)
    for row in rows:
        each = f"{row.scenario} {row.unit}"
        allowed = row.allowed
        verdict = _verdict(allowed is None or row.ratio <= allowed, allowed)
        spread = f"{row.ratio_min:.2f}..{row.ratio_max:.2f}"
        figures = f"{row.subject_us:.1f}", f"{row.subject_per_s:,.0f}", f"{row.ratio:.2f}", spread
        table.add_row(each, row.subject, *figures, *verdict)
        table.add_row("", row.beside, f"{row.beside_us:.1f}", f"{row.beside_per_s:,.0f}")
        for other in row.others:
            if other.ratio is None:
                table.add_row("", other.name, "", "", "", "not installed")
            else:
                table.add_row("", other.name, f"{other.us:.1f}", f"{other.per_s:,.0f}", f"{other.ratio:.2f}")
        if row.over_bar is not None:
            verdict = _verdict(row.over_us <= row.over_bar, row.over_bar)
            table.add_row("  over the next", row.subject, f"{row.over_us:.1f}", "", "", "", *verdict)
        if row.tail:
            verdict = _verdict(row.tail_bar is None or row.tail_ratio <= row.tail_bar, row.tail_bar)
            subject = f"{row.subject_tail_us:.0f}", "", f"{row.tail_ratio:.2f}", ""
            table.add_row(f"  {row.tail}", row.subject, *subject, *verdict)
            table.add_row("", row.beside, f"{row.beside_tail_us:.0f}")
            for other in row.others:
                if other.ratio is not None:
                    table.add_row("", other.name, f"{other.tail_us:.0f}")
        table.add_section()
    return table
