"""A month's availability of a provider's model: what callers would have had of it alone, and what they had with edge.

``alone`` counts attempts at the target: a caller without edge would have had each of their failures. ``with_edge``
counts requests of the routes that use the target. Neither counts what callers did themselves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from edge.incidents import incident as incidents
from edge.incidents.database import Wanted
from edge.incidents.elsewhere import joined
from edge.incidents.minutes import MINUTE_S, NOT_FAULTS, quantile_s
from edge.incidents.packing import NANO_PER_MICRO, values

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edge.incidents.database import Database
    from edge.incidents.minutes import Minute, Sparse
    from edge.incidents.packing import Packed

MOST_INCIDENTS: Final = 200
BAD_SHARE: Final = 0.5
"""Share of failed requests from which a minute counts as an outage, as in most providers' terms."""


class Asked(Struct, frozen=True):
    """What to report. ``terms`` pairs availabilities with credits, both as shares: below 0.99, 0.25 of the bill."""

    provider: str
    model: str  # "": every model of the provider
    region: str  # "": every region in the history
    month: tuple[int, int]
    slo: float
    terms: tuple[tuple[float, float], ...] = ()
    capability: str = ""  # "": every one


class Part(Struct, frozen=True):
    """One side of the comparison. ``availability`` None: there was no request."""

    requests: int
    failed: int
    failures: dict[str, int]
    availability: float | None
    first_s: tuple[float | None, ...]  # p50, p95, p99
    outage_minutes: int  # minutes in which at least half of the requests failed
    cost_usd: float
    budget_burnt: float | None  # share of the error budget: 1 means used up


class Share(Struct, frozen=True):
    """The part of a side that requests of one capability have."""

    requests: int
    failed: int
    availability: float | None


class Report(Struct, frozen=True):
    """The report. ``minutes_out``: how long the target was out of rotation because it failed."""

    provider: str
    model: str
    region: str
    capability: str
    month: str
    slo: float
    complete: bool  # the month is over
    alone: Part
    with_edge: Part
    routes: tuple[str, ...]
    minutes_out: float
    credit_share: float
    credit_usd: float
    incidents: tuple[dict[str, Any], ...]
    by_capability: dict[str, tuple[Share, Share]]  # alone, with edge; "": none, or not told apart


def month_bounds(month: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last but one second of a calendar month in UTC, as Unix time."""
    year, number = month
    after = (year + 1, 1) if number == 12 else (year, number + 1)  # noqa: PLR2004  # December
    start, end = (int(datetime(*at, 1, tzinfo=UTC).timestamp()) for at in (month, after))
    return start, end


def report(db: Database, asked: Asked, routes: Collection[str], now: float) -> Report:
    """Return the report of one month from the history.

    Args:
        db: the history.
        asked: what to report.
        routes: aliases that use the provider's model.
        now: Unix time.
    """
    start, end = month_bounds(asked.month)
    span = Wanted(
        start // MINUTE_S, end // MINUTE_S, "target", asked.provider, asked.model, asked.region, asked.capability
    )
    alone, minutes_out, alone_by = _part(db, span, None, asked.slo)
    through = structs.replace(span, kind="route", provider="", model="")
    with_edge, _, edge_by = _part(db, through, set(routes), asked.slo)
    share = 0.0
    if alone.availability is not None:
        share = max((credit for below, credit in asked.terms if alone.availability < below), default=0.0)
    found = [incidents.decode(body) for body in db.incidents(start, end, MOST_INCIDENTS)]
    evidence = [each for each in joined(found) if each.subject == f"provider:{asked.provider}" and each.opened < end]
    return Report(
        asked.provider,
        asked.model,
        asked.region,
        asked.capability,
        f"{asked.month[0]:04}-{asked.month[1]:02}",
        asked.slo,
        now >= end,
        alone,
        with_edge,
        tuple(sorted(routes)),
        round(minutes_out, 1),
        share,
        round(alone.cost_usd * share, 4),
        tuple(_evidence(each) for each in sorted(evidence, key=lambda each: each.opened)),
        {
            name: (_share(*alone_by.get(name, (0, 0))), _share(*edge_by.get(name, (0, 0))))
            for name in sorted(alone_by.keys() | edge_by.keys())
        },
    )


def _share(requests: int, failed: int) -> Share:
    return Share(requests, failed, 1 - failed / requests if requests else None)


def _evidence(incident: incidents.Incident) -> dict[str, Any]:
    end = incident.recovered or incident.closed
    return {
        "id": incident.id,
        "title": incident.title,
        "first_symptom": incident.first_symptom,
        "recovered": end,
        "failed": incident.impact.failed,
        "requests": incident.impact.requests,
        "page_said": incident.page_said,
    }


class _Sums:
    """Sums over series and minutes of a span that begins and ends at full hours."""

    def __init__(self, start: int, end: int) -> None:
        self._start = start
        self.requests = [0] * (end - start)  # by minute
        self.failed = [0] * (end - start)
        self.open_ds = [0] * (end - start)  # the longest of all series
        self.ended = 0
        self.cost_nano = 0
        self.failures: dict[str, int] = {}
        self.first: Sparse = {}

    @property
    def counted(self) -> tuple[int, int]:
        """The requests that count for an availability, and those of them that failed."""
        excused = sum(count for reason, count in self.failures.items() if reason in NOT_FAULTS)
        return self.ended - excused, sum(self.failures.values()) - excused

    def add_hour(self, hour: int, packed: Packed) -> None:
        """Add a packed hour. A report of a busy year reads 100,000 of them: nothing is made per minute."""
        rows, base = len(packed.at), hour - self._start
        for at, count in zip(packed.at, values(packed.requests, rows), strict=True):
            self.requests[base + at] += count
            self.ended += count
        self.cost_nano += sum(values(packed.cost_micro, rows)) * NANO_PER_MICRO
        for at, reasons in zip(packed.at, packed.failures, strict=True):
            if reasons:
                self._fail(base + at, reasons)
        if any(packed.open_ds):
            for at, tenths in zip(packed.at, values(packed.open_ds, rows), strict=True):
                self.open_ds[base + at] = max(self.open_ds[base + at], tenths)
        self._time(packed.first)

    def add_minute(self, minute: Minute) -> None:
        """Add a minute that is not packed yet."""
        place = minute.at - self._start
        self.requests[place] += minute.requests
        self.ended += minute.requests
        self.cost_nano += minute.cost_nano
        self._fail(place, minute.failures)
        self.open_ds[place] = max(self.open_ds[place], round(minute.open_s * 10))
        self._time(minute.first)

    def _fail(self, place: int, reasons: dict[str, int]) -> None:
        for reason, count in reasons.items():
            self.failures[reason] = self.failures.get(reason, 0) + count
            if reason not in NOT_FAULTS:
                self.failed[place] += count

    def _time(self, first: Sparse) -> None:
        for place, count in first.items():
            self.first[place] = self.first.get(place, 0) + count


def _part(
    db: Database, wanted: Wanted, models: set[str] | None, slo: float
) -> tuple[Part, float, dict[str, tuple[int, int]]]:
    """Return the sums of all wanted series, the minutes out of rotation, and (requests, failed) by capability."""
    sums = _Sums(wanted.start, wanted.end)
    parts: dict[str, tuple[int, int]] = {}
    for number, series in db.series(wanted):
        if models is not None and series.model not in models:
            continue
        before = sums.counted
        for hour, packed in db.hours(number, wanted):
            sums.add_hour(hour, packed)
        for minute in db.minutes(number, wanted):
            sums.add_minute(minute)
        known = parts.get(series.capability, (0, 0))
        grown = [now - then + more for now, then, more in zip(sums.counted, before, known, strict=True)]
        if any(grown):
            parts[series.capability] = (grown[0], grown[1])
    counted, failed = sums.counted
    burnt = None if not counted or slo >= 1 else round(failed / counted / (1 - slo), 4)
    part = Part(
        counted,
        failed,
        dict(sorted(sums.failures.items())),
        1 - failed / counted if counted else None,
        tuple(quantile_s(sums.first, each) for each in (0.5, 0.95, 0.99)),
        sum(bad >= BAD_SHARE * total for total, bad in zip(sums.requests, sums.failed, strict=True) if total and bad),
        sums.cost_nano / 1e9,
        burnt,
    )
    return part, sum(sums.open_ds) / 10 / MINUTE_S, parts


def terms(text: str) -> tuple[tuple[float, float], ...]:
    """Return credits by availability from text such as ``99.9=10,99=25`` (percent).

    Raises:
        ValueError: it is no such text.
    """
    found: list[tuple[float, float]] = []
    for part in text.replace("%", "").split(",") if text else ():
        below, _, credit = part.partition("=")
        found.append((percent(below), percent(credit)))
    return tuple(found)


def percent(text: str) -> float:
    """Return a percentage, with or without its sign, as a share.

    Raises:
        ValueError: it is no number from 0 to 100.
    """
    value = float(text.strip().removesuffix("%"))
    if not 0 <= value <= 100:  # noqa: PLR2004  # percent
        raise ValueError(f"{text!r} is not a percentage")
    return round(value / 100, 10)


def rows(found: Report) -> Sequence[tuple[str, str, str]]:
    """Return the comparison as (what, alone, with edge) in words, for tables."""
    pairs = (found.alone, found.with_edge)

    def each(write: Any) -> tuple[str, str]:
        return write(pairs[0]), write(pairs[1])

    return [
        ("requests", *each(lambda part: str(part.requests))),
        ("failed", *each(lambda part: str(part.failed))),
        ("availability", *each(lambda part: "-" if part.availability is None else f"{part.availability:.4%}")),
        ("minutes with half of the requests failed", *each(lambda part: str(part.outage_minutes))),
        ("error budget used", *each(lambda part: "-" if part.budget_burnt is None else f"{part.budget_burnt:.1%}")),
        ("first token p50", *each(lambda part: _seconds(part.first_s[0]))),
        ("first token p95", *each(lambda part: _seconds(part.first_s[1]))),
        ("first token p99", *each(lambda part: _seconds(part.first_s[2]))),
        ("cost", *each(lambda part: f"{part.cost_usd:.2f} USD")),
    ]


def parts(found: Report) -> Sequence[tuple[str, str, str]]:
    """Return availability by what requests needed, as (capability, alone, with edge) in words; none without a split."""
    if set(found.by_capability) <= {""}:
        return []
    return [
        (name or "(not told apart)", _share_words(alone), _share_words(edge))
        for name, (alone, edge) in found.by_capability.items()
    ]


def _share_words(share: Share) -> str:
    return "-" if share.availability is None else f"{share.availability:.4%} of {share.requests}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:g} s"
