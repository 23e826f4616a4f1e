"""A target recovers by a single trial and then in slow start; nothing from before the outage counts."""

from __future__ import annotations

import asyncio
import time

import pytest
from one_data_plane import OneDataPlane, models, one_data_plane, post, whole
from witness import Witness, asking, attempts, set_manual

from edge import clock
from edge.native import Outcome, TargetCounter
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.wire import Again, Close, Hold, Pause, ReadMessage, ReadToEnd, ScriptedServer, Send
from edge.sim.world import SimulatedProviders
from edge.terms.target_state import HALF_OPEN

GOOD = (ReadMessage(), Send(whole()), Again())
BAD = (ReadMessage(), Send(whole(b"{}", b"500 Internal Server Error")), Close())
SILENT = (ReadMessage(), ReadToEnd())
PACE = Pace(ttft_s=0.002, tps=0.0, tokens=4)


def configured(*urls: str, breaker: str) -> str:
    """Return a data plane's configuration with this breaker and long deadlines."""
    return models(*urls, defaults=f"defaults: {{breaker: {breaker}}}").replace("500ms", "5s").replace("700ms", "5s")


async def trip(data_plane: OneDataPlane, name: str = "p0/m") -> None:
    """Send requests until the circuit is open."""
    for _ in range(20):
        await data_plane.ask(asking(), b"}}")
        if data_plane.target(name)["state"] == "open":
            return
    pytest.fail(f"{name} did not open: {data_plane.target(name)}")


async def until_due(data_plane: OneDataPlane, name: str = "p0/m") -> None:
    """Wait until the next request may try an open target."""
    target = data_plane.target(name)
    await clock.sleep(max((target["until_ns"] - target["now_ns"]) / 1e9, 0.0) + 0.01)


async def test_its_share_grows() -> None:
    """After the trial the share grows from a tenth to all over ``slow_start``; the next tier takes the rest."""
    rate, ramp_s = 100.0, 4
    async with SimulatedProviders("a", "b", pace=PACE) as world:
        text = configured(world["a"].url, world["b"].url, breaker="{open_duration: 300ms, slow_start: 4s}")
        async with one_data_plane(text) as data_plane:
            await world["a"].switch(Fault(kind="error"))
            await trip(data_plane)
            await world["a"].switch()
            await until_due(data_plane)
            witness = Witness(data_plane.port, count=int((ramp_s + 2) * rate), rate=rate)
            await witness.run()
            assert witness.closed_loop.failures == []
            back_s = next(at_s for at_s, name in witness.answers if name == "p0/m")
            after = [(at_s - back_s, name == "p0/m") for at_s, name in witness.answers if at_s > back_s]
            # A tenth, then a straight line from the trial on. A slow machine sends fewer in a second, and no others.
            growing = [(min(max(0.1, at_s / ramp_s), 1.0), mine) for at_s, mine in after if at_s < ramp_s]
            for some in (growing[start : start + 100] for start in range(0, len(growing), 100)):
                deviation = sum(mean * (1 - mean) for mean, _ in some) ** 0.5
                assert abs(sum(mine - mean for mean, mine in some)) < 4.5 * deviation + 2
            assert sum(mine for _, mine in growing) < 0.75 * len(growing)
            assert {mine for at_s, mine in after if at_s > ramp_s + 1} == {True}


async def test_a_recovered_equal_is_given_work_at_once() -> None:
    """Among fast and idle targets of one tier, a recovered target is used again without load."""
    async with SimulatedProviders("a", "b", pace=PACE) as world:
        text = configured(world["a"].url, world["b"].url, breaker="{open_duration: 300ms, slow_start: 0s}")
        async with one_data_plane(text.replace("tier: 2", "tier: 1")) as data_plane:
            await world["a"].switch(Fault(kind="error"))
            for _ in range(5):  # alone, it fails until it is left alone
                set_manual(data_plane, "p1/m", 2)
                await data_plane.ask(asking(), b"}}")
                set_manual(data_plane, "p1/m", 0)
            assert data_plane.target("p0/m")["state"] == "open"
            await world["a"].switch()
            await until_due(data_plane)
            before = attempts(data_plane, "p0/m")
            witness = Witness(data_plane.port, count=20, rate=100, connections=1)
            await witness.run()
            assert witness.closed_loop.failures == []
            assert attempts(data_plane, "p0/m") - before >= 2  # the trial is one of them


@pytest.mark.parametrize("backup", [True, False], ids=["with-backup", "alone"])
async def test_one_trial_at_a_time(backup: bool) -> None:
    """While a trial runs, one request is at the target; the others are answered elsewhere, or told to wait."""
    decided = asyncio.Event()
    trying = (ReadMessage(), Hold(decided), Send(whole()), Close())
    async with ScriptedServer(BAD, BAD, BAD, BAD, BAD, trying, GOOD) as primary, ScriptedServer(GOOD) as other:
        urls = (primary.url, other.url) if backup else (primary.url,)
        async with one_data_plane(configured(*urls, breaker="{open_duration: 1500ms, slow_start: 0s}")) as data_plane:
            await trip(data_plane)
            assert len(primary.peers) == 5
            await until_due(data_plane)
            trial = asyncio.create_task(data_plane.ask(asking(), b"}}"))
            await primary.wait_asked(6)
            assert data_plane.target("p0/m")["state"] == "half_open"
            answers = await asyncio.gather(*(data_plane.ask(asking(), b"}}") for _ in range(30)))
            assert not trial.done()
            assert data_plane.target("p0/m")["state"] == "half_open"
            assert data_plane.target("p0/m")["inflight"] == 1
            assert len(primary.peers) == 6
            decided.set()
            for answer in answers:
                if backup:
                    assert b"x-edge-target: p1/m\r\n" in answer
                    assert b"x-edge-reason: p0/m: half_open\r\n" in answer
                else:
                    assert answer.startswith(b"HTTP/1.1 503 ")
                    assert HALF_OPEN.sentence.encode() in answer
            assert b"x-edge-target: p0/m\r\n" in await trial
            assert data_plane.target("p0/m")["state"] == "closed"
            assert data_plane.target("p0/m")["counts"][TargetCounter.T_TRIALS] == 1
            assert b"x-edge-target: p0/m\r\n" in await data_plane.ask(asking(), b"}}")


async def test_a_long_trial_does_not_keep_everybody_out() -> None:
    """During a long trial of the only target, another request may try after an open period, and its success counts."""
    async with ScriptedServer(BAD, BAD, BAD, BAD, BAD, SILENT, GOOD) as primary:
        async with one_data_plane(
            configured(primary.url, breaker="{open_duration: 300ms, slow_start: 0s}")
        ) as data_plane:
            await trip(data_plane)
            await until_due(data_plane)
            trial = asyncio.create_task(data_plane.ask(asking(), b"}}", limit_s=20))
            await primary.wait_asked(6)
            async with asyncio.timeout(60):
                while not (await data_plane.ask(asking(), b"}}")).startswith(b"HTTP/1.1 200 "):
                    await clock.sleep(0.02)
            assert not trial.done()
            assert data_plane.target("p0/m")["state"] == "closed"
            assert data_plane.target("p0/m")["counts"][TargetCounter.T_TRIALS] == 2
            trial.cancel()


async def test_who_stands_aside_while_it_recovers_is_said() -> None:
    """An answer of a later tier during slow start is not reported as an outage."""
    async with ScriptedServer(BAD, BAD, BAD, BAD, BAD, GOOD) as primary, ScriptedServer(GOOD) as other:
        async with one_data_plane(
            configured(primary.url, other.url, breaker="{open_duration: 300ms, slow_start: 60s}")
        ) as data_plane:
            await trip(data_plane)
            await until_due(data_plane)
            answers = [await data_plane.ask(asking(), b"}}") for _ in range(20)]
            assert b"x-edge-reason" not in answers[0]  # the trial
            spared = [answer for answer in answers if b"x-edge-target: p1/m\r\n" in answer]
            assert spared
            assert all(b"x-edge-reason: p0/m: slow_start\r\n" in answer for answer in spared)


async def test_a_trial_whose_client_leaves_is_given_back() -> None:
    """If the client of a trial leaves, the next request may try at once."""
    async with ScriptedServer(BAD, BAD, BAD, BAD, BAD, SILENT, GOOD) as primary, ScriptedServer(GOOD) as other:
        async with one_data_plane(
            configured(primary.url, other.url, breaker="{open_duration: 300ms, slow_start: 0s}")
        ) as data_plane:
            await trip(data_plane)
            await until_due(data_plane)
            leaving = asyncio.create_task(data_plane.ask(asking(), b"}}"))
            await primary.wait_asked(6)
            leaving.cancel()
            assert await primary.peers[5].wait_end() == "peer_closed"
            assert b"x-edge-target: p0/m\r\n" in await data_plane.ask(asking(), b"}}")
            assert data_plane.target("p0/m")["state"] == "closed"
            assert data_plane.outcomes("p0/m")[Outcome.CANCELLED] == 1


@pytest.mark.parametrize("late", ["good", "bad"])
async def test_stragglers_change_nothing(late: str) -> None:
    """An attempt from before the outage neither closes the circuit nor extends its wait."""
    end = whole() if late == "good" else whole(b"{}", b"500 Internal Server Error")
    opening = asyncio.Event()
    straggler = (ReadMessage(), Hold(opening), Send(end), Close())
    async with ScriptedServer(straggler, straggler, straggler, BAD) as primary, ScriptedServer(GOOD) as other:
        async with one_data_plane(configured(primary.url, other.url, breaker="{open_duration: 20s}")) as data_plane:
            stragglers = [asyncio.create_task(data_plane.ask(asking(), b"}}")) for _ in range(3)]
            await primary.wait_asked(3)
            await trip(data_plane)
            opened = data_plane.target("p0/m")
            assert opened["inflight"] == 3
            opening.set()
            answers = await asyncio.gather(*stragglers)
            now = data_plane.target("p0/m")
            assert {b"x-edge-target: p0/m\r\n" in answer for answer in answers} == {late == "good"}
            assert (now["state"], now["inflight"]) == ("open", 0)
            for unchanged in ("generation", "until_ns", "opens"):
                assert now[unchanged] == opened[unchanged]
            outcome = Outcome.OK if late == "good" else Outcome.FAIL_STATUS
            assert data_plane.outcomes("p0/m")[outcome] == (3 if late == "good" else 8)
            assert b"x-edge-reason: p0/m: open\r\n" in await data_plane.ask(asking(), b"}}")


async def test_a_worker_that_stood_still_blames_nobody() -> None:
    """After a pause of the loop, received data is read before deadlines are checked."""
    slow = (ReadMessage(), Pause(0.2), Send(whole()), Again())
    async with ScriptedServer(slow) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        asking = asyncio.create_task(data_plane.ask(post(), b"hello"))
        await upstream.wait_peers(1)
        # Longer than the deadline of a first byte, which is 0.5 s; what comes meanwhile waits in the kernel.
        data_plane.thread.loop.call_soon_threadsafe(time.sleep, 1.5)
        answer = await asking
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"x-edge-attempts: 1\r\n" in answer
