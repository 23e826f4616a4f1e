"""The admin listener of a node: an HTTP API with its own address and, if configured, a bearer token.

    /                the page for a browser (edge.admin.page), and /api/stream: what it shows, as it changes
    /live            200: the control process responds
    /ready           200: a load balancer may send requests here; else 503 with the reason
    /metrics         Prometheus text; OpenMetrics where Accept asks for it
    /api/targets     every target: state, reason, time of the next change, numbers
    /api/ladder      on which rung of its ladder each model stands, and what is left below
    /api/choices     what affinity, prefer and hedge of each model have done, and saved
    /api/snapshot    the Snapshot that the data path uses, without secrets
    /api/metrics     the metrics as JSON
    /api/keys        usage and limits of each key and of each provider credential with limits
    /api/cluster/keys  the cluster's keys, without their hashes (edge.admin.shared_keys)
    /api/spend       what each node has spent of this month's budgets
    /api/traces      the last recorded requests (edge.admin.traces)
    /api/regions     every region as this node sees it, side by side
    /api/node        the node: versions, reloads, stored state, draining
    /api/history     traffic per minute, and /api/actions: what operators did (edge.admin.past)
    /api/pages       what providers' status pages say
    /api/report      a month's availability of a provider (edge.admin.report)
    /api/drills      results of drills that were sent to the node (edge.admin.drills)
    /api/incidents   outages with their timelines, and /api/alerts: who is told (edge.admin.incidents)

    POST /api/reload                                  reload the configuration; 422 with every problem
    POST /api/drain                                   take the node out of service, then stop it
    PUT  /api/targets/ID/weight                       {"weight": 2, "reason": "..."}; null: the one in the configuration
    PUT  /api/targets/ID/drain|eject|restore          {"reason": "..."}; take a target out of rotation, or put it back;
                                                      with ?all=1 in all regions
    DELETE /api/spend/REGION/NODE                     forget what a node has spent this month
    PUT|DELETE /api/cluster/keys/NAME                 make or revoke a key on all nodes; POST .../rotate replaces it

The same address serves gRPC: ``edge.v1.Admin``, health and reflection (edge.admin.calls).

``/live`` and ``/ready`` need no token: orchestrators poll them, and they reveal no secret. ``edge.admin.callers``
decides about all other requests.
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
from edge.admin.drills import Drills
from edge.admin.incidents import Incidents
from edge.admin.page import Page
from edge.admin.past import Past
from edge.admin.report import Reports
from edge.admin.shared_keys import KeySteps
from edge.admin.steps import Steps
from edge.admin.traces import Traces
from edge.admin.views import keys_view, metrics_view, regions_view, snapshot_view, targets_view
from edge.balance.choices import choices
from edge.balance.ladder import ladder
from edge.control.node_spending import node_spending
from edge.control.reasons import OPERATOR, operator_of
from edge.telemetry import exposition, logs
from edge.version import VERSION

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from edge.admin.calls import AdminCalls
    from edge.control.node import Node

_LONGEST_BODY: Final = 64 * 1024


def _admin_calls() -> type[AdminCalls]:
    from edge.admin.calls import AdminCalls  # noqa: PLC0415 - in a thread, at the first gRPC connection

    return AdminCalls


class AdminServer:
    """The admin listener of one node.

    Args:
        node: the node to show and change.
        token: bearer token that requests must carry; "" = none is needed.
        calls_path: path of the gRPC server's Unix socket, in a private folder; None = no gRPC.
    """

    def __init__(self, node: Node, token: str, calls_path: str | None = None) -> None:
        self._node = node
        self._token = token.encode()
        self._runner: web.AppRunner | None = None
        self._calls_path = calls_path
        self._calls: AdminCalls | None = None
        self._calls_begin = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._splicing: set[asyncio.Task[None]] = set()

    def ask_for(self, token: str) -> None:
        """Require another token from now on; "" = none."""
        self._token = token.encode()

    async def start(self, sock: socket.socket) -> None:
        """Serve on a bound socket, which the server then owns."""

        @web.middleware
        async def guard(
            request: web.Request,
            handler: Callable[[web.Request], Awaitable[web.StreamResponse]],  # aiohttp passes it by this name
        ) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=_LONGEST_BODY)
        app.add_routes(
            [
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/metrics", self._metrics),
                web.get("/api/targets", self._targets),
                web.get("/api/ladder", self._ladder),
                web.get("/api/choices", self._choices),
                web.get("/api/snapshot", self._snapshot),
                web.get("/api/metrics", self._numbers),
                web.get("/api/keys", self._keys),
                web.get("/api/spend", self._spend),
                web.get("/api/node", self._state),
                web.get("/api/regions", self._regions),
            ]
        )
        app.add_routes(Traces(self._node).routes())
        app.add_routes(Page(self._node).routes())
        if self._node.chronicle is not None:
            app.add_routes(Past(self._node.chronicle).routes())
            app.add_routes(Incidents(self._node.chronicle).routes())
            app.add_routes(Drills(self._node.chronicle).routes())
            app.add_routes(Reports(self._node, self._node.chronicle).routes())
        if self._node.operations is not None:
            app.add_routes(Steps(self._node, self._node.operations).routes())
            app.add_routes(KeySteps(self._node, self._node.operations).routes())
        http_log = logging.getLogger("edge.admin.http")
        http_log.addFilter(_worth_a_line)
        self._runner = web.AppRunner(app, access_log=None, logger=http_log, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        if self._calls_path is None:
            await web.SockSite(self._runner, sock).start()
            return
        http = cast("Callable[[], asyncio.Protocol]", self._runner.server)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: AccessGuard(http, self._serve_calls, self._splicing), sock=sock)

    async def _serve_calls(self) -> str:
        """Return the path of the gRPC server's socket. It starts with its first connection: gRPC takes about 10 MiB.

        Raises:
            OSError: the path cannot be bound.
        """
        path = cast("str", self._calls_path)
        async with self._calls_begin:
            if self._calls is None:
                calls = (await asyncio.to_thread(_admin_calls))(self._node, lambda: self._token)
                try:
                    await calls.start(path)
                except RuntimeError as error:
                    logs.say(logs.ERROR, "the admin listener cannot serve gRPC", path=path, why=str(error))
                    raise OSError(str(error)) from error
                self._calls = calls
        return path

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._server is not None:
            self._server.close()
        for task in self._splicing:
            task.cancel()
        if self._calls is not None:
            await self._calls.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _guard(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        refused = refusal(request, self._token)
        if refused is not None:
            return refused
        OPERATOR.set(operator_of(request.headers.get("X-Edge-Operator", "")))
        try:
            return await answer(request)
        except web.HTTPNotFound:
            return problem(
                404,
                f"there is no {request.path}; there are /live /ready /metrics /api/metrics /api/targets /api/snapshot "
                "/api/keys /api/spend /api/traces /api/regions /api/node /api/history /api/actions /api/incidents "
                "/api/pages /api/alerts /api/report /api/drills /api/ladder /api/choices /api/cluster/keys, "
                "POST /api/reload and /api/drain, and PUT /api/targets/ID/drain (or eject, or restore)",
            )
        except web.HTTPMethodNotAllowed as other:
            allowed = other.headers.get("Allow", "GET, HEAD")
            response = problem(405, f"{request.method} is not allowed here; only {allowed.partition(',')[0]} is")
            response.headers["Allow"] = allowed
            return response
        except web.RequestPayloadError:
            return problem(400, "the body cannot be decoded: it is not encoded as its headers say")
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  # one failed admin request must not end the control process
            logs.say_failure("an admin request failed", error, path=request.path)
            return problem(500, "internal error; the log has the cause")

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
        return json_answer(targets_view(self._node.targets(clock.now_ns())))

    async def _ladder(self, _request: web.Request) -> web.Response:
        node = self._node
        return json_answer(msgspec.to_builtins(ladder(node.shared_state, node.snapshot, node.targets(clock.now_ns()))))

    async def _choices(self, _request: web.Request) -> web.Response:
        return json_answer(msgspec.to_builtins(choices(self._node.shared_state, self._node.snapshot)))

    async def _regions(self, _request: web.Request) -> web.Response:
        return json_answer(regions_view(self._node))

    async def _state(self, _request: web.Request) -> web.Response:
        return json_answer(msgspec.to_builtins(self._node.state()))

    async def _keys(self, _request: web.Request) -> web.Response:
        now_ns = clock.now_ns()
        return json_answer(keys_view(self._node.keys(now_ns), self._node.credentials(now_ns)))

    async def _spend(self, _request: web.Request) -> web.Response:
        return json_answer({"nodes": msgspec.to_builtins(node_spending(self._node))})

    async def _snapshot(self, _request: web.Request) -> web.Response:
        return json_answer(snapshot_view(self._node.snapshot))


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Drop log lines about requests that are not valid HTTP: the errors quote the input, tokens included."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
        logs.say(logs.DEBUG, "a request to the admin listener is not valid HTTP", error=type(error).__name__)
        return False
    return True
