"""Atlassian Statuspage and incident.io: ``/api/v2/summary.json``, and incident.io's own ``/proxy/HOST``.

incident.io answers ``summary.json`` in Statuspage's shape, with components and without incidents; its own document has
``summary.ongoing_incidents`` and ``summary.affected_components``.
"""

from __future__ import annotations

from typing import Any

from edge.incidents.pages.view import NotAPage, PageView, State, dicts, line, moment, names, word, worst


def read(document: Any, part: str) -> PageView:
    """Return what the page says; ``part`` names one component, by id or name, "" means all.

    Raises:
        NotAPage: the document has another shape.
    """
    if not isinstance(document, dict):
        raise NotAPage("not an object")
    summary = document.get("summary")
    if isinstance(summary, dict):
        return _native(summary, part)
    if not isinstance(document.get("components"), list) or not isinstance(document.get("page"), dict):
        raise NotAPage("neither components nor a summary")
    components = [each for each in dicts(document["components"]) if not each.get("group")]
    asked = [each for each in components if not part or part in (each.get("id"), each.get("name"))]
    states = {str(each.get("name", "")): word(each.get("status")) for each in asked}
    ill = [name for name, state in states.items() if state not in ("operational", "unknown")]
    whole = document.get("status")
    indicator = word(whole.get("indicator")) if isinstance(whole, dict) and not part else "unknown"
    # The components decide: the indicator of the whole also counts products that are no API.
    state = worst(list(states.values())) if states else indicator
    incidents = [
        each for each in dicts(document.get("incidents")) if each.get("status") not in ("resolved", "postmortem")
    ]
    if not ill:
        return PageView(state)
    newest = incidents[0] if incidents else {}
    since = moment(newest.get("started_at") or newest.get("created_at"))
    return PageView(state, line(newest.get("name"), names(ill)), since)


def _native(summary: dict[str, Any], part: str) -> PageView:
    if not isinstance(summary.get("ongoing_incidents"), list):
        raise NotAPage("a summary without ongoing_incidents")
    incidents = dicts(summary["ongoing_incidents"])
    affected = dicts(summary.get("affected_components"))
    known = {each.get("id"): each.get("name") for each in dicts(summary.get("components"))}
    asked = [
        each for each in affected if not part or part in (each.get("component_id"), known.get(each.get("component_id")))
    ]
    states: list[State] = [word(each.get("status")) for each in asked]
    if part and not asked:
        return PageView("operational")
    if not states and incidents:  # trouble without a component
        states = ["degraded"]
    newest = incidents[0] if incidents else {}
    ill = [str(known.get(each.get("component_id")) or "") for each in asked]
    since = moment(newest.get("started_at") or newest.get("created_at"))
    return PageView(worst(states), line(newest.get("name"), names([name for name in ill if name])), since)
