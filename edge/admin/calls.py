"""The gRPC side of the admin API: edge.v1.Admin, with the views, steps and token of the HTTP API.

It runs on grpc.aio behind a Unix socket in the node's private folder; ``edge.admin.access_guard`` forwards HTTP/2
connections to that socket. The health service, which needs no token, and server reflection run beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge import clock
from edge.admin.reflect import reflection_calls
from edge.admin.views import targets_view
from edge.control.operations import NoSourceError, UnknownTargetError
from edge.control.reasons import OPERATOR, NoReasonError, operator_of
from edge.errors import ConfigInvalidError
from edge.telemetry import logs
from edge.version import VERSION
from edge.wire.edge.v1 import admin_pb2, admin_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from edge.control.node import Node
    from edge.control.operations import Operations
    from edge.control.reasons import Action

    Context = grpc.aio.ServicerContext[Any, Any]

ADMIN: Final = "edge.v1.Admin"
HEALTH: Final = "grpc.health.v1.Health"
POLL_S: Final = 1.0
MOST_WATCHES: Final = 64
"""Streams of each kind at once: each looks at the node once a second, and those of the health service need no token."""
_GRACE_S: Final = 0.5
# gRPC clients accept 8 KiB of trailers and cut the connection over 16 KiB; a bad configuration may have more problems.
LONGEST_MESSAGE: Final = 6000
_PLAIN: Final = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"
_STATE: Final = "TARGET_STATE_"
_CELLS: Final = (
    ("latency_ms", "stream", "first_token_ms"),
    ("latency_ms", "whole", "first_byte_ms"),
    ("penalty_ms", "stream", "first_token_penalty_ms"),
    ("penalty_ms", "whole", "first_byte_penalty_ms"),
)


class AdminCalls:
    """The gRPC server of the admin listener.

    Args:
        node: the node that the calls show and change.
        token: returns the bearer token that calls must carry; empty = none is needed.
    """

    def __init__(self, node: Node, token: Callable[[], bytes]) -> None:
        self._server = grpc.aio.server(interceptors=[_Guard(token)], options=[("grpc.so_reuseport", 0)])
        admin_pb2_grpc.add_AdminServicer_to_server(_Admin(node), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(_Health(node), self._server)
        files = [admin_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR]
        self._server.add_generic_rpc_handlers(reflection_calls(files, [ADMIN, HEALTH]))

    async def start(self, path: str) -> None:
        """Serve on a Unix socket at ``path``, which must be in a private folder.

        Raises:
            RuntimeError: the path cannot be bound.
        """
        Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - left by a killed control process; unlinking is quick
        self._server.add_insecure_port(f"unix:{path}")
        await self._server.start()

    async def stop(self) -> None:
        """Stop serving; calls in progress get ``_GRACE_S`` seconds."""
        await self._server.stop(_GRACE_S)


class _Guard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic for the type checker alone
    """Refuses calls without the token, except those of the health service."""

    def __init__(self, token: Callable[[], bytes]) -> None:
        self._token = token
        logging.getLogger("grpc._cython.cygrpc").addFilter(_worth_a_line)

        async def refuse(_message: object, context: Context) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "this needs the metadata authorization: Bearer TOKEN, with the token from admin.token",
            )

        self._refusal = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        token = self._token()
        given_fields: Iterable[tuple[str, str | bytes]] = handler_call_details.invocation_metadata or ()
        fields = dict(given_fields)
        OPERATOR.set(operator_of(str(fields.get("x-edge-operator", ""))))
        if token and not handler_call_details.method.startswith(f"/{HEALTH}/"):
            authorization = str(fields.get("authorization", ""))
            scheme, _, given = authorization.partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token):
                return self._refusal
        return await continuation(handler_call_details)


class _Watches:
    """The streams of one kind that are open."""

    def __init__(self) -> None:
        self._open = 0

    @contextlib.asynccontextmanager
    async def place(self, context: Context) -> AsyncIterator[None]:
        """Hold a place for one; refuse the call if there is none."""
        if self._open >= MOST_WATCHES:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_WATCHES} such streams are open already; close one"
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class _Admin(admin_pb2_grpc.AdminServicer):
    """The methods of protos/edge/v1/admin.proto, which documents each of them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._watches = _Watches()

    def _targets(self, only: Iterable[str]) -> list[admin_pb2.TargetStatus]:
        wanted = set(only)
        views = targets_view(self._node.targets(clock.now_ns()))
        return [_status(view) for view in views if not wanted or view["id"] in wanted]

    async def Status(self, request: admin_pb2.StatusRequest, _context: Context) -> admin_pb2.StatusResponse:  # noqa: N802
        snapshot = self._node.snapshot
        state = self._node.readiness(clock.now_ns())
        return admin_pb2.StatusResponse(
            node=snapshot.node,
            region=snapshot.region,
            version=VERSION,
            snapshot=snapshot.version,
            ready=state.ready,
            why_not_ready=state.why,
            workers=state.workers,
            workers_of=state.of,
            targets=self._targets(request.targets),
        )

    async def Drain(self, request: admin_pb2.DrainRequest, context: Context) -> admin_pb2.DrainResponse:  # noqa: N802
        return admin_pb2.DrainResponse(target=await self._steer(request.target, "drain", request.reason, context))

    async def Eject(self, request: admin_pb2.EjectRequest, context: Context) -> admin_pb2.EjectResponse:  # noqa: N802
        return admin_pb2.EjectResponse(target=await self._steer(request.target, "eject", request.reason, context))

    async def Restore(  # noqa: N802
        self, request: admin_pb2.RestoreRequest, context: Context
    ) -> admin_pb2.RestoreResponse:
        return admin_pb2.RestoreResponse(target=await self._steer(request.target, "restore", "", context))

    async def Reload(  # noqa: N802
        self, _request: admin_pb2.ReloadRequest, context: Context
    ) -> admin_pb2.ReloadResponse:
        operations = await self._operations(context)
        try:
            reloaded = operations.reload("edge.v1.Admin/Reload")
        except NoSourceError as error:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
        except ConfigInvalidError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _shortened(error.problems))
        return admin_pb2.ReloadResponse(snapshot=reloaded.version, changed=reloaded.changed)

    async def WatchVerdicts(  # noqa: N802
        self, request: admin_pb2.WatchVerdictsRequest, context: Context
    ) -> AsyncIterator[admin_pb2.Verdict]:
        known: dict[str, admin_pb2.TargetStatus] = {}
        async with self._watches.place(context):
            while True:
                for target in self._targets(request.targets):
                    before = known.get(target.id)
                    if before is None or (before.state, before.why) != (target.state, target.why):
                        known[target.id] = target
                        yield _verdict(before, target)
                await asyncio.sleep(POLL_S)

    async def _operations(self, context: Context) -> Operations:
        if self._node.operations is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this node cannot be changed while it runs")
            raise AssertionError  # abort always raises; mypy does not know
        return self._node.operations

    async def _steer(self, name: str, action: Action, reason: str, context: Context) -> admin_pb2.TargetStatus:
        operations = await self._operations(context)
        try:
            operations.steer(name, action, reason)
        except UnknownTargetError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except NoReasonError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        found = self._targets([name])
        if not found:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no route uses {name}")
        return found[0]


class _Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the package is untyped
    """The health service; SERVING means what 200 on /ready means: a load balancer may send requests here."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._watches = _Watches()

    def _now(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in ("", ADMIN):
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        ready = self._node.readiness(clock.now_ns()).ready
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=serving if ready else not_serving)

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        answer = self._now(request.service)
        if answer.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return answer

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        known = None
        async with self._watches.place(context):
            while True:
                answer = self._now(request.service)
                if answer.status != known:
                    known = answer.status
                    yield answer
                await asyncio.sleep(POLL_S)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Drop gRPC's log lines about undecodable metadata: they quote it, and it may be anybody's, tokens included."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        logs.say(logs.DEBUG, "the metadata of a gRPC call is not text")
        return False
    return True


def _shortened(problems: Sequence[str]) -> str:
    """Return as many whole problems as fit into a gRPC status message, and the number of those left out."""
    message = ""
    for number, problem in enumerate(problems):
        line = problem if number == 0 else f"\n{problem}"
        # A byte that is not plain ASCII takes three on the wire: gRPC percent-encodes it.
        if len(quote(message + line, safe=_PLAIN)) > LONGEST_MESSAGE:
            return f"{message}\nand {len(problems) - number} more".strip()
        message += line
    return message


def _verdict(before: admin_pb2.TargetStatus | None, target: admin_pb2.TargetStatus) -> admin_pb2.Verdict:
    """Return what has changed of a target; before: None at the beginning of a stream."""
    verdict = admin_pb2.Verdict(
        target=target.id, now=target.state, usable=target.usable, why=target.why, at=clock.wall()
    )
    if before is not None:
        verdict.was = before.state
    if target.HasField("until_s"):
        verdict.until_s = target.until_s
    return verdict


def _status(view: dict[str, Any]) -> admin_pb2.TargetStatus:
    """Return one entry of ``targets_view`` as a protobuf message."""
    plain = ("id", "usable", "why", "inflight", "volume", "error_ratio", "slow_ratio", "consecutive", "trips")
    target = admin_pb2.TargetStatus(
        state=_STATE + view["state"].upper(),
        routes=[
            admin_pb2.RouteStatus(**{**route, "state": _STATE + route["state"].upper()}) for route in view["routes"]
        ],
        attempts=view["attempts"],
        **{name: view[name] for name in plain},
    )
    if view["until_s"] is not None:
        target.until_s = view["until_s"]
    for numbers, cell, name in _CELLS:
        if view[numbers].get(cell) is not None:
            setattr(target, name, view[numbers][cell])
    return target
