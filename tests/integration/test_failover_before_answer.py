"""If the primary gives no answer, the next target answers; the client only waits longer."""

from __future__ import annotations

import pytest
from one_data_plane import DONE, HELLO, ROLE, STOP, STREAM, models, one_data_plane, post, sse, whole

from edge.native import Outcome
from edge.sim.wire import (
    Again,
    Close,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    Reset,
    ScriptedServer,
    Send,
    Step,
    refused_port,
    unreachable_port,
)

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
GOOD_STREAM = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())

SILENT: dict[str, tuple[tuple[Step, ...], Outcome]] = {
    "silence": ((ReadToEnd(),), Outcome.FAIL_FIRST_BYTE),
    "reset-at-once": ((ReadHead(), Reset()), Outcome.FAIL_RESET),
    "close-at-once": ((ReadHead(), Close()), Outcome.FAIL_RESET),
    "reset-before-request": ((Reset(),), Outcome.FAIL_RESET),
    "half-a-head": ((ReadHead(), Send(b"HTTP/1.1 200 OK\r\ncontent-"), ReadToEnd()), Outcome.FAIL_FIRST_BYTE),
    "half-a-head-close": ((ReadHead(), Send(b"HTTP/1.1 200 OK\r\ncontent-"), Close()), Outcome.FAIL_RESET),
}


@pytest.mark.parametrize("body", [b'{"model":"chat"}', STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", SILENT)
async def test_silent(fault: str, body: bytes) -> None:
    """Whatever keeps the primary from answering, the client gets the backup's answer."""
    script, outcome = SILENT[fault]
    good = GOOD_STREAM if body is STREAM else GOOD
    async with ScriptedServer(script) as primary, ScriptedServer(good) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            answer = await data_plane.ask(post(body), b"[DONE]" if body is STREAM else b"}}")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"x-edge-target: p1/m\r\n" in answer
            assert b"x-edge-attempts: 2\r\n" in answer
            seen = Outcome(next(code for code, count in enumerate(data_plane.outcomes("p0/m")) if count))
            # a reset that comes with the connection may be seen before or after it stands
            assert seen in ((outcome, Outcome.FAIL_CONNECT) if fault == "reset-before-request" else (outcome,))
            assert f"x-edge-reason: p0/m: {seen.name.lower()}\r\n".encode() in answer
            assert sum(data_plane.outcomes("p0/m")) == 1
            assert data_plane.target("p0/m")["inflight"] == 0


async def test_refused() -> None:
    """A refused connection fails over at once."""
    with refused_port() as port:
        async with (
            ScriptedServer(GOOD) as backup,
            one_data_plane(models(f"http://127.0.0.1:{port}", backup.url)) as data_plane,
        ):
            answer = await data_plane.ask(post(), b"}}")
            assert b"x-edge-reason: p0/m: fail_connect\r\n" in answer
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_unreachable() -> None:
    """A connect that does not complete fails over at the connect timeout."""
    async with unreachable_port() as port, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(f"http://127.0.0.1:{port}", backup.url)) as data_plane:
            answer = await data_plane.ask(post(), b"}}")
            assert b"x-edge-reason: p0/m: fail_connect\r\n" in answer
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("status", [b"500 Internal", b"502 Bad", b"503 Busy", b"504 Late", b"529 Overloaded"])
async def test_failure_status(status: bytes) -> None:
    """A status that means a provider failure is not shown while another target can answer."""
    bad = (ReadMessage(), Send(whole(b'{"error":{"message":"busy"}}', status)), Again())
    async with ScriptedServer(bad) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            answer = await data_plane.ask(post(), b"hello")
            assert b"x-edge-target: p1/m\r\n" in answer
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_STATUS] == 1


async def test_reused_connection_that_died() -> None:
    """If the provider closes an idle connection as it is reused, the request is sent again on a new one."""
    once = (ReadMessage(), Send(whole()), ReadHead(), Reset())
    async with ScriptedServer(once, GOOD) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            assert b"p0/m" in await data_plane.ask(post(), b"}}")
            answer = await data_plane.ask(post(), b"}}")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert b"x-edge-reason" not in answer


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_a_dead_idle_connection_gives_no_attempt_more(attempts: int) -> None:
    """An attempt that met a connection which had died while idle does not count, and the others are no more for it."""
    failing = (ReadMessage(), Send(whole(b"{}", status=b"503 Service Unavailable")), Again())
    dies = (ReadMessage(), Send(whole()), ReadMessage(), Reset())
    async with (
        ScriptedServer(dies, failing) as first,
        ScriptedServer(failing) as second,
        ScriptedServer(failing) as third,
        ScriptedServer(failing) as fourth,
    ):
        limit = f"    retry: {{attempts: {attempts}, budget: 100%}}"
        text = models(first.url, second.url, third.url, fourth.url, extra=limit)
        async with one_data_plane(text) as data_plane:
            assert b"x-edge-target: p0/m\r\n" in await data_plane.ask(post(), b"}}")
            answer = await data_plane.ask(post(), b"}")
            assert answer.startswith(b"HTTP/1.1 503")
            assert [len(peer.messages) for peer in first.peers] == [2, 1]
            asked = [sum(len(peer.messages) for peer in each.peers) for each in (second, third, fourth)]
            assert asked == [int(place < attempts) for place in (1, 2, 3)]
