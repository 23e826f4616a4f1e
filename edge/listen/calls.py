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
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from edge.listen.grpc_status import Code
from edge.listen.reflection import METHOD, V1, V1ALPHA, Reflection, ReflectionError
from edge.wire.edge.v1 import inference_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.native import Caller
    from edge.terms.snapshot import Snapshot

PLAIN: Final = 0
CHAT: Final = 1
CHAT_STREAM: Final = 2
LOCAL: Final = 3
"""Response formats, as native/proxy/exchange.pxd numbers them."""

INFERENCE: Final = "edge.v1.Inference"
HEALTH: Final = "grpc.health.v1.Health"

Said = tuple[int, str, list[bytes]]


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

    def write(self, body: bytes, facts: Mapping[str, Any]) -> bytes:
        """Return the message for a complete response."""
        ...

    def writer(self, facts: Mapping[str, Any]) -> ChunkWriter:
        """Return a translator for one stream."""
        ...


class Calls:
    """edge's own gRPC methods, for one worker.

    Args:
        language: the translator between chat messages and JSON (edge.dialects.inference).
        models: returns the JSON list of a Snapshot's models, as ``GET /v1/models`` does; with a predicate, only those
            that it accepts.
        serving: whether this worker accepts new requests; reported through grpc.health.v1.
    """

    def __init__(
        self,
        language: Language,
        models: Callable[[Snapshot, Callable[[str], bool] | None], bytes],
        serving: Callable[[], bool] = lambda: True,
    ) -> None:
        self.read = language.read
        self.write = language.write
        self.writer = language.writer
        self._models = models
        self._serving = serving
        self._list_of: Snapshot | None = None
        self._list = b""
        self._reflection: Reflection | None = None
        self._watch = _path(HEALTH, "Watch")
        self._local: dict[bytes, Callable[[bytes, Snapshot, Caller | None], Said]] = {
            _path(INFERENCE, "ListModels"): self._list_models,
            _path(HEALTH, "Check"): self._check,
            self._watch: self._watched,
            _path(V1, METHOD): self._reflect,
            _path(V1ALPHA, METHOD): self._reflect,
        }
        self._formats = {
            _path(INFERENCE, "Chat"): CHAT,
            _path(INFERENCE, "ChatStream"): CHAT_STREAM,
            **dict.fromkeys(self._local, LOCAL),
        }

    def response_format(self, path: bytes) -> int:
        """Return how the method is answered: PLAIN, CHAT, CHAT_STREAM or LOCAL."""
        return self._formats.get(path, PLAIN)

    def stays(self, path: bytes) -> bool:
        """Return whether a call of this LOCAL method stays open after the client has half-closed."""
        return path == self._watch

    def answer(self, path: bytes, message: bytes, snapshot: Snapshot, caller: Caller | None = None) -> Said:
        """Return (code, text, messages) for one message of a LOCAL method; ``caller`` owns the key that was sent."""
        try:
            return self._local[path](message, snapshot, caller)
        except (DecodeError, ReflectionError):
            return Code.INVALID_ARGUMENT, "the message is not of the type that this method takes", []

    def _list_models(self, message: bytes, snapshot: Snapshot, caller: Caller | None) -> Said:
        inference_pb2.ListModelsRequest.FromString(message)
        if caller is not None and not caller.everything:
            return Code.OK, "", [_model_list(self._models(snapshot, caller.allows))]
        if self._list_of is not snapshot:
            self._list_of, self._list = snapshot, _model_list(self._models(snapshot, None))
        return Code.OK, "", [self._list]

    def _check(self, message: bytes, snapshot: Snapshot, _caller: Caller | None) -> Said:
        service = health_pb2.HealthCheckRequest.FromString(message).service
        if not self._knows(service, snapshot):
            return Code.NOT_FOUND, f"no service {service!r} here", []
        return Code.OK, "", [self._health()]

    def _watched(self, message: bytes, snapshot: Snapshot, _caller: Caller | None) -> Said:
        service = health_pb2.HealthCheckRequest.FromString(message).service
        if not self._knows(service, snapshot):
            # health.proto: the call stays open, because a later Snapshot may have the service.
            unknown = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            return Code.OK, "", [bytes(unknown.SerializeToString())]
        return Code.OK, "", [self._health()]

    def _health(self) -> bytes:
        """Return SERVING while edge accepts requests, whatever its upstreams do: it can still report their failures."""
        states = health_pb2.HealthCheckResponse
        status = states.SERVING if self._serving() else states.NOT_SERVING
        return bytes(states(status=status).SerializeToString())

    def _knows(self, service: str, snapshot: Snapshot) -> bool:
        if service in {"", INFERENCE, HEALTH, V1, V1ALPHA}:
            return True
        return any(match.grpc.partition("/")[0] == service for match in snapshot.services)

    def _reflect(self, message: bytes, _snapshot: Snapshot, _caller: Caller | None) -> Said:
        if self._reflection is None:  # built on demand: most workers never need it
            self._reflection = Reflection([inference_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR], [INFERENCE, HEALTH])
        return Code.OK, "", [self._reflection.answer(message)]


def _path(service: str, method: str) -> bytes:
    return f"/{service}/{method}".encode()


def _model_list(document: bytes) -> bytes:
    models = [
        inference_pb2.Model(id=entry["id"], owned_by=entry["owned_by"], created=entry["created"])
        for entry in msgspec.json.decode(document)["data"]
    ]
    return bytes(inference_pb2.ListModelsResponse(models=models).SerializeToString())
