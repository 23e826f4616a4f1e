"""A 429 is not a failure: the target gets no traffic for the time it asked, others answer, its circuit stays closed."""

from __future__ import annotations

import json

import pytest
from one_data_plane import models, one_data_plane, post, whole

from edge import clock
from edge.native import Outcome
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
BODY = b'{"error":{"message":"slow down","type":"rate_limit"}}'


def limited(fields: bytes) -> bytes:
    """Return a 429 with these fields."""
    return b"HTTP/1.1 429 Too Many Requests\r\n" + fields + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


HINTS = {
    "seconds": (b"retry-after: 7\r\n", 7.0),
    "milliseconds": (b"retry-after-ms: 2500\r\n", 2.5),
    "reset": (b"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m3s\r\n", 63.0),
    "reset-of-another-limit": (
        (
            b"x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 4s\r\n"
            b"x-ratelimit-remaining-requests: 9\r\nx-ratelimit-reset-requests: 90s\r\n"
        ),
        4.0,
    ),
    "nothing": (b"", 2.0),
    "longer-than-believed": (b"retry-after: 86400\r\n", 3600.0),
    "nonsense": (b"retry-after: soon\r\n", 2.0),
}


@pytest.mark.parametrize("hint", HINTS)
async def test_rests(hint: str) -> None:
    """The target gets no traffic for the time it asked, another answers at once, and its circuit stays closed."""
    fields, seconds = HINTS[hint]
    async with (
        ScriptedServer((ReadMessage(), Send(limited(fields)), Again())) as primary,
        ScriptedServer(GOOD) as backup,
    ):
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            started_ns, answered_ns = clock.now_ns(), 0
            for _ in range(3):
                answer = await data_plane.ask(post(), b"hello")
                assert b"x-edge-target: p1/m\r\n" in answer
                answered_ns = answered_ns or clock.now_ns()
            target = data_plane.target("p0/m")
            assert data_plane.outcomes("p0/m")[Outcome.RATE_LIMITED] == 1
            assert target["state"] == "closed"
            limited_until_ns = target["rate_limited_until_ns"]  # a date has whole seconds
            assert started_ns + (seconds - 1.0) * 1e9 < limited_until_ns <= answered_ns + seconds * 1e9


async def test_all_rate_limited() -> None:
    """If every target is rate-limited, status, header and body tell the caller until when."""
    async with ScriptedServer((ReadMessage(), Send(limited(b"retry-after: 9\r\n")), Again())) as one:
        async with ScriptedServer((ReadMessage(), Send(limited(b"retry-after: 40\r\n")), Again())) as two:
            async with one_data_plane(models(one.url, two.url)) as data_plane:
                answer = await data_plane.ask(post(), b"]}}")
                assert answer.startswith(b"HTTP/1.1 429 ")
                assert b"retry-after: 9\r\n" in answer
                error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
                assert {item["target"]: item["state"] for item in error["targets"]} == {
                    "p0/m": "rate_limited",
                    "p1/m": "rate_limited",
                }
                assert error["code"] == "upstream_rate_limited"


@pytest.mark.parametrize(
    "other",
    [
        b'HTTP/1.1 429 X\r\ncontent-length: 24\r\n\r\n{"insufficient_quota":1}',
        b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["spent", "down", "refused"],
)
async def test_a_target_that_is_down_is_no_rate_limit(other: bytes) -> None:
    """With a spent quota, or a target that is down, the answer stays 503: waiting alone does not help."""
    async with ScriptedServer((ReadMessage(), Send(limited(b"retry-after: 9\r\n")), Again())) as one:
        async with ScriptedServer((ReadMessage(), Send(other), Again())) as two:
            async with one_data_plane(models(one.url, two.url)) as data_plane:
                answer = await data_plane.ask(post(), b"]}}")
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"no_usable_target" in answer


async def test_targets_that_rest_already_are_rate_limited_too() -> None:
    """The answer is the same for callers who come while the targets rest."""
    async with ScriptedServer((ReadMessage(), Send(limited(b"retry-after: 30\r\n")), Again())) as one:
        async with one_data_plane(models(one.url)) as data_plane:
            for _ in range(2):
                answer = await data_plane.ask(post(), b"]}}")
                assert answer.startswith(b"HTTP/1.1 429 ")
                assert b'"upstream_rate_limited"' in answer
            assert b"retry-after: 30\r\n" in answer
