"""The write operations of the HTTP admin API: reload, drain, take targets out or put them back, forget spending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.answers import json_answer, problem
from edge.admin.views import targets_view
from edge.control.node_spending import NodeAliveError, UnknownNodeError, forget
from edge.control.operations import NoSourceError, UnknownTargetError
from edge.control.overriding import give_way
from edge.control.reasons import NoReasonError
from edge.control.sharing_deps import NothingSharedError
from edge.control.weighing import BadWeightError, drop_weight, shared_weight, told_weight, weigh
from edge.errors import ConfigInvalidError, EdgeError, StoreRefusedError, StoreUnavailableError
from edge.regions.digest import EVERYWHERE

if TYPE_CHECKING:
    from edge.control.node import Node
    from edge.control.operations import Operations
    from edge.control.reasons import Action

# Workers apply a Snapshot within milliseconds; a worker that hangs must not hold up the response.
TAKEN_S: Final = 2.0


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT request."""

    reason: str = ""


class Weight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT request for a weight; null: the one in the configuration."""

    weight: float | None
    reason: str = ""


class BadScopeError(EdgeError):
    """An operation is asked for neither this node nor a region nor the cluster."""

    kind = "bad_scope"
    source = "client"


class Steps:
    """Request handlers for the write operations."""

    def __init__(self, node: Node, operations: Operations) -> None:
        self._node = node
        self._operations = operations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application. The slashes of a target id may be percent-encoded."""
        return [
            web.post("/api/reload", self.reload),
            web.post("/api/drain", self.drain),
            web.put("/api/targets/{id:.+}/{action:drain|eject|restore}", self.steer),
            web.put("/api/targets/{id:.+}/weight", self.weigh),
            web.delete("/api/spend/{node:.+}", self.forget),
        ]

    async def reload(self, _request: web.Request) -> web.Response:
        """Reload, then answer 200 once the workers use the Snapshot; 422 with every problem; 409 without a file."""
        try:
            done = self._operations.reload("request to the admin API")
        except NoSourceError as error:
            return problem(409, str(error))
        except ConfigInvalidError as error:
            return problem(422, "the configuration is refused; nothing has changed", problems=error.problems)
        workers = await self._node.applied(done.version, TAKEN_S)
        return json_answer({"version": done.version, "changed": done.changed, "workers": workers})

    async def drain(self, _request: web.Request) -> web.Response:
        """Start draining the node, or keep draining; answers 202."""
        self._operations.drain()
        return json_answer({"draining": True}, status=202)

    async def steer(self, request: web.Request) -> web.Response:
        """Drain, eject or restore a target and answer with its new status; 404: unknown target, 400: no reason."""
        action = cast("Action", request.match_info["action"])
        try:
            body = await request.read()
            reason = request.query.get("reason", "")
            if body or not (reason or action == "restore"):
                reason = msgspec.json.decode(body, type=Reason).reason or reason
            name = request.match_info["id"]
            region = self._region(request)
            if region is None:
                self._operations.steer(name, action, reason)
                if self._node.sharing is not None:
                    self._node.sharing.by_hand.restored(name)  # an operator has decided since
            else:
                await self._shared(name, action, reason, region)
        except tuple(_REFUSALS) as error:
            return _refused(error)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return problem(400, f'the body must be JSON such as {{"reason": "why, for later readers"}}: {error}')
        shown: list[dict[str, Any]] = targets_view(self._node.targets(clock.now_ns()))
        return json_answer(next(target for target in shown if target["id"] == name))

    async def weigh(self, request: web.Request) -> web.Response:
        """Set a target's weight and answer with its new status; 404: unknown target, 400: no reason, or no weight."""
        name = request.match_info["id"]
        try:
            body = msgspec.json.decode(await request.read(), type=Weight)
            region = self._region(request)
            if region is None:
                weigh(self._operations, name, body.weight, body.reason)
            else:
                await self._weigh_shared(name, body, region)
        except tuple(_REFUSALS) as error:
            return _refused(error)
        except ConfigInvalidError as error:
            return problem(409, "nothing has changed", problems=error.problems)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return problem(400, f'the body must be JSON such as {{"weight": 2, "reason": "why"}}: {error}')
        await self._node.applied(self._node.snapshot.version, TAKEN_S)
        shown: list[dict[str, Any]] = targets_view(self._node.targets(clock.now_ns()))
        return json_answer(next(target for target in shown if target["id"] == name))

    async def forget(self, request: web.Request) -> web.Response:
        """Forget what a node has spent this month; 404: unknown node, 409: another node that is alive."""
        try:
            forgotten = await forget(self._node, request.match_info["node"])
        except UnknownNodeError as error:
            return problem(404, str(error))
        except NodeAliveError as error:
            return problem(409, str(error))
        except (StoreUnavailableError, StoreRefusedError) as error:
            return problem(503, f"the other nodes cannot be reached now, and nothing has changed: {error}")
        self._operations.acted("forget", request.match_info["node"], "")
        return json_answer({"forgotten": msgspec.to_builtins(forgotten)})

    def _region(self, request: web.Request) -> str | None:
        """Return the region that an operation is for, ``EVERYWHERE`` for all; None: for this node alone.

        Raises:
            BadScopeError: the request asks for something else.
        """
        scope = request.query.get("scope", "cluster" if request.query.get("all") == "1" else "node")
        scopes = {"node": None, "region": self._node.snapshot.region, "cluster": EVERYWHERE}
        if scope not in scopes:
            raise BadScopeError(f"there is no scope {scope[:32]!r}; write node, region or cluster")
        return scopes[scope]

    async def _shared(self, name: str, action: Action, reason: str, region: str) -> None:
        """Publish the operation; this node applies it at once, the others when they see it.

        What was done on this node itself gives way to it; on other nodes theirs stays.
        """
        override = self._operations.checked_override(name, action, reason)
        sharing = self._node.sharing
        if sharing is None:
            raise NothingSharedError("this node shares nothing with others")
        sharing.by_hand.restored(name)
        with self._operations.for_many.acting(action, name):
            await sharing.by_hand.override(name, override, region)
        self._operations.acted(action, name, reason)
        before = self._operations.ledger.by_hand.get(name)
        if before is not None and not before.by:
            give_way(self._operations, name)

    async def _weigh_shared(self, name: str, body: Weight, region: str) -> None:
        """Publish a weight. A weight of this node itself gives way to it; on other nodes theirs stay."""
        weight = shared_weight(self._operations, name, body.weight, body.reason)
        sharing = self._node.sharing
        if sharing is None:
            raise NothingSharedError("this node shares nothing with others")
        with self._operations.for_many.acting("weight", name):
            await sharing.by_hand.weigh(name, weight, region)
        self._operations.acted("weight", name, told_weight(body.weight, body.reason))
        before = self._operations.ledger.weights.get(name)
        if before is not None and not before.by:
            drop_weight(self._operations, name)


_REFUSALS: Final[dict[type[Exception], int]] = {
    NothingSharedError: 409,
    StoreUnavailableError: 503,
    StoreRefusedError: 503,
    UnknownTargetError: 404,
    NoReasonError: 400,
    BadWeightError: 400,
    BadScopeError: 400,
}
"""Why an operation on a target is refused, with the status of the answer."""


def _refused(error: Exception) -> web.Response:
    status = next(number for kind, number in _REFUSALS.items() if isinstance(error, kind))
    return problem(status, _unreachable(error) if status == 503 else str(error))  # noqa: PLR2004  # Unavailable


def _unreachable(error: Exception) -> str:
    return (
        "the other nodes cannot be reached now, and nothing has changed here; if the store took the change without "
        "confirming it, edge status shows it. Without --cluster and --region (scope=node) it applies here only: "
        f"{error}"
    )
