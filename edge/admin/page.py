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
from edge.balance.ladder import ladder
from edge.incidents.elsewhere import joined
from edge.native import Outcome, RouteCounter
from edge.terms.rungs import SAYS
from edge.terms.target_state import BY_LABEL

if TYPE_CHECKING:
    from edge.balance.report import TargetReport
    from edge.control.chronicle import Chronicle
    from edge.control.node import Node
    from edge.incidents.incident import Incident
    from edge.regions.view import TargetPicture

FILES: Final = {
    "page.css": "text/css",
    "app.js": "text/javascript",
    "net.js": "text/javascript",
    "draw.js": "text/javascript",
    "views.js": "text/javascript",
    "map.js": "text/javascript",
    "drills.js": "text/javascript",
    "incidents.js": "text/javascript",
    "playbook.js": "text/javascript",
    "requests.js": "text/javascript",
}
MOST_STREAMS: Final = 32
PERIOD_S: Final = 1.0
STALLED_S: Final = 30.0
"""How long a page may read nothing, before its place is for another: a laptop that sleeps closes no connection."""
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FAILED: Final = (RouteCounter.R_5XX, RouteCounter.R_BROKEN)
_ENDED: Final = (*_FAILED, RouteCounter.R_2XX, RouteCounter.R_3XX, RouteCounter.R_4XX, RouteCounter.R_CANCELLED)


class Known(msgspec.Struct):
    """What one stream has told: targets, and targets of other regions by region."""

    targets: dict[str, list[Any]]
    regions: dict[str, dict[str, list[Any]]]


class Page:
    """Request handlers of the page."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._streams = 0
        self._files: dict[str, bytes] = {}
        self._pictures: object = None  # whose cells these are: what all streams show is made once
        self._cells: dict[str, dict[str, list[Any]]] = {}

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
            known = Known({}, {})
            while True:
                async with asyncio.timeout(STALLED_S):
                    await answer.write(b"data: " + msgspec.json.encode(self._event(known)) + b"\n\n")
                await asyncio.sleep(PERIOD_S)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # what it has not read would have to be sent before a close
            return answer
        except (ConnectionError, asyncio.CancelledError):
            return web.Response()
        finally:
            self._streams -= 1

    def _event(self, known: Known) -> dict[str, Any]:
        """Return what has changed since the last event of a stream; ``known`` is what that stream knows."""
        node, now_ns = self._node, clock.now_ns()
        state, snapshot = node.shared_state, node.snapshot
        own = {target.id: target for target in snapshot.targets}
        reports = node.targets(now_ns)
        rungs = {each.model: SAYS[each.rung] for each in ladder(state, snapshot, reports)}
        now = {
            name: _row(report, state.read_target(own[name].slot, now_ns)["counts"][Outcome.OK])
            for name, report in reports.items()
            if name in own
        }
        changed, gone = _difference(known.targets, now)
        known.targets = now
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
            "regions": self._regions(known),
            "routes": [
                {**self._route(route), "rung": rungs.get(route.name, "")}
                for route in snapshot.told_routes
                if route.name not in own
            ],
            "incidents": [] if chronicle is None else [short_view(each) for each in _open(chronicle)],
            "pages": {}
            if chronicle is None
            else {name: [page.view.state, page.view.text] for name, page in chronicle.pages.pages.items()},
        }

    def _regions(self, known: Known) -> dict[str, Any]:
        """Return every region with the targets that have changed there; those of this node's own are its targets."""
        own, sharing = self._node.snapshot.region, self._node.sharing
        pictures = {} if sharing is None else sharing.pictures
        if pictures is not self._pictures:
            self._pictures = pictures
            self._cells = {
                name: {} if name == own else {target: _cell(seen) for target, seen in picture.targets.items()}
                for name, picture in pictures.items()
            }
        found = {}
        before, known.regions = known.regions, {}
        for name, picture in pictures.items():
            cells = self._cells[name]
            changed, gone = _difference(before.get(name, {}), cells)
            known.regions[name] = cells
            found[name] = {
                "own": name == own,
                "fresh": picture.fresh,
                "suspect": picture.suspect,
                "nodes": picture.nodes,
                "fresh_nodes": picture.fresh_nodes,
                "load": picture.load,
                "age": round(picture.age_s),
                "targets": changed,
                "gone": gone,
            }
        return found

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
            "answered": list(view["answered"][: len(route.members)]),
        }


def _open(chronicle: Chronicle) -> list[Incident]:
    """Return what is open here, and in other regions what is not the same outage."""
    return joined([*chronicle.book.open.values(), *chronicle.hearsay.open(clock.wall())])


def _difference(before: dict[str, list[Any]], now: dict[str, list[Any]]) -> tuple[dict[str, list[Any]], list[str]]:
    """Return what is new or has changed, and the names that are gone."""
    changed = {name: row for name, row in now.items() if before.get(name) != row}
    return changed, [name for name in before if name not in now]


def _cell(seen: TargetPicture) -> list[Any]:
    """Return a target as another region sees it, in the order that ``map.js`` reads; numbers only of one in trouble."""
    state = BY_LABEL.get(seen.state)
    severity = "limited" if state is None else state.severity  # a label that only a later version knows
    if severity == "ok" and seen.bad:
        severity = "failing"
    numbers = [0.0, 0, 0] if severity == "ok" else [round(seen.error_ratio, 2), seen.p95_ms, seen.rate_limited_ms]
    return [seen.state, severity, *numbers]


def _row(report: TargetReport, answered: int) -> list[Any]:
    """Return a target as a short list, in the order that ``views.js`` reads.

    A capability that does not work stands beside the state: "usable, no vision".
    """
    until = None if report.until_s is None else round(report.until_s)
    lacks = [part for part in report.capabilities if part.severity == "failing"]
    return [
        ", no ".join([report.state, *(part.name for part in lacks)]),
        "limited" if lacks and report.severity == "ok" else report.severity,
        "; ".join(filter(None, [report.why, *(part.why for part in lacks)])),
        until,
        report.inflight,
        report.latency_ms["stream"],
        report.error_ratio,
        report.volume,
        answered,
    ]
