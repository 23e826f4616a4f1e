"""A target is not blamed for what others cause: impatient clients, limits of edge, long messages."""

from __future__ import annotations

import asyncio
import json

import grpc
from callers import ask, keys, status
from h2peer import Call, FrameClient, Upstream
from h2peer import request as h2_request
from one_data_plane import (
    DONE,
    HELLO,
    ROLE,
    SSE_HEAD,
    STOP,
    STREAM,
    OneDataPlane,
    chunk,
    models,
    one_data_plane,
    patient,
    post,
    whole,
)

from edge.native import Outcome, TargetCounter
from edge.sim.wire import (
    Again,
    Close,
    Hold,
    Pause,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    play_client,
)

CLOSE = b"connection: close\r\n"
HASTY = CLOSE + b"x-request-timeout: 0.03\r\n"
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


async def several(data_plane: OneDataPlane, count: int, data: bytes) -> list[int]:
    """Send this many requests at once; return the statuses."""
    return [status(peer.received) for peer in await asyncio.gather(*(data_plane.raw(data) for _ in range(count)))]


async def test_impatience_is_the_callers_own() -> None:
    """A key with deadlines of 30 ms, where answers take 120 ms, opens no circuit: others are answered."""
    script = (ReadMessage(), Pause(0.12), Send(whole()), Again())
    async with (
        ScriptedServer(script) as upstream,
        one_data_plane(patient(models(upstream.url, extra=keys(a="", b="")))) as data_plane,
    ):
        assert set(await several(data_plane, 12, ask("a", fields=HASTY))) == {504}  # before it has answered anybody
        assert set(await several(data_plane, 4, ask("b", fields=CLOSE))) == {200}
        assert set(await several(data_plane, 12, ask("a", fields=HASTY))) == {504}  # and when it is known what it takes
        assert set(await several(data_plane, 4, ask("b", fields=CLOSE))) == {200}
        view = data_plane.target("p0/m")
        assert (view["state"], view["opens"], view["window"][1:]) == ("closed", 0, (0, 0))
        assert data_plane.outcomes("p0/m")[Outcome.DEADLINE] == 24


async def test_a_frozen_target_is_found_by_short_deadlines() -> None:
    """A fast target that freezes is found even if no caller waits longer than half a second."""
    freeze = asyncio.Event()
    good = (ReadMessage(), Send(whole()), Again())
    frozen = (ReadMessage(), Hold(freeze))
    async with ScriptedServer(good, *[frozen] * 60) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        assert set(await several(data_plane, 1, post(fields=CLOSE))) == {200}
        await several(data_plane, 40, post(fields=CLOSE + b"x-request-timeout: 0.4\r\n"))
        assert data_plane.target("p0/m")["state"] == "open"
        freeze.set()


async def test_a_long_stream_is_not_slow() -> None:
    """A stream that begins at once is a success, whenever its client leaves."""
    steps = (ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + chunk(HELLO)), *(Pause(0.05), Send(chunk(HELLO))) * 20)
    async with ScriptedServer(steps) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        hasty = post(STREAM, fields=CLOSE + b"x-request-timeout: 0.2\r\n")
        assert set(await several(data_plane, 12, hasty)) == {200}
        view = data_plane.target("p0/m")
        assert (view["state"], view["window"][1:]) == ("closed", (0, 0))
        assert view["ewma_ms"][0] < 1_000


async def test_our_own_bound_is_no_failure_to_connect() -> None:
    """A request that waits for a connection in use is told so, and the target is not blamed."""
    slow = (ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + chunk(HELLO)), Pause(1.2))
    script = (*slow, Send(chunk(STOP) + chunk(DONE) + b"0\r\n\r\n"), Again())
    async with ScriptedServer(script) as upstream:
        text = models(upstream.url).replace("/v1'", "/v1', max_connections: 4").replace("connect: 2s", "connect: 300ms")
        async with one_data_plane(text.replace("stream_idle: 500ms", "stream_idle: 5s")) as data_plane:
            found = await several(data_plane, 12, post(STREAM, fields=CLOSE))
            assert found.count(200) >= 4
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_CONNECT] == 0
            assert data_plane.target("p0/m")["opens"] == 0
            assert await several(data_plane, 1, post(STREAM, fields=CLOSE)) == [200]


async def test_a_long_refusal_is_told_whole_or_not_at_all() -> None:
    """A provider's message about a caller's error is relayed complete, or replaced if it is too long."""
    long = json.dumps({"error": {"message": "no", "input": "y" * 200_000}}).encode()
    script = (ReadMessage(), Send(whole(long, b"422 Unprocessable")), Again())
    async with ScriptedServer(script) as upstream:
        for bound, words in (("", long), ("limits: {max_response: 100KiB}", None)):
            async with one_data_plane(models(upstream.url, extra=bound)) as data_plane:
                received = (await data_plane.raw(post(fields=CLOSE))).received
                assert status(received) == 422
                said = json.loads(received.partition(b"\r\n\r\n")[2])
                assert said == json.loads(words) if words else said["error"]["code"] == "answer_too_long"
                assert data_plane.outcomes("p0/m")[Outcome.CLIENT_FAULT] == 1


async def test_a_service_says_itself_that_it_failed() -> None:
    """Without a retry budget a service's own error response is relayed."""
    page = b"HTTP/1.1 500 Oops\r\ncontent-length: 11\r\n\r\nmy own page"
    async with ScriptedServer((ReadMessage(), Send(page), Again())) as upstream:
        text = f"""
services:
  s:
    match: {{path: /}}
    targets: ['{upstream.address}', 'localhost:{upstream.port}']
    breaker: {{consecutive_failures: 0, failure_ratio: 0%, slow_ratio: 0%}}
    retry: {{attempts: 2}}
"""
        async with one_data_plane(text) as data_plane:
            ask_it = b"GET /x HTTP/1.1\r\nhost: e\r\n" + CLOSE + b"\r\n"
            for _ in range(15):
                for peer in await asyncio.gather(*(data_plane.raw(ask_it) for _ in range(16))):
                    assert peer.received.endswith(b"my own page"), peer.received


async def test_an_absurd_pushback_is_not_waited_for() -> None:
    """With a pushback of eleven days the service's status goes to the caller at once."""

    async def answer(call: Call) -> None:
        await call.body()
        away = (("grpc-status", "14"), ("grpc-retry-pushback-ms", "999999999"))
        await call.head(200, ("content-type", "application/grpc"), *away, end=True)

    async with Upstream(answer) as upstream:
        text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['{upstream.address}']}}}}"
        async with one_data_plane(text) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, h2_request("POST", "/a.B/C", "edge", *GRPC)))
            client.data(1, b"\0\0\0\0\2hi", "END_STREAM")
            await client.answer(1, 10)
            assert dict(client.fields[1][-1])["grpc-status"] == str(grpc.StatusCode.UNAVAILABLE.value[0])


async def test_what_was_shown_is_charged() -> None:
    """A count of 0 at the beginning is not the usage of a stream whose client leaves in the middle."""
    begin = b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":9,"completion_tokens":0}}\n\n'
    shown = (Send(SSE_HEAD + chunk(begin) + chunk(HELLO) * 200), ReadToEnd())
    async with ScriptedServer((ReadMessage(), *shown)) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        await play_client(data_plane.port, Send(post(STREAM)), *[ReadUntil(b"hello")] * 200, Close())
        async with asyncio.timeout(10):
            while data_plane.data_plane.active:  # noqa: ASYNC110 - counted by another thread
                await asyncio.sleep(0.01)
        # a quarter of the bytes of 200 words of five letters
        assert data_plane.target("p0/m")["counts"][TargetCounter.T_OUTPUT_TOKENS] == 250


async def test_no_embedding_comes_in_events() -> None:
    """``stream`` has no meaning for embeddings: a slow answer gets no keepalive comments."""
    script = (ReadMessage(), Pause(0.4), Send(whole(b'{"object":"list","data":[]}')), Again())
    async with ScriptedServer(script) as upstream:
        text = models(upstream.url, extra="limits: {keepalive_comment: 200ms}")
        async with one_data_plane(patient(text)) as data_plane:
            peer = await data_plane.raw(post(b'{"model":"chat","input":"x","stream":true}', "/v1/embeddings", CLOSE))
            assert peer.received.endswith(b'{"object":"list","data":[]}')
            assert data_plane.outcomes("p0/m")[Outcome.OK] == 1
