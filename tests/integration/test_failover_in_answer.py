"""If an answer turns out bad before the commit point, another target answers."""

from __future__ import annotations

import pytest
from one_data_plane import DONE, HELLO, ROLE, SSE_HEAD, STOP, STREAM, chunk, models, one_data_plane, post, sse, whole

from edge.native import Outcome
from edge.sim.wire import Again, Close, ReadMessage, ReadToEnd, Reset, ScriptedServer, Send, Step

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
GOOD_STREAM = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"

WHOLE: dict[str, tuple[tuple[Step, ...], Outcome]] = {
    "head-then-silence": ((ReadMessage(), Send(HEAD), ReadToEnd()), Outcome.FAIL_STALLED),
    "truncated": ((ReadMessage(), Send(HEAD + b'{"id":'), Close()), Outcome.FAIL_TRUNCATED),
    "truncated-reset": ((ReadMessage(), Send(HEAD + b'{"id":'), Reset()), Outcome.FAIL_TRUNCATED),
    "stalled": ((ReadMessage(), Send(HEAD + b'{"id":'), ReadToEnd()), Outcome.FAIL_STALLED),
    "chunk-malformed": ((ReadMessage(), Send(CHUNKED + b"zz\r\n{}"), ReadToEnd()), Outcome.FAIL_MALFORMED),
    "chunks-cut": ((ReadMessage(), Send(CHUNKED + chunk(b'{"id":1}')), Close()), Outcome.FAIL_TRUNCATED),
    "not-json": ((ReadMessage(), Send(whole(b"<html>busy</html>")), ReadToEnd()), Outcome.FAIL_MALFORMED),
    "half-json": ((ReadMessage(), Send(whole(b'{"id":"a","choices":[')), ReadToEnd()), Outcome.FAIL_MALFORMED),
    "empty": ((ReadMessage(), Send(whole(b"")), ReadToEnd()), Outcome.FAIL_MALFORMED),
    "error-under-200": (
        (ReadMessage(), Send(whole(b'{"error":{"message":"busy"}}')), ReadToEnd()),
        Outcome.FAIL_INBAND,
    ),
    "vllm-error": ((ReadMessage(), Send(whole(b'{"object":"error","message":"x"}')), ReadToEnd()), Outcome.FAIL_INBAND),
}

ERROR = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"r"}}\n\n'
FAILED = b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n'

EVENTS: dict[str, tuple[tuple[Step, ...], Outcome]] = {
    "head-then-silence": ((ReadMessage(), Send(SSE_HEAD), ReadToEnd()), Outcome.FAIL_FIRST_TOKEN),
    "role-then-silence": ((ReadMessage(), Send(SSE_HEAD + chunk(ROLE)), ReadToEnd()), Outcome.FAIL_FIRST_TOKEN),
    "comments-only": (
        (ReadMessage(), Send(SSE_HEAD + chunk(b": keep-alive\n\n") * 9, piece=60, gap_s=0.02), ReadToEnd()),
        Outcome.FAIL_FIRST_TOKEN,
    ),
    "error-first": ((ReadMessage(), Send(sse(ERROR)), ReadToEnd()), Outcome.FAIL_INBAND),
    "error-after-role": ((ReadMessage(), Send(sse(ROLE, ERROR)), ReadToEnd()), Outcome.FAIL_INBAND),
    "response-failed": ((ReadMessage(), Send(sse(CREATED, FAILED)), ReadToEnd()), Outcome.FAIL_INBAND),
    "garbage": ((ReadMessage(), Send(sse(b"data: <html>\n\n")), ReadToEnd()), Outcome.FAIL_MALFORMED),
    "cut-before-content": ((ReadMessage(), Send(SSE_HEAD + chunk(ROLE)), Close()), Outcome.FAIL_TRUNCATED),
    "empty-stream": ((ReadMessage(), Send(sse()), ReadToEnd()), Outcome.FAIL_TRUNCATED),
    "chunk-malformed": ((ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + b"zz\r\n"), ReadToEnd()), Outcome.FAIL_MALFORMED),
}


@pytest.mark.parametrize("fault", WHOLE)
async def test_whole_answer(fault: str) -> None:
    """A complete answer is checked before it is sent; a bad one is replaced by the backup's."""
    script, outcome = WHOLE[fault]
    async with ScriptedServer(script) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            answer = await data_plane.ask(post(), b"hello")
            assert b"x-edge-target: p1/m\r\n" in answer
            assert answer.count(b"HTTP/1.1") == 1
            assert data_plane.outcomes("p0/m")[outcome] == 1
            if outcome not in (Outcome.FAIL_INBAND, Outcome.FAIL_MALFORMED) or fault.startswith("chunk"):
                # a doubt about framing: the connection is never used again
                assert await primary.peers[0].wait_end() in ("peer_closed", "peer_reset", "closed", "reset")


@pytest.mark.parametrize("fault", EVENTS)
async def test_stream(fault: str) -> None:
    """Nothing of a stream is sent before its first content, so that a bad start is never seen."""
    script, outcome = EVENTS[fault]
    async with ScriptedServer(script) as primary, ScriptedServer(GOOD_STREAM) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            answer = await data_plane.ask(post(STREAM), b"[DONE]")
            assert b"x-edge-target: p1/m\r\n" in answer
            assert b"overloaded" not in answer
            assert answer.count(b'"role"') == 1
            assert data_plane.outcomes("p0/m")[outcome] == 1
