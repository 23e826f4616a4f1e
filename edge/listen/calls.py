"""Which gRPC methods are edge's own on the client port, and what does it answer to them?

The data plane asks, all of it synchronously and without a task:

    response_format(path)                        how the method is answered, by its full path "/package.Service/Method":
                                       PLAIN: it is not edge's; CHAT, CHAT_STREAM: by a model; LOCAL: here
    read(message, stream)              CHAT and CHAT_STREAM: one ChatRequest -> the JSON body that providers know
    write(body, facts)                 CHAT: the provider's JSON -> one ChatResponse
    writer(facts)                      CHAT_STREAM: an object whose ``push_events(data)`` makes ChatChunks of events
    answer(path, message, snapshot,    LOCAL: one request message -> (code, text, response messages); a code that is not
           caller)                     0 ends the call with that status
    stays(path)                        LOCAL: whether the call stays open when the client has said all; until then each
                                       message has its answer, and the call ends with OK when the client is done

``facts`` tell who answered: target, region, attempts, request_id, and reason where it was not the first choice.
A ValueError of read is the caller's mistake (INVALID_ARGUMENT), of the others the provider's.
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
"""Voices, as native/proxy/exchange.pxd has them."""

INFERENCE: Final = "edge.v1.Inference"
HEALTH: Final = "grpc.health.v1.Health"

Said = tuple[int, str, list[bytes]]


class ChunkWriter(Protocol):
    """Tells one stream."""

    def push_events(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes of an event stream complete."""
        ...


class Language(Protocol):
    """What this room needs of edge.dialects.inference."""

    def read(self, message: bytes, stream: bool) -> bytes:
        """Return the JSON body of a request."""
        ...

    def write(self, body: bytes, facts: Mapping[str, Any]) -> bytes:
        """Return the message of a whole answer."""
        ...

    def writer(self, facts: Mapping[str, Any]) -> ChunkWriter:
        """Return what tells a stream."""
        ...


class Calls:
    """edge's own methods for one worker.

    Args:
        language: how chat is told (edge.dialects.inference).
        models: the JSON list of a Snapshot's models, as ``GET /v1/models`` has it; of those that a predicate allows.
        serving: whether this worker takes new requests; grpc.health.v1 says so.
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
        self._voices = {
            _path(INFERENCE, "Chat"): CHAT,
            _path(INFERENCE, "ChatStream"): CHAT_STREAM,
            **dict.fromkeys(self._local, LOCAL),
        }

    def response_format(self, path: bytes) -> int:
        """Return how this method is answered."""
        return self._voices.get(path, PLAIN)

    def stays(self, path: bytes) -> bool:
        """Return whether a call of this LOCAL method goes on when the client has said all."""
        return path == self._watch

    def answer(self, path: bytes, message: bytes, snapshot: Snapshot, caller: Caller | None = None) -> Said:
        """Return (code, text, messages) for one message of a LOCAL method; ``caller`` is whose key it came with."""
        try:
            return self._local[path](message, snapshot, caller)
        except (DecodeError, ReflectionError):
            return Code.INVALID_ARGUMENT, "the message is not the one that this method takes", []

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
            # The call stays open (health.proto): the service may come with another Snapshot.
            unknown = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            return Code.OK, "", [bytes(unknown.SerializeToString())]
        return Code.OK, "", [self._health()]

    def _health(self) -> bytes:
        """Edge is well while it takes requests, be its upstreams as they may: it then answers honestly for them."""
        states = health_pb2.HealthCheckResponse
        status = states.SERVING if self._serving() else states.NOT_SERVING
        return bytes(states(status=status).SerializeToString())

    def _knows(self, service: str, snapshot: Snapshot) -> bool:
        if service in {"", INFERENCE, HEALTH, V1, V1ALPHA}:
            return True
        return any(match.grpc.partition("/")[0] == service for match in snapshot.services)

    def _reflect(self, message: bytes, _snapshot: Snapshot, _caller: Caller | None) -> Said:
        if self._reflection is None:  # most workers are never asked
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
