"""How does an operator ask?  A few GETs on a listener apart from the clients', with a bearer token where one is set.

    /live            200: control answers
    /ready           200: a load balancer may send requests here; else 503 and why
    /metrics         Prometheus text
    /api/targets     every target: state, why, until when, numbers
    /api/snapshot    what the data path decides by, without secrets

``/live`` and ``/ready`` need no token: orchestrators ask them, and they tell nothing worth hiding.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.views import snapshot_view, targets_view
from edge.telemetry import logs, meters
from edge.version import VERSION

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from edge.control.node import Node

_OPEN: Final = frozenset({"/live", "/ready"})


class AdminServer:
    """The admin listener of one node.

    Args:
        node: what is shown.
        token: bearer token that requests must carry; "" = none is asked for.
    """

    def __init__(self, node: Node, token: str) -> None:
        self._node = node
        self._token = token.encode()
        self._runner: web.AppRunner | None = None

    async def start(self, sock: socket.socket) -> None:
        """Serve on a bound socket, which belongs to the server from now on."""

        @web.middleware
        async def guard(
            request: web.Request,
            handler: Callable[[web.Request], Awaitable[web.StreamResponse]],  # the name is aiohttp's
        ) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard])
        app.add_routes(
            [
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/metrics", self._metrics),
                web.get("/api/targets", self._targets),
                web.get("/api/snapshot", self._snapshot),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _guard(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._token and request.path not in _OPEN and not self._carries_token(request):
            return _problem(
                401, "this needs the header Authorization: Bearer TOKEN, with the token of admin.token", challenge=True
            )
        try:
            return await answer(request)
        except web.HTTPNotFound:
            return _problem(
                404, f"{request.path} is not here; there are /live /ready /metrics /api/targets /api/snapshot"
            )
        except web.HTTPMethodNotAllowed as refused:
            response = _problem(405, f"{request.method} is not possible here; only GET is")
            response.headers["Allow"] = refused.headers.get("Allow", "GET, HEAD")
            return response
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  # an operator's look must not end control
            logs.say_failure("an admin request failed", error, path=request.path)
            return _problem(500, "this failed inside edge; the log says why")

    def _carries_token(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

    async def _live(self, _request: web.Request) -> web.Response:
        return _json({"live": True, "version": VERSION})

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._node.readiness(clock.now_ns())
        return _json(msgspec.to_builtins(state), status=200 if state.ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        node = self._node
        text = meters.render(node.board, node.snapshot, node.facts(), now_ns=clock.now_ns(), wall_s=clock.wall())
        return web.Response(body=text.encode(), headers={"Content-Type": meters.CONTENT_TYPE})

    async def _targets(self, _request: web.Request) -> web.Response:
        return _json(targets_view(self._node.snapshot, self._node.targets(clock.now_ns())))

    async def _snapshot(self, _request: web.Request) -> web.Response:
        return _json(snapshot_view(self._node.snapshot))


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _problem(status: int, sentence: str, *, challenge: bool = False) -> web.Response:
    response = _json({"error": sentence}, status=status)
    if challenge:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
