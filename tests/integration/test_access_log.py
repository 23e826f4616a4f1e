"""The access log: a failed request has a line with all that an operator needs, and the file selects the lines."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import msgspec
import pytest
from nodes import RunningNode, chat_config, quick_provider
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from soon import until

from edge.sim.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path


def lines(node: RunningNode) -> list[dict[str, Any]]:
    """Return the access log."""
    whole = node.log().rpartition("\n")[0]
    return [
        line
        for line in map(msgspec.json.decode, whole.splitlines())
        if line["message"] in ("request failed", "request")
    ]


async def reload(node: RunningNode, folder: Path, config: dict[str, Any]) -> None:
    """Apply another configuration."""
    (folder / "edge.yaml").write_bytes(msgspec.json.encode(config))
    status, said = await node.send("POST", "/api/reload")
    assert status == 200, said


async def test_a_failed_request_has_its_line(tmp_path: Path) -> None:
    """The line has the id that the client got, and every attempt with its outcome; off stops all lines at once."""
    async with quick_provider() as provider:
        # both must stand in every version of the file: they cannot change while it runs
        fixed = {"listen": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}
        config = {**fixed, **chat_config(provider.url, retry={"attempts": 2}), "telemetry": {"sample": "0%"}}
        async with RunningNode(tmp_path, config) as node:
            assert (await node.ask()).status == 200
            await provider.switch(Fault("error", status=500))
            answer = await node.ask()
            assert answer.status == 503
            await until(lambda: bool(lines(node)), 40)
            (line,) = lines(node)
            assert line["level"] == "warning"
            assert line["process"] == "control"
            assert (line["request_id"], line["route"], line["status"]) == (
                answer.headers["x-edge-request-id"],
                "chat",
                503,
            )
            assert line["reason"] == "fail_status: status 500"
            assert len(line["attempts"]) == 2
            assert all(text.startswith("p0/sim-small: fail_status (status 500)") for text in line["attempts"])
            await reload(node, tmp_path, {**config, "log": {"access": "off"}})
            silent = (await node.ask()).headers["x-edge-request-id"]
            while (await node.get(f"/api/traces/{silent}"))[0] != 200:  # noqa: ASYNC110  # control has it when it has it
                await asyncio.sleep(0.05)
            await reload(node, tmp_path, {**config, "log": {"access": "errors"}})
            last = (await node.ask()).headers
            await until(lambda: len(lines(node)) > 1, 40)
            assert [each["request_id"] for each in lines(node)[1:]] == [last["x-edge-request-id"]]


@pytest.mark.parametrize("form", ["json", "common"])
async def test_every_request_has_a_line_on_standard_output(tmp_path: Path, form: str) -> None:
    """With ``access: all`` nothing is sampled, no limit of lines holds, and traces are exported as before."""
    async with quick_provider() as provider:
        log = {"access": "all", "access_format": form, "lines_per_second": 1}
        config = {**chat_config(provider.url), "telemetry": {"sample": "0%"}, "log": log}
        async with RunningNode(tmp_path, config, "--workers", "2") as node:
            begun = len(node.out().splitlines())
            asked = [(await node.ask()).headers["x-edge-request-id"] for _ in range(30)]
            async with aiohttp.ClientSession() as client, client.get(f"{node.url}/none") as answer:
                assert answer.status == 404
            await until(lambda: len(node.out().splitlines()) == begun + 31, 40)
            said = node.out().splitlines()[begun:]
            assert (await node.get(f"/api/traces/{asked[0]}"))[0] == 404
    if form == "json":
        told = [msgspec.json.decode(line) for line in said]
        assert {line["request_id"] for line in told if line["status"] == 200} == set(asked)
        chat = next(line for line in told if line["route"] == "chat")
        assert (chat["client"], chat["method"], chat["path"]) == ("127.0.0.1", "POST", "/v1/chat/completions")
        assert chat["bytes"] > 50
    else:
        pattern = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(\S+ \S+ HTTP/1\.1)" (\d{3}) \d+'
        found = Counter(re.fullmatch(pattern, line).groups() for line in said)  # type: ignore[union-attr]
        assert found == {("POST /v1/chat/completions HTTP/1.1", "200"): 30, ("GET /none HTTP/1.1", "404"): 1}


@pytest.mark.parametrize("form", ["json", "common"])
async def test_what_cannot_be_read_has_a_line_too(tmp_path: Path, form: str) -> None:
    """A path or fields that are too long, over both versions, and what is no HTTP: who sent it, and what it got."""
    fields = {"x": "a" * 70_000}
    config = {**chat_config("http://127.0.0.1:9"), "log": {"access": "all", "access_format": form}}
    async with RunningNode(tmp_path, config, "--workers", "1") as node:
        begun = len(node.out().splitlines())
        for old in (True, False):
            async with httpx.AsyncClient(base_url=node.url, http1=old, http2=not old) as client:
                assert (await client.get("/" + "a" * 17_000)).status_code == 414
                assert (await client.get("/", headers=fields)).status_code == 431
        reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
        writer.write(b'\x1b[31m " \xff\r\n\r\n')
        assert b" 400 " in await reader.readline()
        writer.close()
        await until(lambda: len(node.out().splitlines()) == begun + 5, 40)
        said = node.out().splitlines()[begun:]
    if form == "json":
        told = [msgspec.json.decode(line) for line in said]
        assert [line["status"] for line in told] == [414, 431, 414, 431, 400]
        assert [line["protocol"] for line in told] == ["HTTP/1.1", "HTTP/1.1", "HTTP/2.0", "HTTP/2.0", "HTTP/1.1"]
        assert {(line["client"], line["method"], line["path"]) for line in told} == {("127.0.0.1", "", "")}
        assert all(line["reason"] and line["request_id"] and line["bytes"] for line in told)
    else:
        pattern = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "-" (\d{3}) \d+'
        found = [re.fullmatch(pattern, line) for line in said]
        assert [None if each is None else each[1] for each in found] == ["414", "431", "414", "431", "400"]


async def test_sampled_requests_have_theirs(tmp_path: Path) -> None:
    """With ``access: sampled`` and full sampling each request has one line, successes with level info."""
    async with quick_provider() as provider:
        config = {**chat_config(provider.url), "telemetry": {"sample": "100%"}, "log": {"access": "sampled"}}
        async with RunningNode(tmp_path, config, "--workers", "2") as node:
            asked = {(await node.ask()).headers["x-edge-request-id"] for _ in range(20)}
            await until(lambda: len(lines(node)) == 20, 40)
            assert {line["request_id"] for line in lines(node)} == asked
            assert {line["level"] for line in lines(node)} == {"info"}
            assert all(line["duration_ms"] >= line["first_ms"] >= 0 for line in lines(node))
            _, page = await node.get("/metrics", Accept="application/openmetrics-text")
            exemplars = [
                sample.exemplar
                for family in text_string_to_metric_families(page)
                for sample in family.samples
                if sample.exemplar and family.name == "edge_request_seconds"
            ]
            assert exemplars
            assert {found.labels["trace_id"] for found in exemplars} <= {line["trace_id"] for line in lines(node)}


@pytest.mark.parametrize(("arguments", "level"), [((), "warning"), (("--log-level", "info"), "info")])
async def test_the_command_line_wins_over_the_file(tmp_path: Path, arguments: tuple[str, ...], level: str) -> None:
    """``log.level`` applies in every process unless the command line sets it."""
    async with quick_provider() as provider:
        config = {**chat_config(provider.url), "log": {"level": "warning"}}
        async with RunningNode(tmp_path, config, "--workers", "1", *arguments) as node:
            serves = [line for line in node.lines() if line["message"] == "serves"]
            assert bool(serves) == (level == "info")
