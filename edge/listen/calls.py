"""gRPC methods that edge itself serves on the client port.

The data plane calls these methods synchronously, without a task:

    response_format(path)              how the method "/package.Service/Method" is answered. PLAIN: it is not edge's;
                                       CHAT, CHAT_STREAM: by a model; LOCAL: by this module
    read(message, stream)              CHAT and CHAT_STREAM: translates a ChatRequest into the JSON body for providers
    write(body, facts)                 CHAT: translates the provider's JSON into a ChatResponse
    writer(facts)                      CHAT_STREAM: returns an object whose ``push_events(data)`` translates events into
                                       ChatChunks
    answer(path, message, snapshot,    LOCAL: returns (code, text, response messages) for one request message; a code
           caller)                     other than 0 ends the call with that status
    stays(path)                        LOCAL: whether the call stays open after the client has half-closed. Otherwise
                                       each message is answered, and the call ends with OK when the client half-closes

``facts`` says where the response came from: target, region, attempts, request_id, and reason if the target was not the
first choice. A ValueError raised by ``read`` is the client's mistake (INVALID_ARGUMENT); one raised by ``write`` or by
the ChunkWriter is the provider's.

Protobuf is imported at the first call that needs it: most nodes never get one, and their workers start faster and stay
smaller without it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.listen.local_calls import LocalCalls, Said
    from edge.native import AnswerFacts, Caller
    from edge.terms.snapshot import Snapshot

PLAIN: Final = 0
CHAT: Final = 1
CHAT_STREAM: Final = 2
LOCAL: Final = 3
"""Response formats, as native/proxy/exchange.pxd numbers them."""

INFERENCE: Final = "edge.v1.Inference"
HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
REFLECTION_METHOD: Final = "ServerReflectionInfo"


class ChunkWriter(Protocol):
    """Translates one event stream."""

    def push_events(self, data: bytes) -> list[bytes]:
        """Return the messages that ``data``, a piece of an event stream, completes."""
        ...


class Language(Protocol):
    """The functions of edge.dialects.inference that this module needs; see there."""

    def read(self, message: bytes, stream: bool) -> bytes:
        """Return the JSON body of a request."""
        ...

    def write(self, body: bytes, facts: AnswerFacts) -> bytes:
        """Return the message for a complete response."""
        ...

    def writer(self, facts: AnswerFacts) -> ChunkWriter:
        """Return a translator for one stream."""
        ...


class Calls:
    """edge's own gRPC methods, for one worker.

    Args:
        language: returns the translator between chat messages and JSON (edge.dialects.inference); called at the first
            chat.
        models: returns the JSON list of a Snapshot's models, as ``GET /v1/models`` does; with a predicate, only those
            that it accepts.
        serving: whether this worker accepts new requests; reported through grpc.health.v1.
        usable: whether a target of a gRPC service behind edge, by its full name, is in rotation; reported likewise.
    """

    def __init__(
        self,
        language: Callable[[], Language],
        models: Callable[[Snapshot, Callable[[str], bool] | None], bytes],
        serving: Callable[[], bool] = lambda: True,
        usable: Callable[[Snapshot, str], bool] = lambda _snapshot, _service: True,
    ) -> None:
        self._usable = usable
        self._load_language = language
        self._models = models
        self._serving = serving
        self._watch = _path(HEALTH, "Watch")
        self._own = {
            _path(INFERENCE, "Chat"): CHAT,
            _path(INFERENCE, "ChatStream"): CHAT_STREAM,
            _path(INFERENCE, "ListModels"): LOCAL,
            _path(HEALTH, "Check"): LOCAL,
            self._watch: LOCAL,
            **{_path(version, REFLECTION_METHOD): LOCAL for version in REFLECTION},
        }
        self._formats = self._own

    def follow(self, snapshot: Snapshot) -> None:
        """Leave to a service of this Snapshot what it names by ``match.grpc``, such as reflection."""
        named = {match.grpc.partition("/")[0].encode() for match in snapshot.services if match.grpc}
        self._formats = {path: form for path, form in self._own.items() if path.split(b"/")[1] not in named}

    def response_format(self, path: bytes) -> int:
        """Return how the method is answered: PLAIN, CHAT, CHAT_STREAM or LOCAL."""
        return self._formats.get(path, PLAIN)

    def stays(self, path: bytes) -> bool:
        """Return whether a call of this LOCAL method stays open after the client has half-closed."""
        return path == self._watch

    def answer(self, path: bytes, message: bytes, snapshot: Snapshot, caller: Caller | None = None) -> Said:
        """Return (code, text, messages) for one message of a LOCAL method; ``caller`` owns the key that was sent."""
        return self._local.answer(path.rpartition(b"/")[2], message, snapshot, caller)

    def read(self, message: bytes, stream: bool) -> bytes:
        """Return the JSON body of a request."""
        return self._language.read(message, stream)

    def write(self, body: bytes, facts: AnswerFacts) -> bytes:
        """Return the message for a complete response."""
        return self._language.write(body, facts)

    def writer(self, facts: AnswerFacts) -> ChunkWriter:
        """Return a translator for one stream."""
        return self._language.writer(facts)

    @cached_property
    def _language(self) -> Language:
        return self._load_language()

    @cached_property
    def _local(self) -> LocalCalls:
        from edge.listen.local_calls import LocalCalls  # noqa: PLC0415  # protobuf

        return LocalCalls(self._models, self._serving, self._usable)


def _path(service: str, method: str) -> bytes:
    return f"/{service}/{method}".encode()
