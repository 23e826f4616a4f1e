"""The history over the HTTP admin API.

GET /api/history?from=UNIX&to=UNIX&kind=&provider=&model=&region=&capability=    minutes as rows; ``next``: go on there
GET /api/actions?from=UNIX&to=UNIX                                   what operators did, oldest first
GET /api/pages                                                       what providers' status pages say now
GET /api/pages/history?from=UNIX&to=UNIX                             what they said, whenever that changed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.answers import json_answer, problem
from edge.incidents.database import Wanted
from edge.incidents.history import HistoryUnavailableError
from edge.incidents.minutes import MINUTE_S
from edge.incidents.records import page

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.control.chronicle import Chronicle
    from edge.incidents.database import Database
    from edge.incidents.page_watch import Page

DAY_S: Final = 86_400
MOST_ACTIONS: Final = 10_000
_DIGITS: Final = 12
_FILTERS: Final = ("kind", "provider", "model", "region", "capability")


class MomentError(ValueError):
    """A query's time cannot be used; the text says why."""


def span(request: web.Request, length_s: int = DAY_S) -> tuple[int, int]:
    """Return ``from`` and ``to`` of a query in Unix seconds; the last ``length_s`` where they are missing.

    Raises:
        MomentError: one of them is not a number, or they are in the wrong order.
    """
    found = []
    now = int(clock.wall())
    for name, default in (("from", max(now - length_s, 0)), ("to", now + MINUTE_S)):
        text = request.query.get(name, str(default))
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
            raise MomentError(f"{name} must be Unix seconds, such as {default}")
        found.append(int(text))
    if found[0] > found[1]:
        raise MomentError("from must not be later than to")
    return found[0], found[1]


def unknown(request: web.Request, *known: str) -> web.Response | None:
    """Return the refusal of a query with other parameters than these; None: it has none."""
    others = sorted(request.query.keys() - set(known))
    if others:
        return problem(400, f"{others[0]} is not a parameter here; there are {', '.join(sorted(known))}")
    return None


class Past:
    """Request handlers for the history."""

    def __init__(self, chronicle: Chronicle) -> None:
        self._history = chronicle.history
        self._pages = chronicle.pages

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/history", self._minutes),
            web.get("/api/actions", self._actions),
            web.get("/api/pages", self._now),
            web.get("/api/pages/history", self._said),
        ]

    async def _minutes(self, request: web.Request) -> web.Response:
        refused = unknown(request, "from", "to", *_FILTERS)
        if refused is not None:
            return refused
        try:
            start, end = span(request)
            filters = {name: request.query.get(name, "") for name in _FILTERS}
            wanted = Wanted(start // MINUTE_S, -(-end // MINUTE_S), **filters)
            found = await self._history.read(lambda db: page(db, wanted))
        except MomentError as error:
            return problem(400, str(error))
        except HistoryUnavailableError as error:
            return problem(503, str(error))
        later = found["next"]
        return json_answer({**found, "next": None if later is None else later * MINUTE_S})

    async def _now(self, _request: web.Request) -> web.Response:
        return json_answer([{"provider": name, **page_view(page)} for name, page in sorted(self._pages.pages.items())])

    async def _actions(self, request: web.Request) -> web.Response:
        return await self._read(request, lambda db, start, end: db.actions(start, end, MOST_ACTIONS))

    async def _said(self, request: web.Request) -> web.Response:
        return await self._read(request, lambda db, start, end: db.said(start, end, MOST_ACTIONS))

    async def _read(self, request: web.Request, query: Callable[[Database, int, int], object]) -> web.Response:
        refused = unknown(request, "from", "to")
        if refused is not None:
            return refused
        try:
            start, end = span(request)
            found = await self._history.read(lambda db: query(db, start, end))
        except MomentError as error:
            return problem(400, str(error))
        except HistoryUnavailableError as error:
            return problem(503, str(error))
        return json_answer(msgspec.to_builtins(found))


def page_view(page: Page) -> dict[str, Any]:
    """Return what a page says, and how old that is; its address without a query, which may hold a key."""
    return {
        "url": page.url.partition("?")[0],
        "state": page.view.state,
        "text": page.view.text,
        "since": page.view.since,
        "seen": page.seen,
        "error": page.error,
    }
