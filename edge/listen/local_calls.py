"""Answers the gRPC methods that edge serves itself without asking a model: models, health and reflection.

The module is imported at the first such call (edge.listen.calls), for it brings protobuf along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from edge.listen.calls import HEALTH, INFERENCE, REFLECTION
from edge.listen.grpc_status import Code
from edge.listen.reflection import Reflection, ReflectionError
from edge.wire.edge.v1 import inference_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.native import Caller
    from edge.terms.snapshot import Snapshot

Said = tuple[int, str, list[bytes]]

_SERVICES: Final = frozenset({"", INFERENCE, HEALTH, *REFLECTION})


class LocalCalls:
    """The answers of one worker.

    Args:
        models: returns the JSON list of a Snapshot's models; with a predicate, only those that it accepts.
        serving: whether this worker accepts new requests.
        usable: whether a target of a service behind edge is in rotation.
    """

    def __init__(
        self,
        models: Callable[[Snapshot, Callable[[str], bool] | None], bytes],
        serving: Callable[[], bool],
        usable: Callable[[Snapshot, str], bool],
    ) -> None:
        self._models = models
        self._usable = usable
        self._serving = serving
        self._list_of: Snapshot | None = None
        self._list = b""
        self._reflection: Reflection | None = None
        self._described: Mapping[str, tuple[bytes, ...]] = {}
        self._methods: dict[bytes, Callable[[bytes, Snapshot, Caller | None], Said]] = {
            b"ListModels": self._list_models,
            b"Check": self._check,
            b"Watch": self._watched,
            b"ServerReflectionInfo": self._reflect,
        }

    def answer(self, method: bytes, message: bytes, snapshot: Snapshot, caller: Caller | None) -> Said:
        """Return (code, text, messages) for one message of a method; ``caller`` owns the key that was sent."""
        try:
            return self._methods[method](message, snapshot, caller)
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
        return Code.OK, "", [self._health(service, snapshot)]

    def _watched(self, message: bytes, snapshot: Snapshot, _caller: Caller | None) -> Said:
        service = health_pb2.HealthCheckRequest.FromString(message).service
        if not self._knows(service, snapshot):
            # health.proto: the call stays open, because a later Snapshot may have the service.
            unknown = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            return Code.OK, "", [bytes(unknown.SerializeToString())]
        return Code.OK, "", [self._health(service, snapshot)]

    def _health(self, service: str, snapshot: Snapshot) -> bytes:
        """Return SERVING while edge accepts requests, whatever its upstreams do: it can still report their failures.

        A service behind edge, by its name, is SERVING only while a target of it is in rotation.
        """
        states = health_pb2.HealthCheckResponse
        well = self._serving() and (service in _SERVICES or self._usable(snapshot, service))
        status = states.SERVING if well else states.NOT_SERVING
        return bytes(states(status=status).SerializeToString())

    def _knows(self, service: str, snapshot: Snapshot) -> bool:
        if service in _SERVICES:
            return True
        return any(match.grpc.partition("/")[0] == service for match in snapshot.services)

    def _reflect(self, message: bytes, snapshot: Snapshot, caller: Caller | None) -> Said:
        if self._reflection is None or self._described != snapshot.described:  # most workers never need it
            files = [inference_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR]
            self._reflection = Reflection(files, [INFERENCE, HEALTH], snapshot.described)
            self._described = snapshot.described
        if caller is None or caller.everything:
            return Code.OK, "", [self._reflection.answer(message)]
        seen = {
            match.grpc.partition("/")[0]
            for match in snapshot.services
            if match.grpc and f"service:{snapshot.routes[match.route].name}" in caller.plan.models
        }
        return Code.OK, "", [self._reflection.answer(message, seen.__contains__)]


def _model_list(document: bytes) -> bytes:
    models = [
        inference_pb2.Model(id=entry["id"], owned_by=entry["owned_by"], created=entry["created"])
        for entry in msgspec.json.decode(document)["data"]
    ]
    return bytes(inference_pb2.ListModelsResponse(models=models).SerializeToString())
