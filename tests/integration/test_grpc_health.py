"""A gRPC service that says NOT_SERVING gets nothing until it says otherwise; one without the service is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from edge import clock
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.control.health import PERIOD_NS, HealthChecks
from edge.native import Board, Outcome
from edge.routing.planner import capacities

if TYPE_CHECKING:
    from edge.terms.snapshot import Target


async def settle(checks: HealthChecks, board: Board, target: Target, *, out: bool) -> bool:
    """Tend with a clock that runs ahead until the target is as wanted; False if it never is."""
    for turn in range(60):
        checks.tend([target], clock.now_ns() + turn * PERIOD_NS, lambda: 0.0)
        await clock.sleep(0.05)
        view = board.read_target(target.slot, clock.now_ns())
        if (view["out_until_ns"] > clock.now_ns()) == out:
            return True
    return False


@pytest.mark.parametrize("has_health", [True, False])
async def test_health(has_health: bool) -> None:
    """NOT_SERVING takes the target out, SERVING and a missing health service leave it in."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    if has_health:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['127.0.0.1:{port}']}}}}"
    snapshot = compile_config(checked(read_text(text, "test", None, {})), now=clock.wall())
    board = Board.create(*capacities(snapshot), 1)
    target = snapshot.targets[0]
    checks = HealthChecks(board)
    try:
        if has_health:
            await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            assert await settle(checks, board, target, out=True)
            assert board.read_target(target.slot, clock.now_ns())["out_reason"] == Outcome.FAIL_STATUS
            await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        assert await settle(checks, board, target, out=False)
        await clock.sleep(0.2)
        assert board.read_target(target.slot, clock.now_ns())["out_until_ns"] <= clock.now_ns()
    finally:
        await checks.stop()
        await server.stop(None)
