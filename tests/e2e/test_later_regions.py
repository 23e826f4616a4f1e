"""The cost for the other regions when a provider dies everywhere: three nodes and a real etcd of three members."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from nodes import RunningNode, chat_config, quick_provider

from edge.sim.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster

DEAD = "p0/sim-small"
REGIONS = ("eu", "us", "ap")


async def ask(node: RunningNode, times: int) -> list[int]:
    """Send this many requests in turn; return the statuses."""
    return [(await node.ask()).status for _ in range(times)]


async def seen(node: RunningNode, true: Callable[[dict[str, Any]], bool], limit_s: float) -> float:
    """Wait until a node's report of the regions is as wanted; return how long that took."""
    began = time.monotonic()
    while not true(said := (await node.get("/api/regions"))[1]):
        assert time.monotonic() < began + limit_s, said
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def failed(node: RunningNode) -> int:
    """Return how many attempts failed at the dead provider."""
    attempts = (await node.target(DEAD))["attempts"]
    return sum(count for outcome, count in attempts.items() if outcome.startswith("fail"))


def threshold(said: dict[str, Any]) -> int:
    """Return the failure threshold that a node has received for the dead provider."""
    return int(said["verdicts"].get(DEAD, {}).get("failure_threshold", 0))


async def test_the_first_region_pays_five_the_others_two_at_most(tmp_path: Path, etcd: EtcdCluster) -> None:
    """The first region's report reaches all within seconds; no client fails; idle nodes write little."""
    async with contextlib.AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(quick_provider(name)) for name in ("p0", "p1")]
        nodes = []
        for region in REGIONS:
            folder = tmp_path / region
            folder.mkdir()
            config = {
                **chat_config(*(provider.url for provider in providers)),
                "node": {"region": region, "name": "n"},
                "cluster": {"etcd": {"endpoints": list(etcd.endpoints)}},
            }
            nodes.append(await stack.enter_async_context(RunningNode(folder, config, "--workers", "1")))
        for node in nodes:
            await seen(node, lambda said: sum(region["fresh"] for region in said["regions"]) == len(REGIONS), 90)

        puts, began = await asyncio.to_thread(etcd.puts), time.monotonic()
        await asyncio.sleep(6)
        quiet = (await asyncio.to_thread(etcd.puts) - puts) / (time.monotonic() - began)
        assert quiet < 3 * 0.5

        await providers[0].switch(Fault("error"))
        first, second, third = nodes
        assert set(await ask(first, 8)) == {200}
        assert (await first.target(DEAD))["state"] in ("open", "half_open")
        heard = await seen(second, lambda said: threshold(said) == 2, 60)
        assert set(await ask(second, 8)) == {200}
        both = await seen(third, lambda said: threshold(said) == 1, 60)
        assert set(await ask(third, 8)) == {200}
        paid = [await failed(node) for node in nodes]
        sys.stdout.write(
            f"heard after {heard:.2f} s and {both:.2f} s; failed attempts {paid}; {quiet:.2f} writes/s when quiet\n"
        )
        assert paid[0] >= 5
        assert paid[1] <= 2
        assert paid[2] <= 2
        # a tenth of the third region's traffic goes there: it may not even have tried
        await seen(
            third, lambda said: {region["region"] for region in said["regions"] if bad(region)} >= {"eu", "us"}, 10
        )


def bad(region: dict[str, Any]) -> bool:
    """Return whether a region reports the dead provider as bad."""
    return bool(region["targets"].get(DEAD, {}).get("bad"))
