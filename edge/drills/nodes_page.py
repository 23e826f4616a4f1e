"""The report of ``thousand-nodes`` as an HTML document that stands alone."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from edge.drills import chart
from edge.drills.chart import Axis, Series
from edge.drills.nodes import Times
from edge.drills.nodes_report import BUSY_MOST
from edge.drills.page import WIDE, table
from edge.incidents.report_page import STYLE

if TYPE_CHECKING:
    from edge.drills.nodes_report import NodesReport


def html(report: NodesReport) -> str:
    """Return the document; the shaded window is that in which the provider is dead."""
    shown, fewer, times = report.shown, report.fewer, Times()
    title = escape(report.title)
    axis = Axis(times.end, (times.dies, times.heals), lambda at: f"{at:.0f} s")
    writes = [
        Series(f"{one.nodes:,} nodes", [moment.writes for moment in one.moments], colour)
        for one, colour in ((shown, "0"), (fewer, "1"))
    ]
    writes.append(Series("bound of a node", [BUSY_MOST] * len(shown.moments), "bad", dashed=True))
    regions = [
        Series("most circuits of the region are open", [float(moment.failing) for moment in shown.moments], "bad"),
        Series("gives it less traffic: verdict", [float(moment.lighter) for moment in shown.moments], "0"),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{chart.STYLE}{WIDE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(report.says)}</p>"
        f"<p><small>{shown.nodes:,} nodes, {shown.regions} regions, seed {shown.seed}; beside it the same drill with "
        f"{fewer.nodes:,} nodes. The provider is dead in the shaded window.</small></p>{table(report.scores)}"
        f"{chart.lines('Writes a second and node', writes, axis)}"
        f"{chart.lines(f'Of {shown.regions} regions, the dead provider', regions, axis, most=float(shown.regions))}"
        "</body></html>\n"
    )
