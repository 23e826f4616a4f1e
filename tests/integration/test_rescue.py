"""A stream that breaks off after the commit point is continued by another target, exactly, or ends as an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from callers import ask, keys
from one_data_plane import STREAM, OneDataPlane, one_data_plane, post
from soon import TIMES

from edge.native import AllowanceCounter, Outcome, RouteCounter
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PACE = Pace(ttft_s=0.0, tps=500.0, tokens=60, seed=7)  # slow enough that a part is shown before the stream breaks off
PREFILL = "[chat, prefill, tools]"
BREAKS: dict[str, dict[str, Any]] = {
    "cut": {"kind": "cut"},
    "ended": {"kind": "cut", "clean": True},
    "reset": {"kind": "reset", "at": "middle"},
    "stall": {"kind": "stall", "at": "middle"},
    "error": {"kind": "inband_error", "at": "middle"},
    "corrupt": {"kind": "corrupt"},
}
ASKED: dict[str, Any] = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "Tell me."}]}


def text_of(events: bytes) -> str:
    """Return the text of a stream of chat completions."""
    chunks = [json.loads(line[6:]) for line in events.split(b"\n") if line.startswith(b"data: {")]
    return "".join(one["delta"].get("content") or "" for chunk in chunks for one in chunk.get("choices", ()))


def told(events: bytes, name: str) -> list[Any]:
    """Return what the chunks of a stream say under a name, without repetitions."""
    chunks = [json.loads(line[6:]) for line in events.split(b"\n") if line.startswith(b"data: {")]
    return list(dict.fromkeys(chunk[name] for chunk in chunks if name in chunk))


def config(
    *providers: SimProvider,
    rescue: str = "",
    capabilities: str = PREFILL,
    model: str = "m",
    first: str = "[chat, tools]",
) -> str:
    """Return configuration text: a model over these providers, each in its own tier; ``first`` is what that one has."""
    lines = "\n".join(
        f"  p{n}: {{base_url: '{one.base_url}', capabilities: {capabilities if n else first}}}"
        for n, one in enumerate(providers)
    )
    targets = ", ".join(f"{{target: p{n}/{model.format(n)}, tier: {n + 1}}}" for n in range(len(providers)))
    return f"""
providers:
{lines}
models:
  chat:
    targets: [{targets}]
    timeouts: {{first_byte: 5s, first_token: 5s, stream_idle: 1s, total: 10s}}
    {f"rescue: {rescue}" if rescue else ""}
"""


@contextlib.asynccontextmanager
async def rescued(
    fault: dict[str, Any], *, prefill: str = "continue", turn: str = "repeat", more: int = 1, **given: Any
) -> AsyncIterator[tuple[OneDataPlane, list[SimProvider]]]:
    """Run a data plane over a provider with a fault and others without, which all say the same."""
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(**fault),))
    other = ProviderSpec(name="sim", pace=PACE, prefill=prefill, turn=turn)  # type: ignore[arg-type]
    async with contextlib.AsyncExitStack() as stack:
        providers = [
            await stack.enter_async_context(SimProvider(spec)) for spec in (broken, *(other for _ in range(more)))
        ]
        data_plane = await stack.enter_async_context(one_data_plane(config(*providers, **given)))
        yield data_plane, providers


async def asked(
    data_plane: OneDataPlane, body: dict[str, Any] | None = None, path: str = "/v1/chat/completions"
) -> bytes:
    """Return the body of the answer to a streamed request."""
    sent = post(json.dumps(ASKED if body is None else body).encode(), path, b"connection: close\r\n")
    return (await data_plane.raw(sent)).received.partition(b"\r\n\r\n")[2]


async def whole_text() -> str:
    """Return what the providers say when nothing breaks."""
    async with SimProvider(ProviderSpec(name="sim", pace=PACE)) as provider:
        async with one_data_plane(config(provider)) as data_plane:
            return text_of(await asked(data_plane))


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("tokens", [5, 40])
@pytest.mark.parametrize("prefill", ["continue", "restart"])
@pytest.mark.parametrize("fault", BREAKS)
async def test_the_text_is_whole(fault: str, prefill: str, tokens: int) -> None:
    """With prefill the client gets the whole text exactly, from a target that goes on and from one that starts over.

    On a busy machine the first words may come with the break, in one read: nothing was shown, and the request is
    sent anew. The text is the same; another stream shows the rescue.
    """
    for _ in range(TIMES):
        if await is_rescued({**BREAKS[fault], "tokens": tokens}, prefill):
            return
    pytest.fail("no stream broke off after a part of it was shown")


async def is_rescued(fault: dict[str, Any], prefill: str) -> bool:
    """Check that the text is whole although a target broke off; return whether another went on with it."""
    async with rescued(fault, prefill=prefill) as (data_plane, _):
        events = await asked(data_plane, {**ASKED, "stream_options": {"include_usage": True}})
        assert text_of(events) == await whole_text()
        assert events.count(b"data: [DONE]") == events.count(b'"finish_reason":"stop"') == 1
        assert len(told(events, "id")) == len(told(events, "created")) == 1
        assert b'"error"' not in events
        record = (await data_plane.recorded(1))[0]
        assert record.status == 200
        assert [attempt.target for attempt in record.attempts] == ["p0/m", "p1/m"]
        assert data_plane.outcomes("p1/m")[Outcome.OK] == 1
        assert events.count(b": edge: p1/m goes on, p0/m broke off\n\n") == record.rescues <= 1
        return record.rescues == 1


@pytest.mark.parametrize("tokens", [5, 40])
@pytest.mark.parametrize(
    ("fault", "turn"), [*((fault, "repeat") for fault in BREAKS), ("cut", "restart"), ("cut", "continue")]
)
async def test_a_target_without_prefill_is_asked_in_a_new_turn(fault: str, turn: str, tokens: int) -> None:
    """With ``text`` a target that refuses prefill, and does not declare it, gives the rest in a new turn."""
    given = {"rescue": "text", "capabilities": "[chat]", "model": "m{}"}
    async with rescued({**BREAKS[fault], "tokens": tokens}, prefill="refuse", turn=turn, **given) as (data_plane, _):
        assert text_of(await asked(data_plane)) == await whole_text()
        assert data_plane.outcomes("p1/m1")[Outcome.OK] == 1
        assert data_plane.outcomes("p1/m1")[Outcome.CLIENT_FAULT] == 0


@pytest.mark.parametrize(
    "given",
    [
        {"rescue": "never"},
        {"rescue": "never", "more": 0},
        {"more": 0},
        {"capabilities": "[chat]"},
        {"model": "m{}"},
    ],
    ids=["never", "never-alone", "alone", "no-prefill", "another-model"],
)
async def test_without_a_rescue_the_error_is_explicit(given: dict[str, Any]) -> None:
    """Where nobody may go on, the stream ends with an error event and without [DONE]."""
    async with rescued({"kind": "cut", "tokens": 5}, **given) as (data_plane, providers):
        events = await asked(data_plane)
        assert b'"code":"stream_broken"' in events
        assert b"[DONE]" not in events
        assert [one.stats()["requests"] for one in providers[1:]] == [0] * len(providers[1:])


@pytest.mark.parametrize("rescue", ["same_model", "text"])
@pytest.mark.parametrize(("fault", "told"), [("cut", b'"code":"stream_broken"'), ("error", b"is simulating an error")])
async def test_a_half_sent_tool_call_is_not_rescued(fault: str, told: bytes, rescue: str) -> None:
    """A stream that breaks off inside a tool call ends as an error, the target's own or edge's, and nobody is asked."""
    parameters = {"type": "object", "properties": {f"word{n}": {"type": "string"} for n in range(20)}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    async with rescued({**BREAKS[fault], "tokens": 5}, rescue=rescue) as (data_plane, providers):
        events = await asked(data_plane, {**ASKED, "tools": [tool], "tool_choice": "required"})
        assert b'"name":"weather"' in events
        assert events.count(told) == events.count(b'"error":{') == 1
        assert b"[DONE]" not in events
        assert providers[1].stats()["requests"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_object"}},
        {"n": 2},
        {"logprobs": True},
        {"store": True},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]},
    ],
    ids=["json", "n", "logprobs", "stored", "begun"],
)
async def test_what_is_no_plain_text_is_not_rescued(more: dict[str, Any]) -> None:
    """Structured output, alternatives and the like end as an error."""
    async with rescued({"kind": "cut", "tokens": 5}) as (data_plane, providers):
        events = await asked(data_plane, {**ASKED, **more})
        assert b'"code":"stream_broken"' in events
        assert providers[1].stats()["requests"] == 0


async def test_reasoning_is_not_rescued() -> None:
    """A stream that has shown thoughts ends as an error."""
    async with rescued({"kind": "cut", "tokens": 5}) as (data_plane, providers):
        events = await asked(data_plane, {**ASKED, "reasoning_effort": "low"})
        assert b"reasoning_content" in events
        assert b'"code":"stream_broken"' in events
        assert providers[1].stats()["requests"] == 0


async def test_a_malformed_event_that_nobody_can_make_good_is_left_out() -> None:
    """Where nobody could go on, the stream itself goes on without the event."""
    async with rescued({"kind": "corrupt", "tokens": 5}) as (data_plane, providers):
        events = await asked(data_plane, {**ASKED, "reasoning_effort": "low"})
        assert b"[DONE]" in events
        assert b'"error"' not in events
        assert text_of(events) == await whole_text()
        assert providers[1].stats()["requests"] == 0


async def test_a_target_that_says_something_else_is_not_joined() -> None:
    """An answer that starts over and differs reaches no client, and its target is not blamed."""
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="cut", tokens=40),))
    other = ProviderSpec(name="sim", pace=Pace(0.0, 0.0, 60, 8), prefill="restart")
    async with SimProvider(broken) as first, SimProvider(other) as second:
        async with one_data_plane(config(first, second)) as data_plane:
            events = await asked(data_plane)
            assert (await whole_text()).startswith(text_of(events))
            assert b'"code":"stream_broken"' in events
            assert data_plane.outcomes("p1/m")[Outcome.CANCELLED] == 1


async def test_the_next_target_goes_on_where_the_last_one_broke_off() -> None:
    """A stream may break off twice; each part is joined to the last, and a refusal of a target leads to the next."""
    specs = [
        ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="cut", tokens=9),)),
        ProviderSpec(
            name="sim", pace=PACE, prefill="continue", faults=(Fault(kind="inband_error", at="middle", tokens=30),)
        ),
        ProviderSpec(name="sim", pace=PACE, prefill="restart"),
    ]
    async with contextlib.AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(SimProvider(spec)) for spec in specs]
        data_plane = await stack.enter_async_context(one_data_plane(config(*providers)))
        events = await asked(data_plane, {**ASKED, "stream_options": {"include_usage": True}})
        assert text_of(events) == await whole_text()
        assert b'"error"' not in events
        counts = data_plane.shared_state.read_route(data_plane.snapshot.routes[0].slot)["counts"]
        assert counts[RouteCounter.R_RESCUES] == 2
        assert counts[RouteCounter.R_RESCUED] == 1
        usage = [json.loads(line[6:])["usage"] for line in events.split(b"\n") if b'"total_tokens"' in line][-1]
        assert usage["completion_tokens"] == counts[RouteCounter.R_OUTPUT_TOKENS] > 60
        assert usage["prompt_tokens"] == counts[RouteCounter.R_PROMPT_TOKENS]


async def test_the_target_that_declared_prefill_and_refuses_it_is_left() -> None:
    """A refusal of the request for the rest is not the client's fault: the stream ends as broken."""
    async with rescued({"kind": "cut", "tokens": 5}, prefill="refuse") as (data_plane, providers):
        events = await asked(data_plane)
        assert b'"code":"stream_broken"' in events
        assert providers[1].stats()["requests"] == 1
        assert data_plane.outcomes("p1/m")[Outcome.CLIENT_FAULT] == 1


async def test_the_client_hears_while_it_waits() -> None:
    """Comments keep the connection alive until the other target answers."""
    slow = ProviderSpec(name="sim", pace=Pace(0.6, 0.0, 60, 7), prefill="continue")
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="cut", tokens=5),))
    async with SimProvider(broken) as first, SimProvider(slow) as second:
        text = config(first, second) + "limits: {keepalive_comment: 100ms}\n"
        async with one_data_plane(text) as data_plane:
            events = await asked(data_plane)
            assert text_of(events) == await whole_text()
            assert 2 <= events.count(b": edge is waiting for an answer\n\n") <= 7


async def test_a_client_that_leaves_ends_the_rescue() -> None:
    """The other target is cancelled when the client leaves while it is asked."""
    slow = ProviderSpec(name="sim", pace=Pace(5.0, 0.0, 60, 7), prefill="continue")
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="cut", tokens=5),))
    async with SimProvider(broken) as first, SimProvider(slow) as second:
        async with one_data_plane(config(first, second) + "limits: {keepalive_comment: 100ms}\n") as data_plane:
            await data_plane.ask(post(STREAM.replace(b"[]", b'[{"role":"user","content":"x"}]')), b"edge is waiting")
            record = (await data_plane.recorded(1))[0]
            assert [attempt.outcome for attempt in record.attempts] == ["fail_truncated", "cancelled"]
            assert record.status == -1
            async with asyncio.timeout(5):
                while not second.stats()["aborted_by_client"]:  # noqa: ASYNC110 - counted by the provider
                    await asyncio.sleep(0.01)


async def test_a_request_is_not_kept_where_room_is_short() -> None:
    """While more than half of limits.max_buffered is in use, requests that come count more than a rescue."""
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="inband_error", at="middle", tokens=5),))
    other = ProviderSpec(name="sim", pace=PACE, prefill="continue")
    long = {**ASKED, "messages": [{"role": "user", "content": "x" * 40_000}]}
    async with SimProvider(broken) as first, SimProvider(other) as second:
        text = config(first, second) + "limits: {body: 64KiB, max_buffered: 64KiB}\n"
        async with one_data_plane(text) as data_plane:
            events = await asked(data_plane, long)
            assert b"is simulating an error" in events
            assert b"[DONE]" not in events
            assert second.stats()["requests"] == 0
            assert b"[DONE]" in await asked(data_plane)


async def test_a_call_of_grpc_is_rescued() -> None:
    """A stream of edge.v1.Inference has no comments; its text is whole, and it ends with OK."""
    async with rescued({"kind": "reset", "at": "middle", "tokens": 20}) as (data_plane, _):
        message = inference_pb2.Message(role=inference_pb2.ROLE_USER, parts=[inference_pb2.Part(text="Tell me.")])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            call = inference_pb2_grpc.InferenceStub(channel).ChatStream(
                inference_pb2.ChatRequest(model="chat", messages=[message]), timeout=20
            )
            said = "".join([choice.text async for piece in call for choice in piece.choices])
            assert await call.code() is grpc.StatusCode.OK
        assert said == await whole_text()
        assert (await data_plane.recorded(1))[0].rescues == 1


@pytest.mark.usefixtures("both_wires")
async def test_a_bounded_key_pays_for_both_parts() -> None:
    """The usage that edge asks for stays hidden, and the key is charged what both targets used."""
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="cut", tokens=40),))
    other = ProviderSpec(name="sim", pace=PACE, prefill="continue")
    async with SimProvider(broken) as first, SimProvider(other) as second:
        text = config(first, second) + keys(alice="tokens_per_minute: 60000")
        async with one_data_plane(text) as data_plane:
            body = json.dumps(ASKED).encode()
            events = (await data_plane.raw(ask("alice", body, b"connection: close\r\n"))).received
            assert b"[DONE]" in events
            assert b'"usage":{' not in events
            allowance = data_plane.snapshot.keys[0].allowance
            assert allowance is not None
            counts = data_plane.shared_state.read_allowance(allowance.slot)["counts"]
            assert counts[AllowanceCounter.A_OUTPUT_TOKENS] >= 60
            assert counts[AllowanceCounter.A_PROMPT_TOKENS] > 2 * len(body) // 8
