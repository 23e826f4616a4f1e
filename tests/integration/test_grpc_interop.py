"""The official gRPC interoperability cases pass with two implementations.

The cases are those of grpc/grpc, doc/interop-test-descriptions.md, "Client". Each runs against every address of the
fixture ``address``: "direct" is the service itself, which checks the cases; the others have edge in front of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import grpclib.client
import grpclib.const
import grpclib.exceptions
import pytest
from one_data_plane import one_data_plane

from edge.sim.service import ECHO_INITIAL, ECHO_TRAILING, ServiceSpec, SimService
from edge.wire.grpc.testing import test_pb2, test_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BYTES = b"\xab\xab\xab"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
LARGE = test_pb2.SimpleRequest(response_size=314159, payload=test_pb2.Payload(body=bytes(271828)))
SIZES = ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904))
"""Of responses, and of the requests that ask for them."""


def output(size: int | None, body: int = 0) -> test_pb2.StreamingOutputCallRequest:
    """Return a request of this size for a response of this size."""
    wanted = [] if size is None else [test_pb2.ResponseParameters(size=size)]
    return test_pb2.StreamingOutputCallRequest(
        response_parameters=wanted, payload=test_pb2.Payload(body=bytes(body)) if body else None
    )


@pytest.fixture(params=["direct", "edge"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Run the service and the edges in front of it; return host and port to call."""
    async with SimService(ServiceSpec("interop")) as service:
        if request.param == "direct":
            yield service.address
            return
        text = f"services: {{i: {{match: {{grpc: grpc.testing.TestService}}, targets: ['{service.address}']}}}}"
        async with one_data_plane(text) as data_plane:
            yield f"127.0.0.1:{data_plane.port}"


@pytest.fixture
async def stub(address: str) -> AsyncIterator[Any]:
    """Make a client of the first implementation, grpcio."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield test_pb2_grpc.TestServiceStub(channel)


@pytest.fixture
async def second(address: str) -> AsyncIterator[grpclib.client.Channel]:
    """Make a client of the second implementation, grpclib, with its own HTTP/2."""
    host, _, port = address.rpartition(":")
    channel = grpclib.client.Channel(host, int(port))
    yield channel
    channel.close()


async def test_empty_unary(stub: Any) -> None:
    """An empty message is answered by an empty message."""
    assert await stub.EmptyCall(test_pb2.Empty()) == test_pb2.Empty()


async def test_large_unary(stub: Any) -> None:
    """A large message passes in each direction."""
    answer = await stub.UnaryCall(LARGE)
    assert answer.payload.body == bytes(314159)


async def test_client_streaming(stub: Any) -> None:
    """Four messages are answered by one."""

    async def requests() -> AsyncIterator[test_pb2.StreamingInputCallRequest]:
        for size in (27182, 8, 1828, 45904):
            yield test_pb2.StreamingInputCallRequest(payload=test_pb2.Payload(body=bytes(size)))

    answer = await stub.StreamingInputCall(requests())
    assert answer.aggregated_payload_size == 74922


async def test_server_streaming(stub: Any) -> None:
    """One message is answered by four, in order."""
    wanted = [test_pb2.ResponseParameters(size=size) for size, _ in SIZES]
    call = stub.StreamingOutputCall(test_pb2.StreamingOutputCallRequest(response_parameters=wanted))
    assert [response.payload.body async for response in call] == [bytes(size) for size, _ in SIZES]
    assert await call.code() is grpc.StatusCode.OK


async def test_ping_pong(stub: Any) -> None:
    """Each message is answered before the next is sent, so nothing in between may buffer."""
    call = stub.FullDuplexCall()
    for size, body in SIZES:
        await call.write(output(size, body))
        assert (await call.read()).payload.body == bytes(size)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_empty_stream(stub: Any) -> None:
    """A stream without messages in either direction ends."""
    call = stub.FullDuplexCall()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_custom_metadata(stub: Any) -> None:
    """Text comes back in the initial metadata and bytes in the trailing metadata, unary and streaming."""
    metadata = ((ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, BYTES))
    unary = stub.UnaryCall(LARGE, metadata=metadata)
    assert (await unary).payload.body == bytes(314159)
    stream = stub.FullDuplexCall(metadata=metadata)
    await stream.write(output(314159, 271828))
    await stream.done_writing()
    assert (await stream.read()).payload.body == bytes(314159)
    assert await stream.read() is grpc.aio.EOF
    for call in (unary, stream):
        assert dict(await call.initial_metadata())[ECHO_INITIAL] == "test_initial_metadata_value"
        assert dict(await call.trailing_metadata())[ECHO_TRAILING] == BYTES


@pytest.mark.parametrize("message", ["test status message", SPECIAL], ids=["plain", "special"])
async def test_status_code_and_message(stub: Any, message: str) -> None:
    """A status and its message arrive unchanged, also with whitespace and any Unicode (special_status_message)."""
    status = test_pb2.EchoStatus(code=2, message=message)
    with pytest.raises(grpc.aio.AioRpcError) as unary:
        await stub.UnaryCall(test_pb2.SimpleRequest(response_status=status))
    assert (unary.value.code(), unary.value.details()) == (grpc.StatusCode.UNKNOWN, message)
    call = stub.FullDuplexCall()
    await call.write(test_pb2.StreamingOutputCallRequest(response_status=status))
    await call.done_writing()
    assert (await call.code(), await call.details()) == (grpc.StatusCode.UNKNOWN, message)


async def test_unimplemented_method(stub: Any) -> None:
    """A method that the service does not have is UNIMPLEMENTED."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.UnimplementedCall(test_pb2.Empty())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_unimplemented_service(address: str) -> None:
    """A service that does not exist is UNIMPLEMENTED."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = test_pb2_grpc.UnimplementedServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.UnimplementedCall(test_pb2.Empty())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_cancel_after_begin(stub: Any) -> None:
    """A call that is cancelled before its first message ends as CANCELLED."""
    call = stub.StreamingInputCall()
    assert call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_cancel_after_first_response(stub: Any) -> None:
    """A call that is cancelled after its first response ends as CANCELLED."""
    call = stub.FullDuplexCall()
    await call.write(output(31415, 27182))
    assert (await call.read()).payload.body == bytes(31415)
    assert call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_timeout_on_sleeping_server(stub: Any) -> None:
    """A call without an answer ends at its deadline as DEADLINE_EXCEEDED."""
    for _ in range(10):
        call = stub.FullDuplexCall(timeout=0.001)
        try:
            await call.write(output(None, 27182))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            assert call.done()  # so short a deadline may pass while the message is written
        # What grpcio itself says where the deadline passes while it still begins to write, with or without edge.
        if await call.details() != "Internal error from Core":
            break
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


# ---- the second implementation


async def test_grpclib_unary(second: grpclib.client.Channel) -> None:
    """The cases empty_unary and large_unary pass with grpclib."""
    empty = grpclib.client.UnaryUnaryMethod(
        second, "/grpc.testing.TestService/EmptyCall", test_pb2.Empty, test_pb2.Empty
    )
    assert await empty(test_pb2.Empty()) == test_pb2.Empty()
    unary = grpclib.client.UnaryUnaryMethod(
        second, "/grpc.testing.TestService/UnaryCall", test_pb2.SimpleRequest, test_pb2.SimpleResponse
    )
    assert (await unary(LARGE)).payload.body == bytes(314159)


async def test_grpclib_client_streaming(second: grpclib.client.Channel) -> None:
    """The case client_streaming passes with grpclib."""
    method = grpclib.client.StreamUnaryMethod(
        second,
        "/grpc.testing.TestService/StreamingInputCall",
        test_pb2.StreamingInputCallRequest,
        test_pb2.StreamingInputCallResponse,
    )
    sizes = (27182, 8, 1828, 45904)
    requests = [test_pb2.StreamingInputCallRequest(payload=test_pb2.Payload(body=bytes(size))) for size in sizes]
    assert (await method(requests)).aggregated_payload_size == 74922


async def test_grpclib_server_streaming(second: grpclib.client.Channel) -> None:
    """The case server_streaming passes with grpclib."""
    method = grpclib.client.UnaryStreamMethod(
        second,
        "/grpc.testing.TestService/StreamingOutputCall",
        test_pb2.StreamingOutputCallRequest,
        test_pb2.StreamingOutputCallResponse,
    )
    wanted = [test_pb2.ResponseParameters(size=size) for size, _ in SIZES]
    responses = await method(test_pb2.StreamingOutputCallRequest(response_parameters=wanted))
    assert [response.payload.body for response in responses] == [bytes(size) for size, _ in SIZES]


def duplex(channel: grpclib.client.Channel) -> grpclib.client.StreamStreamMethod:
    """Return the method of the streaming cases."""
    return grpclib.client.StreamStreamMethod(
        channel,
        "/grpc.testing.TestService/FullDuplexCall",
        test_pb2.StreamingOutputCallRequest,
        test_pb2.StreamingOutputCallResponse,
    )


async def test_grpclib_ping_pong(second: grpclib.client.Channel) -> None:
    """The case ping_pong passes with grpclib, and both sides end."""
    async with duplex(second).open() as stream:
        for size, body in SIZES:
            await stream.send_message(output(size, body))
            response = await stream.recv_message()
            assert response is not None
            assert response.payload.body == bytes(size)
        await stream.end()
        assert await stream.recv_message() is None


async def test_grpclib_empty_stream(second: grpclib.client.Channel) -> None:
    """The case empty_stream passes with grpclib."""
    async with duplex(second).open() as stream:
        await stream.send_request()
        await stream.end()
        assert await stream.recv_message() is None


async def test_grpclib_metadata_and_status(second: grpclib.client.Channel) -> None:
    """custom_metadata, special_status_message and unimplemented_method pass with grpclib."""
    unary = grpclib.client.UnaryUnaryMethod(
        second, "/grpc.testing.TestService/UnaryCall", test_pb2.SimpleRequest, test_pb2.SimpleResponse
    )
    async with unary.open(metadata={ECHO_INITIAL: "value", ECHO_TRAILING: BYTES}) as stream:
        await stream.send_message(LARGE, end=True)
        await stream.recv_message()
        await stream.recv_trailing_metadata()
        assert stream.initial_metadata is not None
        assert stream.trailing_metadata is not None
        assert (stream.initial_metadata[ECHO_INITIAL], stream.trailing_metadata[ECHO_TRAILING]) == ("value", BYTES)
    status = test_pb2.EchoStatus(code=2, message=SPECIAL)
    with pytest.raises(grpclib.exceptions.GRPCError) as refused:
        await unary(test_pb2.SimpleRequest(response_status=status))
    assert (refused.value.status, refused.value.message) == (grpclib.const.Status.UNKNOWN, SPECIAL)
    missing = grpclib.client.UnaryUnaryMethod(
        second, "/grpc.testing.TestService/UnimplementedCall", test_pb2.Empty, test_pb2.Empty
    )
    with pytest.raises(grpclib.exceptions.GRPCError) as unknown:
        await missing(test_pb2.Empty())
    assert unknown.value.status is grpclib.const.Status.UNIMPLEMENTED
