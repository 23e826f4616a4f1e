"""Those who watch: a real Prometheus reads the metrics, and a real Jaeger shows a request."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import jaeger as real_jaeger
import yaml

from tests.interop.kit import free_port, go_tool, node, provider, run, running
from tests.interop.report import Case, MissingToolError
from tests.interop.wire_suites import MODEL, models

if TYPE_CHECKING:
    from pathlib import Path

    from nodes import RunningNode

PROMETHEUS: Final = "v0.308.0"
MODULE: Final = "github.com/prometheus/prometheus"


async def prometheus(folder: Path) -> list[Case]:
    """Let promtool judge the metrics, and a Prometheus scrape them: the one on PATH, else one that is built."""
    promtool = await go_tool("promtool", f"{MODULE}/cmd/promtool", MODULE, PROMETHEUS)
    program = shutil.which("prometheus") or await go_tool("prometheus", f"{MODULE}/cmd/prometheus", MODULE, PROMETHEUS)
    async with provider("--tps", "0", "--ttft", "0s") as address, node(folder, models(address)) as edge:
        await _ask(edge, 20)
        async with aiohttp.ClientSession() as client, client.get(f"{edge.admin}/metrics") as answer:
            text = await answer.read()
        judged = await run([promtool, "check", "metrics"], given=text)
        cases = [Case("promtool check metrics", judged.status == 0, detail=f"{judged.out} {judged.err}"[-600:])]
        cases.append(await _scraped(folder, program, edge))
    return cases


async def _scraped(folder: Path, program: str | Path, edge: RunningNode) -> Case:
    """Let a Prometheus scrape a node each second until it knows its requests."""
    port = free_port()
    file = folder / "prometheus.yml"
    target = edge.admin.removeprefix("http://")
    jobs = [{"job_name": "edge", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}]
    file.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    command = [str(program), f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    command.append(f"--storage.tsdb.path={folder / 'data'}")
    async with running(command, port), aiohttp.ClientSession() as client:
        query = f"http://127.0.0.1:{port}/api/v1/query?query=sum(edge_requests_total)"
        found: Any = None
        for _ in range(40):
            async with client.get(query) as answer:
                found = await answer.json() if answer.status == 200 else None
            if found and found["data"]["result"] and float(found["data"]["result"][0]["value"][1]) >= 20:
                return Case("scrape", passed=True)
            await asyncio.sleep(0.5)
    return Case("scrape", passed=False, detail=str(found))


async def jaeger(folder: Path) -> list[Case]:
    """Follow one request in Jaeger: its exchange and its attempt in one trace."""
    if real_jaeger.BINARY is None:
        raise MissingToolError("no Jaeger on PATH: name one by JAEGER_BIN")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with real_jaeger.Jaeger() as collector, provider("--tps", "0", "--ttft", "0s") as address:
        telemetry = {"telemetry": {"otlp": collector.url, "sample": "100%"}}
        async with node(folder, {**models(address), **telemetry}) as edge:
            await _ask(edge, 1, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
            spans = await collector.until(2)
    traced = [span for span in spans if span.trace == trace]
    return [Case("a request and its attempt are one trace", len(traced) >= 2, detail=str(spans)[:300])]


async def _ask(edge: RunningNode, times: int, **fields: str) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(times):
            async with client.post(f"{edge.url}/v1/chat/completions", json=MODEL, headers=fields) as answer:
                if answer.status != 200 or not re.search(rb"choices", await answer.read()):
                    raise MissingToolError(f"the simulated provider was not answered: {answer.status}")
