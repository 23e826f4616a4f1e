"""A gRPC service that reports NOT_SERVING gets no traffic; a service without health checks is trusted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from edge import clock
from edge.config.load import read_text
from edge.control import health as checking
from edge.control.compose import checked, compile_config
from edge.control.health import PERIOD_NS, HealthChecks
from edge.native import Outcome, SharedState
from edge.routing.planner import capacities

if TYPE_CHECKING:
    from pathlib import Path

    from edge.terms.snapshot import Snapshot, Target


async def settle(checks: HealthChecks, shared_state: SharedState, target: Target, *, out: bool) -> bool:
    """Advance a clock until the target is as wanted; return False if it never is."""
    for turn in range(300):
        checks.tend([target], clock.now_ns() + turn * PERIOD_NS, lambda: 0.0)
        await clock.sleep(0.05)
        view = shared_state.read_target(target.slot, clock.now_ns())
        if (view["quarantined_until_ns"] > clock.now_ns()) == out:
            return True
    return False


def compiled(port: int, tls: str = "", previous: Snapshot | None = None) -> Snapshot:
    """Return the Snapshot of a node with one gRPC service, on a port of this machine."""
    text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['127.0.0.1:{port}']{tls}}}}}"
    return compile_config(checked(read_text(text, "test", None, {})), now=clock.wall(), previous=previous)


@pytest.mark.parametrize("has_health", [True, False])
async def test_health(has_health: bool) -> None:
    """NOT_SERVING quarantines the target; SERVING and a missing health service do not."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    if has_health:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    snapshot = compiled(port)
    shared_state = SharedState.create(*capacities(snapshot), 1)
    target = snapshot.targets[0]
    checks = HealthChecks(shared_state)
    try:
        if has_health:
            await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            assert await settle(checks, shared_state, target, out=True)
            assert shared_state.read_target(target.slot, clock.now_ns())["quarantine_reason"] == Outcome.FAIL_STATUS
            await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        assert await settle(checks, shared_state, target, out=False)
        await clock.sleep(0.2)
        assert shared_state.read_target(target.slot, clock.now_ns())["quarantined_until_ns"] <= clock.now_ns()
    finally:
        await checks.stop()
        await server.stop(None)


async def serving(status: int, port: int = 0, identity: trustme.LeafCert | None = None) -> tuple[grpc.aio.Server, int]:
    """Return a server that reports this health, and its port."""
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    await servicer.set("", status)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if identity is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        chain = b"".join(each.bytes() for each in identity.cert_chain_pems)
        credentials = grpc.ssl_server_credentials([(identity.private_key_pem.bytes(), chain)])
        port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    return server, port


async def test_no_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Health checks of an internal service do not use a proxy from the environment."""
    asked = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(200))
        writer.close()

    listener = await asyncio.start_server(proxy, "127.0.0.1", 0)
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    server, port = await serving(health_pb2.HealthCheckResponse.NOT_SERVING)
    snapshot = compiled(port)
    shared_state = SharedState.create(*capacities(snapshot), 1)
    checks = HealthChecks(shared_state)
    try:
        assert await settle(checks, shared_state, snapshot.targets[0], out=True)
        assert asked == []
    finally:
        await checks.stop()
        await server.stop(None)
        listener.close()


async def test_a_reload_changes_how_a_service_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload a service is checked with the new certificate settings, and the old channel is closed."""
    tls, identities, made, make = [], [], [], checking.open_channel

    def noted(target: Target) -> grpc.aio.Channel:
        made.append(make(target))
        return made[-1]

    monkeypatch.setattr(checking, "open_channel", noted)
    for name in ("one", "two"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / name)
        identities.append(authority.issue_cert(f"{name}.test"))
        tls.append(f", tls: {{ca: '{tmp_path / name}', server_name: {name}.test}}")
    before, port = await serving(health_pb2.HealthCheckResponse.SERVING, identity=identities[0])
    snapshot = compiled(port, tls[0])
    shared_state = SharedState.create(*capacities(snapshot), 1)
    checks = HealthChecks(shared_state)
    after = None
    try:
        assert await settle(checks, shared_state, snapshot.targets[0], out=False)
        await before.stop(None)
        after, _ = await serving(health_pb2.HealthCheckResponse.NOT_SERVING, port, identities[1])
        snapshot = compiled(port, tls[1], snapshot)
        assert await settle(checks, shared_state, snapshot.targets[0], out=True)
        assert [channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN for channel in made] == [True, False]
    finally:
        await checks.stop()
        if after is not None:
            await after.stop(None)


@pytest.mark.parametrize("known", [True, False])
async def test_a_target_is_asked_for_its_service(known: bool) -> None:
    """What the server says of the service counts, not what it says of itself; unless it does not know the service."""
    states = health_pb2.HealthCheckResponse
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    await servicer.set("", states.SERVING if known else states.NOT_SERVING)
    if known:
        await servicer.set("a.B", states.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    snapshot = compiled(port)
    shared_state = SharedState.create(*capacities(snapshot), 1)
    checks = HealthChecks(shared_state)
    try:
        assert await settle(checks, shared_state, snapshot.targets[0], out=True)
        await servicer.set("a.B" if known else "", states.SERVING)
        assert await settle(checks, shared_state, snapshot.targets[0], out=False)
    finally:
        await checks.stop()
        await server.stop(None)
