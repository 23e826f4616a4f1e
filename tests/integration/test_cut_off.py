"""A node that stops and cannot wait for an answer tells its client."""

from __future__ import annotations

import asyncio

import pytest
from callers import ask, keys, status
from one_data_plane import HELLO, STREAM, OneDataPlane, client_tls, models, one_data_plane, post, sse

from edge.native import AllowanceCounter, Outcome
from edge.sim.wire import ReadMessage, ReadToEnd, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("with_tls_too")

END = b"}}"


async def cut(data_plane: OneDataPlane) -> None:
    """Let the data plane end all exchanges in flight."""

    async def now() -> None:
        data_plane.data_plane.cut()

    await data_plane.thread.run(now())


async def in_flight(data_plane: OneDataPlane, count: int) -> None:
    """Wait until this many exchanges run."""
    async with asyncio.timeout(10):
        while data_plane.data_plane.active < count:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.01)


async def test_a_stream() -> None:
    """A stream ends with an error event that gives the reason; its tokens are charged, and the target is not blamed."""
    script = (ReadMessage(), Send(sse(HELLO, HELLO, end=False)), ReadToEnd())
    async with (
        ScriptedServer(script) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="tokens_per_minute: 6000")) as data_plane,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port, ssl=client_tls())
        writer.write(ask("alice", STREAM))
        async with asyncio.timeout(20):
            for _ in range(2):
                await reader.readuntil(HELLO)
            await cut(data_plane)
            said = await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
        assert b"this edge is stopping" in said
        assert b"[DONE]" not in said
        assert data_plane.outcomes("p0/m")[Outcome.CANCELLED] == 1
        allowance = data_plane.snapshot.keys[0].allowance
        assert allowance is not None
        counts = data_plane.shared_state.read_allowance(allowance.slot)["counts"]
        assert counts[AllowanceCounter.A_OUTPUT_TOKENS] == 3  # 10 bytes, 4 to a token
        assert (await data_plane.recorded(1))[0].attempts[0].outcome == "cancelled"


@pytest.mark.usefixtures("both_wires")
async def test_a_request_without_an_answer_and_one_that_waits() -> None:
    """Both get 503 with Retry-After at once, and neither is retried."""
    silent = (ReadMessage(), ReadToEnd())
    async with ScriptedServer(silent) as first, ScriptedServer(silent) as second:
        text = models(first.url, second.url).replace("500ms", "30s").replace("5s", "60s")
        text = text.replace(f"{first.url}/v1'", f"{first.url}/v1', max_inflight: 1")
        text = text.replace(f"{second.url}/v1'", f"{second.url}/v1', max_inflight: 1")
        async with one_data_plane(text) as data_plane:
            running = [asyncio.create_task(data_plane.ask(post(), END)) for _ in range(3)]
            await first.wait_asked(1)
            await second.wait_asked(1)
            await in_flight(data_plane, 3)
            await cut(data_plane)
            answers = await asyncio.gather(*running)
            assert [status(answer) for answer in answers] == [503] * 3
            assert all(b"retry-after: " in answer.lower() for answer in answers)
            assert sum(b"this edge is stopping" in answer for answer in answers) == 2
            assert len(first.peers) == len(second.peers) == 1
