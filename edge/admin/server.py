"""How does an operator ask and steer?  On a listener apart from the clients', with a bearer token where one is set.

    /live            200: control answers
    /ready           200: a load balancer may send requests here; else 503 and why
    /metrics         Prometheus text; OpenMetrics where Accept asks for it
    /api/targets     every target: state, why, until when, numbers
    /api/snapshot    what the data path decides by, without secrets
    /api/metrics     the same numbers as JSON
    /api/keys        what each key, and each provider with limits, has used and may still
    /api/traces      the last recorded requests (edge.admin.traces)
    /api/regions     every region as this node sees it, side by side
    /api/node        the node: versions, reloads, what is on disk, whether it drains

    POST /api/reload                                  read the configuration again; 422 with every problem
    POST /api/drain                                   take the node out of service, then end it
    PUT  /api/targets/ID/drain|eject|restore          {"reason": "..."}; take a target out by hand, or give it back;
                                                      with ?all=1 in all regions

gRPC comes in on the same address: ``edge.v1.Admin``, health and reflection (edge.admin.calls).

``/live`` and ``/ready`` need no token: orchestrators ask them, and they tell nothing worth hiding. Who else may ask is
decided in ``edge.admin.callers``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edge import clock
from edge.admin.access_guard import AccessGuard
from edge.admin.answers import json_answer, problem
from edge.admin.callers import refusal
from edge.admin.calls import AdminCalls
from edge.admin.steps import Steps
from edge.admin.traces import Traces
from edge.admin.views import keys_view, metrics_view, regions_view, snapshot_view, targets_view
from edge.telemetry import exposition, logs
from edge.version import VERSION

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from edge.control.node import Node

_LONGEST_BODY: Final = 64 * 1024


class AdminServer:
    """The admin listener of one node.

    Args:
        node: what is shown.
        token: bearer token that requests must carry; "" = none is asked for.
        calls_path: where the gRPC side listens, in a private folder; None = there is none.
    """

    def __init__(self, node: Node, token: str, calls_path: str | None = None) -> None:
        self._node = node
        self._token = token.encode()
        self._runner: web.AppRunner | None = None
        self._calls_path = calls_path
        self._calls: AdminCalls | None = None
        self._server: asyncio.Server | None = None
        self._leading: set[asyncio.Task[None]] = set()

    def ask_for(self, token: str) -> None:
        """Ask for another token from now on; "" = for none."""
        self._token = token.encode()

    async def start(self, sock: socket.socket) -> None:
        """Serve on a bound socket, which belongs to the server from now on."""

        @web.middleware
        async def guard(
            request: web.Request,
            handler: Callable[[web.Request], Awaitable[web.StreamResponse]],  # the name is aiohttp's
        ) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=_LONGEST_BODY)
        app.add_routes(
            [
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/metrics", self._metrics),
                web.get("/api/targets", self._targets),
                web.get("/api/snapshot", self._snapshot),
                web.get("/api/metrics", self._numbers),
                web.get("/api/keys", self._keys),
                web.get("/api/node", self._state),
                web.get("/api/regions", self._regions),
            ]
        )
        app.add_routes(Traces(self._node).routes())
        if self._node.operations is not None:
            app.add_routes(Steps(self._node, self._node.operations).routes())
        heard = logging.getLogger("edge.admin.http")
        heard.addFilter(_worth_a_line)
        self._runner = web.AppRunner(app, access_log=None, logger=heard, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        if self._calls_path is None:
            await web.SockSite(self._runner, sock).start()
            return
        path = self._calls_path
        self._calls = AdminCalls(self._node, lambda: self._token)
        await self._calls.start(path)
        http = cast("Callable[[], asyncio.Protocol]", self._runner.server)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: AccessGuard(http, path, self._leading), sock=sock)

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._server is not None:
            self._server.close()
        if self._calls is not None:
            await self._calls.stop()
        for task in self._leading:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _guard(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        refused = refusal(request, self._token)
        if refused is not None:
            return refused
        try:
            return await answer(request)
        except web.HTTPNotFound:
            return problem(
                404,
                f"{request.path} is not here; there are /live /ready /metrics /api/metrics /api/targets /api/snapshot "
                "/api/keys /api/traces /api/regions /api/node, "
                "POST /api/reload and /api/drain, and PUT /api/targets/ID/drain (or eject, or restore)",
            )
        except web.HTTPMethodNotAllowed as other:
            allowed = other.headers.get("Allow", "GET, HEAD")
            response = problem(405, f"{request.method} is not possible here; only {allowed.partition(',')[0]} is")
            response.headers["Allow"] = allowed
            return response
        except web.RequestPayloadError:
            return problem(400, "the body cannot be read: it is not encoded as its headers say")
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  # an operator's look must not end control
            logs.say_failure("an admin request failed", error, path=request.path)
            return problem(500, "this failed inside edge; the log says why")

    async def _live(self, _request: web.Request) -> web.Response:
        return json_answer({"live": True, "version": VERSION})

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._node.readiness(clock.now_ns())
        return json_answer(msgspec.to_builtins(state), status=200 if state.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        form = exposition.form_of(request.headers.get("Accept", ""))
        reading = self._node.read()
        if form == exposition.OPENMETRICS:
            text = exposition.openmetrics(reading, self._node.exemplars)
        else:
            text = exposition.prometheus(reading)
        return web.Response(body=text.encode(), headers={"Content-Type": form, "Vary": "Accept"})

    async def _numbers(self, _request: web.Request) -> web.Response:
        return json_answer(metrics_view(self._node.read()))

    async def _targets(self, _request: web.Request) -> web.Response:
        return json_answer(targets_view(self._node.snapshot, self._node.targets(clock.now_ns())))

    async def _regions(self, _request: web.Request) -> web.Response:
        return json_answer(regions_view(self._node))

    async def _state(self, _request: web.Request) -> web.Response:
        return json_answer(msgspec.to_builtins(self._node.state()))

    async def _keys(self, _request: web.Request) -> web.Response:
        now_ns = clock.now_ns()
        return json_answer(keys_view(self._node.keys(now_ns), self._node.credentials(now_ns)))

    async def _snapshot(self, _request: web.Request) -> web.Response:
        return json_answer(snapshot_view(self._node.snapshot))


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Keep what cannot be read as HTTP out of the log: anyone may send it, and the error quotes it, tokens included."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
        logs.say(logs.DEBUG, "a request to the admin address could not be read", error=type(error).__name__)
        return False
    return True
