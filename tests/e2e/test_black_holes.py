"""Clients during failures of real links: regions, providers and etcd run in network namespaces of their own.

On a link that is set down packets are lost without a reset. Faults of servers on loopback cannot show that, because
their kernel still answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from namespaces import Namespace, why_not
from nodes import CHAT, KEY, RunningNode, chat_config
from soon import until

from edge.sim.etcd import binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.alone, pytest.mark.skipif(bool(WHY := why_not()), reason=WHY)]

REGIONS = ("eu", "us", "ap")
TOKEN = "a-token-of-all-regions"
# A machine that stands still for a moment is no black hole.
PATIENT = {"connect": "1s", "first_byte": "2s", "first_token": "2s", "stream_idle": "5s", "total": "30s"}


class Region(RunningNode):
    """A node in a namespace, and a client beside it that sends requests without a pause."""

    def __init__(self, place: Namespace, folder: Path, number: int, region: str) -> None:
        self._place = place
        self._mesh = f"10.78.0.1{number}"
        config = {
            **chat_config("http://10.77.0.1:8000", breaker={"consecutive_failures": 2}, timeouts=PATIENT),
            "node": {"region": region, "name": "n"},
            "listen": [{"address": "0.0.0.0:8080", "allow_anonymous": True}],
            "peers": {"token": TOKEN, "insecure": True, "advertise": [f"{self._mesh}:8080"]},
            "cluster": {"etcd": {"endpoints": ["http://10.78.0.9:2379"]}},
        }
        super().__init__(folder, config, "--workers", "1")
        self.region = region
        self.answers: list[tuple[int, str]] = []
        self.slowest_s = 0.0
        self._stopped = threading.Event()

    def command(self) -> list[str]:
        """The command line in its namespace."""
        return [*self._place.prefix, *super().command()]

    def ask(self) -> tuple[int, str]:
        """Send a request; return status and region of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=15)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/chat/completions", json.dumps(CHAT), {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("x-edge-region", "")

    def told(self, path: str) -> Any:
        """Query the admin listener."""
        connection = http.client.HTTPConnection(self.admin.removeprefix("http://"), timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    async def tells(self, path: str, true: Any, limit_s: float) -> None:
        """Wait until the admin listener reports this."""
        end = time.monotonic() + limit_s
        while not true(said := await self._place.call(lambda: self.told(path))):
            assert time.monotonic() < end, (self.region, said, self.log()[-3000:])
            await asyncio.sleep(0.1)

    async def load(self) -> None:
        """Send requests until the end, with short pauses."""
        while not self._stopped.is_set():
            began = time.monotonic()
            self.answers.append(await self._place.call(self.ask))
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        """Stop the client."""
        self._stopped.set()

    async def answered_by(self, *regions: str, times: int = 5, limit_s: float = 40) -> None:
        """Wait until these have given this many answers in a row."""
        await until(
            lambda: (
                len(self.answers) >= times
                and all(status == 200 and region in regions for status, region in self.answers[-times:])
            ),
            limit_s,
        )


class World:
    """Three regions with two networks: one to the provider, and one between the regions and etcd."""

    def __init__(self, hub: Namespace, regions: dict[str, Region]) -> None:
        self._hub = hub
        self.regions = regions

    def cut(self, link: str) -> None:
        """Set a link down."""
        self._hub.ip(f"link set {link} down")

    def mend(self, link: str) -> None:
        """Set a link up."""
        self._hub.ip(f"link set {link} up")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Connect the networks and start everything."""
    async with contextlib.AsyncExitStack() as stack:
        hub, store = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        for bridge, address in (("wan", "10.77.0.1/24"), ("mesh", "10.78.0.1/24")):
            hub.ip(
                f"link add name {bridge} type bridge", f"address add {address} dev {bridge}", f"link set {bridge} up"
            )
        store.join(hub, "mesh", "etcd", "10.78.0.9/24")
        store.run(
            str(binary()),
            f"--data-dir={tmp_path / 'etcd'}",
            "--unsafe-no-fsync",
            *(f"--{kind}-client-urls=http://10.78.0.9:2379" for kind in ("listen", "advertise")),
            log=str(tmp_path / "etcd.log"),
        )
        provider = ("-m", "edge", "sim", "provider", "--host", "10.77.0.1", "--port", "8000", "--key", KEY)
        hub.run(sys.executable, *provider, "--ttft", "0s", "--tps", "0", log=str(tmp_path / "provider.log"))
        nodes = {}
        for number, name in enumerate(REGIONS):
            place = stack.enter_context(Namespace())
            place.join(hub, "wan", f"{name}-wan", f"10.77.0.1{number}/24")
            place.join(hub, "mesh", f"{name}-mesh", f"10.78.0.1{number}/24")
            (folder := tmp_path / name).mkdir()
            nodes[name] = Region(place, folder, number, name)
            stack.callback(nodes[name].kill)
            nodes[name].start()
        for node in nodes.values():
            await node.up()
        yield World(hub, nodes)


def peers(targets: list[dict[str, Any]]) -> int:
    """Return how many edges of other regions are known."""
    return sum(target["id"].startswith("region:") for target in targets)


async def test_no_client_fails_when_links_go_dark(world: World) -> None:
    """A region loses its link to the provider, then all lose etcd: peers answer, and everything recovers."""
    eu, us, _ = world.regions.values()
    for node in world.regions.values():
        await node.tells("/api/targets", lambda said: peers(said) == len(REGIONS) - 1, 30)
    loads = [asyncio.create_task(node.load()) for node in (eu, us)]
    await eu.answered_by("eu")

    world.cut("eu-wan")
    await eu.answered_by("us", "ap")
    detected = len(eu.answers)
    world.cut("etcd")
    for node in world.regions.values():
        await node.tells("/api/node", lambda said: not said["sharing"]["connected"], 30)
    blind = len(eu.answers)
    await until(lambda: len(eu.answers) >= blind + 10, 30)
    assert {region for _, region in eu.answers[detected:]} <= {"us", "ap"}
    await us.answered_by("us")

    world.mend("eu-wan")
    world.mend("etcd")
    await eu.answered_by("eu", limit_s=40)
    for node in world.regions.values():
        await node.tells("/api/node", lambda said: said["sharing"]["connected"], 30)
    for node in (eu, us):
        node.stop()
    await asyncio.gather(*loads)
    sys.stdout.write(
        f"{len(eu.answers)} + {len(us.answers)} requests, none failed; the slowest took {eu.slowest_s:.2f} s "
        f"(a deadline of 2 s at the dark provider, then a peer), beside it {us.slowest_s:.2f} s\n"
    )
    assert {status for status, _ in (*eu.answers, *us.answers)} == {200}
