"""The keys of the cluster in the HTTP admin API: list, make, rotate and revoke them on all nodes.

Only hashes arrive here: who makes a key draws it and keeps it, and sends its SHA-256.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge.admin.answers import json_answer, problem
from edge.admission.key_documents import KeyDocumentError
from edge.control.checked_key import checked_key
from edge.control.shared_keys import KeyExistsError, UnknownKeyError
from edge.errors import ConfigInvalidError, EdgeError, StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.control.node import Node
    from edge.control.operations import Operations
    from edge.control.shared_keys import SharedKeys

    Step = Callable[[SharedKeys], Awaitable[dict[str, Any]]]

MOST_LISTED: Final = 10_000
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_UNSHARED: Final = (
    "this node has no keys of a cluster: write cluster.etcd, and peers.token, the secret that all nodes share; "
    "`edge keys new` makes a key for the file"
)
_STATUSES: Final[dict[type[EdgeError], int]] = {
    KeyExistsError: 409,
    KeyDocumentError: 409,
    UnknownKeyError: 404,
    StoreUnavailableError: 503,
    StoreRefusedError: 503,
}


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a rotation: the new key's SHA-256, and how many seconds the one before counts."""

    sha256: str
    overlap: float = 0.0


class KeySteps:
    """Request handlers for the cluster's keys."""

    def __init__(self, node: Node, operations: Operations) -> None:
        self._node = node
        self._operations = operations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/cluster/keys", self.list),
            web.put("/api/cluster/keys/{name}", self.create),
            web.post("/api/cluster/keys/{name}/rotate", self.rotate),
            web.delete("/api/cluster/keys/{name}", self.revoke),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer the keys whose names begin with ``prefix``, revoked ones too, and how many there are."""
        keys = self._node.shared_keys
        if keys is None or not keys.shared:
            return problem(409, _UNSHARED)
        number, shown = keys.listed(request.query.get("prefix", ""), MOST_LISTED)
        return json_answer({"number": number, "keys": shown, "state": msgspec.to_builtins(keys.state())})

    async def create(self, request: web.Request) -> web.Response:
        """Make a key of what a file would say of it, sha256 included; 409: there is one, 422: with every problem."""
        name = request.match_info["name"]

        async def made(keys: SharedKeys) -> dict[str, Any]:
            entry = msgspec.json.decode(await request.read(), type=dict[str, Any])
            return await keys.create(checked_key({**entry, "name": name}, self._operations.ledger.config))

        return await self._done("create key", name, made)

    async def rotate(self, request: web.Request) -> web.Response:
        """Replace a key's secret; 404: there is no such key."""
        name = request.match_info["name"]

        async def rotated(keys: SharedKeys) -> dict[str, Any]:
            asked = msgspec.json.decode(await request.read(), type=Rotation)
            if not _SHA256.fullmatch(asked.sha256) or not asked.overlap >= 0:
                raise ConfigInvalidError(["sha256 is 64 hex digits, and overlap a number of seconds from 0 on"])
            return await keys.rotate(name, asked.sha256.lower(), asked.overlap)

        return await self._done("rotate key", name, rotated)

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a key on all nodes; 404: there is no such key."""
        name = request.match_info["name"]
        return await self._done("revoke key", name, lambda keys: keys.revoke(name))

    async def _done(self, what: str, name: str, step: Step) -> web.Response:
        keys = self._node.shared_keys
        if keys is None or not keys.shared:
            return problem(409, _UNSHARED)
        try:
            shown = await step(keys)
        except ConfigInvalidError as error:
            return problem(422, "; ".join(error.problems), problems=error.problems)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return problem(400, f'the body must be JSON such as {{"sha256": "64 hex digits"}}: {error}')
        except EdgeError as error:
            if type(error) not in _STATUSES:
                raise
            return problem(_STATUSES[type(error)], f"nothing has changed: {error}")
        self._operations.acted(what, name, "")
        return json_answer(shown)
