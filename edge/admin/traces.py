"""Recorded requests over the HTTP admin API, as a list or one by its id.

GET /api/traces?last=50&wrong=1&route=NAME    the last records, newest first; wrong=1: only those that went wrong
GET /api/traces/ID                            one record, by request id (x-edge-request-id) or trace id
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from edge.admin.answers import json_answer, problem
from edge.admin.views import trace_view

if TYPE_CHECKING:
    from edge.control.node import Node

LAST: Final = 50
MOST: Final = 1000
_DIGITS: Final = 20  # longest number that is parsed; int() raises on thousands of digits
_KNOWN: Final = frozenset({"last", "wrong", "route"})


class Traces:
    """Request handlers below ``/api/traces``."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/api/traces", self._list), web.get("/api/traces/{id}", self._one)]

    async def _list(self, request: web.Request) -> web.Response:
        unknown = sorted(request.query.keys() - _KNOWN)
        if unknown:
            return problem(400, f"{unknown[0]} is not a parameter here; there are {', '.join(sorted(_KNOWN))}")
        last = request.query.get("last", str(LAST))
        if not last.isdecimal() or len(last) > _DIGITS or not 1 <= int(last) <= MOST:
            return problem(400, f"last must be a number from 1 to {MOST}")
        wrong = request.query.get("wrong", "0")
        if wrong not in ("0", "1"):
            return problem(400, "wrong must be 0 or 1")
        records = self._node.recent_traces.last(int(last), wrong=wrong == "1", route=request.query.get("route", ""))
        return json_answer([trace_view(record) for record in records])

    async def _one(self, request: web.Request) -> web.Response:
        record = self._node.recent_traces.find(request.match_info["id"])
        if record is None:
            return problem(
                404,
                "there is no record of such a request: a node records only sampled, failed, slow and retried requests "
                "that it answered itself, and keeps the last of them; telemetry.sample: 100% records all",
            )
        return json_answer(trace_view(record))
