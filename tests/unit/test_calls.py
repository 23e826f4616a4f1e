"""edge answers its own gRPC methods as health probes, grpcurl and clients expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from msgspec import structs
from plans import snapshot

from edge.dialects import inference
from edge.listen.calls import CHAT, CHAT_STREAM, LOCAL, PLAIN, Calls
from edge.listen.grpc_status import Code
from edge.routing.table import models_document
from edge.wire.edge.v1 import inference_pb2
from tests.snapshots import service_match

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot

CHECK = b"/grpc.health.v1.Health/Check"
WATCH = b"/grpc.health.v1.Health/Watch"
REFLECT = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
REFLECT_ALPHA = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
MODELS = b"/edge.v1.Inference/ListModels"
STATES = health_pb2.HealthCheckResponse


@pytest.fixture
def calls() -> Calls:
    """Make the calls with the real API and the real list of models."""
    return Calls(lambda: inference, models_document)


@pytest.fixture(scope="module")
def plan() -> Snapshot:
    """Compile a Snapshot with a routed gRPC service in it."""
    plan = snapshot()
    return structs.replace(plan, services=(*plan.services, service_match(0, grpc="helloworld.Greeter/SayHello")))


def health(calls: Calls, path: bytes, service: str, plan: Snapshot) -> tuple[int, int | None]:
    """Query a service's health: (code, state)."""
    code, _, said = calls.answer(path, health_pb2.HealthCheckRequest(service=service).SerializeToString(), plan)
    return code, STATES.FromString(said[0]).status if said else None


def reflect(calls: Calls, plan: Snapshot, **question: object) -> reflection_pb2.ServerReflectionResponse:
    """Send a reflection request; both versions give the same answer."""
    message = reflection_pb2.ServerReflectionRequest(host="h", **question).SerializeToString()
    code, _, said = calls.answer(REFLECT, message, plan)
    assert (code, len(said)) == (Code.OK, 1)
    assert calls.answer(REFLECT_ALPHA, message, plan) == (code, "", said)
    answer = reflection_pb2.ServerReflectionResponse.FromString(said[0])
    assert answer.original_request.SerializeToString() == message
    return answer


@pytest.mark.parametrize(
    ("path", "response_format"),
    [
        (b"/edge.v1.Inference/Chat", CHAT),
        (b"/edge.v1.Inference/ChatStream", CHAT_STREAM),
        (MODELS, LOCAL),
        (CHECK, LOCAL),
        (WATCH, LOCAL),
        (REFLECT, LOCAL),
        (REFLECT_ALPHA, LOCAL),
        (b"/edge.v1.Inference/Nothing", PLAIN),
        (b"/edge.v1.Admin/Status", PLAIN),
        (b"/helloworld.Greeter/SayHello", PLAIN),
        (b"/v1/chat/completions", PLAIN),
    ],
)
def test_response_formats(calls: Calls, path: bytes, response_format: int) -> None:
    """Own methods are recognised by their full path only; only Watch outlasts its client's messages."""
    assert calls.response_format(path) == response_format
    assert calls.stays(path) == (path == WATCH)


@pytest.mark.parametrize("service", ["", "edge.v1.Inference", "grpc.health.v1.Health", "helloworld.Greeter"])
def test_health_is_that_of_edge(plan: Snapshot, service: str) -> None:
    """The node and every service of it are SERVING while it takes requests, and not while it drains."""
    well = True
    calls = Calls(lambda: inference, models_document, lambda: well)
    for path in (CHECK, WATCH):
        assert health(calls, path, service, plan) == (Code.OK, STATES.SERVING)
    well = False
    for path in (CHECK, WATCH):
        assert health(calls, path, service, plan) == (Code.OK, STATES.NOT_SERVING)


def test_the_health_of_a_stranger(calls: Calls, plan: Snapshot) -> None:
    """For an unknown service Check returns NOT_FOUND; Watch sends SERVICE_UNKNOWN and stays open."""
    assert health(calls, CHECK, "nobody.Knows", plan) == (Code.NOT_FOUND, None)
    assert health(calls, WATCH, "nobody.Knows", plan) == (Code.OK, STATES.SERVICE_UNKNOWN)


def test_models_are_those_of_the_snapshot(calls: Calls, plan: Snapshot) -> None:
    """The list is that of GET /v1/models, for the Snapshot of the call."""
    other = structs.replace(plan, models={"other": 0})
    for one in (plan, other, plan):
        code, _, said = calls.answer(MODELS, b"", one)
        models = inference_pb2.ListModelsResponse.FromString(said[0]).models
        assert code == Code.OK
        assert {model.id for model in models} == set(one.models)
    assert {model.owned_by for model in models if model.id == "chat"} == {"edge"}
    assert {model.created for model in models} == {1_700_000_000}


@pytest.mark.parametrize("path", [CHECK, WATCH, MODELS, REFLECT])
def test_garbage_is_the_callers_mistake(calls: Calls, plan: Snapshot, path: bytes) -> None:
    """A malformed message ends the call with INVALID_ARGUMENT."""
    code, text, said = calls.answer(path, b"\xff\xff\xff", plan)
    assert (code, said) == (Code.INVALID_ARGUMENT, [])
    assert text


def test_services_are_listed(calls: Calls, plan: Snapshot) -> None:
    """`grpcurl list` shows the services that this port serves itself, and no others."""
    listed = [service.name for service in reflect(calls, plan, list_services="").list_services_response.service]
    assert listed == [
        "edge.v1.Inference",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


@pytest.mark.parametrize(
    "symbol",
    [
        "edge.v1.Inference",
        "edge.v1.Inference.Chat",
        "edge.v1.ChatRequest",
        "edge.v1.ToolChoice.Mode",
        "edge.v1.ChatRequest.model",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1.ServerReflectionRequest",
        "grpc.reflection.v1alpha.ServerReflection",
    ],
)
def test_a_symbols_files_are_enough_to_build_it(calls: Calls, plan: Snapshot, symbol: str) -> None:
    """A client can build the symbol from the returned files alone, in any order."""
    given = reflect(calls, plan, file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
    files = {proto.name: proto for proto in map(FileDescriptorProto.FromString, given)}
    pool = DescriptorPool()

    def add(name: str) -> None:
        for needed in files[name].dependency:
            add(needed)
        pool.Add(files[name])

    for name in files:
        add(name)
    if symbol == "edge.v1.Inference.Chat":
        assert "Chat" in pool.FindServiceByName("edge.v1.Inference").methods_by_name
    else:
        assert pool.FindFileContainingSymbol(symbol).name in files


def test_files_by_name(calls: Calls, plan: Snapshot) -> None:
    """A file is found by its name, and its imports are returned with it."""
    answer = reflect(calls, plan, file_by_filename="edge/v1/inference.proto")
    names = {FileDescriptorProto.FromString(one).name for one in answer.file_descriptor_response.file_descriptor_proto}
    assert names == {"edge/v1/inference.proto", "google/protobuf/struct.proto"}


def test_what_is_not_served_is_not_found(calls: Calls, plan: Snapshot) -> None:
    """Neither unknown symbols nor those that the process only imports are found."""
    from edge.wire.grpc.testing import test_pb2  # noqa: F401  # now it is in the process's own pool

    for question in (
        {"file_containing_symbol": "nobody.Knows"},
        {"file_containing_symbol": "edge.v1.Inference.Nothing"},
        {"file_containing_symbol": ""},
        {"file_containing_symbol": "grpc.testing.TestService"},
        {"file_by_filename": "grpc/testing/test.proto"},
        {"all_extension_numbers_of_type": "nobody.Knows"},
        {"file_containing_extension": reflection_pb2.ExtensionRequest(containing_type="edge.v1.Tool")},
    ):
        assert reflect(calls, plan, **question).error_response.error_code == Code.NOT_FOUND


def test_extensions_and_empty_questions(calls: Calls, plan: Snapshot) -> None:
    """A known type has no extensions; an empty request is refused, and the call goes on."""
    answer = reflect(calls, plan, all_extension_numbers_of_type="edge.v1.Tool").all_extension_numbers_response
    assert (answer.base_type_name, list(answer.extension_number)) == ("edge.v1.Tool", [])
    assert reflect(calls, plan).error_response.error_code == Code.INVALID_ARGUMENT
