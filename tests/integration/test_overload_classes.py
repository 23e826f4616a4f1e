"""Who goes first when there is not room for everybody?  Classes of keys through a real lane."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from callers import ask, field, keys, status
from onelane import one_lane, whole
from test_overload import SLOW, counts, full, held, patient, until

from edge.native import RouteCounter
from edge.sim.wire import Again, Close, Pause, ReadMessage, ScriptedServer, Send

if TYPE_CHECKING:
    from onelane import OneLane

pytestmark = pytest.mark.usefixtures("both_wires")

KEYS = keys(anna="priority: high", bert="priority: normal", carl="priority: low")


async def begin(lane: OneLane, name: str, number: int) -> asyncio.Task[bytes]:
    """Send a request of a caller, and wait until it is admitted."""
    task = asyncio.create_task(lane.ask(ask(name), b"hello"))
    await until(lane, RouteCounter.R_REQUESTS, number)
    return task


async def test_high_goes_before_normal() -> None:
    """The high class overtakes those of the normal class who came before it."""
    done: list[str] = []
    async with ScriptedServer(SLOW) as target:
        async with one_lane(full(target.url) + KEYS) as lane:
            tasks = []
            for number, name in enumerate(("bert", "bert", "bert", "anna"), 1):
                task = await begin(lane, name, number)
                task.add_done_callback(lambda _, name=name: done.append(name))
                tasks.append(task)
            assert [status(await task) for task in tasks] == [200] * 4
    assert done == ["bert", "anna", "bert", "bert"]


async def test_low_is_sent_away_at_once() -> None:
    """The low class does not wait: 503, Retry-After between 1 and 10 s, and the place goes to those who do wait."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_lane(patient(full(target.url, queue="{wait: 18s}")) + KEYS) as lane:
            first = await begin(lane, "anna", 1)
            began = time.monotonic()
            answer = await lane.ask(ask("carl"), b"}]}}")
            assert time.monotonic() - began < 10
            release.set()
            assert status(answer) == 503
            assert 1 <= int(field(answer, "retry-after") or 0) <= 10
            assert counts(lane)["counts"][RouteCounter.R_SHED_LOW] == 1
            assert status(await first) == 200
            assert status(await lane.ask(ask("carl"), b"hello")) == 200


async def test_high_takes_the_place_of_normal_in_a_full_queue() -> None:
    """A full queue sheds the last of the normal class before it sends a high one away."""
    async with ScriptedServer(SLOW) as target:
        async with one_lane(full(target.url, queue="{limit: 1, wait: 3s}") + KEYS) as lane:
            first = await begin(lane, "bert", 1)
            waits = asyncio.create_task(lane.ask(ask("bert"), b"}"))
            await until(lane, RouteCounter.R_WAITING, 1)
            high = await begin(lane, "anna", 3)
            assert status(await waits) == 503
            assert [status(await task) for task in (first, high)] == [200, 200]
            assert counts(lane)["counts"][RouteCounter.R_SHED_NORMAL] == 1


async def test_a_failover_is_ramped_for_low_alone() -> None:
    """The first tier is dead: of thirty at once of the low class the backup takes four, of the others all it may."""
    slow = (ReadMessage(), Pause(1.0), Send(whole()), Again())
    async with ScriptedServer((ReadMessage(), Close())) as dead, ScriptedServer(slow) as backup:
        text = full(dead.url, backup.url, cap=40) + KEYS
        async with one_lane(text) as lane:
            for _ in range(6):  # each fails over, and the dead one's circuit opens
                await lane.ask(ask("anna"), b"hello")
            assert lane.target("p0/m")["state"] == "open"
            low = [asyncio.create_task(lane.ask(ask("carl"), b"}")) for _ in range(30)]
            await until(lane, RouteCounter.R_REQUESTS, 36)
            others = [asyncio.create_task(lane.ask(ask(name), b"hello")) for name in ("anna", "bert") * 8]
            answered = [status(await task) for task in low]
            assert [status(await task) for task in others] == [200] * 16
    assert answered.count(200) == 4
    assert answered.count(503) == 26
