"""Completions, and responses that nobody stores, are continued by another target, exactly, or end as an error."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from test_rescue import BREAKS, PACE, asked, rescued

from edge.sim.provider import ProviderSpec, SimProvider

CAPABLE = "[chat, completions, prefill, responses, tools]"
COMPLETION: dict[str, Any] = {"model": "chat", "stream": True, "prompt": "Tell me."}
RESPONSE: dict[str, Any] = {"model": "chat", "stream": True, "store": False, "input": "Tell me."}
PATHS = {"/v1/completions": COMPLETION, "/v1/responses": RESPONSE}


def chunks(events: bytes) -> list[dict[str, Any]]:
    """Return the data of all events."""
    return [json.loads(line[6:]) for line in events.split(b"\n") if line.startswith(b"data: {")]


def text_of(events: bytes) -> str:
    """Return the text of a stream of either API."""
    said = ""
    for chunk in chunks(events):
        if chunk.get("type") == "response.output_text.delta":
            said += chunk["delta"]
        said += "".join(choice.get("text") or "" for choice in chunk.get("choices", ()))
    return said


async def whole_text(path: str) -> str:
    """Return what the providers say when nothing breaks."""
    async with SimProvider(ProviderSpec(name="sim", pace=PACE)) as provider:
        client = openai.AsyncOpenAI(base_url=provider.base_url, api_key="none", max_retries=0)
        if path == "/v1/completions":
            said = (await client.completions.create(model="m", prompt="Tell me.")).choices[0].text
        else:
            said = (await client.responses.create(model="m", input="Tell me.")).output_text
        await client.close()
        return said


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("tokens", [5, 40])
@pytest.mark.parametrize("prefill", ["continue", "restart"])
@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("path", PATHS)
async def test_the_text_is_whole(path: str, fault: str, prefill: str, tokens: int) -> None:
    """The client gets the whole text exactly, from a target that goes on and from one that starts over."""
    given = {"prefill": prefill, "capabilities": CAPABLE, "first": CAPABLE}
    async with rescued({**BREAKS[fault], "tokens": tokens}, **given) as (data_plane, _):
        events = await asked(data_plane, PATHS[path], path)
        assert text_of(events) == await whole_text(path)
        assert b": edge: p1/m goes on, p0/m broke off\n\n" in events
        assert (await data_plane.recorded(1))[0].rescues == 1
        said = chunks(events)
        if path == "/v1/completions":
            assert events.count(b"data: [DONE]") == 1
            assert [choice["finish_reason"] for choice in said[-1]["choices"]] == ["stop"]
            assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in said}) == 1
            return
        numbers = [event["sequence_number"] for event in said]
        assert numbers == sorted(set(numbers))
        assert len({event["item_id"] for event in said if "item_id" in event}) == 1
        assert (said[0]["type"], said[-1]["type"]) == ("response.created", "response.completed")
        last, first = said[-1]["response"], said[0]["response"]
        assert {name: last[name] for name in ("id", "model", "created_at")} == {
            name: first[name] for name in ("id", "model", "created_at")
        }
        assert last["output"][0]["content"][0]["text"] == text_of(events)
        assert last["usage"]["output_tokens"] >= 60


@pytest.mark.parametrize("path", PATHS)
async def test_the_sdk_cannot_tell(path: str) -> None:
    """The official client gets the whole answer from a stream whose target has changed."""
    async with rescued({"kind": "cut", "tokens": 20}, prefill="continue", capabilities=CAPABLE, first=CAPABLE) as (
        data_plane,
        _,
    ):
        client = openai.AsyncOpenAI(base_url=f"{data_plane.url}/v1", api_key="none", max_retries=0)
        if path == "/v1/responses":
            async with client.responses.stream(model="chat", input="Tell me.", store=False) as stream:
                said = (await stream.get_final_response()).output_text
        else:
            options: Any = {"include_usage": True}
            stream2 = await client.completions.create(
                model="chat", prompt="Tell me.", stream=True, stream_options=options
            )
            pieces = [chunk async for chunk in stream2]
            said = "".join(choice.text for chunk in pieces for choice in chunk.choices)
            assert pieces[-1].usage is not None
            assert pieces[-1].usage.completion_tokens >= 60
        await client.close()
        assert said == await whole_text(path)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/responses", {"store": True}),
        ("/v1/responses", {"store": None}),
        ("/v1/completions", {"echo": True}),
        ("/v1/completions", {"suffix": "end"}),
        ("/v1/completions", {"logprobs": 2}),
        ("/v1/completions", {"prompt": ["Tell me."]}),
        ("/v1/completions", {"n": 2}),
    ],
)
async def test_what_would_not_be_one_answer_is_not_continued(path: str, more: dict[str, Any]) -> None:
    """A response that the provider stores, and a completion that does not go on from its prompt, end as an error."""
    async with rescued({"kind": "cut", "tokens": 5}, capabilities=CAPABLE, first=CAPABLE) as (data_plane, providers):
        events = await asked(data_plane, {**PATHS[path], **more}, path)
        assert b"stream_broken" in events
        assert b"[DONE]" not in events
        assert b"response.completed" not in events
        assert providers[1].stats()["requests"] == 0
