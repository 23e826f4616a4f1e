"""The report of a drill as an HTML document that stands alone: with its pictures, and no request to anywhere."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Final

from edge.drills import chart
from edge.drills.chart import Axis, Series
from edge.drills.scores import EDGE, LISTED, ONE, percent
from edge.incidents.report_page import STYLE
from edge.sim.scores import quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.drills.play import Played
    from edge.drills.results import Minute
    from edge.drills.scores import Report, Score

WIDE: Final = "body{max-width:60rem;padding:0 1rem}.ok{color:var(--c2)}.no{color:var(--bad);font-weight:600}"
_STATES: Final = {"closed": "2", "half_open": "1", "open": "bad"}


def html(played: Played, report: Report) -> str:
    """Return the document."""
    script = played.script
    axis = Axis(script.seconds, script.window, lambda at: f"{script.begins + timedelta(seconds=at):%H:%M}")
    title = escape(report.title)
    facts = (
        f"Configuration: {escape(report.source)}, model {escape(report.model)}. Load: {report.rate:g} requests a "
        f"second of the mix “{report.load}”, {report.sides[0].requests:,} requests. Seed {report.seed}. "
        f"Begins {script.begins:%Y-%m-%d %H:%M} UTC; the shaded window is scored."
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{chart.STYLE}{WIDE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(report.says)}</p><p><small>{facts}</small></p>"
        f"{table(report.scores)}{f'<ul>{notes}</ul>' if notes else ''}"
        f"<h2>Minute by minute</h2>{_figures(played, axis)}<h2>Three ways to ask</h2>{_sides(report)}"
        f"<h2>Targets</h2>{_targets(played, report)}<h2>What was wrong when</h2>{_phases(played)}"
        "<p><small>Through edge: the exchanges, circuits, balancing, capacity, queues, retry budgets and keys of a "
        "worker, on a virtual clock; the wire, clients and providers are models. One provider: callers ask the "
        "preferred target and wait. Fallback list: callers ask the targets in order, 30 s each, and remember nothing. "
        "All three ask the same requests of the same models. Percentiles are of good answers.</small></p>"
        "</body></html>\n"
    )


def table(scores: Sequence[Score]) -> str:
    """Return scores as a table."""
    rows = ""
    for score in scores:
        mark = "" if score.met is None else '<td class="ok">met</td>' if score.met else '<td class="no">not met</td>'
        rows += (
            f'<tr><th scope="row">{escape(score.what)}</th><td>{escape(score.value)}</td><td>{escape(score.floor)}</td>'
            f"{mark or '<td></td>'}</tr>"
        )
    head = "".join(f'<th scope="col">{word}</th>' for word in ("", "figure", "floor", ""))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _figures(played: Played, axis: Axis) -> str:
    names = [place.target.id for place in played.stage.places]
    sides = ((ONE, played.one, "bad"), (LISTED, played.listed, "1"), (EDGE, played.edge, "2"))
    good = [Series(name, [_share(minute) for minute in side.minutes], colour) for name, side, colour in sides]
    answered = [
        Series(name, [minute.answered[name] for minute in played.edge.minutes], str(place % 5))
        for place, name in enumerate(names)
    ]
    failed = Series("failed", [minute.failed for minute in played.edge.minutes], "bad")
    first = [
        Series(f"{name}, median", [_first(minute.first_s, 0.5) for minute in side.minutes], colour)
        for name, side, colour in sides
    ]
    first.append(
        Series(f"{EDGE}, p95", [_first(minute.first_s, 0.95) for minute in played.edge.minutes], "2", dashed=True)
    )
    return "".join(
        [
            chart.lines("Requests that were answered well", good, axis, most=100, unit="%"),
            chart.areas("Who answered, through edge (requests a minute)", [*answered, failed], axis),
            chart.lines("Time to the first token", first, axis, unit=" s"),
            _inflight(played, axis, names),
            chart.bands(
                "Circuits",
                [(name, [sample.states[place] for sample in played.samples]) for place, name in enumerate(names)],
                _STATES,
                axis,
            ),
        ]
    )


def _share(minute: Minute) -> float:
    return 100 * (1 - minute.failed / minute.requests) if minute.requests else -1


def _first(values: Sequence[float], share: float) -> float:
    return quantile(values, share) if values else -1


def _inflight(played: Played, axis: Axis, names: Sequence[str]) -> str:
    series = []
    width = 6  # samples of 10 s in a minute
    for place, name in enumerate(names):
        if played.stage.places[place].role == "primary":
            continue
        counts = [sample.inflight[place] for sample in played.samples]
        most = [max(counts[at : at + width]) for at in range(0, len(counts), width)]
        if not any(most):
            continue
        colour = str(place % 5)
        series.append(Series(f"{name} (takes {played.capacities[name]})", most, colour))
        series.append(Series("its capacity", [played.capacities[name]] * len(most), colour, dashed=True))
    return chart.lines("Requests at once at the backups", series, axis) if series else ""


def _sides(report: Report) -> str:
    rows = (
        ("requests", [f"{side.requests:,}" for side in report.sides]),
        ("answered well, whole drill", [percent(side.availability) for side in report.sides]),
        ("answered well, in the window", [percent(side.window_availability) for side in report.sides]),
        ("first token in the window: median", [_seconds(side.first_s[0]) for side in report.sides]),
        ("95th percentile", [_seconds(side.first_s[1]) for side in report.sides]),
        ("99th percentile", [_seconds(side.first_s[2]) for side in report.sides]),
        ("money", [f"{side.cost_usd:,.2f} USD" for side in report.sides]),
        ("failures", [_listed(side.failures) for side in report.sides]),
    )
    head = "".join(f'<th scope="col">{escape(side.name)}</th>' for side in report.sides)
    body = "".join(
        f'<tr><th scope="row">{what}</th>{"".join(f"<td>{escape(value)}</td>" for value in values)}</tr>'
        for what, values in rows
    )
    return f'<table><thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value else "no good answer"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items()) or "none"


def _targets(played: Played, report: Report) -> str:
    edge, listed = report.sides[0], report.sides[2]
    body = ""
    for place in played.stage.places:
        name = place.target.id
        cells = (
            str(place.tier) if place.role != "region" else "last",
            f"{report.capacities[name]:,}",
            f"{edge.attempts.get(name, 0):,}",
            f"{edge.most.get(name, 0):,}",
            f"{edge.refused.get(name, 0):,}",
            f"{listed.refused.get(name, 0):,}",
        )
        body += f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    names = ("", "tier", "takes at once", "attempts", "most at once", "beyond capacity", "... with a fallback list")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _phases(played: Played) -> str:
    script = played.script
    rows: list[tuple[float, str, str]] = sorted(
        (phase.start_s, str(role), phase.says) for role, phases in script.phases.items() for phase in phases
    )
    if script.leak is not None:
        rows = [(script.leak[0], "a key", "stolen"), (script.leak[1], "a key", "withdrawn")]
    body = "".join(
        f"<tr><td>{script.begins + timedelta(seconds=at):%H:%M:%S}</td><td>{role}</td><td>{escape(says)}</td></tr>"
        for at, role, says in rows
    )
    head = "".join(f'<th scope="col">{word}</th>' for word in ("UTC", "who", "is"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
