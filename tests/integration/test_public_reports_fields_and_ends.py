"""Symptoms that users of gateways report of answers: of their fields, ends, trailers and gRPC statuses."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import grpc
import openai
import pytest
from h2peer import Call, FrameClient, Upstream, lower, request, service
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
    whole,
)

from edge.native import Outcome
from edge.sim.wire import Again, Close, Pause, ReadMessage, ScriptedServer, Send, refused_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
MESSAGE = b"\0\0\0\0\2hi"
CLOSE = b"connection: close\r\n"
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
LONG_AGO = "Mon, 01 Jan 2024 00:00:00 GMT"


def head_of(received: bytes) -> dict[str, str]:
    """Return the fields of an answer's head; a name that comes twice is a mistake."""
    lines = received.split(b"\r\n\r\n", 1)[0].decode().split("\r\n")[1:]
    fields = [tuple(line.split(": ", 1)) for line in lines]
    assert len({name for name, _ in fields}) == len(fields), fields
    return dict(fields)


def complete(fields: dict[str, str]) -> None:
    """Assert that an answer of edge's says which request it answers, and when."""
    assert fields["x-edge-request-id"]
    assert fields["x-request-id"] == fields["x-edge-request-id"]
    parsedate_to_datetime(fields["date"])


ASKED = {
    "a good answer": (post(), 200),
    "an unknown model": (post(b'{"model":"no","messages":[]}'), 404),
    "not JSON": (post(b"{"), 400),
    "an unknown path": (b"GET /nowhere HTTP/1.1\r\nhost: edge\r\n\r\n", 404),
    "a method": (b"DELETE /v1/models HTTP/1.1\r\nhost: edge\r\n\r\n", 405),
    "the list of models": (b"GET /v1/models HTTP/1.1\r\nhost: edge\r\n\r\n", 200),
    "one model": (b"GET /v1/models/chat HTTP/1.1\r\nhost: edge\r\n\r\n", 200),
    "health": (b"GET /healthz HTTP/1.1\r\nhost: edge\r\n\r\n", 200),
    "a redirect of a service": (b"GET /old HTTP/1.1\r\nhost: site\r\n\r\n", 302),
    "a dead service": (b"GET / HTTP/1.1\r\nhost: dead\r\n\r\n", 503),
    "a head that is too large": (b"GET /healthz HTTP/1.1\r\nhost: edge\r\nx-a: %b\r\n\r\n" % (b"a" * 70_000), 431),
}


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("name", ASKED)
async def test_every_answer_says_its_request_and_time(name: str) -> None:
    """x-edge-request-id, x-request-id and Date stand on answers, errors, lists, health, redirects and refusals."""
    asked, status = ASKED[name]
    redirect = (ReadMessage(), Send(b"HTTP/1.1 302 Found\r\nlocation: /new\r\ncontent-length: 0\r\n\r\n"), Again())
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as model, ScriptedServer(redirect) as site:
        with refused_port() as port:
            services = f"""
services:
  site: {{match: {{host: site}}, targets: ['{site.address}']}}
  dead: {{match: {{host: dead}}, targets: ['127.0.0.1:{port}']}}
"""
            async with one_data_plane(models(model.url, extra=services)) as data_plane:
                received = (await data_plane.raw(asked.replace(b"\r\n\r\n", b"\r\n" + CLOSE + b"\r\n", 1))).received
    assert received.startswith(b"HTTP/1.1 %d " % status)
    complete(head_of(received))


async def test_broken_framing_is_answered_with_an_id() -> None:
    """A request that is not HTTP/1.1 is refused with the same fields."""
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        complete(head_of((await data_plane.raw(b"GET / HTTP/1.1\r\nhost : a\r\n\r\n")).received))


@pytest.mark.parametrize("path", ["/x.Y/Z", "/edge.v1.Inference/Chat", "/grpc.health.v1.Health/Check", "/a.B/C"])
async def test_every_grpc_answer_says_its_request_and_time(path: str) -> None:
    """The same fields are in the initial metadata of gRPC answers, of edge's own and of services."""

    async def answer(call: Call) -> None:
        await call.head(200, ("content-type", "application/grpc"))
        await call.end(("grpc-status", "0"))

    async with Upstream(answer) as upstream:
        text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['{upstream.address}']}}}}"
        async with one_data_plane(text) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", path, "edge", *GRPC)))
            client.data(1, b"\0\0\0\0\0", "END_STREAM")
            assert await client.answer(1) == 200
            complete(lower(client.fields[1][0]))


@pytest.mark.usefixtures("both_wires")
async def test_what_the_upstream_says_itself_is_kept() -> None:
    """A provider's own x-request-id and Date are relayed, once; edge's id stands beside them."""
    own = f"HTTP/1.1 200 OK\r\ndate: {LONG_AGO}\r\nx-request-id: req_7\r\n".encode()
    said = own + whole().partition(b"\r\n")[2]
    async with ScriptedServer((ReadMessage(), Send(said), Again())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane:
            fields = head_of((await data_plane.raw(post(fields=CLOSE))).received)
    assert (fields["x-request-id"], fields["date"]) == ("req_7", LONG_AGO)
    assert fields["x-edge-request-id"] != "req_7"


# --- event streams

BREAKS = {
    "an error event": (Send(chunk(ERROR) + b"0\r\n\r\n"), Again()),
    "the connection is lost": (Close(),),
    "silence": (Pause(2.0), Close()),
    "no [DONE]": (Send(b"0\r\n\r\n"), Again()),
}


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("name", BREAKS)
async def test_an_error_event_ends_the_stream_cleanly(name: str) -> None:
    """After an error event the framing ends well, without [DONE]: an SDK reads the event and no transport error."""
    script = (ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + chunk(HELLO)), *BREAKS[name])
    async with ScriptedServer(script) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{data_plane.url}/v1", max_retries=0) as client:
            words = []
            with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - the loop is the statement
                async for event in await client.chat.completions.create(model="chat", messages=[], stream=True):
                    words.append(event.choices[0].delta.content)  # noqa: PERF401 - it raises in the middle
            assert not isinstance(caught.value, openai.APIConnectionError)
            assert words == ["", "hello"]
        peer = await data_plane.raw(post(STREAM, fields=CLOSE))
        assert b'"error"' in peer.received
        assert b"[DONE]" not in peer.received
        assert peer.received.endswith(b"0\r\n\r\n") or b"transfer-encoding" not in peer.received


@pytest.mark.usefixtures("both_wires")
async def test_a_stream_that_only_had_comments_ends_cleanly_too() -> None:
    """When no target answers behind keepalive comments, the error event is followed by a clean end."""
    text = models("http://127.0.0.1:1", extra="limits: {keepalive_comment: 100ms}")
    async with ScriptedServer((ReadMessage(), Pause(5.0))) as upstream:
        async with one_data_plane(text.replace("http://127.0.0.1:1", upstream.url)) as data_plane:
            received = (await data_plane.raw(post(STREAM, fields=CLOSE))).received
    assert b": edge is waiting" in received
    assert b'"error"' in received
    assert received.endswith(b"0\r\n\r\n") or b"transfer-encoding" not in received


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("kind", ["model", "comments", "service"])
async def test_event_streams_are_not_buffered_in_front(kind: str) -> None:
    """X-Accel-Buffering: no stands on event streams of models and services, and on nothing else."""
    events = SSE_HEAD + chunk(HELLO) + chunk(STOP) + chunk(DONE) + b"0\r\n\r\n"
    slow = (Pause(0.5),) if kind == "comments" else ()
    async with ScriptedServer((ReadMessage(), *slow, Send(events), Again())) as upstream:
        extra = f"services: {{s: {{match: {{host: s}}, targets: ['{upstream.address}']}}}}\n"
        extra += "limits: {keepalive_comment: 100ms}"
        async with one_data_plane(patient(models(upstream.url, extra=extra))) as data_plane:
            asked = (
                post(STREAM, fields=CLOSE) if kind != "service" else b"GET / HTTP/1.1\r\nhost: s\r\n" + CLOSE + b"\r\n"
            )
            assert head_of((await data_plane.raw(asked)).received)["x-accel-buffering"] == "no"
            listed = await data_plane.raw(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n" + CLOSE + b"\r\n")
            assert "x-accel-buffering" not in head_of(listed.received)


# --- trailers and gRPC statuses


async def test_trailers_pass_both_ways_with_their_announcement() -> None:
    """Over HTTP/2 trailers of requests and answers arrive, and the Trailer fields that announce them."""
    asked: list[Call] = []

    async def answer(call: Call) -> None:
        asked.append(call)
        await call.body()
        await call.head(200, ("content-type", "text/plain"), ("trailer", "x-sum"))
        await call.data(b"hello")
        await call.end(("x-sum", "7"))

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", "/a", "edge", ("trailer", "x-check"))))
            client.data(1, b"body")
            client.send(client.headers(1, [("x-check", "9")], "END_STREAM"))
            assert await client.answer(1) == 200
            assert lower(client.fields[1][0])["trailer"] == "x-sum"
            assert client.fields[1][1] == [("x-sum", "7")]
    assert (asked[0].field("trailer"), asked[0].trailers) == ("x-check", [("x-check", "9")])


def answering(
    *fields: tuple[str, str], status: int = 200, body: bytes = b"", reset: int = -1
) -> Callable[[Call], Awaitable[None]]:
    """Answer with this head and body, and then without trailers, or with a reset."""

    async def answer(call: Call) -> None:
        await call.body()
        if fields:
            await call.head(status, *fields, end=not body and reset < 0)
        if body:
            await call.data(body, end=reset < 0)
        if reset >= 0:
            await call.reset(reset)

    return answer


PAGE = (("content-type", "text/html"), ("content-length", "4"))
CALL = ("content-type", "application/grpc")
NO_GRPC: dict[str, tuple[Callable[[Call], Awaitable[None]], grpc.StatusCode]] = {
    "a page under 200": (answering(*PAGE, body=b"page"), grpc.StatusCode.UNKNOWN),
    "a page under 404": (answering(*PAGE, body=b"page", status=404), grpc.StatusCode.UNIMPLEMENTED),
    "a page under 503": (answering(*PAGE, body=b"page", status=503), grpc.StatusCode.UNAVAILABLE),
    "a page under 500": (answering(*PAGE, body=b"page", status=500), grpc.StatusCode.UNKNOWN),
    "a head alone": (answering(CALL), grpc.StatusCode.UNKNOWN),
    "no status behind a message": (answering(CALL, body=MESSAGE), grpc.StatusCode.UNKNOWN),
    "INTERNAL_ERROR": (answering(reset=2), grpc.StatusCode.INTERNAL),
    "INTERNAL_ERROR behind a message": (answering(CALL, body=MESSAGE, reset=2), grpc.StatusCode.INTERNAL),
}


@pytest.mark.parametrize("name", NO_GRPC)
async def test_answers_that_are_no_grpc(name: str) -> None:
    """Grpcio sees UNKNOWN, INTERNAL or what gRPC's table says of the status, and UNAVAILABLE only where that does."""
    answer, code = NO_GRPC[name]
    async with Upstream(answer) as upstream:
        text = f"services: {{g: {{match: {{grpc: a.B}}, targets: ['{upstream.address}'], retry: {{attempts: 1}}}}}}"
        async with one_data_plane(text) as data_plane:
            async with grpc.aio.insecure_channel(
                f"127.0.0.1:{data_plane.port}", options=[("grpc.enable_retries", 0)]
            ) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary("/a.B/C")(b"hi", timeout=20)
            assert caught.value.code() is code, caught.value.details()


# --- connections that end


async def test_streams_that_a_goaway_refused_cost_no_attempt() -> None:
    """Behind a proxy that closes each connection after few requests, none of hundreds fails, with one attempt each."""

    async def answer(call: Call) -> None:
        if call.stream == 9:
            await call.wire.say_goodbye(9)
        if call.stream > 9:
            return
        await call.body()
        await call.head(200, ("content-type", "text/plain"))
        await call.data(b"x", end=True)

    async with Upstream(answer) as upstream:
        text = service(upstream.address, extra="    retry: {attempts: 1, budget: 0%}\n")
        async with one_data_plane(text) as data_plane, FrameClient.connect(data_plane.port) as client:
            for wave in range(8):
                streams = range(1 + 80 * wave, 81 + 80 * wave, 2)
                client.send(*[client.headers(stream, request("POST", "/a"), "END_STREAM") for stream in streams])
                assert {await client.answer(stream) for stream in streams} == {200}
                assert {lower(client.fields[stream][0])["x-edge-attempts"] for stream in streams} == {"1"}
                assert not any("x-edge-reason" in lower(client.fields[stream][0]) for stream in streams)
            outcomes = data_plane.outcomes(f"echo/{upstream.address}")
            assert outcomes[Outcome.FAIL_RESET] == 0
