"""The figures of ``edge bench`` as an HTML document that stands alone, with pictures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from edge.cli.bench import rows
from edge.drills import chart
from edge.drills.chart import Axis, Series
from edge.incidents.report_page import STYLE
from edge.sim.scores import quantile

if TYPE_CHECKING:
    from edge.cli.bench_client import Bench, Way

_STEPS: Final = 100
_SHARES: Final = Axis(100.0, (0.0, 0.0), lambda at: f"{at:.0f}% of them")
_WIDE: Final = "body{max-width:60rem;padding:0 1rem}.shade{display:none}"


def html(found: Bench) -> str:
    """Return the document. A picture has the share of requests to the right, and the time that they took at most."""
    ways = found.ways
    head = "".join(f'<th scope="col">{escape(way.name)}</th>' for way in ways)
    body = "".join(
        f'<tr><th scope="row">{what}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for what, cells in rows(ways)
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    figures = [
        _figure("First token: so many requests had it within this time", ways, "first_s"),
        _figure("Between two chunks", ways, "gap_s"),
        _figure("Whole answers", ways, "whole_s"),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>edge, measured from outside</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{chart.STYLE}{_WIDE}</style></head><body>'
        "<h1>edge, measured from outside</h1>"
        f'<table><thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{f'<ul>{notes}</ul>' if notes else ''}{''.join(figures)}"
        f"<p><small>{found.seconds:g} s, one request at a time, both ways in turn. Edge's own answer is its list of "
        "models, for which it asks nobody.</small></p></body></html>\n"
    )


def _figure(title: str, ways: tuple[Way, ...], name: str) -> str:
    series = [
        Series(way.name, [1000 * quantile(values, (step + 0.5) / _STEPS) for step in range(_STEPS)], str(place))
        for place, way in enumerate(ways)
        if len(values := getattr(way, name)) > 1
    ]
    return chart.lines(title, series, _SHARES, unit=" ms") if series else ""
