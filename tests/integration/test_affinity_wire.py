"""Affinity over sockets: conversations stay where they were answered, move once when they must, and keep weights.

What takes minutes (the life of a pin) and what takes a load (reuse of prompts) is tested on the virtual wire:
``tests/native/test_affinity.py`` and ``tests/native/test_affinity_load.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from one_data_plane import one_data_plane

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMES = ("a", "b", "c", "d")
WIRES = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])


class Talk:
    """One conversation; each turn repeats all turns before it."""

    def __init__(self, client: httpx.AsyncClient, number: int, dialect: str) -> None:
        self._client = client
        self._dialect = dialect
        self._said: list[dict[str, Any]] = [{"role": "user", "content": f"I am speaker {number}."}]

    async def turn(self) -> str:
        """Take a turn, each other one streamed; return the provider that answered."""
        stream = len(self._said) % 4 == 1
        body: dict[str, Any] = {"model": "chat", "max_tokens": 50, "messages": self._said, "stream": stream}
        path = "/v1/messages" if self._dialect == "anthropic" else "/v1/chat/completions"
        answer = await self._client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        answered = "Hello again." if stream else "Hello."
        self._said += [{"role": "assistant", "content": answered}, {"role": "user", "content": "And then?"}]
        return answer.headers["x-edge-target"].partition("/")[0]


@contextlib.asynccontextmanager
async def talking(
    weights: dict[str, int], http2: bool = False, ttft_s: float = 0
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, SimProvider]]]:
    """Run providers with these weights, and edge before them."""
    async with contextlib.AsyncExitStack() as stack:
        sims = {
            name: await stack.enter_async_context(
                SimProvider(ProviderSpec(name=name, pace=Pace(ttft_s=ttft_s, tps=0, tokens=4)))
            )
            for name in weights
        }
        text = "providers:\n" + "".join(f"  {name}: {{base_url: '{sim.base_url}'}}\n" for name, sim in sims.items())
        targets = ", ".join(f"{{target: {name}/sim, weight: {weight}}}" for name, weight in weights.items())
        breaker = "breaker: {consecutive_failures: 1, open_duration: 30s}"
        plane = await stack.enter_async_context(
            one_data_plane(f"{text}models:\n  chat: {{targets: [{targets}], affinity: auto, {breaker}}}\n")
        )
        client = httpx.AsyncClient(base_url=plane.url, timeout=30, http1=not http2, http2=http2)
        yield await stack.enter_async_context(client), sims


@WIRES
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_conversation_stays_and_moves_once(dialect: str, *, http2: bool) -> None:
    """Every turn has the target of the first; those of a target that fails move, once, and do not come back."""
    async with talking(dict.fromkeys(NAMES, 1), http2) as (client, sims):
        talks = [Talk(client, number, dialect) for number in range(16)]
        owners = [await talk.turn() for talk in talks]
        assert set(owners) == set(NAMES)
        for _ in range(2):
            assert [await talk.turn() for talk in talks] == owners
        await sims["a"].switch(Fault(kind="error", status=500))
        moved = [await talk.turn() for talk in talks]
        assert "a" not in moved
        assert [new for old, new in zip(owners, moved, strict=True) if old != "a"] == [
            one for one in owners if one != "a"
        ]
        await sims["a"].switch()
        for _ in range(2):
            assert [await talk.turn() for talk in talks] == moved


async def test_weights_hold_over_conversations() -> None:
    """Of conversations at once, a target with three times the weight has about three of four, and as many turns."""
    async with talking({"a": 3, "b": 1}, http2=True, ttft_s=0.3) as (client, _):
        talks = [Talk(client, number, "openai") for number in range(80)]
        owners = await asyncio.gather(*[talk.turn() for talk in talks])
        assert 50 <= Counter(owners)["a"] <= 70
        assert [await talk.turn() for talk in talks[:12]] == owners[:12]
