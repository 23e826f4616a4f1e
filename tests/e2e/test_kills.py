"""A kill under load costs clients nothing, except the answers in flight of a killed worker.

5,000 requests over 32 connections, and SIGKILL for a target, a worker or control while they run.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from processes import bare_start_s, kill, listens, port_of, processes
from soon import until

from edge import clock
from edge.sim import wire
from edge.sim.asked import Pace
from edge.sim.closed_loop_load import Answered, ClosedLoopLoad
from edge.sim.faults import Fault
from edge.sim.node import EdgeProcess
from edge.sim.ports import free_port
from edge.sim.provider import ProviderSpec
from edge.sim.world import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.alone


COUNT = 5000
UNTIL_ENDED = 1_000_000  # more than there is time for
PATIENCE_S = 100.0
CONNECTIONS = 32
RATE = 1000.0  # a second: some 20 in flight at this pace, and processor time left for what has to start again
PACE = Pace(ttft_s=0.02, tps=0.0, tokens=6)
MESSAGES = [{"role": "user", "content": "hello"}]
WHOLE = wire.request(msgspec.json.encode({"model": "chat", "messages": MESSAGES}))
STREAM = wire.request(msgspec.json.encode({"model": "chat", "messages": MESSAGES, "stream": True}))
REQUESTS_0 = 'edge_worker_requests_total{worker="0"}'
_TARGET = re.compile(rb"\r\nx-edge-target: ([^\r]+)\r\n")


class Witness:
    """Checks answers, and records which target gave them and when."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []  # number, target; in the order of the answers
        self.at_s: list[float] = []  # when each of them came

    def verify(self, number: int, answer: Answered) -> str | None:
        """Accept complete answers only; streams count as complete with their end mark."""
        if answer.status != 200:
            return f"status {answer.status}: {answer.body[:300]!r}"
        if b"Hello" not in answer.body or (b"data: " in answer.body and not answer.body.endswith(b"data: [DONE]\n\n")):
            return f"incomplete: {answer.body[:300]!r}"
        target = _TARGET.search(answer.head)
        self.seen.append((number, target[1].decode() if target else ""))
        self.at_s.append(clock.now_ns() / 1e9)
        return None

    def who(self, first: int = 0, *, since_s: float = 0.0, until_s: float = float("inf")) -> set[str]:
        """Return which targets answered the requests from number ``first`` on, within these times."""
        return {
            target
            for (number, target), at_s in zip(self.seen, self.at_s, strict=True)
            if number >= first and since_s <= at_s < until_s
        }


def config(base_urls: dict[str, str], *, tiers: bool) -> dict[str, Any]:
    """Write edge.yaml: the model ``chat`` over all of these, in one tier or each in its own."""
    targets = [{"target": f"{name}/m", "tier": 1 + tiers * place} for place, name in enumerate(base_urls)]
    breaker = {"open_duration": "300ms", "slow_start": "500ms"}  # so that the recovery lies within the run
    return {
        "providers": {name: {"base_url": url, "probe": "/models"} for name, url in base_urls.items()},
        "models": {"chat": {"targets": targets, "breaker": breaker}},
    }


def hammer_on(
    edge: EdgeProcess, witness: Witness, request: bytes | Callable[[int], bytes] = WHOLE, *, count: int = COUNT
) -> ClosedLoopLoad:
    """Return the load of every test here."""
    where = port_of(edge.url)
    return ClosedLoopLoad(where, request, count=count, connections=CONNECTIONS, verify=witness.verify, rate=RATE)


async def settled(edge: EdgeProcess, limit_s: float = 20.0) -> list[dict[str, Any]]:
    """Wait until nothing is in flight; return the targets of the admin listener.

    Raises:
        AssertionError: something still is, after ``limit_s``.
    """
    started_ns = clock.now_ns()
    while True:
        targets = await edge.targets()
        if targets and sum(target["inflight"] for target in targets) == 0:
            return targets
        assert clock.now_ns() - started_ns < limit_s * 1e9, f"still in flight: {targets}"
        await clock.sleep(0.02)


async def tripped(edge: EdgeProcess, name: str) -> None:
    """Wait until the circuit of a target has opened."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(  # noqa: ASYNC110 - counted by another process
            target["trips"] for target in await edge.targets() if target["id"] == name
        ):
            await asyncio.sleep(0.05)


async def metric(edge: EdgeProcess, name: str) -> float:
    """Return a sample of /metrics by its name and labels."""
    async with aiohttp.ClientSession() as client, client.get(f"{edge.admin}/metrics") as response:
        lines = (await response.text()).splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))


@pytest.mark.parametrize(("how", "tiers"), [("SIGKILL", False), ("refuse", True)], ids=["process", "port"])
async def test_a_target_is_killed_and_revived(how: str, tiers: bool) -> None:
    """No client notices, whether the target's process dies or its port closes; revived, it answers again."""
    witness = Witness()
    spec = ProviderSpec(name="a", port=free_port(), pace=PACE)
    async with ProviderProcess("b", pace=PACE) as b, contextlib.AsyncExitStack() as lives:
        a = await lives.enter_async_context(ProviderProcess(spec))
        async with EdgeProcess(config({**a.base_urls, **b.base_urls}, tiers=tiers), workers=2) as edge:
            closed_loop = hammer_on(edge, witness, count=UNTIL_ENDED)
            load = asyncio.create_task(closed_loop.run(PATIENCE_S))
            await closed_loop.reached(1000)
            struck_s = clock.now_ns() / 1e9
            if how == "refuse":
                await a.switch("a", Fault(kind="refuse", for_s=1.0))
                first_after, back_s = closed_loop.begun, struck_s + 1.0
            else:
                assert a._child is not None
                kill(a._child.pid)
                first_after = closed_loop.begun
                await closed_loop.reached(2000)
                await tripped(edge, "a/m")
                back_s = clock.now_ns() / 1e9
                await lives.enter_async_context(ProviderProcess(spec))
            # however long the machine took to start it, and the breaker to look again
            await until(lambda: "a/m" in witness.who(since_s=back_s), PATIENCE_S)
            await closed_loop.reached(COUNT)
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
            targets = {target["id"]: target for target in await settled(edge)}
    assert closed_loop.failures == []
    failed = sum(count for outcome, count in targets["a/m"]["attempts"].items() if outcome.startswith("fail_"))
    assert failed >= 5, str({name: targets["a/m"][name] for name in ("attempts", "trips")})
    assert targets["a/m"]["trips"] >= 1
    assert witness.who(first_after, until_s=back_s) == {"b/m"}


async def test_a_worker_is_killed() -> None:
    """Only the answers in flight of the dead worker fail; another serves within a second, and no count is left.

    Where a bare interpreter takes longer to start than here, so may the worker.
    """
    witness = Witness()
    async with (
        ProviderProcess("a", "b", pace=PACE) as world,
        EdgeProcess(config(world.base_urls, tiers=False), workers=2) as edge,
    ):
        closed_loop = hammer_on(edge, witness, lambda number: STREAM if number % 2 else WHOLE)
        before = processes(edge)
        struck: dict[str, float] = {}

        async def strike() -> None:
            await closed_loop.reached(1000)
            struck["bare_s"] = await bare_start_s()
            await closed_loop.reached(1500)
            struck["held"] = await metric(edge, 'edge_worker_connections{worker="0"}')
            struck["at_s"] = clock.now_ns() / 1e9
            kill(before["worker 0"])

            def replaced() -> bool:
                pid = processes(edge).get("worker 0", before["worker 0"])
                return pid != before["worker 0"] and listens(pid, port_of(edge.url))

            struck["replaced_s"] = await until(replaced, 30)

        await asyncio.gather(closed_loop.run(PATIENCE_S), strike())
        targets = await settled(edge)
        after = processes(edge)
        answered = await metric(edge, REQUESTS_0)
        fresh = ClosedLoopLoad(port_of(edge.url), WHOLE, count=128, connections=32, verify=witness.verify)
        await fresh.run(PATIENCE_S)  # on connections of its own: the kernel gives the new worker its share of them
        answered = await metric(edge, REQUESTS_0) - answered
    assert 0 < struck["held"] < CONNECTIONS
    # The kernel closes the sockets of a killed process one by one, the listener after connections of clients. Who
    # comes back before that waits at the dying listener and is lost once more; edge has no process left to prevent it.
    lost = Counter(failure.connection for failure in closed_loop.failures)
    assert 0 < len(lost) <= struck["held"]
    assert set(lost.values()) <= {1, 2}
    assert {failure.reason.split()[0] for failure in closed_loop.failures} <= {"reset", "closed"}
    # They are told by the kernel, not by a deadline.
    lost_s = max(0.5, 2 * struck["bare_s"])
    assert all(0 <= failure.at_s - struck["at_s"] < lost_s for failure in closed_loop.failures)
    assert closed_loop.right == COUNT - len(closed_loop.failures)
    assert struck["replaced_s"] < max(1.0, 4 * struck["bare_s"])
    assert {name for name, pid in after.items() if before[name] != pid} == {"worker 0"}
    assert (fresh.right, fresh.failures) == (128, [])
    assert 0 < answered < 128
    assert {target["state"] for target in targets} == {"usable"}


async def test_control_is_killed() -> None:
    """No client notices; control returns, answers operators, and has the counts of before."""
    witness = Witness()
    async with (
        ProviderProcess("a", "b", pace=PACE) as world,
        EdgeProcess(config(world.base_urls, tiers=True), workers=2) as edge,
    ):
        closed_loop = hammer_on(edge, witness, lambda number: STREAM if number % 2 else WHOLE)
        before = processes(edge)
        struck: dict[str, float] = {}

        async def strike() -> None:
            await closed_loop.reached(1000)
            struck["bare_s"] = await bare_start_s()
            await closed_loop.reached(1500)
            kill(before["control"])
            started_ns = clock.now_ns()
            assert await edge.targets() == []
            async with asyncio.timeout(30):
                while not await edge.targets():
                    await clock.sleep(0.02)
            struck["back_s"] = (clock.now_ns() - started_ns) / 1e9

        await asyncio.gather(closed_loop.run(PATIENCE_S), strike())
        targets = await settled(edge)
        after = processes(edge)
    assert closed_loop.failures == []
    assert closed_loop.right == COUNT
    assert struck["back_s"] < max(3.0, 6 * struck["bare_s"])
    assert {name for name, pid in after.items() if before[name] != pid} == {"control"}
    attempts = {target["id"]: target["attempts"] for target in targets}
    assert (attempts["a/m"], attempts["b/m"]) == ({"ok": COUNT}, {})
