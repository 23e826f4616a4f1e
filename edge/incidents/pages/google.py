"""Google Cloud: ``incidents.json`` lists incidents of all products; one without ``end`` goes on.

Titles of products get renamed, ids do not: name the product by id, such as Z0FZJAMvEB4j3NbCJs6B (Vertex Gemini API).
"""

from __future__ import annotations

from typing import Any, Final

from edge.incidents.pages.view import NotAPage, PageView, State, dicts, line, moment, worst

_IMPACTS: Final[dict[str, State]] = {
    "AVAILABLE": "operational",
    "SERVICE_INFORMATION": "degraded",
    "SERVICE_DISRUPTION": "partial_outage",
    "SERVICE_OUTAGE": "full_outage",
}


def read(document: Any, part: str) -> PageView:
    """Return what the page says of the product with the id ``part``; "" means all.

    Raises:
        NotAPage: the document has another shape.
    """
    found = dicts(document)
    if not found or not all("affected_products" in each for each in found):
        raise NotAPage("not a list of incidents")
    states: list[State] = []
    texts: list[str] = []
    since: list[float] = []
    for incident in found:
        products = [each.get("id") for each in dicts(incident.get("affected_products"))]
        if incident.get("end") or (part and part not in products):
            continue
        impact = incident.get("status_impact")
        states.append(_IMPACTS.get(impact, "degraded") if isinstance(impact, str) else "degraded")
        texts.append(str(incident.get("external_desc", "")))
        since.append(moment(incident.get("begin")))
    return PageView(worst(states), line("; ".join(texts[:3])), min((at for at in since if at), default=0.0))
