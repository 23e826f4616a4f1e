"""When every target is full, requests wait or are told when to retry, and none is lost."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from one_data_plane import models, one_data_plane, patient, post, whole

from edge.native import RouteCounter, TargetCounter
from edge.sim.wire import Again, Close, Hold, Pause, ReadMessage, ReadUntil, ScriptedServer, Send, play_client

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

    from edge.sim.wire import Step

pytestmark = pytest.mark.usefixtures("both_wires")


def full(*urls: str, queue: str = "{wait: 3s}", cap: int = 1) -> str:
    """Return a configuration of ``chat`` whose targets have the limit ``cap``."""
    text = models(*urls, extra=f"    queue: {queue}")
    return re.sub(r"(base_url: '[^']*')", rf"\1, max_inflight: {cap}", text).replace(
        "first_byte: 500ms", "first_byte: 2s"
    )


def counts(data_plane: OneDataPlane, name: str = "chat") -> Any:
    """Return a route's counters in the shared state."""
    slot = next(route.slot for route in data_plane.snapshot.routes if route.name == name)
    return data_plane.shared_state.read_route(slot)


async def until(data_plane: OneDataPlane, counter: RouteCounter, value: int) -> None:
    """Wait until a counter of ``chat`` has reached a value."""
    end = time.monotonic() + 20
    while counts(data_plane)["counts"][counter] != value:
        assert time.monotonic() < end, counts(data_plane)["counts"]
        await asyncio.sleep(0.005)


def held(release: asyncio.Event) -> tuple[Step, ...]:
    """A target that does not answer before it is told to.

    The pause after that keeps two answers apart, so that clients see them in the order in which they were given.
    """
    return (ReadMessage(), Hold(release), Pause(0.02), Send(whole()), Again())


def status(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])


async def test_waits_for_a_place() -> None:
    """Three concurrent requests to a target with a limit of one are all answered in turn, and the waits are counted."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 18s}"))) as data_plane:
            began = time.monotonic()
            asked = [asyncio.create_task(data_plane.ask(post(), b"hello")) for _ in range(3)]
            await until(data_plane, RouteCounter.R_WAITING, 2)
            both_wait = time.monotonic()
            await asyncio.sleep(0.2)
            at_least_s = 2 * (time.monotonic() - both_wait)
            release.set()
            answers = await asyncio.gather(*asked)
            at_most_s = 2 * (time.monotonic() - began)
            view = counts(data_plane)
    assert [status(answer) for answer in answers] == [200] * 3
    assert view["counts"][RouteCounter.R_QUEUED] == 2
    assert view["counts"][RouteCounter.R_WAITING] == 0
    assert at_least_s <= view["queue_sum_us"] / 1e6 <= at_most_s
    assert sum(view["queue_hist"]) == 2


async def test_in_order() -> None:
    """Within a class waiters are served in the order of arrival."""
    done: list[int] = []

    async def one(data_plane: OneDataPlane, number: int) -> None:
        await data_plane.ask(post(), b"hello")
        done.append(number)

    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 18s}"))) as data_plane:
            tasks = []
            for number in range(4):
                tasks.append(asyncio.create_task(one(data_plane, number)))
                await until(data_plane, RouteCounter.R_REQUESTS, number + 1)
            await until(data_plane, RouteCounter.R_WAITING, 3)
            release.set()
            await asyncio.gather(*tasks)
    assert done == [0, 1, 2, 3]


async def test_waits_no_longer_than_it_may() -> None:
    """Without a place within queue.wait the caller gets 503, the reason, and a retry time."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 200ms}"))) as data_plane:
            first = asyncio.create_task(data_plane.ask(post(), b"hello"))
            await until(data_plane, RouteCounter.R_REQUESTS, 1)
            began = time.monotonic()
            answer = await data_plane.ask(post(), b"}]}}")
            took = time.monotonic() - began
            release.set()
            assert status(answer) == 503
            assert 0.15 < took < 10
            retry_after = re.search(rb"retry-after: (\d+)\r\n", answer)
            assert retry_after is not None
            assert 1 <= int(retry_after[1]) <= 10
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert (error["type"], error["code"]) == ("overloaded", "overloaded")
            assert error["targets"][0]["state"] == "full"
            assert counts(data_plane)["counts"][RouteCounter.R_SHED_NORMAL] == 1
            assert status(await first) == 200


@pytest.mark.parametrize("limit", [0, 1])
async def test_a_full_queue_sheds_at_once(limit: int) -> None:
    """If the queue is full, a request is refused at once."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue=f"{{limit: {limit}, wait: 18s}}"))) as data_plane:
            served = []
            for number in range(limit + 1):
                served.append(asyncio.create_task(data_plane.ask(post(), b"hello")))
                await until(data_plane, RouteCounter.R_REQUESTS, number + 1)
            began = time.monotonic()
            assert status(await data_plane.ask(post(), b"}]}}")) == 503
            assert time.monotonic() - began < 10
            assert counts(data_plane)["counts"][RouteCounter.R_QUEUED] == limit
            release.set()
            assert [status(await one) for one in served] == [200] * (limit + 1)


async def test_who_leaves_makes_room() -> None:
    """A waiter whose client leaves is removed at once, and no attempt is made for it."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 18s}"))) as data_plane:
            first = asyncio.create_task(data_plane.ask(post(), b"hello"))
            await until(data_plane, RouteCounter.R_REQUESTS, 1)
            gone = asyncio.create_task(play_client(data_plane.port, Send(post()), ReadUntil(b"never")))
            await until(data_plane, RouteCounter.R_WAITING, 1)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            await until(data_plane, RouteCounter.R_WAITING, 0)
            release.set()
            assert status(await first) == 200
            assert counts(data_plane)["counts"][RouteCounter.R_CANCELLED] == 1
            assert data_plane.target("p0/m")["counts"][TargetCounter.T_ATTEMPTS] == 1


async def test_a_reload_loses_nobody() -> None:
    """A waiter keeps its route and is served by it after a reload."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(patient(full(target.url, queue="{wait: 18s}"))) as data_plane:
            tasks = [asyncio.create_task(data_plane.ask(post(), b"hello")) for _ in range(3)]
            await until(data_plane, RouteCounter.R_WAITING, 2)
            await data_plane.swap(full(target.url, queue="{limit: 0}") + '\nlisten: [{address: "127.0.0.1:0"}]\n')
            release.set()
            assert [status(await task) for task in tasks] == [200] * 3


async def test_full_spills_to_the_next_tier() -> None:
    """With a second tier no request waits: the second tier takes the rest, with a reason."""
    release = asyncio.Event()
    async with (
        ScriptedServer(held(release)) as first,
        ScriptedServer((ReadMessage(), Send(whole()), Again())) as second,
        one_data_plane(patient(full(first.url, second.url))) as data_plane,
    ):
        took = asyncio.create_task(data_plane.ask(post(), b"hello"))
        await until(data_plane, RouteCounter.R_REQUESTS, 1)
        spilled = await data_plane.ask(post(), b"hello")
        release.set()
        answers = [await took, spilled]
        view = counts(data_plane)["counts"]
        assert [b"x-edge-reason: p0/m: full\r\n" in answer for answer in answers] == [False, True]
        assert (view[RouteCounter.R_SPILLED], view[RouteCounter.R_QUEUED]) == (1, 0)
        assert data_plane.target("p0/m")["counts"][TargetCounter.T_FULL] == 1
        assert data_plane.target("p1/m")["counts"][TargetCounter.T_SPILLED] == 1


async def test_the_total_deadline_ends_a_wait() -> None:
    """A caller's deadline includes the time in the queue."""
    async with ScriptedServer((ReadMessage(), Pause(2), Send(whole()), Again())) as target:
        text = full(target.url, queue="{wait: 4s}").replace("total: 5s", "total: 600ms")
        async with one_data_plane(text) as data_plane:
            answers = await asyncio.gather(*[data_plane.ask(post(), b"}}") for _ in range(2)])
            await until(data_plane, RouteCounter.R_WAITING, 0)
    assert [status(answer) for answer in answers] == [504, 504]


async def test_a_dead_target_is_not_waited_for() -> None:
    """No request waits for a target whose circuit is open: the caller gets the error at once."""
    async with ScriptedServer((ReadMessage(), Close())) as target:
        async with one_data_plane(full(target.url)) as data_plane:
            for _ in range(4):
                await data_plane.ask(post(), b"}]}}")
            assert data_plane.target("p0/m")["state"] == "open"
            answer = await data_plane.ask(post(), b"}]}}")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "no_usable_target"
            assert counts(data_plane)["counts"][RouteCounter.R_QUEUED] == 0


def unhurried(text: str) -> str:
    """Return the same with a minute for everything, so that no answer counts as slow."""
    return re.sub(r"\b\d+m?s\b", "60s", text)


async def test_what_is_refused_between_answers_sets_a_limit() -> None:
    """Nine requests run, answers and 503s alternate: with the third 503 the limit is nine tenths of ten."""
    release = asyncio.Event()
    good = (ReadMessage(), Send(whole()))
    refused = (ReadMessage(), Send(whole(b'{"error":{}}', b"503 Service Unavailable")))
    scripts = [held(release)] * 9 + [(*good, *refused, Again())]
    async with ScriptedServer(*scripts) as target, ScriptedServer((*good, Again())) as other:
        async with one_data_plane(unhurried(full(target.url, other.url, cap=0))) as data_plane:
            running = [asyncio.create_task(data_plane.ask(post(), b"hello")) for _ in range(9)]
            await target.wait_peers(9)
            limits, elsewhere = [], []
            for _ in range(6):
                elsewhere.append(b"x-edge-target: p1/m\r\n" in await data_plane.ask(post(), b"hello"))
                limits.append(data_plane.target("p0/m")["limit"])
            release.set()
            assert [status(await each) for each in running] == [200] * 9
            view = data_plane.target("p0/m")
    assert elsewhere == [False, True] * 3
    assert limits == [0, 0, 0, 0, 0, pytest.approx(9)]
    assert (view["inflight"], view["inflight_by_priority"]) == (0, (0, 0, 0))


async def test_a_new_target_takes_all_that_comes() -> None:
    """An unknown target gets a hundred concurrent requests: none waits, and none is refused."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as target:
        async with one_data_plane(unhurried(full(target.url, cap=0))) as data_plane:
            asked = [asyncio.create_task(data_plane.ask(post(), b"hello")) for _ in range(100)]
            await target.wait_peers(100)
            release.set()
            assert [status(await each) for each in asked] == [200] * 100
            assert counts(data_plane)["counts"][RouteCounter.R_QUEUED] == 0


async def test_a_backup_is_filled_step_by_step() -> None:
    """The first tier is down: the second gets 64 requests at once, and as many again after their answers."""
    release = asyncio.Event()
    async with ScriptedServer(held(release)) as dead, ScriptedServer(held(release)) as backup:
        async with one_data_plane(unhurried(full(dead.url, backup.url, cap=0))) as data_plane:
            first = next(target for target in data_plane.snapshot.targets if target.id == "p0/m")
            data_plane.shared_state.set_manual(first.slot, 1)
            asked = [asyncio.create_task(data_plane.ask(post(), b"hello")) for _ in range(100)]
            await until(data_plane, RouteCounter.R_WAITING, 36)
            assert data_plane.target("p1/m")["inflight"] == 64
            release.set()
            assert [status(await each) for each in asked] == [200] * 100
            assert data_plane.target("p1/m")["allowance"] > 64
