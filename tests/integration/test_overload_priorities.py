"""Priorities of keys when there is not enough capacity, through a real data plane."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from callers import ask, field, keys, status
from one_data_plane import one_data_plane, patient
from test_overload import counts, full, held, until

from edge.native import RouteCounter
from edge.sim.wire import Close, ReadMessage, ScriptedServer

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

pytestmark = pytest.mark.usefixtures("both_wires")

KEYS = keys(anna="priority: high", bert="priority: normal", carl="priority: low")


async def begin(data_plane: OneDataPlane, name: str, number: int) -> asyncio.Task[bytes]:
    """Send a request of a caller, and wait until it is admitted."""
    task = asyncio.create_task(data_plane.ask(ask(name), b"hello"))
    await until(data_plane, RouteCounter.R_REQUESTS, number)
    return task


async def test_high_goes_before_normal() -> None:
    """A request of high priority overtakes earlier normal ones."""
    done: list[str] = []
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 18s}")) + KEYS) as data_plane:
            tasks = []
            for number, name in enumerate(("bert", "bert", "bert", "anna"), 1):
                task = await begin(data_plane, name, number)
                task.add_done_callback(lambda _, name=name: done.append(name))
                tasks.append(task)
            await until(data_plane, RouteCounter.R_WAITING, 3)
            release.set()
            assert [status(await task) for task in tasks] == [200] * 4
    assert done == ["bert", "anna", "bert", "bert"]


async def test_low_is_sent_away_at_once() -> None:
    """A low request does not wait: 503, Retry-After between 1 and 10 s; waiters get the place."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 18s}")) + KEYS) as data_plane:
            first = await begin(data_plane, "anna", 1)
            began = time.monotonic()
            answer = await data_plane.ask(ask("carl"), b"}]}}")
            assert time.monotonic() - began < 10
            release.set()
            assert status(answer) == 503
            assert 1 <= int(field(answer, "retry-after") or 0) <= 10
            assert counts(data_plane)["counts"][RouteCounter.R_SHED_LOW] == 1
            assert status(await first) == 200
            assert status(await data_plane.ask(ask("carl"), b"hello")) == 200


async def test_high_takes_the_place_of_normal_in_a_full_queue() -> None:
    """A full queue sheds the last normal request before it refuses a high one."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{limit: 1, wait: 18s}")) + KEYS) as data_plane:
            first = await begin(data_plane, "bert", 1)
            waits = asyncio.create_task(data_plane.ask(ask("bert"), b"}"))
            await until(data_plane, RouteCounter.R_WAITING, 1)
            high = await begin(data_plane, "anna", 3)
            assert status(await waits) == 503
            release.set()
            assert [status(await task) for task in (first, high)] == [200, 200]
            assert counts(data_plane)["counts"][RouteCounter.R_SHED_NORMAL] == 1


async def test_a_failover_is_ramped_for_low_alone() -> None:
    """The first tier is dead: of thirty low requests the backup takes four; the other priorities are not ramped."""
    release = asyncio.Event()
    release.set()
    async with ScriptedServer((ReadMessage(), Close())) as dead, ScriptedServer(held(release)) as backup:
        text = patient(full(dead.url, backup.url, cap=40)) + KEYS
        async with one_data_plane(text) as data_plane:
            for _ in range(6):  # each fails over, and the dead one's circuit opens
                await data_plane.ask(ask("anna"), b"hello")
            assert data_plane.target("p0/m")["state"] == "open"
            release.clear()
            low = [asyncio.create_task(data_plane.ask(ask("carl"), b"}")) for _ in range(30)]
            await until(data_plane, RouteCounter.R_REQUESTS, 36)
            others = [asyncio.create_task(data_plane.ask(ask(name), b"hello")) for name in ("anna", "bert") * 8]
            await until(data_plane, RouteCounter.R_REQUESTS, 52)
            release.set()
            answered = [status(await task) for task in low]
            assert [status(await task) for task in others] == [200] * 16
    assert answered.count(200) == 4
    assert answered.count(503) == 26
