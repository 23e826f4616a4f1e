"""A simulated provider answers the official SDK, and fails in every way that it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

import msgspec
import openai
import pytest
import trustme
from openai import AsyncOpenAI
from soon import soon, until

from edge.sim import remote, wire
from edge.sim.asked import Pace
from edge.sim.closed_loop_load import ClosedLoopLoad
from edge.sim.faults import Fault
from edge.sim.load import Load
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Close, HalfClose, Pause, Peer, ReadMessage, ReadToEnd, ReadUntil, Send, play_client
from edge.sim.world import ProviderProcess, SimulatedProviders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FAST = Pace(ttft_s=0.0, tps=0.0, tokens=8)
HELLO = [{"role": "user", "content": "hello"}]
CHAT: dict[str, Any] = {"model": "sim-small", "messages": HELLO}


@pytest.fixture
async def provider() -> AsyncIterator[SimProvider]:
    """Start one provider that answers at once."""
    async with SimProvider(ProviderSpec(key="secret", pace=FAST)) as provider:
        yield provider


@pytest.fixture
async def client(provider: SimProvider) -> AsyncIterator[AsyncOpenAI]:
    """Return an SDK client of the provider, without retries of its own."""
    async with AsyncOpenAI(base_url=provider.base_url, api_key="secret", max_retries=0, timeout=30) as client:
        yield client


def chat(*, stream: bool = False, **more: Any) -> Send:
    """Send one chat request with the provider's key."""
    body = msgspec.json.encode({**CHAT, "stream": stream, **more})
    return Send(wire.request(body, ("authorization", "Bearer secret")))


async def talk(provider: SimProvider, *, stream: bool = False, limit_s: float = 5.0) -> Peer:
    """Send a request on a raw socket, and read until the provider closes or ``limit_s`` is over."""
    return await play_client(provider.port, chat(stream=stream), ReadToEnd(), limit_s=limit_s)


async def heard(provider: SimProvider, *, stream: bool, met: Callable[[Peer], bool]) -> Peer:
    """Read from connections that stay open for only as long as the answer needs."""
    for limit_s in (0.2, 1.0):
        with contextlib.suppress(TimeoutError):  # not even a connection in so short a time
            if met(peer := await talk(provider, stream=stream, limit_s=limit_s)):
                return peer
    return await talk(provider, stream=stream, limit_s=10.0)


async def test_the_sdk_gets_answers_on_every_path(client: AsyncOpenAI) -> None:
    """Chat, completions, embeddings, responses and models answer the SDK with text, vectors and usage."""
    whole = await client.chat.completions.create(**CHAT)
    assert whole.choices[0].message.content is not None
    assert whole.choices[0].message.content.startswith("Hello from sim-a:")
    assert whole.system_fingerprint == "sim-a"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert (await client.completions.create(model="m", prompt="x")).choices[0].text.startswith("Hello from sim-a")
    assert len((await client.embeddings.create(model="m", input=["a", "b"])).data) == 2
    assert (await client.responses.create(model="m", input="x")).output_text.startswith("Hello from sim-a")
    assert "sim-echo" in [model.id for model in (await client.models.list()).data]
    assert (await client.models.retrieve("sim-small")).owned_by == "sim-a"


async def test_the_sdk_streams_chat_and_responses(client: AsyncOpenAI) -> None:
    """Streams arrive complete: finish reason, usage when asked, and the final response of the Responses API."""
    stream = await client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    async with client.responses.stream(model="m", input="x") as events:
        final = await events.get_final_response()
    assert final.output_text.startswith("Hello from sim-a")


async def test_a_wrong_key_is_refused_as_openai_does(provider: SimProvider) -> None:
    """A wrong key gets 401 with OpenAI's code."""
    async with AsyncOpenAI(base_url=provider.base_url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            await stranger.chat.completions.create(**CHAT)
    assert caught.value.code == "invalid_api_key"


async def test_echo_returns_the_received_bytes(client: AsyncOpenAI, provider: SimProvider) -> None:
    """sim-echo returns the body byte for byte, with odd spacing and unknown fields, complete and streamed."""
    body = b'{ "model":"sim-echo",\t"messages":["\\u00e4 \xc3\xa4"], "x":1e2, "stream":false }'
    fields = (("authorization", "Bearer secret"), ("X-Odd", "Kept"))
    peer = await play_client(provider.port, Send(wire.request(body, *fields)), ReadMessage(), Close())
    answer = json.loads(peer.messages[0].split(b"\r\n\r\n", 1)[1])
    echo = json.loads(answer["choices"][0]["message"]["content"])
    assert base64.b64decode(echo["body"]) == body
    assert ["X-Odd", "Kept"] in echo["headers"]
    assert echo["path"] == "/v1/chat/completions"
    stream = await client.chat.completions.create(model="sim-echo", messages=HELLO, stream=True)
    text = "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
    assert json.loads(base64.b64decode(json.loads(text)["body"]))["model"] == "sim-echo"


async def test_rate_headers_ids_and_unknown_paths(provider: SimProvider) -> None:
    """Answers carry a request id and OpenAI's rate headers; an unknown path is 404 and a wrong method 405, in JSON."""
    ask = "{} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\nconnection: close\r\n\r\n"
    good = await play_client(provider.port, Send(ask.format("GET /v1/models").encode()), ReadToEnd())
    assert b"x-request-id: req_sim-a_1" in good.received
    assert b"x-ratelimit-remaining-requests: 9999" in good.received
    lost = await play_client(provider.port, Send(ask.format("GET /v1/none").encode()), ReadToEnd())
    assert lost.received.startswith(b"HTTP/1.1 404")
    assert b'"error":' in lost.received
    wrong = await play_client(provider.port, Send(ask.format("GET /v1/embeddings").encode()), ReadToEnd())
    assert wrong.received.startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Fault(kind="error", status=429, retry_after="7"), b"retry-after: 7\r\n"),
        (Fault(kind="error", status=429, ratelimit_reset="6m0s"), b"x-ratelimit-reset-requests: 6m0s\r\n"),
        (Fault(kind="error", status=503), b"HTTP/1.1 503 "),
        (Fault(kind="error", status=400, code="context_length_exceeded"), b'"code":"context_length_exceeded"'),
        (Fault(kind="error", shape="vllm"), b'"object":"error"'),
        (Fault(kind="flapping", period_s=100), b"HTTP/1.1 503 "),
        (Fault(kind="capability", asked="json"), b"HTTP/1.1 500 "),
        (Fault(kind="garbage"), b"text/html"),
        (Fault(kind="garbage", shape="json"), b"\r\n\r\n" + b'{"id": "chatcmpl-1", "choices": [{"index": 0, "mess'),
    ],
)
async def test_faults_that_are_answers(provider: SimProvider, fault: Fault, line: bytes) -> None:
    """Error statuses with their hints and shapes, and garbage, come as well-formed HTTP."""
    await provider.switch(fault)
    peer = await play_client(provider.port, chat(), ReadMessage(), Close())
    assert line in peer.received
    assert provider.stats()["by_fault"] == {fault.kind: 1}


@pytest.mark.parametrize(
    ("fault", "stream", "ended", "holds", "lacks"),
    [
        (Fault(kind="blackhole"), False, "timeout", b"", b"HTTP"),
        (Fault(kind="stall"), False, "timeout", b"HTTP/1.1 200", b"{"),
        (Fault(kind="stall"), True, "timeout", b"text/event-stream", b"data:"),
        (Fault(kind="stall", at="middle", tokens=2), True, "timeout", b'" from"', b'finish_reason":"stop'),
        (Fault(kind="stall", at="middle"), False, "timeout", b'{"id"', b'"usage"'),
        (Fault(kind="cut"), True, "peer_closed", b'" from"', b"0\r\n\r\n"),
        (Fault(kind="cut"), False, "peer_closed", b'{"id"', b'"usage"'),
        (Fault(kind="cut", at="start"), False, "peer_closed", b"", b"HTTP"),
        (Fault(kind="cut", at="head"), True, "peer_closed", b"text/event-stream", b"data:"),
        (Fault(kind="reset"), False, "peer_reset", b"", b"HTTP"),
        (Fault(kind="reset", at="head"), True, "peer_reset", b"text/event-stream", b"data:"),
        (Fault(kind="reset", at="middle"), True, "peer_reset", b'" from"', b"0\r\n\r\n"),
        (Fault(kind="truncated"), False, "peer_closed", b'{"id"', b'"usage"'),
        (Fault(kind="cut", clean=True), True, "timeout", b'" from"', b'finish_reason":"stop'),
        (Fault(kind="no_done"), True, "timeout", b'finish_reason":"stop', b"[DONE]"),
        (Fault(kind="inband_error"), True, "timeout", b'data: {"error":', b'"content":"Hello"'),
        (Fault(kind="inband_error", at="middle"), True, "timeout", b'data: {"error":', b"[DONE]"),
        (Fault(kind="inband_error", shape="vllm"), True, "timeout", b'data: {"object":"error"', b"[DONE]"),
        (Fault(kind="inband_error"), False, "timeout", b'{"error":{', b"choices"),
    ],
)
async def test_faults_on_the_wire(  # noqa: PLR0917
    provider: SimProvider, fault: Fault, stream: bool, ended: str, holds: bytes, lacks: bytes
) -> None:
    """Each fault has its effect on the wire, and ends the connection in its own way.

    "timeout" here means that the connection stays open: nothing more comes, or the answer was properly framed.
    """
    await provider.switch(fault)
    peer = await heard(provider, stream=stream, met=lambda peer: peer.ended == ended and holds in peer.received)
    assert (peer.ended, holds in peer.received, lacks in peer.received) == (ended, True, False), peer.received


async def test_a_clean_cut_ends_its_framing(provider: SimProvider) -> None:
    """A clean cut, an in-band error and a missing [DONE] have a last chunk, so only the content shows the fault."""
    for fault in (Fault(kind="cut", clean=True), Fault(kind="inband_error", at="middle"), Fault(kind="no_done")):
        await provider.switch(fault)
        peer = await heard(provider, stream=True, met=lambda peer: peer.received.endswith(b"0\r\n\r\n"))
        assert peer.received.endswith(b"0\r\n\r\n"), fault.kind


@pytest.mark.parametrize(
    ("fault", "stream", "least_s", "first_byte"),
    [
        (Fault(kind="latency", delay_s=0.15), True, 0.15, "late"),
        (Fault(kind="latency", delay_s=0.15), False, 0.15, "late"),
        (Fault(kind="latency", delay_s=0.15, at="head"), True, 0.15, "early"),
        (Fault(kind="slow_tokens", delay_s=0.02), True, 0.14, "early"),
        (Fault(kind="slow_tokens", delay_s=0.02), False, 0.16, "late"),
    ],
)
async def test_slowness_is_where_it_is_said(
    provider: SimProvider, fault: Fault, stream: bool, least_s: float, first_byte: str
) -> None:
    """A slow first token can come with an early or a late head; slow tokens stretch the answer."""
    await provider.switch(fault)
    mark = b"data: [DONE]" if stream else b'"usage"'

    async def once() -> float:
        peer = await play_client(provider.port, chat(stream=stream), ReadUntil(mark), Close())
        assert peer.first_byte_s is not None
        assert peer.ended_s is not None
        assert peer.ended_s - peer.opened_s >= least_s
        return peer.first_byte_s - peer.opened_s

    if first_byte == "early":
        await soon(once, 0.1)
    else:
        assert await once() >= 0.1


async def test_a_fault_of_one_request_strikes_that_alone(client: AsyncOpenAI) -> None:
    """A fault in the body's sim object fails this request only."""
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**CHAT, extra_body={"sim": {"fault": {"kind": "error", "status": 503}}})
    await client.chat.completions.create(**CHAT)


async def test_one_capability_can_be_missing(client: AsyncOpenAI, provider: SimProvider) -> None:
    """Embeddings fail while models and chat work."""
    await provider.switch(Fault(kind="capability", path="/v1/embeddings"))
    with pytest.raises(openai.InternalServerError):
        await client.embeddings.create(model="m", input="a")
    await client.models.list()
    await client.chat.completions.create(**CHAT)


async def test_a_blackhole_swallows_probes_too(client: AsyncOpenAI, provider: SimProvider) -> None:
    """The list of models does not answer either."""
    await provider.switch(Fault(kind="blackhole"))
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.1).models.list()


async def test_capacity_slows_and_then_refuses(provider: SimProvider, client: AsyncOpenAI) -> None:
    """Below the limit nothing changes, above it answers wait, above twice the limit they get 429."""
    await provider.switch(Fault(kind="capacity", limit=2, delay_s=0.4, retry_after="1"))
    slow = {**CHAT, "extra_body": {"sim": {"ttft_s": 0.8}}}

    async def ask(began: float) -> tuple[str, float]:
        try:
            await client.chat.completions.create(**slow)
        except openai.RateLimitError:
            return "refused", time.monotonic() - began
        return "answered", time.monotonic() - began

    async def once() -> float:
        began = time.monotonic()
        ends = await asyncio.gather(*(ask(began) for _ in range(8)))
        assert [how for how, _ in ends].count("refused") == 4
        waits = sorted(took for how, took in ends if how == "answered")
        assert waits[0] > 0.8
        assert waits[2] > 1.2
        assert waits[3] > 1.6
        return max(waits[1] - 1.2, waits[2] - 1.6)

    await soon(once, 0.0)
    assert 5 <= provider.stats()["max_concurrent"] <= 8  # the refused ones leave at once


async def test_refusing_drops_everything_and_comes_back(provider: SimProvider, client: AsyncOpenAI) -> None:
    """The fault ends open connections, refuses new ones, and ends after for_s on the same port."""
    await client.chat.completions.create(**CHAT)
    await provider.switch(Fault(kind="refuse", for_s=0.3))
    assert provider.stats()["connections"] == 0
    with pytest.raises(ConnectionRefusedError):
        await play_client(provider.port)
    deadline = time.monotonic() + 30
    answered = False
    while not answered and time.monotonic() < deadline:
        try:
            await client.chat.completions.create(**CHAT)
            answered = True
        except openai.APIConnectionError:
            await asyncio.sleep(0.05)
    assert answered


async def test_refusing_over_http_must_end(provider: SimProvider) -> None:
    """A refusal over HTTP without for_s is not accepted, because it closes the control port."""
    with pytest.raises(remote.SimUnreachableError, match="for_s"):
        await remote.switch(provider.url, Fault(kind="refuse"))
    await remote.switch(provider.url, Fault(kind="refuse", for_s=0.1))
    await provider.switch()
    assert (await remote.stats(provider.base_url))["by_fault"] == {"refuse": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_noticed_at_once(provider: SimProvider, stream: bool) -> None:
    """The time of a departure is known within 100 ms, before and during the answer."""
    slow = {"sim": {"ttft_s": 0.05 if stream else 5, "tps": 1, "tokens": 50}}
    wait = ReadUntil(b"Hello") if stream else Pause(0.05)
    turn = itertools.count(1)

    async def once() -> float:
        count = next(turn)
        peer = await play_client(provider.port, chat(stream=stream, **slow), wait, Close())
        await until(lambda: provider.stats()["aborted_by_client"] >= count)
        stats = provider.stats()
        assert (stats["aborted_by_client"], stats["concurrent"]) == (count, 0)
        assert peer.ended_s is not None
        assert stats["last_abort_s"] >= peer.ended_s
        return float(stats["last_abort_s"] - peer.ended_s)

    await soon(once, 0.1)


async def test_a_half_closed_client_has_left(provider: SimProvider) -> None:
    """A client that sends FIN while it waits counts as gone, as for common servers."""
    peer = await play_client(provider.port, chat(sim={"ttft_s": 5}), Pause(0.05), HalfClose(), ReadToEnd(), limit_s=4.5)
    assert peer.ended == "peer_closed"
    assert provider.stats()["aborted_by_client"] == 1


async def test_faults_are_switched_and_shown_over_http(provider: SimProvider) -> None:
    """POST replaces, GET shows, DELETE removes, and invalid faults are refused with their place."""
    shown = await remote.switch(provider.url, Fault(kind="error", status=503), Fault(kind="latency", delay_s=1))
    assert [fault["kind"] for fault in shown["faults"]] == ["error", "latency"]
    assert (await remote.ask(provider.url, "fault"))["faults"] == shown["faults"][:0] + [
        {**fault, "age_s": pytest.approx(fault["age_s"], abs=2)} for fault in shown["faults"]
    ]
    with pytest.raises(remote.SimUnreachableError, match="earthquake"):
        await remote.ask(provider.url, "fault", method="POST", body=b'{"kind": "earthquake"}')
    assert (await remote.ask(provider.url, "fault", method="DELETE"))["faults"] == []
    with pytest.raises(remote.SimUnreachableError, match="known paths: GET"):
        await remote.ask(provider.url, "nothing")


async def test_nobody_at_the_address_is_said_plainly() -> None:
    """A missing provider is reported with the address and a remedy."""
    with wire.refused_port() as port, pytest.raises(remote.SimUnreachableError, match=f"{port}.*start it"):
        await remote.stats(f"http://127.0.0.1:{port}")


async def test_a_provider_can_speak_tls() -> None:
    """With a certificate the provider serves https."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with SimProvider(ProviderSpec(pace=FAST), tls=tls) as provider:
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port, ssl=trusting)
        writer.write(wire.request(msgspec.json.encode(CHAT)))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
    assert provider.url.startswith("https://")


async def test_a_world_starts_names_and_stops_its_providers() -> None:
    """Providers on the running loop have their own names and ports, and are gone afterwards."""
    async with SimulatedProviders("a", "b", pace=FAST) as world:
        ports = {world["a"].port, world["b"].port}
        assert len(ports) == 2
        assert set(world.base_urls) == {"a", "b"}
        peer = await play_client(world["b"].port, chat(), ReadMessage(), Close())
        assert b"x-sim-provider: b" in peer.received
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await play_client(port)


async def test_a_process_of_providers_is_controlled_and_ends() -> None:
    """Providers in a child process are controlled over HTTP and end with the block."""
    async with ProviderProcess("a", "b", pace=FAST) as world:
        await world.switch("a", Fault(kind="error", status=503))
        async with AsyncOpenAI(base_url=world.base_urls["a"], api_key="x", max_retries=0) as client:
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(**CHAT)
        assert (await world.stats("a"))["by_fault"] == {"error": 1}
        assert (await world.stats("b"))["requests"] == 0
        url = world.urls["a"]
    with pytest.raises(remote.SimUnreachableError):
        await remote.stats(url)


async def test_the_hammer_counts_every_wrong_answer(provider: SimProvider) -> None:
    """Errors, wrong bytes and broken connections are each counted once."""
    await provider.switch(Fault(kind="error", status=503, count=5), Fault(kind="reset", count=3, after=20))
    request = wire.request(msgspec.json.encode(CHAT), ("authorization", "Bearer secret"))

    def verify(number: int, answer: Any) -> str | None:
        return None if answer.status == 200 and b"Hello from sim-a" in answer.body else f"status {answer.status}"

    closed_loop = ClosedLoopLoad(provider.port, request, count=300, connections=8, verify=verify)
    running = asyncio.create_task(closed_loop.run(60))
    await closed_loop.reached(100, 60)
    await running
    assert closed_loop.right == 292
    assert closed_loop.reasons == {"status 503": 5, "reset before the answer": 3}
    assert len({failure.number for failure in closed_loop.failures}) == 8
    assert 0 < closed_loop.latency_s(0.5) <= closed_loop.latency_s(0.99) < 60


async def test_the_hammer_reads_streams_and_keeps_a_rate(provider: SimProvider) -> None:
    """Chunked answers are parsed byte for byte, and a rate spreads the requests."""
    request = wire.request(msgspec.json.encode({**CHAT, "stream": True}), ("authorization", "Bearer secret"))
    bodies: list[bytes] = []

    def verify(number: int, answer: Any) -> str | None:
        bodies.append(answer.body)
        return None if answer.body.endswith(b"data: [DONE]\n\n") else "not whole"

    closed_loop = ClosedLoopLoad(provider.port, request, count=20, connections=4, verify=verify, rate=100)
    await closed_loop.run(60)
    assert (closed_loop.right, closed_loop.failures) == (20, [])
    assert closed_loop.elapsed_s >= 0.19
    assert len({body.count(b"data: ") for body in bodies}) == 1


async def test_a_load_sees_what_an_application_sees(provider: SimProvider) -> None:
    """A steady load counts answers by target, and failures by the SDK's exception, clean truncation too."""
    async with Load(provider.base_url, "m", rate=50, api_key="secret", timeout_s=2) as load:
        await load.run(0.4)
    assert (load.started, load.failed, load.answered_by) == (20, 0, {"sim-a": 20})
    assert sum(shot.stream for shot in load.shots) == 10
    assert all(shot.ttft_s is not None for shot in load.shots if shot.stream)
    await provider.switch(Fault(kind="cut", clean=True, asked="stream"), Fault(kind="error", status=503))
    async with Load(provider.base_url, "m", rate=50, api_key="secret", timeout_s=2) as load:
        await load.run(0.2)
    assert load.failed == 10
    assert {reason.split(":")[0] for reason in load.reasons} == {"IncompleteAnswerError", "InternalServerError"}


async def test_a_load_has_patience_and_no_more(provider: SimProvider) -> None:
    """A provider that never answers costs each request its timeout, and the load ends."""
    await provider.switch(Fault(kind="blackhole"))
    async with Load(provider.base_url, "m", rate=20, api_key="secret", timeout_s=0.2) as load:
        began = time.monotonic()
        await load.run(0.2)
    assert load.failed == 4
    assert time.monotonic() - began < 20
