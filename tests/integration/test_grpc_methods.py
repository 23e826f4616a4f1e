"""Methods of a gRPC service have their own retries and deadlines, and other protocols of the same service pass."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from h2peer import Call, Upstream
from one_data_plane import one_data_plane

from edge import clock
from edge.listen.calls import INFERENCE
from edge.native import Outcome
from edge.sim.service import ServiceSpec, SimService
from edge.sim.wire import refused_port
from native.codec.grpc import frame_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LISTEN = '\nlisten: [{address: "127.0.0.1:0"}]\n'
_S = 1_000_000_000


def answering(wait_s: dict[str, float]) -> Callable[[Call], Awaitable[None]]:
    """Return a server that answers each method after its own time."""

    async def answer(call: Call) -> None:
        message = await call.body()
        await asyncio.sleep(wait_s.get((call.field(":path") or "").rpartition("/")[2], 0))
        await call.head(200, ("content-type", "application/grpc"))
        await call.data(message)
        await call.end(("grpc-status", "0"))

    return answer


async def test_a_deadline_per_try_and_retries_per_method() -> None:
    """A method that is idempotent is tried elsewhere after its first_byte; others fail then, or wait for an answer."""
    slow, quick = answering({"Quick": 5, "Slow": 5, "Long": 0.4}), answering({})
    async with Upstream(slow) as first, Upstream(quick) as second:
        targets = f"targets: ['{first.address}', {{target: '{second.address}', tier: 2}}]"
        text = f"""
services:
  quick: {{match: {{grpc: a.B/Quick}}, {targets}, timeouts: {{first_byte: 100ms}}, retry: {{idempotent: true}}}}
  slow: {{match: {{grpc: a.B/Slow}}, {targets}, timeouts: {{first_byte: 100ms}}}}
  rest: {{match: {{grpc: a.B}}, {targets}}}
{LISTEN}"""
        async with one_data_plane(text) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                for _ in range(2):
                    call = channel.unary_unary("/a.B/Quick")(b"hello", timeout=4)
                    assert await call == b"hello"
                    fields = dict(await call.initial_metadata())
                    assert (fields["x-edge-attempts"], fields["x-edge-target"]) == ("2", f"quick/{second.address}")
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await channel.unary_unary("/a.B/Slow")(b"hello", timeout=4)
                assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                call = channel.unary_unary("/a.B/Long")(b"hello", timeout=4)
                assert await call == b"hello"
                assert dict(await call.initial_metadata())["x-edge-target"] == f"rest/{first.address}"


async def test_a_method_that_is_not_tried_again() -> None:
    """attempts: 1 for a method leaves UNAVAILABLE to its caller; the other methods are tried elsewhere."""

    async def refuse(call: Call) -> None:
        await call.body()
        await call.head(200, ("content-type", "application/grpc"), ("grpc-status", "14"), end=True)

    async with Upstream(refuse) as first, Upstream(answering({})) as second:
        targets = f"targets: ['{first.address}', {{target: '{second.address}', tier: 2}}]"
        text = f"""
services:
  once: {{match: {{grpc: a.B/Once}}, {targets}, retry: {{attempts: 1}}}}
  rest: {{match: {{grpc: a.B}}, {targets}}}
{LISTEN}"""
        async with one_data_plane(text) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                assert await channel.unary_unary("/a.B/Other")(b"hello", timeout=4) == b"hello"
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await channel.unary_unary("/a.B/Once")(b"hello", timeout=4)
                assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_health_of_a_service_behind_edge() -> None:
    """Its name is SERVING while one of its targets is in rotation; edge itself is SERVING all the time."""
    states = health_pb2.HealthCheckResponse
    text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['127.0.0.1:9', '127.0.0.1:10']}}}}{LISTEN}"
    async with one_data_plane(text) as data_plane:
        slots = [target.slot for target in data_plane.snapshot.targets]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            for out in range(3):
                told = await check(health_pb2.HealthCheckRequest(service="a.B"), timeout=10)
                assert told.status == (states.SERVING if out < 2 else states.NOT_SERVING)
                for slot in slots[out : out + 1]:
                    until_ns = clock.now_ns() + 60 * _S
                    data_plane.shared_state.set_quarantine(slot, Outcome.FAIL_STATUS, until_ns)
            assert (await check(health_pb2.HealthCheckRequest(), timeout=10)).status == states.SERVING


async def test_an_open_circuit_is_not_serving() -> None:
    """A service whose only target's circuit is open is NOT_SERVING."""
    states = health_pb2.HealthCheckResponse
    with refused_port() as port:
        breaker = "breaker: {consecutive_failures: 1, open_duration: 60s, open_duration_max: 60s}"
        text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['127.0.0.1:{port}'], {breaker}}}}}{LISTEN}"
        async with one_data_plane(text) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                check = health_pb2_grpc.HealthStub(channel).Check
                asked = health_pb2.HealthCheckRequest(service="a.B")
                assert (await check(asked, timeout=10)).status == states.SERVING
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary("/a.B/Call")(b"", timeout=10)
                assert (await check(asked, timeout=10)).status == states.NOT_SERVING


@pytest.mark.parametrize("routed", [True, False])
async def test_reflection_of_a_service_behind_edge(routed: bool) -> None:
    """A service that names reflection in its match answers it; else edge tells of its own services."""
    async with SimService(ServiceSpec()) as sim:
        target = f"targets: ['{sim.address}']"
        reflection = f"reflection: {{match: {{grpc: grpc.reflection.v1alpha.ServerReflection}}, {target}}}"
        text = (
            f"services: {{g: {{match: {{grpc: helloworld.Greeter}}, {target}}}{f', {reflection}' if routed else ''}}}"
        )
        async with one_data_plane(text + LISTEN) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                stub = reflection_pb2_grpc.ServerReflectionStub(channel)
                asked = reflection_pb2.ServerReflectionRequest(list_services="")
                answers = [answer async for answer in stub.ServerReflectionInfo(iter([asked]), timeout=10)]
    listed = {each.name for each in answers[0].list_services_response.service}
    assert ("helloworld.Greeter" in listed, INFERENCE in listed) == (routed, not routed)


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "application/proto", "application/connect+proto"])
async def test_the_connect_protocol_passes(http2: bool, kind: str) -> None:
    """A call of Connect reaches the service as it is, and its answer, also an error, comes back as it is."""
    envelope = frame_message(b"hello") + b"\x02\x00\x00\x00\x02{}"

    async def answer(call: Call) -> None:
        body = await call.body()
        if body == b"fail":
            failure = json.dumps({"code": "not_found", "message": "no such thing"}).encode()
            await call.head(404, ("content-type", "application/json"))
            await call.data(failure, end=True)
            return
        told = [(name, call.field(name) or "") for name in ("connect-protocol-version", "connect-timeout-ms")]
        await call.head(200, ("content-type", call.field("content-type") or ""), *told)
        await call.data(body, end=True)

    async with Upstream(answer) as upstream:
        text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['{upstream.address}']}}}}{LISTEN}"
        async with (
            one_data_plane(text) as data_plane,
            httpx.AsyncClient(base_url=data_plane.url, http1=not http2, http2=http2) as client,
        ):
            fields = {"content-type": kind, "connect-protocol-version": "1", "connect-timeout-ms": "5000"}
            body = envelope if "connect+" in kind else b"{}"
            told = await client.post("/a.B/Call", content=body, headers=fields)
            assert (told.status_code, told.content, told.headers["content-type"]) == (200, body, kind)
            assert (told.headers["connect-protocol-version"], told.headers["connect-timeout-ms"]) == ("1", "5000")
            told = await client.post("/a.B/Call", content=b"fail", headers=fields)
            assert (told.status_code, told.json()["code"]) == (404, "not_found")
