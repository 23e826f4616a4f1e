"""A primary that goes silent is left within seconds, long before its deadlines, even by requests in flight."""

from __future__ import annotations

import asyncio

import pytest
from one_data_plane import one_data_plane, post, whole
from witness import attempts

from edge import clock
from edge.native import Cell, Outcome
from edge.sim.wire import Again, ReadMessage, ReadToEnd, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
# Answers one request; then it reads and says nothing, on that connection and on every other.
FADING = ((ReadMessage(), Send(whole()), ReadToEnd()), (ReadToEnd(),))


def text(primary: str, backup: str) -> str:
    """Return a configuration of two tiers with the default deadlines of half a minute and the default breaker."""
    return f"""
providers:
  p0: {{dialect: openai, base_url: '{primary}/v1'}}
  p1: {{dialect: openai, base_url: '{backup}/v1'}}
models: {{chat: {{targets: [p0/m, {{target: p1/m, tier: 2}}]}}}}
"""


async def test_left_in_seconds() -> None:
    """Twelve callers of a known primary that falls silent all have the backup's answer within 4.5 seconds."""
    async with ScriptedServer(*FADING) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            assert b"x-edge-target: p0/m\r\n" in await data_plane.ask(post(), b"hello")
            data_plane.observe("p0/m", Cell.CELL_WHOLE, ms=5, count=100)
            began_s = clock.now_ns() / 1e9
            answers = await asyncio.gather(*(data_plane.ask(post(), b"hello", limit_s=20.0) for _ in range(12)))
            took_s = clock.now_ns() / 1e9 - began_s
            assert all(b"x-edge-target: p1/m\r\n" in answer for answer in answers)
            assert 2.0 <= took_s < 4.5
            assert data_plane.target("p0/m")["state"] == "open"
            # one loser runs on to be learned from, the others are cancelled
            assert data_plane.target("p0/m")["inflight"] == 1
            assert data_plane.outcomes("p0/m")[Outcome.CANCELLED] == 11
            # whoever comes now does not wait at all
            assert b"x-edge-attempts: 1\r\n" in await data_plane.ask(post(), b"hello")
            assert attempts(data_plane, "p0/m") == 13


async def test_alone_it_is_waited_for() -> None:
    """If no other target can answer, an overdue attempt keeps its whole deadline."""
    async with ScriptedServer(*FADING) as primary:
        only = text(primary.url, primary.url).replace(", {target: p1/m, tier: 2}", "")
        async with one_data_plane(only) as data_plane:
            assert b"200 OK" in await data_plane.ask(post(), b"hello")
            waiting = [asyncio.create_task(data_plane.ask(post(), b"hello", limit_s=8.0)) for _ in range(12)]
            await clock.sleep(4.0)
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_FIRST_BYTE] == 0
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
