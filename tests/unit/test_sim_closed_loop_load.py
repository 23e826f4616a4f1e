"""The closed-loop load reports every broken answer as broken, and no other."""

from __future__ import annotations

import pytest

from edge.sim import wire
from edge.sim.closed_loop_load import Answered, ClosedLoopLoad
from edge.sim.scores import quantile
from edge.sim.wire import Again, Close, ReadMessage, Reset, ScriptedServer, Send, Step

REQUEST = wire.request(b"{}")


def exact(_number: int, answer: Answered) -> str | None:
    """Accept exactly ``yes``."""
    return None if answer.body == b"yes" else f"not yes: {answer.body!r}"


async def hit(*script: Step, count: int = 1, connections: int = 1) -> ClosedLoopLoad:
    """Send requests to a scripted server."""
    async with ScriptedServer(script) as server:
        closed_loop = ClosedLoopLoad(server.port, REQUEST, count=count, connections=connections, verify=exact)
        await closed_loop.run(10)
    return closed_loop


@pytest.mark.parametrize(
    "answer",
    [
        wire.answer(b"yes"),
        wire.STREAM_HEAD + wire.chunk(b"y") + wire.chunk(b"es") + wire.chunk(b""),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes",
    ],
)
async def test_right_answers_are_right_however_they_arrive(answer: bytes) -> None:
    """Lengths and chunks are parsed, byte by byte too, over many requests and connections."""
    closed_loop = await hit(ReadMessage(), Send(answer, piece=11), Again(), count=30, connections=3)
    assert (closed_loop.right, closed_loop.failures) == (30, [])


async def test_an_answer_may_end_with_its_connection() -> None:
    """Without length or chunks the body ends with the connection (RFC 9112 6.3)."""
    closed_loop = await hit(ReadMessage(), Send(b"HTTP/1.1 200 OK\r\n\r\nyes"), Close(), count=3)
    assert (closed_loop.right, closed_loop.failures) == (3, [])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((ReadMessage(), Send(wire.answer(b"no")), Again()), "not yes: b'no'"),
        ((ReadMessage(), Close()), "closed before the answer"),
        ((ReadMessage(), Reset()), "reset before the answer"),
        ((ReadMessage(), Send(wire.answer(b"yes")[:-1]), Close()), "closed inside the answer"),
        ((ReadMessage(), Send(wire.STREAM_HEAD + wire.chunk(b"yes")), Close()), "closed inside the answer"),
        ((ReadMessage(), Send(wire.answer(b"yes") + b"!"), Close()), "bytes after the answer"),
        ((ReadMessage(), Send(wire.STREAM_HEAD + b"zz\r\n"), Close()), "malformed answer: invalid literal"),
        ((ReadMessage(), Send(wire.STREAM_HEAD + b"1\r\nyes\r\n0\r\n\r\n"), Close()), "malformed answer: a chunk"),
    ],
)
async def test_every_wrong_answer_has_its_reason(script: tuple[Step, ...], reason: str) -> None:
    """Each kind of wrong answer is counted once per request, under its own reason."""
    closed_loop = await hit(*script, count=2)
    assert closed_loop.right == 0
    assert sorted(failure.number for failure in closed_loop.failures) == [0, 1]
    assert all(failure.reason.startswith(reason) for failure in closed_loop.failures), closed_loop.reasons


async def test_a_connection_that_ends_between_requests_is_no_failure() -> None:
    """If the server closes an idle connection, a request that waits for its time uses another one."""
    async with ScriptedServer([ReadMessage(), Send(wire.answer(b"yes")), Close()]) as server:
        # the end of a connection is seen long before the next request is due
        closed_loop = ClosedLoopLoad(server.port, REQUEST, count=3, connections=1, verify=exact, rate=4)
        await closed_loop.run(20)
        assert (closed_loop.right, closed_loop.failures) == (3, [])
        assert len(server.peers) == 3


async def test_silence_ends_with_the_limit() -> None:
    """A server that never answers does not hold up the load beyond its limit."""
    async with ScriptedServer([ReadMessage(), ReadMessage()]) as server:
        closed_loop = ClosedLoopLoad(server.port, REQUEST, count=2, connections=2, verify=exact)
        with pytest.raises(TimeoutError):
            await closed_loop.run(0.1)
    assert closed_loop.finished == 0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, 0.0),
        ([3.0], 0.99, 3.0),
        ([1, 2, 3, 4], 0.5, 2),
        ([4, 3, 2, 1], 0.75, 3),
        ([1, 2], 0.0, 1),
        ([1, 2], 1.0, 2),
    ],
)
def test_a_quantile_is_a_measured_value(values: list[float], share: float, expected: float) -> None:
    """Quantiles use nearest rank: the smallest measured value that the share does not exceed."""
    assert quantile(values, share) == expected
