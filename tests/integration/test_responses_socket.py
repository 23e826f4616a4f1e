"""Turns on a WebSocket of Responses: each is routed by its model and failed over on its own; conversations go on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from one_data_plane import models, one_data_plane, patient, sse
from openai import AsyncOpenAI
from openai.types.responses.responses_server_event import ResponseWsError
from soon import until
from turns import CREATED, DELTA, ENDS, answered, asked, bodies, completed, opened, said, text_of, turn

from edge.native import Outcome
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Again, Hold, ReadMessage, ScriptedServer, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PACE = Pace(ttft_s=0.0, tps=2000.0, tokens=12, seed=7)


async def test_the_official_sdk(provider_pair: tuple[SimProvider, SimProvider]) -> None:
    """OpenAI's SDK takes several turns on one connection, with the events of a stream, and two at once in lanes."""
    one, two = provider_pair
    async with one_data_plane(patient(models(one.url, two.url))) as plane:
        client = AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="none", max_retries=0)
        async with client.responses.connect() as connection:
            texts = []
            for _ in range(2):
                await connection.response.create(model="chat", input="hello", store=False)
                events = []
                async for event in connection:
                    events.append(event)
                    if event.type in ENDS:
                        break
                assert events[0].type == "response.created"
                assert events[-1].type == "response.completed"
                texts.append(events[-1].response.output_text)
            assert texts[0]
            for lane in ("one", "two"):
                await connection.response.create(model="chat", input="hello", store=False, stream_id=lane)
            over = set()
            async for event in connection:
                if event.type in ENDS:
                    assert event.type == "response.completed"
                    over.add(event.stream_id)
                if over == {"one", "two"}:
                    break
            await connection.response.create(model="nothing", input="hello")
            error = await connection.recv()
            assert isinstance(error, ResponseWsError)
            assert (error.status, error.error.code, error.error.type) == (
                404,
                "model_not_found",
                "invalid_request_error",
            )
        await client.close()
        await until(lambda: plane.outcomes("p0/m")[Outcome.OK] == 4)


@pytest.fixture
async def provider_pair() -> AsyncIterator[tuple[SimProvider, SimProvider]]:
    """Run two providers."""
    async with (
        SimProvider(ProviderSpec(name="sim", pace=PACE)) as one,
        SimProvider(ProviderSpec(name="sim", pace=PACE)) as two,
    ):
        yield one, two


async def test_a_lost_target_between_turns(provider_pair: tuple[SimProvider, SimProvider]) -> None:
    """A conversation that no provider keeps goes on at another target, which gets all of it."""
    async with one_data_plane(patient(models(*(one.url for one in provider_pair)))) as plane, opened(plane) as socket:
        first = await asked(socket)
        await provider_pair[0].switch(Fault(kind="refuse"))
        second = await asked(socket, text="and then?", previous_response_id=first[-1]["response"]["id"])
        assert second[-1]["type"] == "response.completed"
        third = await asked(socket, text="and then?", previous_response_id=second[-1]["response"]["id"])
        assert third[-1]["type"] == "response.completed"
        await until(lambda: (plane.outcomes("p0/m")[Outcome.OK], plane.outcomes("p1/m")[Outcome.OK]) == (1, 2))


async def test_what_a_target_is_asked() -> None:
    """A target gets a request without the members of the connection, and with the items that edge keeps."""
    answers = (
        part
        for name in ("resp_1", "resp_2", "resp_3")
        for part in (ReadMessage(), Send(sse(CREATED, DELTA, completed(name))))
    )
    async with ScriptedServer(tuple(answers)) as upstream, one_data_plane(patient(models(upstream.url))) as plane:
        async with opened(plane) as socket:
            assert text_of(await asked(socket, generate=True, background=False, stream=False)) == "hi"
            assert (await asked(socket, text="more", previous_response_id="resp_1"))[-1]["type"] == "response.completed"
            (refused,) = await asked(socket, previous_response_id="resp_1")
            assert (refused["status"], refused["error"]["code"]) == (400, "previous_response_not_found")
            assert (await asked(socket, text="alone"))[-1]["response"]["id"] == "resp_3"
        one, two, three = bodies(upstream)
        assert one == {"stream": True, "model": "m", "input": "hello", "store": False}
        assert two == {
            "stream": True,
            "model": "m",
            "store": False,
            "input": [
                {"type": "message", "role": "user", "content": "hello"},
                {
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "hi", "annotations": []}],
                },
                {"type": "message", "role": "user", "content": "more"},
            ],
        }
        assert three["input"] == "alone"


async def test_what_a_provider_keeps() -> None:
    """The id of a response that its provider keeps is passed on, and the items are not sent again."""
    script = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_1", "true"))))
    script += (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_2", "true"))))
    async with ScriptedServer(script) as upstream, one_data_plane(patient(models(upstream.url))) as plane:
        async with opened(plane) as socket:
            await asked(socket, store=True)
            await asked(socket, text="more", store=True, previous_response_id="resp_1")
        assert bodies(upstream)[1] == {
            "stream": True,
            "model": "m",
            "input": "more",
            "store": True,
            "previous_response_id": "resp_1",
        }


async def test_a_target_lost_before_the_first_event() -> None:
    """A target that ends the connection before its first event is replaced, and the client sees one answer."""
    good = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_1"))))
    async with (
        ScriptedServer((ReadMessage(),)) as lost,
        ScriptedServer(good) as other,
        one_data_plane(patient(models(lost.url, other.url))) as plane,
        opened(plane) as socket,
    ):
        messages = await asked(socket)
        assert [message["type"] for message in messages] == [
            "response.created",
            "response.output_text.delta",
            "response.completed",
        ]
        assert (len(bodies(lost)), len(bodies(other))) == (1, 1)


async def test_a_target_lost_within_the_answer() -> None:
    """A response that breaks off ends with one error, nothing is asked anew, and the connection takes the next turn."""
    script = (ReadMessage(), Send(sse(CREATED, DELTA, end=False)))
    good = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_1"))), Again())
    async with (
        ScriptedServer(script, good) as upstream,
        ScriptedServer(good) as other,
        one_data_plane(patient(models(upstream.url, other.url))) as plane,
        opened(plane) as socket,
    ):
        messages = await asked(socket, store=True)
        assert [message["type"] for message in messages] == ["response.created", "response.output_text.delta", "error"]
        assert (messages[-1]["status"], messages[-1]["error"]["type"]) == (502, "server_error")
        assert messages[-1]["error"]["code"].startswith("stream_")
        assert bodies(other) == []
        assert (await asked(socket))[-1]["type"] == "response.completed"


async def test_lanes() -> None:
    """Turns of a lane wait for each other, those of different lanes do not; messages name their lane."""
    hold = asyncio.Event()
    slow = (ReadMessage(), Hold(hold), Send(sse(CREATED, DELTA, completed("resp_1"))))
    quick = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_2"))), Again())
    async with (
        ScriptedServer(slow, quick) as upstream,
        one_data_plane(patient(models(upstream.url))) as plane,
        opened(plane) as socket,
    ):
        await socket.send(json.dumps(turn(stream_id="a")))
        await upstream.wait_asked(1)
        await socket.send(json.dumps(turn(stream_id="a", text="second")))
        await socket.send(json.dumps(turn(stream_id="b.1")))
        other = await answered(socket)
        assert {message["stream_id"] for message in other} == {"b.1"}
        assert len(bodies(upstream)) == 2
        hold.set()
        for _ in range(2):
            assert {message["stream_id"] for message in await answered(socket)} == {"a"}
        assert bodies(upstream)[-1]["input"] == "second"
        assert all("stream_id" not in body for body in bodies(upstream))


async def test_limits_of_lanes() -> None:
    """Names of lanes, their number, and the turns that wait are bounded; what is refused leaves the others alone."""
    hold = asyncio.Event()
    slow = (ReadMessage(), Hold(hold), Send(sse(CREATED, DELTA, completed("resp_1"))), Again())
    async with (
        ScriptedServer(slow) as upstream,
        one_data_plane(patient(models(upstream.url))) as plane,
        opened(plane) as socket,
    ):
        for name in ("", "a b", "x" * 257):
            (refused,) = await asked(socket, stream_id=name)
            assert (refused["error"]["code"], "stream_id" in refused) == ("invalid_stream_id", False)
        for n in range(32):
            await socket.send(json.dumps(turn(stream_id=f"lane{n}")))
        (refused,) = await asked(socket, stream_id="one-more")
        assert (refused["error"]["code"], refused["stream_id"]) == ("websocket_stream_limit_reached", "one-more")
        for _ in range(64 - 16):
            await socket.send(json.dumps(turn()))
        (refused,) = await asked(socket)
        assert (refused["status"], refused["error"]["code"]) == (429, "websocket_queue_full")
        assert plane.data_plane.active == 16
        hold.set()
        for _ in range(32 + 64 - 16):
            while (await said(socket))["type"] not in ENDS:
                pass
        assert len(bodies(upstream)) == 80


async def test_a_turn_that_generates_nothing() -> None:
    """It asks no target; what it says is a part of the next turn."""
    script = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_1"))))
    async with (
        ScriptedServer(script) as upstream,
        one_data_plane(patient(models(upstream.url))) as plane,
        opened(plane) as socket,
    ):
        messages = await asked(socket, text="be brief", generate=False)
        assert [message["type"] for message in messages] == [
            "response.created",
            "response.in_progress",
            "response.completed",
        ]
        assert messages[-1]["response"]["output"] == []
        await asked(socket, previous_response_id=messages[-1]["response"]["id"])
        (body,) = bodies(upstream)
        assert [item["content"] for item in body["input"]] == ["be brief", "hello"]


async def test_rescue_within_a_turn() -> None:
    """Another target goes on with a text that broke off, as the route says; the client sees one response."""
    fault = Fault(kind="cut", tokens=5)
    async with (
        SimProvider(ProviderSpec(name="sim", pace=PACE, faults=(fault,))) as broken,
        SimProvider(ProviderSpec(name="sim", pace=PACE, prefill="continue")) as other,
    ):
        text = (
            "providers:\n"
            f"  p0: {{dialect: openai, base_url: '{broken.url}/v1', capabilities: [chat]}}\n"
            f"  p1: {{dialect: openai, base_url: '{other.url}/v1', capabilities: [chat, prefill]}}\n"
            "models:\n  chat: {rescue: same_model, targets: [p0/sim-small, {target: p1/sim-small, tier: 2}]}\n"
        )
        async with one_data_plane(text) as plane, opened(plane) as socket:
            messages = await asked(socket)
            assert messages[-1]["type"] == "response.completed"
            await broken.switch()
            assert text_of(messages) == text_of(await asked(socket))
            await until(lambda: plane.outcomes("p1/sim-small")[Outcome.OK] == 1)
