"""A real Jaeger for a test, version 1 or 2, read through its query API.

``async with Jaeger() as collector`` is used like the collectors of tests/integration/collector.py, and its spans look
the same, so that one test can ask all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import yaml
from collector import Span

BINARY: Final = os.environ.get("JAEGER_BIN") or shutil.which("jaeger") or shutil.which("jaeger-all-in-one")
"""Which Jaeger there is; None: none."""


class Jaeger:
    """A Jaeger that keeps spans in memory, on free loopback ports; ``url`` takes OTLP over gRPC."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str]] = []  # Jaeger does not tell what came beside the spans
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        assert BINARY is not None
        otlp, query = _free_ports(2)
        self.url, self._query = f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{query}"
        asked = await asyncio.create_subprocess_exec(BINARY, "--help", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        help_text = (await asked.communicate())[0].decode()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        if "--collector.otlp.grpc.host-port" in help_text:
            options = _first(help_text, otlp, query)
        else:
            file = Path(folder) / "jaeger.yaml"
            file.write_text(yaml.safe_dump(_second(otlp, query)))
            options = ["--config", str(file)]
        log = self._stack.enter_context((Path(folder) / "log").open("w+b"))
        process = await asyncio.create_subprocess_exec(BINARY, *options, stdout=log, stderr=log)
        self._stack.push_async_callback(_end, process)
        self._client = await self._stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while process.returncode is None:
                    if await self._ask("/api/services") is not None:
                        return self
                    await asyncio.sleep(0.1)
        log.seek(0)
        said = log.read()[-2000:].decode()
        await self._stack.aclose()
        raise RuntimeError(f"Jaeger does not answer: {said}")

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def until(self, count: int, limit_s: float = 30.0) -> list[Span]:
        """Wait for this many spans; return all in the order of their start."""
        async with asyncio.timeout(limit_s):
            while True:
                told = await self._ask("/api/traces?service=edge&lookback=1h&limit=100") or {}
                spans = [_span(span, trace["processes"]) for trace in told.get("data") or () for span in trace["spans"]]
                if len(spans) >= count:
                    return sorted(spans, key=lambda span: (span.start, span.kind != "SERVER"))
                await asyncio.sleep(0.2)

    async def _ask(self, path: str) -> Any:
        try:
            async with self._client.get(self._query + path) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, ValueError):
            return None


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in socks]


def _first(help_text: str, otlp: int, query: int) -> list[str]:
    """Return the options of version 1, with a free port for each of its ports."""
    ports = {"collector.otlp.grpc.host-port": otlp, "query.http-server.host-port": query}
    names = [word[2:] for word in help_text.split() if word.startswith("--") and word.endswith("host-port")]
    names = [name for name in names if not name.startswith(("reporter", "collector.zipkin"))]
    return [f"--{name}=127.0.0.1:{ports.get(name, 0)}" for name in names]


def _second(otlp: int, query: int) -> dict[str, Any]:
    """Return the configuration of version 2."""
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{query}"},
                "grpc": {"endpoint": "127.0.0.1:0"},
            },
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{otlp}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }


def _span(told: dict[str, Any], processes: dict[str, Any]) -> Span:
    tags = {tag["key"]: tag["value"] for tag in told["tags"]}
    process = processes[told["processID"]]
    parents = [reference["spanID"] for reference in told["references"] if reference["refType"] == "CHILD_OF"]
    begun_ns = told["startTime"] * 1000
    return Span(
        name=told["operationName"],
        kind=str(tags.pop("span.kind", "")).upper(),
        trace=told["traceID"],
        id=told["spanID"],
        parent=parents[0] if parents else "",
        start=begun_ns,
        end=begun_ns + told["duration"] * 1000,
        error=bool(tags.pop("error", False)),
        message=str(tags.pop("otel.status_description", "")),
        attributes=tags,
        events=tuple(field["value"] for log in told["logs"] for field in log["fields"] if field["key"] == "event"),
        links=(),
        resource={**{tag["key"]: tag["value"] for tag in process["tags"]}, "service.name": process["serviceName"]},
    )
