"""A request is a single trace from the caller through every edge and attempt to the target, in a real collector."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from collector import GrpcCollector, HttpCollector, Span
from jaeger import BINARY, Jaeger
from nodes import RunningNode, chat_config

from edge.sim.wire import refused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.sim.provider import SimProvider

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PEERS = "peers-of-this-test-0123"
CALLER = f"00-{TRACE}-{SPAN}-01"
IN_JAEGER = pytest.param(
    Jaeger,
    marks=pytest.mark.skipif(BINARY is None, reason="no Jaeger here: put it on PATH or name its binary by JAEGER_BIN"),
)


def node_of(folder: Path, name: str, config: dict[str, Any], **telemetry: Any) -> RunningNode:
    """A node with one worker, in a region of that name."""
    (folder / name).mkdir()
    whole = {
        **config,
        "telemetry": {"sample": "100%", **telemetry},
        "node": {"region": name, "name": name, "workers": 1},
    }
    return RunningNode(folder / name, whole)


def assert_within(inner: Span, outer: Span) -> None:
    """Assert that a span lies within another, with a tolerance for clocks."""
    assert outer.start - 2_000_000 <= inner.start <= inner.end <= outer.end + 2_000_000


@pytest.mark.parametrize("kind", [GrpcCollector, HttpCollector, IN_JAEGER], ids=["grpc", "http", "jaeger"])
async def test_the_tree(
    tmp_path: Path, provider: SimProvider, kind: type[GrpcCollector | HttpCollector | Jaeger]
) -> None:
    """A failed attempt, a failover and a hop to another region give exactly the expected spans."""
    protocol = "http" if kind is HttpCollector else "grpc"
    async with kind() as collector:
        with refused_port() as port:
            over = {"otlp": collector.url, "protocol": protocol, "headers": {"X-Token": "collector-token-1"}}
            far = {**chat_config(provider.url), "peers": {"token": PEERS}}
            async with node_of(tmp_path, "us", far, **over) as us:
                near = chat_config(f"http://127.0.0.1:{port}")
                regions = [{"region": "us", "addresses": [us.url.removeprefix("http://")]}]
                near["peers"] = {"token": PEERS, "nodes": regions}
                async with node_of(tmp_path, "eu", near, **over) as eu:
                    before_ns = time.time_ns()
                    answer = await eu.ask({"traceparent": CALLER, "tracestate": "vendor=1", "baggage": "who=me"})
                    after_ns = time.time_ns()
                    assert answer.status == 200
                    spans = await collector.until(5)
    server, failed, hop, far_server, last = spans
    assert [span.trace for span in spans] == [TRACE] * 5
    assert [span.kind for span in spans] == ["SERVER", "CLIENT", "CLIENT", "SERVER", "CLIENT"]
    assert [span.parent for span in spans] == [SPAN, server.id, server.id, hop.id, far_server.id]
    assert [span.error for span in spans] == [False, True, False, False, False]
    assert len({span.id for span in spans}) == 5
    assert [span.resource["edge.region"] for span in spans] == ["eu", "eu", "eu", "us", "us"]
    assert {span.resource["service.name"] for span in spans} == {"edge"}
    assert before_ns - 2_000_000 <= server.start
    assert server.end <= after_ns + 2_000_000
    for inner, outer in ((failed, server), (hop, server), (far_server, hop), (last, far_server)):
        assert_within(inner, outer)
    assert failed.end <= hop.start
    assert server.name == "POST /v1/chat/completions"
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["edge.request_id"] == answer.headers["x-edge-request-id"]
    assert failed.attributes["error.type"] == "fail_connect"
    assert failed.attributes["server.port"] == port
    assert "http.request.resend_count" not in failed.attributes
    assert hop.attributes["http.request.resend_count"] == 1
    assert hop.attributes["edge.target.kind"] == "region"
    assert far_server.attributes["edge.hops"] == 1
    assert last.name == "chat sim-small"
    assert last.attributes["gen_ai.operation.name"] == "chat"
    assert last.attributes["gen_ai.request.model"] == "sim-small"
    assert last.attributes["server.port"] == int(provider.url.rpartition(":")[2])
    assert all(fields["x-token"] == "collector-token-1" for fields in collector.metadata)


class Echo(grpc.GenericRpcHandler):
    """Sends every message back as it arrives."""

    def __init__(self) -> None:
        self.traceparents: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Serve one bidirectional method."""
        if details.method != "/test.Echo/Talk":
            return None
        return grpc.stream_stream_rpc_method_handler(self.talk)

    async def talk(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """Echo the messages."""
        self.traceparents += [str(v) for k, v in context.invocation_metadata() or () if k == "traceparent"]
        async for message in messages:
            yield message


@pytest.mark.parametrize("kind", [GrpcCollector, IN_JAEGER], ids=["collector", "jaeger"])
async def test_the_tree_of_a_bidirectional_call(tmp_path: Path, kind: type[GrpcCollector | Jaeger]) -> None:
    """The same for bidirectional gRPC: one trace over two edges, down to the service's metadata."""
    echo = Echo()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((echo,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()

    def service(*targets: str) -> dict[str, Any]:
        tiers = [{"target": target, "tier": tier} for tier, target in enumerate(targets, 1)]
        return {"services": {"echo": {"match": {"grpc": "test.Echo"}, "targets": tiers}}}

    async def words() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, 0)
        collector = await stack.enter_async_context(kind())
        port = stack.enter_context(refused_port())
        us = await stack.enter_async_context(node_of(tmp_path, "us", service(address), otlp=collector.url))
        targets = (f"127.0.0.1:{port}", us.url.removeprefix("http://"))
        eu = await stack.enter_async_context(node_of(tmp_path, "eu", service(*targets), otlp=collector.url))
        async with grpc.aio.insecure_channel(eu.url.removeprefix("http://")) as channel:
            talk = channel.stream_stream("/test.Echo/Talk")
            said = [word async for word in talk(words(), metadata=(("traceparent", CALLER),), timeout=10)]
        assert said == [b"0", b"1", b"2"]
        spans = await collector.until(5)
    near, failed, hop, far, last = spans
    assert [span.trace for span in spans] == [TRACE] * 5
    assert [span.kind for span in spans] == ["SERVER", "CLIENT", "CLIENT", "SERVER", "CLIENT"]
    assert [span.parent for span in spans] == [SPAN, near.id, near.id, hop.id, far.id]
    assert [span.error for span in spans] == [False, True, False, False, False]
    assert {span.name for span in spans} == {"test.Echo/Talk"}
    assert [span.attributes.get("rpc.response.status_code") for span in spans] == ["OK", None, "OK", "OK", "OK"]
    assert failed.attributes["error.type"] == "fail_connect"
    assert echo.traceparents == [f"00-{TRACE}-{last.id}-01"]
    for inner, outer in ((failed, near), (hop, near), (far, hop), (last, far)):
        assert_within(inner, outer)


async def test_variables_are_obeyed(tmp_path: Path, provider: SimProvider) -> None:
    """If the file names no collector, OpenTelemetry's variables name it, and the service."""
    async with HttpCollector() as collector:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-token=from-variable",
            "OTEL_SERVICE_NAME": "front-door",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        config = {**chat_config(provider.url), "telemetry": {"sample": "100%"}, "node": {"workers": 1}}
        async with RunningNode(tmp_path, config, environ=environ) as node:
            await node.ask()
            spans = await collector.until(2)
    assert spans[0].resource["service.name"] == "front-door"
    assert spans[0].resource["deployment.environment.name"] == "test"
    assert collector.metadata[0]["x-token"] == "from-variable"


async def test_reload_changes_the_collector(tmp_path: Path, provider: SimProvider) -> None:
    """A new collector, or none, applies from the reload on; earlier records go to the old one."""
    async with GrpcCollector() as first, HttpCollector() as second:
        config = chat_config(provider.url)
        async with node_of(tmp_path, "eu", config, otlp=first.url, protocol="grpc") as node:
            await node.ask()
            file = tmp_path / "eu" / "edge.yaml"
            text = file.read_text()
            file.write_text(text.replace(first.url, second.url).replace('"grpc"', '"http"'))
            status, _ = await node.send("POST", "/api/reload")
            assert status == 200
            await first.until(2)
            async with asyncio.timeout(60):
                while not second.spans:
                    await node.ask()
                    await asyncio.sleep(0.05)
            assert len(first.spans) == 2
            page = (await node.get("/metrics"))[1]
            assert 'edge_traces_exported_total{result="sent"}' in page


async def recorded(node: RunningNode, name: str) -> tuple[int, Any]:
    """Wait until control knows a request; return its report."""
    while True:
        status, told = await node.get(f"/api/traces/{name}")
        if status == 200:
            return status, told
        await asyncio.sleep(0.05)


async def test_a_request_can_be_told_of_without_a_collector(tmp_path: Path, provider: SimProvider) -> None:
    """An answer's request id finds its trace in a whole node; an unknown id is a 404."""
    with refused_port() as port:
        config = chat_config(f"http://127.0.0.1:{port}", provider.url)
        async with node_of(tmp_path, "eu", config, sample="0%") as node:
            answer = await node.ask()
            async with asyncio.timeout(60):
                _, told = await recorded(node, answer.headers["x-edge-request-id"])
            assert (await node.get("/api/traces/unknown"))[0] == 404
            assert (await node.get("/api/traces?last=x"))[0] == 400
            assert [one["request_id"] for one in (await node.get("/api/traces?wrong=1"))[1]] == [told["request_id"]]
    assert told["kept"] == "retried"
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["fail_connect", "ok"]
