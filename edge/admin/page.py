"""The page at the admin address: static files, and a stream of what changes, once a second (server-sent events).

GET /             the page; it and its files hold nothing of the node, so they need no token
GET /page/NAME    its style and scripts
GET /api/stream   events: the first has every target, the later ones those that changed

The browser keeps the token for the tab only and sends it with each request; nothing is written into the page by the
server. Texts of providers, nodes and callers reach the page as JSON and are shown as text.
"""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.answers import problem
from edge.admin.incidents import short_view
from edge.native import Outcome, RouteCounter

if TYPE_CHECKING:
    from edge.balance.report import TargetReport
    from edge.control.node import Node

FILES: Final = {
    "page.css": "text/css",
    "app.js": "text/javascript",
    "net.js": "text/javascript",
    "draw.js": "text/javascript",
    "views.js": "text/javascript",
    "incidents.js": "text/javascript",
    "requests.js": "text/javascript",
}
MOST_STREAMS: Final = 32
PERIOD_S: Final = 1.0
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FAILED: Final = (RouteCounter.R_5XX, RouteCounter.R_BROKEN)
_ENDED: Final = (*_FAILED, RouteCounter.R_2XX, RouteCounter.R_3XX, RouteCounter.R_4XX, RouteCounter.R_CANCELLED)


class Page:
    """Request handlers of the page."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._streams = 0
        self._files: dict[str, bytes] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/", self._index),
            web.get("/page/{name}", self._file),
            web.get("/favicon.ico", self._no_icon),
            web.get("/api/stream", self._stream),
        ]

    async def _index(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._read("index.html"), content_type="text/html", charset="utf-8", headers=_HEADERS)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in FILES:
            return problem(404, f"the page has no file {name}")
        return web.Response(body=self._read(name), content_type=FILES[name], charset="utf-8", headers=_HEADERS)

    async def _no_icon(self, _request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Cache-Control": "max-age=86400"})

    def _read(self, name: str) -> bytes:
        if name not in self._files:
            self._files[name] = resources.files("edge.admin").joinpath("static", name).read_bytes()
        return self._files[name]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= MOST_STREAMS:
            return problem(503, f"{MOST_STREAMS} pages are open already; close one")
        self._streams += 1
        try:
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
            await answer.prepare(request)
            known: dict[str, list[Any]] = {}
            while True:
                await answer.write(b"data: " + msgspec.json.encode(self._event(known)) + b"\n\n")
                await asyncio.sleep(PERIOD_S)
        except (ConnectionError, asyncio.CancelledError):
            return web.Response()
        finally:
            self._streams -= 1

    def _event(self, known: dict[str, list[Any]]) -> dict[str, Any]:
        """Return what has changed since the last event of a stream; ``known`` is what that stream knows."""
        node, now_ns = self._node, clock.now_ns()
        state, snapshot = node.shared_state, node.snapshot
        own = {target.id: target for target in snapshot.targets}
        now = {
            name: _row(report, state.read_target(own[name].slot, now_ns)["counts"][Outcome.OK])
            for name, report in node.targets(now_ns).items()
            if name in own
        }
        changed = {name: row for name, row in now.items() if known.get(name) != row}
        gone = [name for name in known if name not in now]
        known.clear()
        known.update(now)
        chronicle = node.chronicle
        facts = node.state()
        return {
            "at": clock.wall(),
            "node": {
                "region": facts.region,
                "name": facts.node,
                "version": facts.version,
                "draining": facts.draining,
                "workers": facts.workers,
                "snapshot": facts.snapshot,
                "problems": facts.problems,
                "config": facts.config,
            },
            "targets": changed,
            "gone": gone,
            "routes": [self._route(route) for route in snapshot.routes if route.name not in own],
            "incidents": [] if chronicle is None else [short_view(each) for each in chronicle.book.open.values()],
            "pages": {}
            if chronicle is None
            else {name: [page.view.state, page.view.text] for name, page in chronicle.pages.pages.items()},
        }

    def _route(self, route: Any) -> dict[str, Any]:
        view = self._node.shared_state.read_route(route.slot)
        counts = view["counts"]
        targets = self._node.snapshot.targets
        return {
            "name": route.name,
            "kind": route.kind,
            "ended": sum(counts[each] for each in _ENDED),
            "failed": sum(counts[each] for each in _FAILED),
            "inflight": view["inflight"],
            "first": list(view["first_hist"]),
            "members": [[targets[member.target].id, member.tier] for member in route.members],
        }


def _row(report: TargetReport, answered: int) -> list[Any]:
    """Return a target as a short list, in the order that ``views.js`` reads."""
    until = None if report.until_s is None else round(report.until_s)
    return [
        report.state,
        report.severity,
        report.why,
        until,
        report.inflight,
        report.latency_ms["stream"],
        report.error_ratio,
        report.volume,
        answered,
    ]
