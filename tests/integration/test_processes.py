"""A node survives the death of each of its processes, and ends in order."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from nodes import CHAT, FAST, KEY, RunningNode, alive, bare_start_s, chat_config
from prometheus_client.parser import text_string_to_metric_families
from soon import until

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLOW = Pace(ttft_s=0.0, tps=20.0, tokens=40)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Return an HTTP client that opens a connection per request, so that every worker gets some."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=60)
    ) as one:
        yield one


async def ask(client: aiohttp.ClientSession, node: RunningNode, **more: Any) -> int:
    """Send a request; return the status of a complete answer."""
    async with client.post(f"{node.url}/v1/chat/completions", json={**CHAT, **more}) as answer:
        await answer.read()
        return answer.status


async def test_a_killed_worker_is_replaced(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """Within a second another worker serves, the in-flight counts are cleared, and the restart is counted.

    Where four bare starts of an interpreter take longer than a second, so may this.
    """
    await provider.switch(Fault("stall", at="head"))
    config = chat_config(provider.url, timeouts={"first_byte": "20s", "first_token": "20s"})
    async with RunningNode(tmp_path, config, "--workers", "1") as node:
        stuck = asyncio.create_task(ask(client, node, stream=True))
        await node.inflight("p0/sim-small", 1)
        first = node.children()["worker 0"]
        bare_s = await bare_start_s()
        node.tell(signal.SIGKILL, "worker 0")
        killed = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            await stuck
        await provider.switch()
        async with asyncio.timeout(60):
            while True:
                try:
                    assert await ask(client, node) == 200
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.01)  # refused, or reset with the queue of a listener that dies last
        assert time.monotonic() - killed < max(1.0, 4 * bare_s)
        assert node.children()["worker 0"] != first
        await node.inflight("p0/sim-small", 0)  # our own last answer may be counted out just after we have read it
        page = (await node.get("/metrics"))[1]
        assert 'edge_restarts_total{process="worker 0"} 1' in page
        assert 'edge_restarts_total{process="control"} 0' in page


async def test_killing_control_disturbs_no_client(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """While control is killed repeatedly every request is answered; control returns with the same snapshot."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "2") as node:
        before = (await node.get("/api/snapshot"))[1]
        statuses: list[int] = []
        over = asyncio.Event()

        async def load() -> None:
            while not over.is_set():
                statuses.append(await ask(client, node))

        loads = [asyncio.create_task(load()) for _ in range(4)]
        pids = set()
        for _ in range(3):
            pids.add(node.children()["control"])
            node.tell(signal.SIGKILL, "control")
            await until(lambda: node.children().get("control", 0) not in {0, *pids}, 40)
            answered = len(statuses)
            await until(lambda answered=answered: len(statuses) > answered + 10, 40)
        over.set()
        await asyncio.gather(*loads)
        assert set(statuses) == {200}
        await node.ready_with(2)
        assert (await node.get("/api/snapshot"))[1] == before


async def test_a_worker_starts_without_control(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """While control is stopped, a killed worker is replaced by one with the last snapshot."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1") as node:
        node.tell(signal.SIGSTOP, "control")
        try:
            first = node.children()["worker 0"]
            node.tell(signal.SIGKILL, "worker 0")
            await until(lambda: node.children().get("worker 0", first) != first, 40)
            async with asyncio.timeout(60):
                while True:
                    try:
                        assert await ask(client, node) == 200
                        break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(0.02)
        finally:
            node.tell(signal.SIGCONT, "control")


async def test_a_node_answers_before_control_does(tmp_path: Path, provider: SimProvider) -> None:
    """Control that is stopped as soon as it is started delays no first answer: the file says all that workers need."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    node = RunningNode(tmp_path, {**chat_config(provider.url), "listen": [{"address": address}]}, "--workers", "1")
    node.start()
    try:
        await until(lambda: "control" in node.children(), 40)
        node.tell(signal.SIGSTOP, "control")
        node.ready = {"listeners": [f"http://{address}"]}
        async with asyncio.timeout(60):
            while True:
                try:
                    assert (await node.ask()).status == 200
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.02)
        assert not (tmp_path / "ready").exists()
        node.tell(signal.SIGCONT, "control")
        await node.up()
        assert (await node.get("/api/snapshot"))[1]["version"] == 1
    finally:
        node.kill()


async def test_sigterm_lets_answers_end(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A stream in flight ends properly, new connections are refused, and all processes exit with 0."""
    async with (
        SimProvider(ProviderSpec(name="p0", pace=SLOW, key=KEY)) as provider,
        RunningNode(tmp_path, chat_config(provider.url), "--workers", "2") as node,
    ):
        children = node.children()
        async with client.post(f"{node.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            assert answer.status == 200
            await answer.content.readuntil(b"\n\n")
            node.tell(signal.SIGTERM)
            await until(lambda: "SIGTERM: draining" in node.log(), 40)
            refused = 0
            async with asyncio.timeout(60):
                while not refused:
                    try:
                        await ask(client, node)
                    except aiohttp.ClientError:
                        refused += 1
            rest = await answer.content.read()
            assert rest.endswith(b"data: [DONE]\n\n")
        assert await node.status() == 0
        assert not any(alive(pid) for pid in children.values())


async def test_the_grace_is_bounded(tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession) -> None:
    """An exchange that outlasts the grace period is told so, and the node still exits with 0."""
    await provider.switch(Fault("stall", at="head"))
    config = chat_config(provider.url, timeouts={"first_byte": "60s", "first_token": "60s", "total": "60s"})
    async with RunningNode(tmp_path, config, "--workers", "1", "--grace", "0.5") as node:
        stuck = asyncio.create_task(ask(client, node))
        await node.inflight("p0/sim-small", 1)
        began = time.monotonic()
        node.tell(signal.SIGTERM)
        assert await node.status() == 0
        assert 0.4 < time.monotonic() - began < 30
        assert await stuck == 503


@pytest.mark.alone
async def test_nobody_outlives_the_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed, all its children end at once, simulated providers too."""
    async with RunningNode(tmp_path, None, "--workers", "2", environ=free_ports()) as node:
        children = node.children()
        assert set(children) == {"control", "worker 0", "worker 1", "sim-a", "sim-b"}
        node.tell(signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in children.values()), 40)


def free_ports() -> dict[str, str]:
    """Return an empty environment; skip if the fixed ports of a start without configuration are in use."""
    for port in (8080, 9901):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port} of this machine is taken; a start without configuration needs it")
    return {}


@pytest.mark.alone
async def test_without_configuration_it_can_be_tried(tmp_path: Path) -> None:
    """Without keys the banner says that answers are simulated, and its command gets an answer through edge."""
    async with RunningNode(tmp_path, None, "--workers", "1", environ=free_ports()) as node:
        out = node.out()
        assert "SIMULATED" in out
        pasted = out[out.index("  curl ") :].partition("\nMake the first")[0].replace("\\\n", " ")
        command = [*shlex.split(pasted), "-i", "--max-time", "10"]
        shown = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        assert "HTTP/1.1 200" in shown.stdout
        assert "x-edge-target: sim-a/sim-small" in shown.stdout.lower()
        assert len(node.ready["simulated"]) == 2


@pytest.mark.alone
async def test_with_a_key_no_provider_is_simulated(tmp_path: Path, provider: SimProvider) -> None:
    """A key in the environment gives the configuration; it is used for real and never shown."""
    environ = {**free_ports(), "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": provider.base_url}
    async with RunningNode(tmp_path, None, "--workers", "1", environ=environ) as node:
        assert "SIMULATED" not in node.out()
        assert set(node.children()) == {"control", "worker 0"}
        for path in ("/api/snapshot", "/api/targets", "/metrics"):
            assert KEY not in str((await node.get(path))[1])
        assert KEY not in node.out() + node.log()


async def test_a_busy_node_keeps_its_processes_small(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """Only control loads aiohttp, and grpcio when it is needed; a worker that serves HTTP has no protobuf."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1") as node:
        assert [await ask(client, node, stream=stream) for stream in (False, True)] == [200, 200]
        children = node.children()
        assert loaded(children["control"]) & {"aiohttp", "grpc"} == {"aiohttp"}
        assert loaded(children["worker 0"]) & {"aiohttp", "grpc", "google"} == set()
        assert loaded(node.pid) & {"aiohttp", "grpc", "google", "yaml"} == set()


async def test_successors_have_other_addresses(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """The first workers share the supervisor's addresses; the successor of one that crashed has its own.

    Who learned addresses from a crash, or tries them one after the other, finds nothing there the next time.
    """
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "2") as node:
        children = node.children()
        assert python_at(children["worker 0"]) == python_at(node.pid)
        node.tell(signal.SIGKILL, "worker 0")
        await until(lambda: node.children().get("worker 0") not in {None, children["worker 0"]}, 40)
        await node.ready_with(2)
        assert await ask(client, node) == 200
        assert python_at(node.children()["worker 0"]) != python_at(node.pid)


def python_at(pid: int) -> str:
    """Return the address at which a process has mapped the compiled parts of msgspec."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return next(line.partition("-")[0] for line in lines if "/site-packages/msgspec/" in line)


def loaded(pid: int) -> set[str]:
    """Return the packages of site-packages whose compiled parts a process has loaded."""
    return set(re.findall(r"/site-packages/([a-z0-9_]+)/", Path(f"/proc/{pid}/maps").read_text()))


async def test_one_process_does_the_same(tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession) -> None:
    """``--workers 0`` serves clients and operators from one process, and ends as a node does."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "0") as node:
        assert node.children() == {}
        assert await ask(client, node) == 200
        status, ready = await node.get("/ready")
        assert (status, ready["workers"]) == (200, 1)
        assert (await node.target("p0/sim-small"))["attempts"] == {"ok": 1}
        node.tell(signal.SIGTERM)
        assert await node.status() == 0


async def test_metrics_are_exact_over_all_workers(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """The page counts every request once, whichever worker answered."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "2") as node:
        answers = await asyncio.gather(*(ask(client, node) for _ in range(60)))
        assert set(answers) == {200}
        page = (await node.get("/metrics"))[1]
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        assert found["edge_requests_total"][("chat",)] == 60
        assert found["edge_responses_total"][("chat", "2xx")] == 60
        assert found["edge_attempts_total"][("p0/sim-small", "ok")] == 60
        assert found["edge_request_seconds_count"][("chat",)] == 60
        assert found["edge_requests_inflight"][("chat",)] == 0
        by_worker = found["edge_worker_requests_total"]
        assert sum(by_worker.values()) == 60
        assert set(by_worker) == {("0",), ("1",)}
        oldest_s = []
        for _ in range(5):  # one that is written every second; a machine that stands still may miss some
            await asyncio.sleep(0.3)
            page = (await node.get("/metrics"))[1]
            ages = re.findall(r'^edge_worker_heartbeat_age_seconds\{worker="[01]"\} (\S+)$', page, re.MULTILINE)
            assert len(ages) == 2
            oldest_s.append(max(map(float, ages)))
        assert statistics.median(oldest_s) < 3


async def test_an_ill_target_is_probed_for_free_and_said_aloud(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """Only while its circuit is open is the free path probed; the log and the list say why."""
    breaker = {"consecutive_failures": 2, "open_duration": "20s", "open_duration_max": "20s"}
    async with RunningNode(tmp_path, chat_config(provider.url, breaker=breaker), "--workers", "1") as node:
        assert await ask(client, node) == 200
        assert "/v1/models" not in provider.stats()["by_path"]
        await provider.switch(Fault("error", path="/v1/chat"))
        for _ in range(3):
            assert await ask(client, node) == 503
        target = await node.target("p0/sim-small")
        assert (target["state"], target["usable"]) == ("open", False)
        assert "consecutive failures" in target["why"]
        (latency,) = [value for value in target["latency_ms"].values() if value is not None]
        (penalty,) = [value for value in target["penalty_ms"].values() if value is not None]
        assert latency < 1000 < penalty, "the failures are shown as a penalty, not as a latency of 5 s"
        await until(lambda: provider.stats()["by_path"].get("/v1/models", 0) >= 1, 40)
        await until(lambda: "target is open" in node.log(), 40)


async def test_a_refused_credential_is_loud(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A provider that refuses the credential is quarantined at once, and an error is logged, without the key."""
    async with (
        SimProvider(ProviderSpec(name="p0", pace=FAST, key="another")) as provider,
        RunningNode(tmp_path, chat_config(provider.url), "--workers", "1") as node,
    ):
        assert await ask(client, node) == 503
        assert (await node.target("p0/sim-small"))["state"] == "quarantined"
        await until(lambda: "target is quarantined" in node.log(), 40)
        (line,) = [line for line in node.lines() if "target is quarantined" in line["message"]]
        assert (line["level"], line["target"]) == ("error", "p0/sim-small")
        assert "check the provider's key" in line["why"]
        assert KEY not in node.log()


async def test_a_taken_address_ends_the_start(tmp_path: Path, provider: SimProvider) -> None:
    """An address of another program is named in one sentence, and the status is 1."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        node = RunningNode(tmp_path, {**chat_config(provider.url), "listen": [{"address": address}]})
        node.start()
        assert await node.status() == 1
        assert f"cannot listen on {address}" in node.log()
        assert "Traceback" not in node.log()


async def test_a_bad_configuration_ends_the_start(tmp_path: Path) -> None:
    """Every problem of the file is printed with its place, and nothing is started."""
    node = RunningNode(tmp_path, {"models": {"chat": {"targets": ["nobody/x"]}}, "modles": {}})
    node.start()
    assert await node.status() == 1
    assert "modles" in node.log()
    assert "Traceback" not in node.log()


def test_children_are_not_started_by_hand() -> None:
    """A worker or control without a supervisor reports that."""
    for part in ("worker", "control"):
        extra = ["--index", "0"] if part == "worker" else []
        read, write = os.pipe()
        try:
            ended = subprocess.run(
                [sys.executable, "-m", f"edge.app.{part}", "--launch", str(read), *extra],
                pass_fds=(read,),
                capture_output=True,
                text=True,
                check=False,
                timeout=20,
            )
        finally:
            os.close(read)
            os.close(write)
        assert ended.returncode == 1
        assert "started by `edge run`" in ended.stderr, ended.stderr


async def test_the_log_is_json_lines_off_a_terminal(
    tmp_path: Path, provider: SimProvider, client: aiohttp.ClientSession
) -> None:
    """Every line of every process is one JSON object with time, level, process and message."""
    async with RunningNode(tmp_path, chat_config(provider.url), "--workers", "1", "--log-level", "debug") as node:
        assert await ask(client, node) == 200
        node.tell(signal.SIGTERM)
        assert await node.status() == 0
        lines = node.lines()
        assert {"edge"} <= {line["process"] for line in lines}
        for line in lines:
            assert {"time", "level", "process", "message"} <= set(line), msgspec.json.encode(line)
