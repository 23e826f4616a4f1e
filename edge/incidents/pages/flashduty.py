"""Flashduty, which DeepSeek uses: ``/api/status-page/ID/summary/active`` lists what is going on."""

from __future__ import annotations

from typing import Any

from edge.incidents.pages.view import NotAPage, PageView, State, dicts, line, moment, names, word, worst


def read(document: Any, part: str) -> PageView:
    """Return what the page says; ``part`` names one component, by id or name, "" means all.

    Raises:
        NotAPage: the document has another shape.
    """
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("active_changes"), list):
        raise NotAPage("no data.active_changes")
    states: list[State] = []
    ill: list[str] = []
    titles: list[str] = []
    since: list[float] = []
    for change in dicts(data["active_changes"]):
        components = [
            each
            for each in dicts(change.get("affected_components"))
            if not part or part in (str(each.get("component_id")), each.get("name"))
        ]
        if part and not components:
            continue
        found = [word(each.get("status")) for each in components]
        if not found and change.get("type") != "maintenance":
            found = ["degraded"]  # an open incident without a component
        states += found or ["maintenance"]
        ill += [str(each.get("name", "")) for each in components if word(each.get("status")) != "operational"]
        titles.append(str(change.get("title", "")))
        since.append(moment(change.get("start_at_seconds")))
    return PageView(
        worst(states), line("; ".join(titles[:3]), names(ill)), min((at for at in since if at), default=0.0)
    )
