"""Symptoms from public reports: answers that are compressed, late, broken or cut are read as what they are.

Each test is a report: what a provider does, and what callers must see. A new report is a new line or a new test.
"""

from __future__ import annotations

import gzip
import json
import zlib
from email.utils import formatdate

import brotli
import pytest
import zstandard
from one_data_plane import DONE, HELLO, ROLE, SSE_HEAD, STOP, STREAM, chunk, models, one_data_plane, post, whole

from edge import clock
from edge.native import Outcome
from edge.sim.wire import Again, ReadMessage, Reset, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
SECRET = "sk-upstream-0123456789"


def answer(status: bytes, content: bytes, *fields: bytes) -> bytes:
    """Return an answer with these field lines."""
    lines = b"".join(field + b"\r\n" for field in (*fields, b"content-length: %d" % len(content)))
    return b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n" + content


def with_key(text: str) -> str:
    """Return a configuration whose first provider has a credential."""
    return text.replace("p0: {dialect: openai,", f"p0: {{dialect: openai, api_key: {SECRET},")


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "br": brotli.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_error_does_not_show_the_credential(coding: str) -> None:
    """An error that nobody asked to be compressed is decoded, and edge's credential in it is masked."""
    content = CODINGS[coding](json.dumps({"error": {"message": f"Bad key {SECRET}"}}).encode())
    bad = answer(b"400 Bad Request", content, b"content-encoding: " + coding.encode())
    async with ScriptedServer((ReadMessage(), Send(bad), Again())) as provider:
        async with one_data_plane(with_key(models(provider.url))) as edge:
            said = await edge.ask(post(), b"***")
            assert said.startswith(b"HTTP/1.1 400 ")
            assert b"Bad key ***" in said
            assert b"content-encoding" not in said


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_answer_is_checked_and_counted(coding: str) -> None:
    """A whole answer is decoded: its usage is counted, and an error in it is a failed attempt."""
    body = b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":70,"completion_tokens":7}}'
    field = b"content-encoding: " + coding.encode()
    broken = b'{"error":{"message":"overloaded"}}'
    script = [ReadMessage(), Send(answer(b"200 OK", CODINGS[coding](body), field))]
    script += [ReadMessage(), Send(answer(b"200 OK", CODINGS[coding](broken), field))]
    async with ScriptedServer(script) as provider, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(provider.url, backup.url)) as edge:
            said = await edge.ask(post(), body)
            assert b"content-encoding" not in said
            assert edge.target("p0/m")["counts"][25:27] == (70, 7)
            assert b"x-edge-target: p1/m\r\n" in await edge.ask(post(), b"hello")
            assert edge.outcomes("p0/m")[Outcome.FAIL_INBAND] == 1


async def test_a_compressed_stream_is_relayed_event_by_event() -> None:
    """A stream is decoded as it comes, and its end is seen."""
    coder = zlib.compressobj(wbits=31)
    pieces = [coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH) for event in (ROLE, HELLO, STOP, DONE)]
    pieces.append(coder.flush())
    head = SSE_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    stream = head + b"".join(chunk(piece) for piece in pieces) + b"0\r\n\r\n"
    async with ScriptedServer((ReadMessage(), Send(stream), Again())) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b"0\r\n\r\n")
            assert HELLO in said
            assert DONE in said
            assert edge.outcomes("p0/m")[Outcome.OK] == 1


@pytest.mark.parametrize("kind", ["bomb", "cut", "broken"])
async def test_a_compressed_answer_that_is_no_answer_fails(kind: str) -> None:
    """An answer that expands without end, that ends too soon, or that is not what it says is a failed attempt."""
    body = gzip.compress(b"[" + b" " * (64 << 20))
    content = {"bomb": body, "cut": gzip.compress(b'{"choices":[1]}')[:-9], "broken": b"no gzip"}[kind]
    bad = answer(b"200 OK", content, b"content-encoding: gzip")
    async with ScriptedServer((ReadMessage(), Send(bad), Again())) as provider, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(provider.url, backup.url)) as edge:
            assert b"x-edge-target: p1/m\r\n" in await edge.ask(post(), b"hello")
            failed = edge.outcomes("p0/m")
            assert failed[Outcome.FAIL_TRUNCATED if kind == "cut" else Outcome.FAIL_MALFORMED] == 1


async def test_an_error_that_cannot_be_decoded_is_not_shown() -> None:
    """An error in a coding that edge does not know could hold its credential, so it is not relayed."""
    bad = answer(b"400 Bad Request", b"\x00" + SECRET.encode(), b"content-encoding: compress")
    async with ScriptedServer((ReadMessage(), Send(bad), Again())) as provider:
        async with one_data_plane(with_key(models(provider.url))) as edge:
            said = await edge.ask(post(), b"]}}")
            assert said.startswith(b"HTTP/1.1 503 ")
            assert SECRET.encode() not in said


def packed(body: bytes, coding: bytes) -> bytes:
    """Return a request with a body in that coding."""
    return post(body, fields=b"content-encoding: " + coding + b"\r\n")


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_request_is_read(coding: str) -> None:
    """A provider gets the decoded body, and no content-encoding."""
    body = b'{"model":"chat","messages":[{"role":"user","content":"packed"}]}'
    async with ScriptedServer(GOOD) as provider, one_data_plane(models(provider.url)) as edge:
        assert b"hello" in await edge.ask(packed(CODINGS[coding](body), coding.encode()), b"hello")
        (asked,) = provider.peers[0].messages
        assert asked.endswith(body.replace(b'"chat"', b'"m"'))
        assert b"content-encoding" not in asked.lower()


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (b"{}", b"compress", b"415", b"body_coding"),
        (b"{}", b"gzip, br", b"415", b"body_coding"),
        (b"no gzip", b"gzip", b"400", b"body_broken"),
        (gzip.compress(b"{}", mtime=0)[:-4], b"gzip", b"400", b"body_broken"),
        (gzip.compress(b" " * 5000, mtime=0), b"gzip", b"413", b"body_too_large"),
        (zstandard.compress(b"{}")[:-1], b"zstd", b"400", b"body_broken"),
        (zstandard.compress(b" " * 5000), b"zstd", b"413", b"body_too_large"),
        (brotli.compress(b" " * 5000), b"br", b"413", b"body_too_large"),
    ],
)
async def test_a_compressed_request_that_cannot_be_read_is_refused(
    body: bytes, coding: bytes, status: bytes, code: bytes
) -> None:
    """The refusal says what is wrong; 415 names the codings that edge reads."""
    async with ScriptedServer(GOOD) as provider:
        async with one_data_plane(models(provider.url, extra="limits: {body: 4KiB}")) as edge:
            said = await edge.ask(packed(body, coding), b"}}")
            assert said.startswith(b"HTTP/1.1 " + status)
            assert code in said
            assert status != b"415" or b"accept-encoding: gzip, deflate, zstd, br" in said
            assert provider.peers == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":"so f"},"finish_reason":"error"}]}',
        b'{"choices":[{"message":{"content":""},"error":{"code":502,"message":"gone"}}]}',
        b'{"choices":[{"message":{"content":"x"}}],"error":{"message":"overloaded"}}',
    ],
)
async def test_a_whole_answer_that_ended_with_an_error_is_a_failed_attempt(body: bytes) -> None:
    """A 200 whose choice ended with an error, or that holds one, is tried elsewhere."""
    async with ScriptedServer((ReadMessage(), Send(whole(body)), Again())) as provider, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(provider.url, backup.url)) as edge:
            assert b"x-edge-target: p1/m\r\n" in await edge.ask(post(), b"hello")
            assert edge.outcomes("p0/m")[Outcome.FAIL_INBAND] == 1


def resets() -> dict[str, tuple[list[bytes], bytes, float]]:
    """Return how providers tell a wait of 40 s, and what edge makes of it."""
    now_s = 1_700_000_000  # far from this machine's clock: the answer's own Date counts
    date = b"date: " + formatdate(now_s, usegmt=True).encode()
    inside = {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str((now_s + 40) * 1000)}}
    return {
        "epoch-s": ([date, b"x-ratelimit-reset: %d" % (now_s + 40)], b"{}", 40),
        "epoch-ms": ([date, b"x-ratelimit-reset: %d" % ((now_s + 40) * 1000)], b"{}", 40),
        "retry-after-epoch": ([date, b"retry-after: %d" % (now_s + 40)], b"{}", 40),
        "metadata": ([date], json.dumps({"error": {"code": 429, "metadata": inside}}).encode(), 40),
        "retry-delay": ([], b'[{"error":{"details":[{"@type":"x/RetryInfo","retryDelay":"40s"}]}}]', 40),
        "past": ([date, b"x-ratelimit-reset: %d" % (now_s - 40)], b"{}", 2),
        "far": ([date, b"x-ratelimit-reset: %d" % (now_s + 86_400)], b"{}", 3600),
    }


@pytest.mark.parametrize("how", resets())
async def test_a_reset_is_heard_in_every_form(how: str) -> None:
    """A target rests until the time that its 429 names, wherever it stands."""
    fields, content, wait_s = resets()[how]
    limited = answer(b"429 Too Many Requests", content, *fields)
    async with ScriptedServer((ReadMessage(), Send(limited), Again())) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(models(one.url, two.url)) as edge:
            began_ns = clock.now_ns()
            assert b"x-edge-target: p1/m\r\n" in await edge.ask(post(), b"hello")
            until_ns = edge.target("p0/m")["rate_limited_until_ns"]
            assert began_ns + (wait_s - 1) * 1e9 < until_ns <= clock.now_ns() + wait_s * 1e9


@pytest.mark.parametrize("attempts", [1, 3])
async def test_connections_that_died_while_idle_blame_nobody(attempts: int) -> None:
    """A request that a dead pooled connection takes along is sent again on a new one, and the circuit stays closed."""
    dying = (ReadMessage(), Send(whole()), ReadMessage(), Reset())
    defaults = f"defaults: {{retry: {{budget: 0%, attempts: {attempts}}}}}"
    async with ScriptedServer(*[dying] * 6, GOOD) as provider:
        async with one_data_plane(models(provider.url, defaults=defaults)) as edge:
            for _ in range(12):
                assert b"hello" in await edge.ask(post(), b"hello")
            target = edge.target("p0/m")
            assert (target["state"], target["consecutive"]) == ("closed", 0)
            assert edge.outcomes("p0/m")[Outcome.FAIL_RESET] == 0


@pytest.mark.parametrize("kind", [b"text/plain", b"application/json", b"application/octet-stream"])
async def test_a_stream_is_one_whatever_its_type_says(kind: bytes) -> None:
    """Server-sent events that were asked for are relayed as such under a wrong content type."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(chunk(event) for event in (b": hi\n\n", ROLE, HELLO, STOP, DONE)) + b"0\r\n\r\n"
    async with ScriptedServer((ReadMessage(), Send(head + body), Again())) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b"0\r\n\r\n")
            assert b"content-type: text/event-stream" in said
            assert HELLO in said
            assert edge.outcomes("p0/m")[Outcome.OK] == 1


async def test_a_last_event_without_its_blank_line_is_delivered() -> None:
    """A final event counts where the stream ended cleanly behind it."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(chunk(event) for event in (ROLE, HELLO, STOP.rstrip())) + b"0\r\n\r\n"
    async with ScriptedServer((ReadMessage(), Send(head + body), Again())) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b"0\r\n\r\n")
            assert STOP in said
            assert edge.outcomes("p0/m")[Outcome.OK] == 1
