"""The availability report as an HTML document that stands alone: no script, no request to anywhere, fit to print."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from edge.incidents.availability import parts, rows
from edge.incidents.postmortem import span, spelled
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.incidents.availability import Report

STYLE: Final = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:52rem}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.35rem .8rem .35rem 0;"
    "border-bottom:1px solid #8886}td+td{font-variant-numeric:tabular-nums}small{opacity:.75}"
)
"""Of documents that stand alone; reports of drills add to it."""


def html(found: Report) -> str:
    """Return the document."""
    model = escape(found.model or "every model")
    where = f" in {escape(found.region)}" if found.region else ""
    need = f", {found.capability}" if found.capability else ""
    title = f"{escape(found.provider)}, {model}{need}{where}: {found.month}"
    table = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(alone)}</td><td>{escape(edge)}</td></tr>'
        for what, alone, edge in rows(found)
    )
    by_need = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(alone)}</td><td>{escape(edge)}</td></tr>'
        for what, alone, edge in parts(found)
    )
    if by_need:
        by_need = (
            '<h2>By what requests needed</h2><table><thead><tr><th scope="col">most special need</th>'
            '<th scope="col">the provider alone</th><th scope="col">with edge</th></tr></thead>'
            f"<tbody>{by_need}</tbody></table>"
        )
    open_ = "" if found.complete else "<p>The month is not over; figures are those so far.</p>"
    credit = ""
    if found.credit_share:
        credit = f"<p>Credit due under the stated terms: {found.credit_share:.0%}, {found.credit_usd:.2f} USD.</p>"
    evidence = "".join(
        f"<tr><td>{escape(each['id'])}</td><td>{spelled(each['first_symptom'])}</td>"
        f"<td>{span(each['recovered'] - each['first_symptom']) if each['recovered'] else 'open'}</td>"
        f"<td>{escape(logs.without_secrets(each['title']))}</td></tr>"
        for each in found.incidents
    )
    incidents = (
        '<table><thead><tr><th scope="col">incident</th><th scope="col">first symptom (UTC)</th>'
        f'<th scope="col">lasted</th><th scope="col">what</th></tr></thead><tbody>{evidence}</tbody></table>'
        if evidence
        else "<p>No incident.</p>"
    )
    routes = ", ".join(map(escape, found.routes)) or "none"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>'
        f"<p>Objective: {found.slo:.3%}.</p>{open_}"
        '<table><thead><tr><th></th><th scope="col">the provider alone</th><th scope="col">with edge</th></tr></thead>'
        f"<tbody>{table}</tbody></table>{by_need}"
        f"<p>Out of rotation because it failed: {found.minutes_out:g} minutes.</p>{credit}"
        f"<h2>Incidents</h2>{incidents}"
        "<p><small>Alone: each attempt at the provider, as a caller without edge would have had it. With edge: "
        f"requests of the routes that use it ({routes}). What callers did themselves is not counted. Percentiles are "
        "upper bounds of buckets.</small></p></body></html>\n"
    )
