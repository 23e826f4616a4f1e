"""Metrics reach a collector unchanged; an absent, slow or refusing collector does no harm."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import grpc.aio
import pytest
from aiohttp import web
from collector import OverGrpc, OverHttp
from nodes import CHAT, KEY, RunningNode, chat_config
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FAST = Pace(ttft_s=0.0, tps=0.0, tokens=4)
REQUESTS = 20


class Taken:
    """Common part of both collectors: the newest value of each point."""

    url = ""

    def __init__(self, *, wait_s: float = 0.0, refuse: bool = False) -> None:
        self.wait_s = wait_s
        self.refuse = refuse
        self.pages = 0
        self.fields: Mapping[str, str] = {}
        self.points: dict[tuple[str, str], Any] = {}
        self.resource: dict[str, str] = {}

    def keep(self, request: metrics_service_pb2.ExportMetricsServiceRequest, fields: Mapping[str, str]) -> None:
        """Keep a page."""
        self.pages += 1
        self.fields = fields
        for group in request.resource_metrics:
            self.resource = {pair.key: pair.value.string_value for pair in group.resource.attributes}
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    first = next((pair.value.string_value for pair in point.attributes if pair.value.string_value), "")
                    self.points[metric.name, first] = point

    async def until(self, name: str, label: str, count: int) -> Any:
        """Wait until a point has this count or value."""
        end = time.monotonic() + 60
        while True:
            point = self.points.get((name, label))
            if point is not None and count == (point.count if hasattr(point, "count") else point.as_int):
                return point
            assert time.monotonic() < end, (self.pages, point)
            await asyncio.sleep(0.05)


class MetricsOverGrpc(OverGrpc, Taken, metrics_service_pb2_grpc.MetricsServiceServicer):
    """A collector over gRPC on a free port."""

    async def Export(  # noqa: N802 - the protocol's name
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: grpc.aio.ServicerContext
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Take a page."""
        await asyncio.sleep(self.wait_s)
        if self.refuse:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no metrics here")
        self.keep(request, {name: str(value) for name, value in context.invocation_metadata() or ()})
        return metrics_service_pb2.ExportMetricsServiceResponse()

    add_to_server = staticmethod(metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server)


class MetricsOverHttp(OverHttp, Taken):
    """A collector over HTTP on a free port, at ``/v1/metrics``."""

    async def take(self, body: bytes, fields: Mapping[str, str]) -> web.Response:
        """Take a page."""
        self.keep(metrics_service_pb2.ExportMetricsServiceRequest.FromString(body), fields)
        answer = metrics_service_pb2.ExportMetricsServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    path = "/v1/metrics"


def config(provider: SimProvider, url: str, protocol: str) -> dict[str, Any]:
    """Return a configuration of one model, and a collector for metrics only."""
    telemetry = {"otlp": url, "protocol": protocol, "metrics": True, "metrics_every": "1s", "sample": "0%"}
    return {
        **chat_config(provider.url),
        "node": {"region": "eu-test", "name": "node-7"},
        "telemetry": {**telemetry, "headers": {"x-tenant": "${TENANT}"}},
    }


async def ask(node: RunningNode, count: int) -> None:
    """Send this many requests; every answer is good."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
        for _ in range(count):
            async with client.post(f"{node.url}/v1/chat/completions", json=CHAT) as answer:
                assert answer.status == 200, await answer.text()


@pytest.mark.parametrize(("kind", "protocol"), [(MetricsOverGrpc, "grpc"), (MetricsOverHttp, "http")])
async def test_counts_reach_a_collector(
    tmp_path: Path, kind: type[MetricsOverGrpc | MetricsOverHttp], protocol: str
) -> None:
    """Requests, durations and the node's name arrive under OpenTelemetry's names, with the configured fields."""
    async with SimProvider(ProviderSpec(name="p0", pace=FAST, key=KEY)) as provider, kind() as collector:
        environ = {"TENANT": "tenant-0123456789"}
        async with RunningNode(tmp_path, config(provider, collector.url, protocol), environ=environ) as node:
            await ask(node, REQUESTS)
            point = await collector.until("http.server.request.duration", "chat", REQUESTS)
            assert sum(point.bucket_counts) == REQUESTS
            assert 0 < point.sum < 60
            assert point.start_time_unix_nano < point.time_unix_nano
            await collector.until("gen_ai.client.operation.duration", "p0/sim-small", REQUESTS)
            await collector.until("edge.requests", "chat", REQUESTS)
            assert collector.resource["service.name"] == "edge"
            assert collector.resource["service.instance.id"] == "eu-test/node-7"
            assert collector.fields["x-tenant"] == "tenant-0123456789"
            assert "tenant-0123456789" not in node.log()


@pytest.mark.parametrize("fault", ["dead", "slow", "refusing"])
async def test_a_bad_collector_harms_nothing(tmp_path: Path, fault: str) -> None:
    """Requests and operators are answered at once, the failure is counted and logged once, and the stop is fast."""
    async with (
        SimProvider(ProviderSpec(name="p0", pace=FAST, key=KEY)) as provider,
        MetricsOverGrpc(wait_s=30.0 if fault == "slow" else 0.0, refuse=fault == "refusing") as collector,
    ):
        url = "http://127.0.0.1:9" if fault == "dead" else collector.url
        async with RunningNode(
            tmp_path, config(provider, url, "grpc"), "--workers", "1", environ={"TENANT": "tenant-0123456789"}
        ) as node:
            await ask(node, REQUESTS)
            end = time.monotonic() + 60
            failed = 0.0
            while not failed:
                assert time.monotonic() < end, node.log()
                begun = time.monotonic()
                _, text = await node.get("/metrics")
                assert time.monotonic() - begun < 10.0
                lines = [line for line in text.splitlines() if "metrics_exported_total{result=" in line]
                failed = next((float(line.split()[-1]) for line in lines if '"failed"' in line), 0.0)
                await asyncio.sleep(0.1)
            await ask(node, REQUESTS)
            said = [line for line in node.lines() if line["message"] == "the collector does not accept metrics"]
            assert len(said) == 1
            node.tell(signal.SIGTERM)
            assert await node.status(25) == 0
