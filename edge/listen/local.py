"""Local replies of the HTTP API: the list of models, a single model, the liveness check, and the public status.

The list is rendered once per Snapshot, not per request. The rendering itself lives in edge.routing.table and is passed
in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from edge import clock
from edge.listen import public_status, reply
from edge.native import Operation, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.listen.reply import Fields
    from edge.native import Caller
    from edge.terms.public_status import PublicStatus
    from edge.terms.snapshot import Snapshot

_MODELS: Final = b"/v1/models"
_JSON: Final[Fields] = [(b"content-type", b"application/json")]
_HEALTH: Final = b"/healthz"
_STATUS_NS: Final = 1_000_000_000
_HEALTHY: Final = b'{"status":"ok"}'


class Local:
    """Answers local HTTP requests for one worker.

    Args:
        models: returns the JSON list of a Snapshot's models in the form of an API; with a predicate, only those that it
            accepts.
        model: returns the JSON of one model by name, in that form; None if there is none.
        status: returns what clients may know of outages; None: control has not written it.
    """

    def __init__(
        self,
        models: Callable[[Snapshot, Callable[[str], bool] | None, str], bytes],
        model: Callable[[Snapshot, str, str], bytes | None],
        status: Callable[[], PublicStatus | None] = lambda: None,
    ) -> None:
        self._models = models
        self._model = model
        self._status = status
        self._status_read_ns = 0
        self._status_known: PublicStatus | None = None
        self._list_of: Snapshot | None = None
        self._lists: dict[str, bytes] = {}

    def answer(
        self,
        operation: int,
        _method: bytes,
        path: bytes,
        snapshot: Snapshot,
        caller: Caller | None = None,
        dialect: str = "openai",
    ) -> Reply:
        """Return the reply; the connection omits the body of a response to HEAD.

        Args:
            operation: native.proxy.router.Operation of the path.
            _method: GET or HEAD, of a preflight OPTIONS; the data path has checked it.
            path: as sent, without the query.
            snapshot: the Snapshot of this exchange.
            caller: the owner of the key that was sent; the reply shows only what that key may use.
            dialect: the API of the client, whose form models are listed in.
        """
        if operation == Operation.OPERATION_HEALTH:
            return Reply(200, _JSON, _HEALTHY) if path == _HEALTH else self._status_at(path)
        if operation == Operation.OPERATION_PREFLIGHT:
            return Reply(204, [], b"")  # the data path adds what the page may do
        name = unquote_to_bytes(path[len(_MODELS) + 1 :])
        if not name:
            return Reply(200, _JSON, self._list_for(snapshot, caller, dialect))
        text = name.decode("utf-8", "replace")
        if caller is not None and not caller.allows(text):
            return reply.problem("model_not_allowed", text)
        one = self._model(snapshot, text, dialect)
        if one is None:
            return reply.problem("unknown_model", text)
        return Reply(200, _JSON, one)

    def _status_at(self, path: bytes) -> Reply:
        write = public_status.as_page if path.endswith(b".html") else public_status.as_json
        return write(self._current_status(), clock.wall())

    def _current_status(self) -> PublicStatus | None:
        """Return the status, read at most once a second, however many clients ask."""
        now_ns = clock.now_ns()
        if now_ns - self._status_read_ns > _STATUS_NS:
            self._status_read_ns, self._status_known = now_ns, self._status()
        return self._status_known

    def _list_for(self, snapshot: Snapshot, caller: Caller | None, dialect: str) -> bytes:
        if caller is not None and not caller.everything:
            return self._models(snapshot, caller.allows, dialect)
        if self._list_of is not snapshot:
            self._list_of, self._lists = snapshot, {}
        if dialect not in self._lists:
            self._lists[dialect] = self._models(snapshot, None, dialect)
        return self._lists[dialect]
