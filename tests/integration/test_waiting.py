"""Until the first content, comments keep a streaming client's connection alive without committing to an answer."""

from __future__ import annotations

import pytest
from one_data_plane import (
    DONE,
    HELLO,
    ROLE,
    SSE_HEAD,
    STOP,
    STREAM,
    chunk,
    models,
    one_data_plane,
    patient,
    post,
    sse,
    whole,
)

from edge.sim.wire import Again, Close, Pause, ReadMessage, ReadToEnd, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

COMMENTS = "limits: {keepalive_comment: 100ms}"
GOOD = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
SILENT = (ReadToEnd(),)


async def test_comments_then_answer() -> None:
    """Comments are sent while the first target is silent; the second target's answer follows in the same response."""
    async with ScriptedServer((ReadToEnd(),)) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url, extra=COMMENTS)) as data_plane:
            answer = await data_plane.ask(post(STREAM), b"0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.count(b"HTTP/1.1") == 1
            assert answer.count(b": edge is waiting") >= 3
            assert answer.index(b": edge is waiting") < answer.index(b"hello")
            assert b"[DONE]" in answer


async def test_a_client_of_gemini_gets_no_comment() -> None:
    """Google's SDK for Python takes a line that is no data for JSON, and fails over it at the end of the stream."""
    body = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
    path = "/v1beta/models/chat:streamGenerateContent?alt=sse"
    async with ScriptedServer((ReadToEnd(),)) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url, extra=COMMENTS)) as data_plane:
            answer = await data_plane.ask(post(body, path), b"0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b'"text":"hello"' in answer
            assert b"\n: " not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("first", ["silent", "failing"])
async def test_the_first_comment_sends_what_is_known(first: str) -> None:
    """The head that goes out with the first comment says the id, the region, how many were asked, and who failed.

    The target that will answer is not known yet.
    """
    failing = (ReadMessage(), Send(whole(b"{}", b"500 Internal Server Error")), Again())
    async with ScriptedServer((ReadToEnd(),) if first == "silent" else failing) as one, ScriptedServer(SILENT) as two:
        text = models(one.url, two.url, extra=COMMENTS).replace("first_byte: 500ms", "first_byte: 5s")
        async with one_data_plane(text.replace("first_token: 700ms", "first_token: 5s")) as data_plane:
            answer = await data_plane.ask(post(STREAM), b": edge is waiting")
            head = answer.lower()
            assert head.startswith(b"http/1.1 200")
            assert b"x-edge-request-id: " in head
            assert b"x-edge-region: " in head
            assert (b"x-edge-attempts: 1\r\n" if first == "silent" else b"x-edge-attempts: 2\r\n") in head
            assert (b"x-edge-reason: p0/m: fail_status\r\n" in head) == (first == "failing")
            assert b"x-edge-target" not in head


async def test_comments_then_nothing() -> None:
    """If every target fails after comments were sent, the stream ends with an error event and no [DONE]."""
    async with ScriptedServer((ReadToEnd(),)) as primary:
        async with one_data_plane(
            models(primary.url, extra=COMMENTS).replace("total: 5s", "total: 800ms")
        ) as data_plane:
            peer = await data_plane.raw(post(STREAM, fields=b"connection: close\r\n"))
            assert b": edge is waiting" in peer.received
            assert b'data: {"error":' in peer.received
            assert b"[DONE]" not in peer.received
            assert peer.received.endswith(b"0\r\n\r\n")
            assert peer.ended == "peer_closed"


async def test_no_comments_for_whole_answers() -> None:
    """A client without stream waits without comments, which would corrupt its JSON."""
    async with ScriptedServer((ReadMessage(), Pause(0.4), Send(whole()), Again())) as primary:
        async with one_data_plane(patient(models(primary.url, extra=COMMENTS))) as data_plane:
            assert b"edge is waiting" not in await data_plane.ask(post(), b"hello")


@pytest.mark.parametrize("body", [b'{"model":"chat"}', STREAM], ids=["whole", "stream"])
async def test_total_deadline(body: bytes) -> None:
    """The total deadline limits the whole exchange, whatever its attempts do."""
    script = (ReadMessage(), Send(SSE_HEAD + chunk(b": ping\n\n") * 50, piece=20, gap_s=0.05), Close())
    text = models("http://127.0.0.1:1")
    async with ScriptedServer(script) as primary:
        text = (
            models(primary.url).replace("total: 5s", "total: 600ms").replace("first_token: 700ms", "first_token: 20s")
        )
        text = text.replace("stream_idle: 500ms", "stream_idle: 20s").replace("first_byte: 500ms", "first_byte: 20s")
        async with one_data_plane(text) as data_plane:
            answer = await data_plane.ask(post(body), b"}}")
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert b"deadline_exceeded" in answer
            assert b"retry-after: " in answer
            assert data_plane.data_plane.active == 0
