"""An outage in three regions that share etcd: one incident with the clients' own counts, told once, and ended once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from nodes import FAST, KEY, RunningNode, chat_config
from soon import until

from edge.incidents.database import Database, Wanted
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster

REGIONS = ("ap", "eu", "us")
ASKED = 12  # requests of each region's client during the outage
PAGE = {"page": {}, "status": {"indicator": "none"}, "components": [], "incidents": []}


class Outside:
    """The provider's status page and the webhook of those on call, on one loopback server."""

    def __init__(self) -> None:
        self.notices: list[dict[str, Any]] = []
        self.is_down = False
        self.said_at = 0.0  # when a node was first told of trouble by the page

    async def hook(self, request: web.Request) -> web.Response:
        """Take a notice."""
        self.notices.append(await request.json())
        return web.Response()

    async def page(self, _request: web.Request) -> web.Response:
        """Say how the provider is."""
        if not self.is_down:
            return web.json_response({**PAGE, "components": [{"id": "a", "name": "API", "status": "operational"}]})
        self.said_at = self.said_at or time.time()
        return web.json_response({**PAGE, "components": [{"id": "a", "name": "API", "status": "major_outage"}]})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve; yields the URL."""
        app = web.Application()
        app.router.add_post("/hook", self.hook)
        app.router.add_get("/summary.json", self.page)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class Client:
    """The client of one region, and what it saw."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.asked: list[float] = []  # Unix times
        self.by: list[str] = []
        self.delayed = 0

    async def ask(self) -> None:
        """Ask once; every request must be answered."""
        answer = await self.node.ask()
        assert answer.status == 200
        self.asked.append(time.time())
        self.by.append(answer.headers["x-edge-target"])
        self.delayed += int(answer.headers["x-edge-attempts"]) > 1

    async def incident(self) -> dict[str, Any]:
        """Return the only incident; empty before there is one."""
        with contextlib.suppress(aiohttp.ClientError):  # control is being restarted
            status, found = await self.node.get("/api/incidents")
            assert status != 200 or len(found) <= 1, found
            return dict(found[0]) if status == 200 and found else {}
        return {}

    async def until(self, holds: Callable[[dict[str, Any]], object], limit_s: float) -> dict[str, Any]:
        """Wait until something holds of the incident, and return it."""
        async with asyncio.timeout(limit_s):
            while True:
                found = await self.incident()
                if found and holds(found):
                    return found
                await asyncio.sleep(0.2)

    async def markdown(self, name: str) -> str:
        """Return the post-mortem."""
        found = (await self.node.get(f"/api/incidents/{name}?format=markdown"))[1]
        return found if isinstance(found, str) else bytes(found).decode()


def counted(path: Path, region: str) -> dict[int, int]:
    """Return the requests of the alias in a history, by minute."""
    db = Database(path)
    try:
        found: dict[int, int] = {}
        for number, series in db.series(Wanted(0, 1, "route", "", "chat", region)):
            assert series.model == "chat"
            for points, _, _ in db.read(number, Wanted(0, 2**31)):
                for point in points:
                    found[point.at] = found.get(point.at, 0) + point.requests
        return found
    finally:
        db.close()


async def stage(
    stack: contextlib.AsyncExitStack, folder: Path, etcd: EtcdCluster, outside: Outside
) -> tuple[SimProvider, list[Client]]:
    """Start two providers, and a node and a client in each region."""
    url = await stack.enter_async_context(outside.serving())
    specs = [ProviderSpec(name=name, pace=FAST, key=KEY) for name in ("p0", "p1")]
    primary, backup = [await stack.enter_async_context(SimProvider(spec)) for spec in specs]
    clients = []
    for region in REGIONS:
        (folder / region).mkdir()
        breaker = {"consecutive_failures": 3, "open_duration_max": "2s"}
        config = chat_config(primary.url, backup.url, breaker=breaker)
        config["providers"]["p0"]["status_page"] = f"{url}/summary.json"
        config |= {
            "node": {"region": region, "name": "n"},
            "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
            "alerts": [{"webhook": f"{url}/hook"}],
            "status_pages": {"interval": "10s"},
            "history": {"path": "past.db"},
        }
        node = RunningNode(folder / region, config, "--workers", "1")
        clients.append(Client(await stack.enter_async_context(node)))
    return primary, clients


async def ask_all(clients: list[Client], count: int) -> None:
    """Let each client ask so many times, in turn."""
    for _ in range(count):
        for client in clients:
            await client.ask()


async def check_counts(clients: list[Client], before: list[int]) -> None:
    """Hold each node's incident against what its client saw since it was delayed so often."""
    for client, delayed in zip(clients, before, strict=True):
        found = await client.until(lambda each: each["impact"]["requests"] >= ASKED, 30)
        assert client.by[-ASKED:] == ["p1/sim-small"] * ASKED
        assert (found["subject"], found["kinds"]) == ("provider:p0", ["target_down"])
        impact = found["impact"]
        assert (impact["requests"], impact["failed"], impact["answered_by"]) == (ASKED, 0, {"p1/sim-small": ASKED})
        assert impact["delayed"] == client.delayed - delayed == impact["attempts_failed"]["fail_status"] >= 1


async def check_text(client: Client, found: dict[str, Any]) -> None:
    """Hold the post-mortem against the counts, and its lag of the page against the times."""
    text = await client.markdown(found["id"])
    lag = re.search(r"status page spoke of it (?:(\d+) min )?(\d+) s after edge had detected it", text)
    assert lag is not None, text
    assert abs(60 * int(lag[1] or 0) + int(lag[2]) - (found["page_said"] - found["opened"])) <= 1
    for line in (
        "- First symptom: ",
        f"- {ASKED} requests on the routes above; 0 of them failed",
        f"Answered meanwhile by p1/sim-small ({ASKED})",
        "| Taken over | p1/sim-small answers chat |",
        "| Provider's page | it says full\\_outage",
    ):
        assert line in text, text


def check_histories(folder: Path, clients: list[Client], killed: Client, minute: int) -> None:
    """Hold the histories against the clients' requests: a killed control loses at most the minute that it was in."""
    for region, client in zip(REGIONS, clients, strict=True):
        own = counted(folder / region / "past.db", region)
        lost = len(client.asked) - sum(own.values())
        at_risk = sum(abs(at // 60 - minute) <= 1 for at in client.asked) if client is killed else 0
        assert 0 <= lost <= at_risk, (region, lost)
        told = {at: count for at, count in own.items() if at < max(own)}  # the last one is of nodes that stop
        for other in REGIONS:
            seen = counted(folder / other / "past.db", region)
            assert {at: seen.get(at) for at in told} == told, (region, other)


@pytest.mark.prove
@pytest.mark.timeout(420)
async def test_an_outage_is_told_as_it_was_seen(tmp_path: Path, etcd: EtcdCluster) -> None:
    """The post-mortem has the clients' counts and the page's lag; one notice opens and one ends it; control may die."""
    outside = Outside()
    async with contextlib.AsyncExitStack() as stack:
        primary, clients = await stage(stack, tmp_path, etcd, outside)
        eu = clients[REGIONS.index("eu")]
        await ask_all(clients, 4)
        assert {name for client in clients for name in client.by} == {"p0/sim-small"}
        await asyncio.sleep(3)  # calm seconds: what came before is not of the incident

        await primary.switch(Fault(kind="error"))
        before = [client.delayed for client in clients]
        await ask_all(clients, ASKED)
        await check_counts(clients, before)
        outside.is_down = True
        await eu.until(lambda each: sorted(each["regions"]) == list(REGIONS), 30)
        found = await eu.until(lambda each: each["page_said"], 40)
        assert outside.said_at - 2 <= found["page_said"] <= time.time()
        await check_text(eu, found)

        minute = int(time.time() // 60)
        eu.node.tell(signal.SIGKILL, "control")
        again = await eu.until(lambda each: each["id"] == found["id"], 60)
        assert (again["opened"], again["closed"]) == (found["opened"], 0)

        await primary.switch()
        outside.is_down = False
        async with asyncio.timeout(90):
            while any(client.by[-1] != "p0/sim-small" for client in clients):
                await ask_all(clients, 1)
                await asyncio.sleep(0.3)
        for client in clients:
            over = await client.until(lambda each: each["closed"], 150)
            assert over["missing"] == []
        text = await eu.markdown(found["id"])
        assert "- Recovered: " in text
        assert "works again |" in text
        await until(lambda: len(outside.notices) >= 2, 60)
        await until(lambda: time.time() % 60 > 20, 60)  # by then the last full minute has been told to the others
    assert [(each["event"], each["alert"]) for each in outside.notices] == [
        ("opened", "target_down"),
        ("resolved", "target_down"),
    ]
    assert len({each["incident"] for each in outside.notices}) == 1
    check_histories(tmp_path, clients, eu, minute)
