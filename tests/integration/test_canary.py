"""A canary that is slow, or fails, is taken out by itself, and its callers notice nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from nodes import KEY, RunningNode, quick_provider

from edge.sim.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.provider import SimProvider


WITHIN_S = 30.0


def config(old: SimProvider, new: SimProvider) -> dict[str, Any]:
    """Return a configuration of two versions, of which the second is a canary that opens no circuit."""
    providers = {name: {"base_url": f"{each.url}/v1", "api_key": KEY} for name, each in (("old", old), ("new", new))}
    canary = {"target": "new/sim-small", "canary": {"min_requests": 10}}
    never = {"consecutive_failures": 0, "failure_ratio": "0%", "slow_ratio": "0%"}
    chat = {"targets": ["old/sim-small", canary], "breaker": never, "retry": {"attempts": 3, "budget": "100%"}}
    return {"providers": providers, "models": {"chat": chat}}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param(Fault("latency", delay_s=0.15), "its first content takes", id="slow"),
        pytest.param(Fault("error", status=500), "requests failed", id="failing"),
    ],
)
async def test_a_bad_canary_is_taken_out(tmp_path: Path, fault: Fault, why: str) -> None:
    """It goes within half a minute, a healthy one stays, and no request fails."""
    async with quick_provider() as old, quick_provider() as new:
        async with RunningNode(tmp_path, config(old, new)) as node:
            for _ in range(120):
                assert (await node.ask()).status == 200
            await asyncio.sleep(1.5)  # control has looked at it
            assert (await node.target("new/sim-small"))["state"] != "manual"
            await new.switch(fault)
            began = time.monotonic()
            while (found := await node.target("new/sim-small"))["state"] != "manual":
                assert time.monotonic() - began < WITHIN_S
                answers = await asyncio.gather(*[node.ask() for _ in range(8)])
                assert {answer.status for answer in answers} == {200}
            assert "canary: " in found["why"]
            assert why in found["why"]
            assert {(await node.ask()).headers["x-edge-target"] for _ in range(10)} == {"old/sim-small"}
