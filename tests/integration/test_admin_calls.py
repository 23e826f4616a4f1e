"""Operators control a node over gRPC at the admin address, with the same token as over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from nodes import RunningNode, chat_config

from edge.admin.calls import MOST_WATCHES
from edge.sim.provider import ProviderSpec, SimProvider
from edge.wire.edge.v1 import admin_pb2, admin_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "operators-only"
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED


async def call_with(address: str, authorization: bytes) -> bytes:
    """Call with malformed metadata; return everything up to the trailers."""
    call = H2Connection(H2Configuration(header_encoding=None, validate_outbound_headers=False))
    call.initiate_connection()
    fields = {":method": "POST", ":scheme": "http", ":path": "/edge.v1.Admin/Status", ":authority": "x"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    call.send_headers(1, [*((n.encode(), v.encode()) for n, v in fields.items()), (b"authorization", authorization)])
    call.send_data(1, bytes(5), end_stream=True)
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(call.data_to_send())
            answer = b""
            while b"grpc-message" not in answer and (more := await reader.read(65536)):
                answer += more
        finally:
            writer.close()
    return answer


async def test_streams_that_watch_are_bounded(tmp_path: Path) -> None:
    """Whoever reaches the address can keep control busy with so many streams, and no probe is refused for them."""
    async with SimProvider(ProviderSpec(name="p0")) as provider:
        config = {**chat_config(provider.base_url), "admin": {"address": "127.0.0.1:0", "token": TOKEN}}
        async with RunningNode(tmp_path, config) as node:
            async with grpc.aio.insecure_channel(node.ready["admin"].removeprefix("http://")) as channel:
                health, asked = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
                watches = [health.Watch(asked, timeout=60) for _ in range(MOST_WATCHES)]
                for watch in watches:
                    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await health.Watch(asked, timeout=20).read()
                assert refused.value.code() is REFUSED
                probe = await health.Check(asked, timeout=20)
                assert probe.status == health_pb2.HealthCheckResponse.SERVING
                watches[0].cancel()
                async with asyncio.timeout(20):
                    while (await _code_of(health.Watch(asked, timeout=20))) is REFUSED:  # noqa: ASYNC110 - as it says
                        await asyncio.sleep(0.05)  # until the node has noticed


async def _code_of(watch: grpc.aio.UnaryStreamCall[Any, Any]) -> grpc.StatusCode:
    """Return how a stream begins: OK, or the code that refuses it; it is closed at once."""
    try:
        await watch.read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    watch.cancel()
    return grpc.StatusCode.OK


async def test_admin(tmp_path: Path) -> None:
    """Status, drain with a reason, watch, restore, reload, health and reflection work, with HTTP beside them."""
    async with SimProvider(ProviderSpec(name="p0")) as provider:
        config = {**chat_config(provider.base_url), "admin": {"address": "127.0.0.1:0", "token": TOKEN}}
        config["models"]["spare"] = {"targets": [{"target": "p0/sim-small", "tier": 3, "weight": 0.5}]}
        async with RunningNode(tmp_path, config) as node:
            address = node.ready["admin"].removeprefix("http://")
            bearer = (("authorization", f"Bearer {TOKEN}"),)
            async with grpc.aio.insecure_channel(address) as channel:
                stub = admin_pb2_grpc.AdminStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Status(admin_pb2.StatusRequest(), timeout=20)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
                assert health.status == health_pb2.HealthCheckResponse.SERVING
                status = await stub.Status(admin_pb2.StatusRequest(), timeout=5, metadata=bearer)
                assert status.ready
                name = status.targets[0].id
                assert status.targets[0].state == admin_pb2.TARGET_STATE_USABLE
                routes = {route.route: (route.tier, route.weight, route.state) for route in status.targets[0].routes}
                assert routes["chat"] == (1, 1.0, admin_pb2.TARGET_STATE_USABLE)
                assert routes["spare"] == (3, 0.5, admin_pb2.TARGET_STATE_USABLE)
                watch = stub.WatchVerdicts(admin_pb2.WatchVerdictsRequest(targets=[name]), metadata=bearer)
                assert (await watch.read()).now == admin_pb2.TARGET_STATE_USABLE
                named = (*bearer, ("x-edge-operator", "Zo%C3%AB"))
                drained = await stub.Drain(
                    admin_pb2.DrainRequest(target=name, reason="a bill"), timeout=5, metadata=named
                )
                assert drained.target.state == admin_pb2.TARGET_STATE_MANUAL
                assert "a bill" in drained.target.why
                verdict = await watch.read()
                assert (verdict.was, verdict.now) == (admin_pb2.TARGET_STATE_USABLE, admin_pb2.TARGET_STATE_MANUAL)
                watch.cancel()
                restored = await stub.Restore(admin_pb2.RestoreRequest(target=name), timeout=5, metadata=bearer)
                assert restored.target.state == admin_pb2.TARGET_STATE_USABLE
                for request, code in (
                    (admin_pb2.EjectRequest(target="no/such", reason="x"), grpc.StatusCode.NOT_FOUND),
                    (admin_pb2.EjectRequest(target=name), grpc.StatusCode.INVALID_ARGUMENT),
                ):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await stub.Eject(request, timeout=5, metadata=bearer)
                    assert caught.value.code() is code
                assert not (await stub.Reload(admin_pb2.ReloadRequest(), timeout=5, metadata=bearer)).changed
                listed = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
                told = [answer async for answer in listed(iter([b"\x3a\x00"]), timeout=5, metadata=bearer)]
                assert b"edge.v1.Admin" in told[0]
            assert [
                (each["what"], each["by"])
                for each in (await node.get("/api/actions", Authorization=f"Bearer {TOKEN}"))[1]
            ] == [
                ("drain", "Zoë"),
                ("restore", ""),
                ("reload", ""),
            ]
            async with aiohttp.ClientSession() as client:
                async with client.get(f"http://{address}/ready") as answer:
                    assert answer.status == 200
                async with client.get(f"http://{address}/api/targets") as answer:
                    assert answer.status == 401
            assert b"admin.token" in await call_with(address, b"Bearer sekret-of-others\xff")
            assert "sekret-of-others" not in node.log(), "anyone could write that there, a token included"
