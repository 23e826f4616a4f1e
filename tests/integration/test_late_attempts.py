"""A late attempt is not cut: a second attempt starts, the first content wins, and the other attempt still counts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from nodes import until
from one_data_plane import DONE, HELLO, STOP, STREAM, one_data_plane, post, sse, whole

from edge import clock
from edge.native import Cell, Outcome
from edge.sim.wire import Again, Pause, ReadMessage, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

pytestmark = pytest.mark.usefixtures("both_wires")

WHOLE = (ReadMessage(), Send(whole()), Again())
EVENTS = (ReadMessage(), Send(sse(HELLO, STOP, DONE)), Again())
SILENT = (ReadMessage(), ReadToEnd())
WARM = 100  # samples, from which on lateness is known


def text(*urls: str, extra: str = "") -> str:
    """Return a model over a provider per URL, each in its own tier, with the default deadlines and breaker."""
    providers = "\n".join(f"  p{n}: {{dialect: openai, base_url: '{url}/v1'}}" for n, url in enumerate(urls))
    targets = ", ".join(f"{{target: p{n}/m, tier: {n + 1}}}" for n in range(len(urls)))
    return f"providers:\n{providers}\nmodels: {{chat: {{targets: [{targets}]{extra}}}}}\n"


def warm_up(data_plane: OneDataPlane, name: str, cell: Cell, ms: int = 5, count: int = WARM) -> None:
    """Record the usual time of a target, as ``count`` answers would."""
    data_plane.observe(name, cell, ms, count)


async def test_a_warm_black_hole_costs_two_seconds() -> None:
    """With 100 samples a silent primary is joined after 2 s: the backup answers, and the reason names the primary."""
    async with ScriptedServer(SILENT) as primary, ScriptedServer(WHOLE) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_WHOLE)
            began_ns = clock.now_ns()
            answer = await data_plane.ask(post(), b"hello")
            took_s = (clock.now_ns() - began_ns) / 1e9
            assert b"x-edge-target: p1/m\r\n" in answer
            assert b"x-edge-reason: p0/m: late\r\n" in answer
            assert b"x-edge-attempts: 2\r\n" in answer
            assert 2.0 <= took_s < 5.0
            # the loser runs on, and nothing is held against the target yet but one late attempt
            assert data_plane.target("p0/m")["inflight"] == 1
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_FIRST_BYTE] == 0


async def test_five_late_in_a_row_open_the_circuit() -> None:
    """Twelve callers of a known primary that falls silent get the backup's answer; the next caller does not wait."""
    async with ScriptedServer(SILENT) as primary, ScriptedServer(WHOLE) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_WHOLE)
            began_ns = clock.now_ns()
            answers = await asyncio.gather(*(data_plane.ask(post(), b"hello") for _ in range(12)))
            assert all(b"x-edge-target: p1/m\r\n" in answer for answer in answers)
            assert (clock.now_ns() - began_ns) / 1e9 < 5.0
            assert data_plane.target("p0/m")["state"] == "open"
            assert b"x-edge-attempts: 1\r\n" in await data_plane.ask(post(), b"hello")


async def test_the_older_attempt_may_still_win() -> None:
    """If the late target answers first, its answer is relayed, and the other attempt is cancelled."""
    late = (ReadMessage(), Pause(2.5), Send(sse(HELLO, STOP, DONE)), Again())
    async with ScriptedServer(late) as primary, ScriptedServer(SILENT) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_STREAM)
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert b"x-edge-attempts: 2\r\n" in answer
            assert data_plane.outcomes("p0/m")[Outcome.OK] == 1


async def test_a_loser_is_learned_from() -> None:
    """A late target's first content after another answer is a sample, and ends the attempt."""
    late = (ReadMessage(), Pause(3.0), Send(sse(HELLO, STOP, DONE)), Again())
    async with ScriptedServer(late) as primary, ScriptedServer(EVENTS) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_STREAM)
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert b"x-edge-target: p1/m\r\n" in answer
            await until(lambda: data_plane.target("p0/m")["inflight"] == 0, 5.0)
            assert data_plane.outcomes("p0/m")[Outcome.OK] == 1


async def test_a_cold_target_gets_its_time() -> None:
    """With few samples an answer after 3 s is not late, and no other target is tried."""
    slow = (ReadMessage(), Pause(3.0), Send(sse(HELLO, STOP, DONE)), Again())
    async with ScriptedServer(slow) as primary, ScriptedServer(EVENTS) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_STREAM, count=WARM - 1)
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert b"x-edge-attempts: 1\r\n" in answer
            assert sum(data_plane.outcomes("p1/m")) == 0


@pytest.mark.parametrize(
    ("path", "more"),
    [("/v1/chat/completions", {"store": True}), ("/v1/responses", {}), ("/v1/responses", {"background": True})],
)
async def test_what_the_provider_stores_is_asked_once(path: str, more: dict[str, bool]) -> None:
    """A stored or background request is never sent to two targets at once."""
    late = (ReadMessage(), Pause(2.6), Send(whole(b'{"id":"r","output":[{"text":"hello"}]}')), Again())
    async with ScriptedServer(late) as primary, ScriptedServer(WHOLE) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_WHOLE)
            body = json.dumps({"model": "chat", "input": "x", "messages": [], **more}).encode()
            answer = await data_plane.ask(post(body, path), b"hello")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert sum(data_plane.outcomes("p1/m")) == 0


async def test_a_written_deadline_is_obeyed() -> None:
    """``first_token: 1s`` ends an attempt after a second, before it is late, and the next target is tried."""
    extra = ", timeouts: {first_token: 1s}"
    async with ScriptedServer(SILENT) as primary, ScriptedServer(EVENTS) as backup:
        async with one_data_plane(text(primary.url, backup.url, extra=extra)) as data_plane:
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert b"x-edge-target: p1/m\r\n" in answer
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_FIRST_BYTE] == 1


async def test_an_only_target_gets_its_whole_time() -> None:
    """If no other target can answer, a late attempt is waited for, and no second one starts."""
    late = (ReadMessage(), Pause(4.0), Send(sse(HELLO, STOP, DONE)), Again())
    async with ScriptedServer(late) as primary:
        async with one_data_plane(text(primary.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_STREAM)
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert b"x-edge-attempts: 1\r\n" in answer
            assert b"hello" in answer


REFUSED = (ReadMessage(), Send(whole(b'{"error":{"message":"no such setting"}}', status=b"400 Bad Request")), Again())


async def test_a_refusal_beside_a_late_attempt_is_not_the_answer() -> None:
    """The second target refuses what the late one takes: the client gets the late one's answer."""
    late = (ReadMessage(), Pause(3.0), Send(sse(HELLO, STOP, DONE)), Again())
    async with ScriptedServer(late) as primary, ScriptedServer(REFUSED) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_STREAM)
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert len(backup.peers) == 1
            assert data_plane.target("p1/m")["state"] == "closed"


async def test_a_refusal_beside_a_late_attempt_is_the_answer_when_that_fails() -> None:
    """If the late target gives no answer after all, the client gets the refusal as the provider wrote it."""
    late = (ReadMessage(), Pause(3.0), Send(whole(b"{}", status=b"503 Service Unavailable")), Again())
    async with ScriptedServer(late) as primary, ScriptedServer(REFUSED) as backup:
        async with one_data_plane(text(primary.url, backup.url)) as data_plane:
            warm_up(data_plane, "p0/m", Cell.CELL_WHOLE)
            answer = await data_plane.ask(post(), b"}}")
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"no such setting" in answer
            assert b"x-edge-target: p1/m\r\n" in answer
