"""A simulated gRPC service: the services of gRPC's interoperability tests and tutorials, with faults.

It implements grpc.testing.TestService (grpc/grpc, doc/interop-test-descriptions.md, "Server"), helloworld.Greeter,
grpc.health.v1, reflection, and edge.sim.v1.Switch, which sets its faults. It does not test compressed messages.
``python -m edge.sim.service '{"name": "a"}'`` runs one for a test: it prints one JSON line with its address, and ends
when its standard input ends.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import grpc.aio
import msgspec
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from edge.admin.reflect import reflection_calls
from edge.sim.serve import until_told
from edge.sim.service_faults import CODES, ServiceFaults
from edge.wire.edge.sim.v1 import service_pb2, service_pb2_grpc
from edge.wire.grpc.testing import test_pb2, test_pb2_grpc
from edge.wire.helloworld import helloworld_pb2, helloworld_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Told = grpc.aio.ServicerContext[Any, Any]

ECHO_INITIAL: Final = "x-grpc-test-echo-initial"
ECHO_TRAILING: Final = "x-grpc-test-echo-trailing-bin"
_TESTING: Final = "/grpc.testing.TestService/"
_GREETER: Final = "/helloworld.Greeter/"
_FILES: Final = (test_pb2, helloworld_pb2, service_pb2, health_pb2)
SERVICES: Final = tuple(service.full_name for file in _FILES for service in file.DESCRIPTOR.services_by_name.values())
GREETINGS: Final = 3
"""Number of messages that SayHelloStreamReply sends."""
_MICROSECONDS: Final = 1_000_000
_OPTIONS: Final = [
    ("grpc.so_reuseport", 0),  # a port in use must be an error, not be shared
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class ServiceSpec(msgspec.Struct, frozen=True):
    """Address and name of a simulated service. Port 0 takes a free one."""

    name: str = "sim-service"
    host: str = "127.0.0.1"
    port: int = 0


class SimService:
    """A simulated service; use it in an ``async with``. ``faults`` holds its fault and its counts.

    Args:
        spec: name and address.
        fault: the initial fault.
    """

    def __init__(self, spec: ServiceSpec, fault: service_pb2.Fault | None = None) -> None:
        self.spec = spec
        self.faults = ServiceFaults()
        self.address = ""
        self._fault = fault if fault is not None else service_pb2.Fault()
        self._health: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Start to listen.

        Raises:
            OSError: the address cannot be bound.
        """
        server = grpc.aio.server(options=_OPTIONS)
        test_pb2_grpc.add_TestServiceServicer_to_server(_Testing(self.spec, self.faults), server)
        helloworld_pb2_grpc.add_GreeterServicer_to_server(_Greeter(self.spec, self.faults), server)
        service_pb2_grpc.add_SwitchServicer_to_server(_Switch(self), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        server.add_generic_rpc_handlers(reflection_calls([file.DESCRIPTOR for file in _FILES], SERVICES))
        host = f"[{self.spec.host}]" if ":" in self.spec.host else self.spec.host
        try:
            port = server.add_insecure_port(f"{host}:{self.spec.port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host}:{self.spec.port}") from error
        await server.start()
        self._server = server
        self.address = f"{host}:{port}"
        await self.switch(self._fault)

    async def switch(self, fault: service_pb2.Fault) -> None:
        """Set the fault from now on; an empty one heals the service."""
        self.faults.fault = fault
        states = health_pb2.HealthCheckResponse
        for name in ("", *SERVICES):
            await self._health.set(name, states.NOT_SERVING if fault.unhealthy else states.SERVING)

    async def stop(self) -> None:
        """Close the listener, and abort running calls."""
        if self._server is not None:
            await self._server.stop(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Testing(test_pb2_grpc.TestServiceServicer):
    """The methods that interoperability clients call; UnimplementedCall stays unimplemented."""

    def __init__(self, spec: ServiceSpec, faults: ServiceFaults) -> None:
        self._spec = spec
        self._faults = faults

    async def EmptyCall(self, _request: test_pb2.Empty, told: Told) -> test_pb2.Empty:  # noqa: N802  # the proto's
        async with self._faults.call(_TESTING + "EmptyCall", told) as call:
            await _echo_metadata(told)
            await call.message()
            return test_pb2.Empty()

    async def UnaryCall(self, request: test_pb2.SimpleRequest, told: Told) -> test_pb2.SimpleResponse:  # noqa: N802
        async with self._faults.call(_TESTING + "UnaryCall", told) as call:
            await _echo_metadata(told)
            await _echo_status(request.response_status, told)
            await call.message()
            name = self._spec.name
            return test_pb2.SimpleResponse(
                payload=_payload(request.response_size),
                server_id=name if request.fill_server_id else "",
                hostname=name,
            )

    async def StreamingInputCall(  # noqa: N802
        self, requests: AsyncIterator[test_pb2.StreamingInputCallRequest], told: Told
    ) -> test_pb2.StreamingInputCallResponse:
        async with self._faults.call(_TESTING + "StreamingInputCall", told) as call:
            await _echo_metadata(told)
            size = 0
            async for request in requests:
                size += len(request.payload.body)
            await call.message()
            return test_pb2.StreamingInputCallResponse(aggregated_payload_size=size)

    async def StreamingOutputCall(  # noqa: N802
        self, request: test_pb2.StreamingOutputCallRequest, told: Told
    ) -> AsyncIterator[test_pb2.StreamingOutputCallResponse]:
        async with self._faults.call(_TESTING + "StreamingOutputCall", told) as call:
            await _echo_metadata(told)
            async for response in _responses(request, told):
                await call.message()
                yield response

    async def FullDuplexCall(  # noqa: N802
        self, requests: AsyncIterator[test_pb2.StreamingOutputCallRequest], told: Told
    ) -> AsyncIterator[test_pb2.StreamingOutputCallResponse]:
        async with self._faults.call(_TESTING + "FullDuplexCall", told) as call:
            await _echo_metadata(told)
            async for request in requests:
                async for response in _responses(request, told):
                    await call.message()
                    yield response

    async def HalfDuplexCall(  # noqa: N802
        self, requests: AsyncIterator[test_pb2.StreamingOutputCallRequest], told: Told
    ) -> AsyncIterator[test_pb2.StreamingOutputCallResponse]:
        async with self._faults.call(_TESTING + "HalfDuplexCall", told) as call:
            await _echo_metadata(told)
            for request in [request async for request in requests]:
                async for response in _responses(request, told):
                    await call.message()
                    yield response


class _Greeter(helloworld_pb2_grpc.GreeterServicer):
    """Returns greetings that name the service."""

    def __init__(self, spec: ServiceSpec, faults: ServiceFaults) -> None:
        self._spec = spec
        self._faults = faults

    async def SayHello(self, request: helloworld_pb2.HelloRequest, told: Told) -> helloworld_pb2.HelloReply:  # noqa: N802
        async with self._faults.call(_GREETER + "SayHello", told) as call:
            await call.message()
            return self._reply(request)

    async def SayHelloStreamReply(  # noqa: N802
        self, request: helloworld_pb2.HelloRequest, told: Told
    ) -> AsyncIterator[helloworld_pb2.HelloReply]:
        async with self._faults.call(_GREETER + "SayHelloStreamReply", told) as call:
            for _ in range(GREETINGS):
                await call.message()
                yield self._reply(request)

    def _reply(self, request: helloworld_pb2.HelloRequest) -> helloworld_pb2.HelloReply:
        return helloworld_pb2.HelloReply(message=f"Hello {request.name}, from {self._spec.name}")


class _Switch(service_pb2_grpc.SwitchServicer):
    """Sets faults, and never fails itself."""

    def __init__(self, service: SimService) -> None:
        self._service = service

    async def Set(self, request: service_pb2.SetRequest, _told: Told) -> service_pb2.SetResponse:  # noqa: N802
        await self._service.switch(request.fault)
        return service_pb2.SetResponse()

    async def Stats(self, _request: service_pb2.StatsRequest, _told: Told) -> service_pb2.StatsResponse:  # noqa: N802
        faults = self._service.faults
        return service_pb2.StatsResponse(
            name=self._service.spec.name, calls=faults.calls, running=faults.running, struck=faults.struck
        )


async def _responses(
    request: test_pb2.StreamingOutputCallRequest, told: Told
) -> AsyncIterator[test_pb2.StreamingOutputCallResponse]:
    await _echo_status(request.response_status, told)
    for wanted in request.response_parameters:
        if wanted.interval_us > 0:
            await asyncio.sleep(wanted.interval_us / _MICROSECONDS)
        yield test_pb2.StreamingOutputCallResponse(payload=_payload(wanted.size))


async def _echo_metadata(told: Told) -> None:
    given = dict(told.invocation_metadata() or ())
    if ECHO_TRAILING in given:
        told.set_trailing_metadata(((ECHO_TRAILING, given[ECHO_TRAILING]),))
    if ECHO_INITIAL in given:
        await told.send_initial_metadata(((ECHO_INITIAL, given[ECHO_INITIAL]),))


async def _echo_status(wanted: test_pb2.EchoStatus, told: Told) -> None:
    if wanted.code:
        await told.abort(CODES.get(wanted.code, grpc.StatusCode.UNKNOWN), wanted.message)


@functools.lru_cache(maxsize=64)
def _payload(size: int) -> test_pb2.Payload:
    return test_pb2.Payload(body=bytes(max(size, 0)))


async def serve(
    spec: ServiceSpec, fault: service_pb2.Fault, announce: Callable[[SimService], None], *, until_eof: bool
) -> None:
    """Run a service until SIGINT, SIGTERM or, with ``until_eof``, the end of standard input.

    Raises:
        OSError: the address cannot be bound.
    """
    async with SimService(spec, fault) as service, until_told(until_eof=until_eof) as told:
        announce(service)
        await told.wait()


def main() -> None:
    """Run the service that the first argument describes."""

    def announce(service: SimService) -> None:
        sys.stdout.write(msgspec.json.encode({"name": service.spec.name, "address": service.address}).decode() + "\n")
        sys.stdout.flush()

    spec = msgspec.json.decode(sys.argv[1], type=ServiceSpec)
    uvloop.run(serve(spec, service_pb2.Fault(), announce, until_eof=True))


if __name__ == "__main__":
    main()
