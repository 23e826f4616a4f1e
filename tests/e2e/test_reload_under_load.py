"""Clients notice neither a hundred reloads nor a node that drains.

Keep-alive clients send requests without a pause. A failed request is not repeated, so that every failure counts.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self

import aiohttp
import msgspec
import pytest
from test_kills import CONNECTIONS, MESSAGES, PACE, STREAM, WHOLE, Witness, config, settled

from edge import clock
from edge.sim import wire
from edge.sim.closed_loop_load import ClosedLoopLoad, Failure
from edge.sim.node import EdgeProcess
from edge.sim.ports import free_port
from edge.sim.world import ProviderProcess

pytestmark = pytest.mark.alone


RELOADS: Final = 100
CHAT: Final = {"model": "chat", "messages": MESSAGES}
STREAMED: Final = {**CHAT, "stream": True}
RATE: Final = 400.0  # a second; the rest of a small machine is for a hundred reloads


class Node(EdgeProcess):
    """An edge whose file can be rewritten, and which may share its address with another one."""

    def __init__(self, written: dict[str, Any], *, workers: int, port: int, notice_s: float = 0.0) -> None:
        super().__init__(written, workers=workers)
        self.port = port
        self._notice_s = notice_s
        self._config["listen"] = [{"address": f"127.0.0.1:{port}"}]

    def _options(self) -> list[str]:
        return [*super()._options(), "--drain-grace", f"{self._notice_s:g}"]

    async def post(self, path: str) -> tuple[int, Any]:
        """Send an operation to the admin listener."""
        assert self._client is not None
        async with self._client.post(self.admin + path) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    async def rewrite(self, written: dict[str, Any]) -> None:
        """Replace the file by a rename, and reload it."""
        partial = self._path("edge.yaml.new")
        partial.write_bytes(msgspec.json.encode({**self._config, **written}))
        partial.rename(self._path("edge.yaml"))
        status, said = await self.post("/api/reload")
        assert (status, said["changed"], said["workers"]) == (200, True, 2), said

    async def gone(self, limit_s: float) -> int:
        """Wait for its end; return the exit status."""
        assert self._child is not None
        return await asyncio.wait_for(self._child.wait(), limit_s)


def variant(number: int, urls: dict[str, str]) -> dict[str, Any]:
    """Return the configuration of the n-th reload: a target is added, deadlines change, it is removed, and so on."""
    names = list(urls) if number % 4 in (1, 2) else list(urls)[:-1]
    written = config({name: urls[name] for name in names}, tiers=False)
    written["models"]["chat"]["timeouts"] = {"total": f"{60 + number}s", "connect": "2s" if number % 2 else "3s"}
    written["limits"] = {"connections": 10_000 + number}
    return written


class Load:
    """Keep-alive clients, and others that open a connection for each request."""

    def __init__(self, port: int) -> None:
        self.witness = Witness()
        once = [wire.request(msgspec.json.encode(body), ("connection", "close")) for body in (CHAT, STREAMED)]
        self._hammers = [
            ClosedLoopLoad(
                port,
                request,
                count=1_000_000,  # more than there is time for: the load outlasts what is tested
                connections=connections,
                verify=self.witness.verify,
                rate=rate,
            )
            for request, connections, rate in (
                (lambda number: STREAM if number % 2 else WHOLE, CONNECTIONS, RATE),
                (lambda number: once[number % 2], CONNECTIONS, RATE / 2),
            )
        ]
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(closed_loop.run(100)) for closed_loop in self._hammers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def further(self, count: int) -> None:
        """Wait until each kind of client has had this many more answers."""
        await asyncio.gather(*(closed_loop.reached(closed_loop.finished + count) for closed_loop in self._hammers))

    @property
    def right(self) -> int:
        """Return how many answers were right."""
        return sum(closed_loop.right for closed_loop in self._hammers)

    @property
    def failures(self) -> list[Failure]:
        """Return the failures."""
        return [failure for closed_loop in self._hammers for failure in closed_loop.failures]


async def test_a_hundred_reloads_under_load() -> None:
    """Targets and deadlines change during answers; every answer is complete, and every reload is applied."""
    async with ProviderProcess("a", "b", "c", pace=PACE) as world:
        urls = world.base_urls
        async with Node(variant(0, urls), workers=2, port=free_port()) as edge:
            async with Load(edge.port) as load:
                await load.further(100)
                for number in range(1, RELOADS + 1):
                    await edge.rewrite(variant(number, urls))
                    await clock.sleep(0.05)
                await load.further(200)
                assert load.failures == []
            targets = await settled(edge)
            async with aiohttp.ClientSession() as client, client.get(f"{edge.admin}/metrics") as answer:
                page = await answer.text()
    assert load.right > 1500
    assert 'edge_reloads_total{result="applied"} 100' in page
    assert 'edge_reloads_total{result="refused"} 0' in page
    assert f"edge_snapshot_version {RELOADS + 1}" in page
    assert 'edge_restarts_total{process="control"} 0' in page
    assert {target for _, target in load.witness.seen} == {"a/m", "b/m", "c/m"}
    assert {target["state"] for target in targets} == {"usable"}


async def test_one_node_leaves_under_load() -> None:
    """Another node takes over the address; the first one drains and exits with 0, and no request fails."""
    port = free_port()
    async with ProviderProcess("a", "b", pace=PACE) as world:
        written = config(world.base_urls, tiers=False)
        async with (
            Node(written, workers=2, port=port, notice_s=0.5) as first,
            Node(written, workers=2, port=port) as second,
        ):
            async with Load(port) as load:
                await load.further(300)
                before = sum(sum(target["attempts"].values()) for target in await first.targets())
                assert before > 100
                assert (await first.post("/api/drain"))[0] == 202
                assert await first.gone(20) == 0
                await load.further(500)
                assert load.failures == []
            after = sum(sum(target["attempts"].values()) for target in await settled(second))
    assert load.right > 1600
    assert after > 1000
