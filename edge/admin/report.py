"""Availability reports over the HTTP admin API.

GET /api/report?provider=P&model=M&region=R&capability=C&month=2026-05&slo=99.9&terms=99.9=10,99=25&format=json|html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.answers import json_answer, problem
from edge.admin.past import unknown
from edge.incidents.availability import Asked, parts, percent, report, rows, terms
from edge.incidents.history import HistoryUnavailableError
from edge.incidents.report_page import html
from edge.terms.capabilities import NAMES

if TYPE_CHECKING:
    from edge.control.chronicle import Chronicle
    from edge.control.node import Node

_MONTH: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


class Reports:
    """Request handler of ``/api/report``."""

    def __init__(self, node: Node, chronicle: Chronicle) -> None:
        self._node = node
        self._chronicle = chronicle

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/api/report", self._report)]

    async def _report(self, request: web.Request) -> web.Response:  # noqa: PLR0911  # a refusal each
        refused = unknown(request, "provider", "model", "region", "capability", "month", "slo", "terms", "format")
        if refused is not None:
            return refused
        query = request.query
        month = _MONTH.fullmatch(query.get("month", ""))
        if month is None or not query.get("provider"):
            return problem(400, "give provider=NAME and month=2026-05")
        try:
            slo, credits_ = percent(query.get("slo", "99.9")), terms(query.get("terms", ""))
        except ValueError:
            return problem(400, "slo is a percentage such as 99.9, and terms are such as 99.9=10,99=25")
        capability = query.get("capability", "")
        if capability not in ("", *NAMES):
            return problem(400, f"capability is one of {', '.join(NAMES)}")
        when = (int(month[1]), int(month[2]))
        asked = Asked(
            query["provider"], query.get("model", ""), query.get("region", ""), when, slo, credits_, capability
        )
        routes = self._routes(asked)
        try:
            found = await self._chronicle.history.read(lambda db: report(db, asked, routes, clock.wall()))
        except HistoryUnavailableError as error:
            return problem(503, str(error))
        if query.get("format") == "html":
            answer = web.Response(text=html(found), content_type="text/html", charset="utf-8")
            answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
            return answer
        return json_answer({**msgspec.to_builtins(found), "table": rows(found), "parts": parts(found)})

    def _routes(self, asked: Asked) -> set[str]:
        """Return the aliases that use the provider's model now."""
        snapshot = self._node.snapshot
        own = {target.id for target in snapshot.targets}
        return {
            route.name
            for route in snapshot.told_routes
            if route.name not in own
            and any(
                snapshot.targets[member.target].provider == asked.provider
                and asked.model in ("", snapshot.targets[member.target].model)
                for member in route.members
            )
        }
