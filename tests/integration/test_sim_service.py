"""The simulated gRPC service fails in the ways that it is told to, and in no other."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from edge.cli.main import main
from edge.sim.service import GREETINGS, ServiceSpec, SimService
from edge.sim.service_faults import METADATA
from edge.wire.edge.sim.v1 import service_pb2, service_pb2_grpc
from edge.wire.helloworld import helloworld_pb2, helloworld_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO = helloworld_pb2.HelloRequest(name="you")
SAYS = "Hello you, from sim-g"


class Talk:
    """A running service and its callers."""

    def __init__(self, service: SimService, channel: grpc.aio.Channel) -> None:
        self.service = service
        self.greeter: Any = helloworld_pb2_grpc.GreeterStub(channel)
        self.switch: Any = service_pb2_grpc.SwitchStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)
        self.reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def code(self, call: Any) -> str:
        """Wait for a call's end; return its status."""
        return (await call.code()).name

    async def fault(self, **fault: Any) -> None:
        """Switch a fault on, over the wire."""
        await self.switch.Set(service_pb2.SetRequest(fault=service_pb2.Fault(**fault)))


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    """Run one with a client."""
    async with (
        SimService(ServiceSpec("sim-g")) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        yield Talk(service, channel)


async def test_it_says_who_it_is(talk: Talk) -> None:
    """A healthy service answers with its name, and counts."""
    assert (await talk.greeter.SayHello(HELLO)).message == SAYS
    assert [reply.message async for reply in talk.greeter.SayHelloStreamReply(HELLO)] == [SAYS] * GREETINGS
    stats = await talk.switch.Stats(service_pb2.StatsRequest())
    assert dict(stats.calls) == {"/helloworld.Greeter/SayHello": 1, "/helloworld.Greeter/SayHelloStreamReply": 1}
    assert (stats.name, stats.running, stats.struck) == ("sim-g", 0, 0)


async def test_statuses(talk: Talk) -> None:
    """A status ends the calls of its methods, with its message; an empty fault removes it."""
    await talk.fault(status=14, message="50% gone", method="/helloworld.Greeter/SayHello")
    call = talk.greeter.SayHello(HELLO)
    assert (await talk.code(call), await call.details()) == ("UNAVAILABLE", "50% gone")
    await talk.fault(status=13, method="/grpc.testing.")
    assert (await talk.greeter.SayHello(HELLO)).message == SAYS
    await talk.fault()
    assert (await talk.greeter.SayHello(HELLO)).message == SAYS
    assert (await talk.switch.Stats(service_pb2.StatsRequest())).struck == 1


async def test_a_stream_that_ends_in_its_middle(talk: Talk) -> None:
    """This many messages come, then the status."""
    await talk.fault(status=8, after=2)
    call = talk.greeter.SayHelloStreamReply(HELLO)
    assert [(await call.read()).message for _ in range(2)] == [SAYS] * 2
    assert await talk.code(call) == "RESOURCE_EXHAUSTED"


async def test_one_call_alone(talk: Talk) -> None:
    """A fault in a call's metadata affects that call, whatever is switched on for others."""
    alone = ((METADATA, service_pb2.Fault(status=9).SerializeToString()),)
    assert await talk.code(talk.greeter.SayHello(HELLO, metadata=alone)) == "FAILED_PRECONDITION"
    assert (await talk.greeter.SayHello(HELLO)).message == SAYS


async def test_blackholes_and_latency(talk: Talk) -> None:
    """Calls wait until the caller's deadline, and nothing is left behind."""
    await talk.fault(blackhole=True)
    assert await talk.code(talk.greeter.SayHello(HELLO, timeout=0.1)) == "DEADLINE_EXCEEDED"
    await talk.fault(latency_s=0.05)
    began = asyncio.get_running_loop().time()
    assert (await talk.greeter.SayHello(HELLO)).message == SAYS
    assert asyncio.get_running_loop().time() - began >= 0.05
    async with asyncio.timeout(60):
        while talk.service.faults.running:  # noqa: ASYNC110  # the service is not told of who waits
            await asyncio.sleep(0.01)


async def test_a_rate_spares_some(talk: Talk) -> None:
    """Half of the calls fail and half do not; 60 equal results would have a chance of 2^-59."""
    await talk.fault(status=14, rate=0.5)
    codes = [await talk.code(talk.greeter.SayHello(HELLO)) for _ in range(60)]
    assert set(codes) == {"OK", "UNAVAILABLE"}


async def test_a_reset_takes_the_whole_connection_and_no_other(talk: Talk) -> None:
    """All calls of the caller's connection end as UNAVAILABLE; another connection is not affected."""
    async with grpc.aio.insecure_channel(talk.service.address, [("grpc.use_local_subchannel_pool", 1)]) as other:
        theirs: Any = helloworld_pb2_grpc.GreeterStub(other)
        waits = ((METADATA, service_pb2.Fault(latency_s=0.3).SerializeToString()),)
        beside = talk.greeter.SayHello(HELLO, metadata=waits)
        calm = theirs.SayHello(HELLO, metadata=waits)
        await asyncio.sleep(0.1)  # both are on their way
        cuts = ((METADATA, service_pb2.Fault(reset=True).SerializeToString()),)
        assert await talk.code(talk.greeter.SayHello(HELLO, metadata=cuts)) == "UNAVAILABLE"
        assert await talk.code(beside) == "UNAVAILABLE"
        assert (await calm).message == SAYS
    assert (await talk.greeter.SayHello(HELLO, wait_for_ready=True)).message == SAYS


async def test_health_is_a_switch_of_its_own(talk: Talk) -> None:
    """An unhealthy service reports NOT_SERVING for every service, and still answers calls."""
    states = health_pb2.HealthCheckResponse
    for service in ("", "helloworld.Greeter", "grpc.testing.TestService"):
        request = health_pb2.HealthCheckRequest(service=service)
        await talk.fault(unhealthy=True)
        assert (await talk.health.Check(request)).status == states.NOT_SERVING
        await talk.fault()
        assert (await talk.health.Check(request)).status == states.SERVING
    await talk.fault(unhealthy=True)
    assert (await talk.greeter.SayHello(HELLO)).message == SAYS


async def test_it_can_be_explored(talk: Talk) -> None:
    """Reflection lists and describes the services; an invalid message ends the call."""
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="helloworld.Greeter"),
    ]
    listed, described = [answer async for answer in talk.reflection.ServerReflectionInfo(iter(questions))]
    names = {service.name for service in listed.list_services_response.service}
    assert {"helloworld.Greeter", "grpc.testing.TestService", "grpc.reflection.v1.ServerReflection"} <= names
    (file,) = described.file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(file).package == "helloworld"
    async with grpc.aio.insecure_channel(talk.service.address) as channel:
        raw = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        assert await talk.code(raw(iter([b"\xff\xff"]))) == "INVALID_ARGUMENT"


async def test_a_taken_port_is_said(talk: Talk) -> None:
    """A second service on the same port is an OSError that names the port."""
    port = int(talk.service.address.rpartition(":")[2])
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
        await SimService(ServiceSpec(port=port)).start()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--status", "SAD"], "--status: 'SAD' is not one of CANCELLED, "),
        (["--latency", "5"], "--latency: '5' is not a duration"),
    ],
)
def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str], typed: list[str], said: str) -> None:
    """An impossible fault is refused with status 2 and a sentence."""
    assert main(["sim", "service", *typed]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["-m", "edge", "sim", "service", "--name", "sim-g", "--status", "unavailable"], "UNAVAILABLE"),
        (["-m", "edge.sim.service", '{"name": "sim-g"}'], "OK"),
    ],
)
async def test_as_a_process(command: list[str], code: str) -> None:
    """Both ways to start the service print its address; one ends by a signal, the other with its parent."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    line = (await process.stdout.readline()).decode()
    address = json.loads(line)["address"] if line.startswith("{") else line.split()[-1]
    async with grpc.aio.insecure_channel(address) as channel:
        greeter: Any = helloworld_pb2_grpc.GreeterStub(channel)
        assert (await greeter.SayHello(HELLO).code()).name == code
    if code == "OK":
        process.stdin.close()
    else:
        process.terminate()
    assert await process.wait() == 0
