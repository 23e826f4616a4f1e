"""Results of drills over the HTTP admin API.

GET  /api/drills      the last results that were sent, newest first
POST /api/drills      keep a result (`edge drill run NAME --send`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web
from msgspec import structs

from edge import clock
from edge.admin.answers import json_answer, problem
from edge.admin.past import unknown
from edge.control.reasons import OPERATOR
from edge.incidents.history import Entry, HistoryUnavailableError
from edge.incidents.rehearsed import decode

if TYPE_CHECKING:
    from edge.control.chronicle import Chronicle

MOST: Final = 50


class Drills:
    """Request handlers of ``/api/drills``."""

    def __init__(self, chronicle: Chronicle) -> None:
        self._history = chronicle.history

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/api/drills", self._list), web.post("/api/drills", self._keep)]

    async def _list(self, request: web.Request) -> web.Response:
        refused = unknown(request)
        if refused is not None:
            return refused
        try:
            found = await self._history.read(lambda db: db.rehearsed(MOST))
        except HistoryUnavailableError as error:
            return problem(503, str(error))
        return json_answer(msgspec.to_builtins(found))

    async def _keep(self, request: web.Request) -> web.Response:
        try:
            found = decode(await request.read())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return problem(400, f"the body must be a result of `edge drill run NAME --send`: {error}")
        kept = structs.replace(found, at=clock.wall(), by=OPERATOR.get())
        self._history.keep([Entry(rehearsed=kept)])
        self._history.flush()
        return json_answer({"kept": kept.drill})
