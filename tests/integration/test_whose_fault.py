"""Each status is attributed to the provider, to its credential, to the configuration, or to the caller."""

from __future__ import annotations

import json

import pytest
from one_data_plane import models, one_data_plane, post, whole

from edge.native import Outcome
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (b"401 Unauthorized", Outcome.REFUSED_CREDENTIAL),
        (b"402 Payment Required", Outcome.REFUSED_CREDENTIAL),
        (b"403 Forbidden", Outcome.REFUSED_CREDENTIAL),
        (b"404 Not Found", Outcome.MISCONFIGURED),
        (b"405 Method Not Allowed", Outcome.MISCONFIGURED),
        (b"410 Gone", Outcome.MISCONFIGURED),
    ],
)
async def test_ours(status: bytes, outcome: Outcome) -> None:
    """A refused credential or a missing model quarantines the target; the caller gets another target's answer.

    A 401 is enough. Any other status may be about the request, until a different one is answered alike.
    """
    bad = (ReadMessage(), Send(whole(b'{"error":{"message":"bad key sk-secret"}}', status)), Again())
    async with ScriptedServer(bad) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            for n in range(4):
                request = post(b'{"model":"chat","messages":[],"seed":%d}' % n)
                answer = await data_plane.ask(request, b"hello")
                assert b"x-edge-target: p1/m\r\n" in answer
                assert b"sk-secret" not in answer
            target = data_plane.target("p0/m")
            assert data_plane.outcomes("p0/m")[outcome] == 1
            assert target["quarantine_reason"] == outcome
            assert target["quarantined_until_ns"] > target["now_ns"]


@pytest.mark.parametrize("status", [b"400 Bad Request", b"413 Too Large", b"422 Unprocessable"])
async def test_the_callers(status: bytes) -> None:
    """A caller's error is relayed as the provider wrote it, never counted, never retried."""
    content = b'{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}'
    bad = (ReadMessage(), Send(whole(content, status)), Again())
    async with ScriptedServer(bad) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            for _ in range(20):
                answer = await data_plane.ask(post(), content)
                assert answer.startswith(b"HTTP/1.1 " + status[:3])
                assert b"x-edge-target: p0/m\r\n" in answer
            assert backup.peers == []
            target = data_plane.target("p0/m")
            assert (target["state"], target["consecutive"]) == ("closed", 0)
            assert data_plane.outcomes("p0/m")[Outcome.CLIENT_FAULT] == 20


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (post(b'{"model":"nope"}'), 404, "model_not_found"),
        (post(b'{"messages":[]}'), 400, "model_missing"),
        (post(b'{"model":"chat",}'), 400, "malformed_json"),
        (post(b"[1]"), 400, "malformed_json"),
        (post(b'{"model":"chat","model":"other"}'), 400, "malformed_json"),
        (post(b'{"model":7}'), 400, "malformed_json"),
        (post(b" "), 400, "malformed_json"),
        (post(path="/v1/nope"), 404, "unknown_path"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n", 400, "body_missing"),
    ],
)
async def test_refused_by_edge(request_: bytes, status: int, code: str) -> None:
    """A request without a route is refused in OpenAI's shape with the right status, and reaches no provider."""
    async with ScriptedServer(GOOD) as primary, one_data_plane(models(primary.url)) as data_plane:
        answer = await data_plane.ask(request_, b"}}")
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
        assert error["code"] == code
        assert error["type"] == "invalid_request_error"
        assert primary.peers == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_body_too_large(framing: str) -> None:
    """A body over the limit is refused with 413 while it arrives, and the connection ends."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
    if framing == "length":
        data = head + b"content-length: 5000\r\n\r\n" + b"a" * 5000
    else:
        data = head + b"transfer-encoding: chunked\r\n\r\n" + b"1388\r\n" + b"a" * 5000 + b"\r\n0\r\n\r\n"
    async with ScriptedServer(GOOD) as primary:
        async with one_data_plane(models(primary.url, extra="limits: {body: 4KiB}")) as data_plane:
            peer = await data_plane.raw(data)
            assert peer.received.startswith(b"HTTP/1.1 413 ")
            assert peer.ended == "peer_closed"
            assert primary.peers == []
