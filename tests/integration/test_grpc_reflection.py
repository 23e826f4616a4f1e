"""A client that asks edge by reflection sees edge's own services and those of the backends behind it."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from nodes import RunningNode

from edge.control import describing
from edge.sim.service import ServiceSpec, SimService

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN = {
    "edge.v1.Inference",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


def made(name: str, package: str, *imports: str) -> FileDescriptorProto:
    """Return a file with one message, one service Shop, and these imports."""
    file = FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=imports)
    file.message_type.add(name="Order").field.add(name="id", number=1, type=9, label=1)
    method = file.service.add(name="Shop").method.add(name="Buy")
    method.input_type = method.output_type = f".{package}.Order"
    return file


async def shop(*files: FileDescriptorProto, reflects: bool = True) -> tuple[grpc.aio.Server, str]:
    """Run a server of these files' services, by grpcio's own reflection (v1alpha)."""
    server = grpc.aio.server()
    pool = DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    if reflects:
        names = [f"{file.package}.{each.name}" for file in files for each in file.service]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server, pool)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def listed(address: str, version: str, key: str = "") -> set[str]:
    """Return the services that a server lists by this version of the protocol."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
            timeout=10,
            metadata=(("authorization", f"Bearer {key}"),) if key else None,
        )
        answers = [answer async for answer in call]
        return {each.name for each in answers[0].list_services_response.service}


async def settled(address: str, wanted: set[str], key: str = "") -> None:
    """Wait until exactly these services are listed."""
    async with asyncio.timeout(40):
        while True:
            if await listed(address, "v1alpha", key) == wanted:
                return
            await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_services_of_backends_are_seen(tmp_path: Path) -> None:
    """By both versions; files of one name are kept apart, mute backends left out; a key sees what it may call."""

    def config(*services: tuple[str, str, str]) -> dict[str, Any]:
        keys = [
            {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest(), "models": models}
            for name, models in (("all", []), ("one", ["service:one"]))
        ]
        return {
            "services": {name: {"match": {"grpc": grpc}, "targets": [at]} for name, grpc, at in services},
            "keys": keys,
        }

    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(SimService(ServiceSpec()))
        addresses = []
        for files, reflects in (
            ((made("base.proto", "base"), made("shop.proto", "one", "base.proto")), True),
            ((made("shop.proto", "two"),), True),
            ((made("shop.proto", "mute"),), False),
        ):
            server, address = await shop(*files, reflects=reflects)
            stack.push_async_callback(server.stop, None)
            addresses.append(address)
        node = await stack.enter_async_context(
            RunningNode(
                tmp_path,
                config(
                    ("greeter", "helloworld.Greeter/SayHello", sim.address),
                    ("one", "one.Shop", addresses[0]),
                    ("two", "two.Shop", addresses[1]),
                    ("mute", "mute.Shop", addresses[2]),
                    ("unknown", "not.There", addresses[1]),
                    ("dark", "dark.Shop", "127.0.0.1:1"),
                ),
                "--workers",
                "1",
            )
        )
        place = node.url.removeprefix("http://")
        everything = OWN | {"helloworld.Greeter", "one.Shop", "two.Shop"}
        await settled(place, everything, "all-key")
        assert await listed(place, "v1", "all-key") == everything
        assert await listed(place, "v1", "one-key") == OWN | {"one.Shop"}
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await listed(place, "v1")
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED

        def looked_up() -> tuple[list[str], str, str]:
            with grpc.insecure_channel(place) as plain:
                channel = grpc.intercept_channel(plain, _Keyed("all-key"))
                database = ProtoReflectionDescriptorDatabase(channel)
                pool = DescriptorPool(database)
                shops = [pool.FindServiceByName(name).methods_by_name["Buy"].input_type for name in ("one.Shop",)]
                other = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
                return (
                    [each.full_name for each in shops],
                    other.FindServiceByName("two.Shop").methods_by_name["Buy"].input_type.full_name,
                    pool.FindMessageTypeByName("helloworld.HelloRequest").full_name,
                )

        assert await asyncio.to_thread(looked_up) == (["one.Order"], "two.Order", "helloworld.HelloRequest")


async def test_a_call_that_ended_before_its_question() -> None:
    """Grpc.aio says INTERNAL of a method refused before the question is written; v1alpha is asked all the same."""
    server, address = await shop(made("shop.proto", "two"))
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            files = await describing.described(_Refused(channel), "two.Shop")  # type: ignore[arg-type]
        assert [FileDescriptorProto.FromString(file).package for file in files] == ["two"]
    finally:
        await server.stop(None)


class _Refused:
    """A channel whose v1 calls end while the question is written, as those of a quick server do now and then."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def stream_stream(self, method: str, **serializers: Any) -> Any:
        """Return the channel's own, unless the method is of v1."""
        if not method.startswith("/grpc.reflection.v1."):
            return self._channel.stream_stream(method, **serializers)
        return lambda timeout: self

    async def write(self, question: object) -> None:
        """Fail as grpc.aio does."""
        none = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, none, none, details="Internal error from Core")


class _Keyed(grpc.StreamStreamClientInterceptor):
    def __init__(self, key: str) -> None:
        self._key = key

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Add the key."""
        details = details._replace(metadata=[("authorization", f"Bearer {self._key}")])
        return continuation(details, requests)


def no_service(file: FileDescriptorProto) -> None:
    """The files do not define the service that was asked for."""
    del file.service[:]


def circle(file: FileDescriptorProto) -> None:
    """A file imports itself."""
    file.dependency.append(file.name)


def unknown_type(file: FileDescriptorProto) -> None:
    """A method takes a message that does not exist."""
    file.service[0].method[0].input_type = ".nowhere.Order"


def large(file: FileDescriptorProto) -> None:
    """More than a service may say."""
    file.message_type[0].name = "x" * describing.MOST_BYTES


def foreign(file: FileDescriptorProto) -> None:
    """An import that the server does not have."""
    file.dependency.append("missing.proto")


@pytest.mark.parametrize("change", [no_service, circle, unknown_type, large, foreign])
async def test_what_a_backend_may_not_say(change: Callable[[FileDescriptorProto], None]) -> None:
    """A description that is wrong or too large is refused whole."""
    file = made("shop.proto", "bad")
    change(file)

    async def answer(messages: Any, _: Any) -> Any:
        async for message in messages:
            question = reflection_pb2.ServerReflectionRequest.FromString(message)
            said = reflection_pb2.ServerReflectionResponse()
            if question.file_by_filename:
                said.error_response.error_code = 5
            else:
                said.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
            yield said.SerializeToString()

    server = grpc.aio.server()
    method = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.reflection.v1.ServerReflection", method),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(describing.TooMuchError):
                await describing.described(channel, "bad.Shop")
    finally:
        await server.stop(None)
