"""``edge target weight`` shifts the traffic of a running node, and status shows it."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import TYPE_CHECKING

from nodes import KEY, RunningNode

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path


async def edge(node: RunningNode, *arguments: str) -> tuple[int, str]:
    """Run a command against the node; return its status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "target", *arguments, "--admin", node.admin,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, said.decode()


SPEC = ProviderSpec(pace=Pace(ttft_s=0.05, tps=0.0, tokens=8), key=KEY)
"""With 50 ms to the first token an answer on a busy machine is late by a few times that, not by a hundred times."""
WITHIN_S = 60.0


async def shares(node: RunningNode) -> Counter[str]:
    """Return how often each target answers of 60 requests."""
    answers = [await node.ask() for _ in range(60)]
    assert {answer.status for answer in answers} == {200}
    return Counter(answer.headers["x-edge-target"].partition("/")[0] for answer in answers)


async def until_share(node: RunningNode) -> None:
    """Wait until the second target has its share.

    Requests one by one all go to the target with the lower latency. One whose last answer was slow is tried again when
    that has decayed, by e in 10 s: after 23 s where it took ten times as long as usual.
    """
    async with asyncio.timeout(WITHIN_S):
        while (await shares(node))["b"] <= 10:
            pass


async def test_a_canary_by_weight(tmp_path: Path) -> None:
    """A small weight leaves a canary little of the traffic, without a failed request; taken back, it gets its half."""
    async with SimProvider(SPEC) as first, SimProvider(SPEC) as second:
        providers = {
            name: {"base_url": f"{each.url}/v1", "api_key": KEY} for name, each in (("a", first), ("b", second))
        }
        config = {"providers": providers, "models": {"chat": {"targets": ["a/sim-small", "b/sim-small"]}}}
        async with RunningNode(tmp_path, config) as node:
            await until_share(node)
            status, said = await edge(node, "weight", "b/sim-small", "0.001", "--reason", "a canary")
            assert (status, "weight 0.001 by hand" in said) == (0, True), said
            assert (await shares(node))["b"] < 6
            assert "weight 0.001 by hand" in (await node.target("b/sim-small"))["why"]
            assert (await edge(node, "weight", "b/sim-small", "0", "--reason", "none"))[0] == 1
            assert (await edge(node, "weight", "no/such", "2", "--reason", "none"))[0] == 1
            status, said = await edge(node, "weight", "b/sim-small", "configured")
            assert (status, "by hand" in said) == (0, False), said
            await until_share(node)
