"""What may an operator do over HTTP?  Reload, drain the node, take a target out by hand. Each is one step, answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.answers import json_answer, problem
from edge.admin.views import targets_view
from edge.control.operations import NoReasonError, NoSourceError, UnknownTargetError
from edge.control.sharing_deps import NothingSharedError
from edge.errors import ConfigInvalidError, StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from edge.control.node import Node
    from edge.control.operations import Action, Operations

# A worker takes a Snapshot in milliseconds; one that stands still is not waited for.
TAKEN_S: Final = 2.0


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT."""

    reason: str = ""


class Steps:
    """The writing half of the admin API."""

    def __init__(self, node: Node, operations: Operations) -> None:
        self._node = node
        self._operations = operations

    def routes(self) -> list[web.RouteDef]:
        """Return what to add to the application. A target's id may have its slashes encoded or not."""
        return [
            web.post("/api/reload", self.reload),
            web.post("/api/drain", self.drain),
            web.put("/api/targets/{id:.+}/{action:drain|eject|restore}", self.steer),
        ]

    async def reload(self, _request: web.Request) -> web.Response:
        """Answer when the workers decide by it: 200; 422 with every problem; 409 when there is no file."""
        try:
            done = self._operations.reload("asked at the admin address")
        except NoSourceError as error:
            return problem(409, str(error))
        except ConfigInvalidError as error:
            return problem(422, "the configuration is refused; nothing has changed", problems=error.problems)
        workers = await self._node.taken(done.version, TAKEN_S)
        return json_answer({"version": done.version, "changed": done.changed, "workers": workers})

    async def drain(self, _request: web.Request) -> web.Response:
        """Answer 202: it has begun, or had."""
        self._operations.drain()
        return json_answer({"draining": True}, status=202)

    async def steer(self, request: web.Request) -> web.Response:
        """Answer with the target as it is then; 404 when there is none, 400 without a reason."""
        action = cast("Action", request.match_info["action"])
        try:
            body = await request.read()
            reason = request.query.get("reason", "")
            if body or not (reason or action == "restore"):
                reason = msgspec.json.decode(body, type=Reason).reason or reason
            name = request.match_info["id"]
            if request.query.get("all") == "1":
                await self._everywhere(name, action, reason)
            else:
                self._operations.steer(name, action, reason)
        except NothingSharedError as error:
            return problem(409, str(error))
        except (StoreUnavailableError, StoreRefusedError) as error:
            sentence = (
                "the others cannot be told now, and nothing has changed here; should the store have taken it without "
                f"saying so, edge status shows it. Leave out --all (all=1) to do it here alone: {error}"
            )
            return problem(503, sentence)
        except UnknownTargetError as error:
            return problem(404, str(error))
        except NoReasonError as error:
            return problem(400, str(error))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return problem(400, f'the body is JSON such as {{"reason": "why, for whoever looks later"}}: {error}')
        shown: list[dict[str, Any]] = targets_view(self._node.snapshot, self._node.targets(clock.now_ns()))
        return json_answer(next(each for each in shown if each["id"] == name))

    async def _everywhere(self, name: str, action: Action, reason: str) -> None:
        """Tell every region; each does it as soon as it hears, this node at once."""
        hand = self._operations.checked_override(name, action, reason)
        sharing = self._node.sharing
        if sharing is None:
            raise NothingSharedError("this node shares nothing with others")
        await sharing.hand(name, hand)
