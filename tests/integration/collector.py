"""Two real OTLP collectors for tests, one over gRPC and one over HTTP, that keep everything they receive.

The collectors use the messages and services of opentelemetry-proto, so any collector can read what they can read. Each
can be told to refuse or to be slow.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from aiohttp import web
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire
from opentelemetry.proto.trace.v1.trace_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue


class Span(Struct, frozen=True):
    """A span as plain data; ids in hex, times in Unix nanoseconds."""

    name: str
    kind: str  # SERVER, CLIENT
    trace: str
    id: str
    parent: str
    start: int
    end: int
    error: bool
    message: str
    attributes: dict[str, Any]
    events: tuple[str, ...]
    links: tuple[str, ...]
    resource: dict[str, Any]


class Received:
    """Common part of both collectors: ``spans``, and how to wait for them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metadata: list[dict[str, str]] = []
        self.refuse = False
        self.wait_s = 0.0

    def keep(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Keep the spans of one export."""
        for group in request.resource_spans:
            facts = {pair.key: _plain(pair.value) for pair in group.resource.attributes}
            self.spans += [_span(span, facts) for scope in group.scope_spans for span in scope.spans]

    async def until(self, count: int, limit_s: float = 40.0) -> list[Span]:
        """Wait for this many spans; return them in the order of their start."""
        async with asyncio.timeout(limit_s):
            while len(self.spans) < count:  # noqa: ASYNC110 - filled by a server
                await asyncio.sleep(0.02)
        return sorted(self.spans, key=lambda span: (span.start, span.kind != "SERVER"))


class OverGrpc:
    """Serves a collector's gRPC service on a free port while entered: ``async with collector: collector.url``."""

    add_to_server: Callable[[Any, grpc.aio.Server], None]

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self.add_to_server(self, self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)


class OverHttp:
    """Serves a collector's ``path`` on a free port while entered; bodies are unpacked for :meth:`take`."""

    path: str

    async def take(self, body: bytes, fields: Mapping[str, str]) -> web.Response:
        """Answer one export; ``fields`` has lower-case names."""
        raise NotImplementedError

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        return await self.take(body, {name.lower(): value for name, value in request.headers.items()})

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post(self.path, self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


class GrpcCollector(OverGrpc, Received, trace_service_pb2_grpc.TraceServiceServicer):
    """OTLP over gRPC on a free port: ``async with GrpcCollector() as collector: collector.url``."""

    async def Export(  # noqa: N802 - the protocol's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.aio.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take one export."""
        await asyncio.sleep(self.wait_s)
        if self.refuse:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not today")
        self.metadata.append({name: str(value) for name, value in context.invocation_metadata() or ()})
        self.keep(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    add_to_server = staticmethod(trace_service_pb2_grpc.add_TraceServiceServicer_to_server)


class HttpCollector(OverHttp, Received):
    """OTLP over HTTP with protobuf bodies, on a free port, at ``/v1/traces``."""

    async def take(self, body: bytes, fields: Mapping[str, str]) -> web.Response:
        """Take one export."""
        await asyncio.sleep(self.wait_s)
        if self.refuse:
            return web.Response(status=403)
        self.metadata.append(dict(fields))
        self.keep(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
        return web.Response(
            body=trace_service_pb2.ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    path = "/v1/traces"


def _span(span: Wire, facts: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=Wire.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        error=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
        attributes={pair.key: _plain(pair.value) for pair in span.attributes},
        events=tuple(event.name for event in span.events),
        links=tuple(f"{link.trace_id.hex()}-{link.span_id.hex()}" for link in span.links),
        resource=facts,
    )


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
