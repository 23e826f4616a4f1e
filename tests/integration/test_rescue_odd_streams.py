"""Streams, and requests, that are not as OpenAI writes them: one that breaks off is continued, or ends as an error."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from one_data_plane import one_data_plane, sse
from test_rescue import PACE, asked, config
from test_rescue_native import CAPABLE, COMPLETION, RESPONSE

from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Close, Pause, ReadMessage, ScriptedServer, Send

SHOWN = "Hello there, my"
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
CREATED = {"type": "response.created", "response": {"id": "resp_1", "output": []}}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE}
PART = {"type": "response.content_part.added", "content_index": 0, "part": {"type": "output_text", "text": ""}}
DELTA = {
    "type": "response.output_text.delta",
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": SHOWN,
}
CHUNK = {"id": "c1", "object": "text_completion", "created": 1, "model": "m", "choices": [{"index": 0, "text": SHOWN}]}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an event that lacks a member."""
    return {member: value for member, value in event.items() if member != name}


async def broken_off(events: list[dict[str, Any]], body: dict[str, Any], path: str) -> bytes:
    """Return the answer to a request whose first target breaks off after these events, and the next answer's end."""
    said = sse(*[b"data: " + json.dumps(event).encode() + b"\n\n" for event in events], end=False)
    async with (
        ScriptedServer((ReadMessage(), Send(said), Pause(0.2), Close())) as first,
        SimProvider(ProviderSpec(name="sim", pace=PACE, prefill="continue")) as other,
    ):
        one: Any = SimpleNamespace(base_url=f"{first.url}/v1")
        async with one_data_plane(config(one, other, capabilities=CAPABLE, first=CAPABLE)) as data_plane:
            answer = await asked(data_plane, body, path)
            assert b"data: " in await asked(data_plane, body, path), "the worker serves on"
            return answer


@pytest.mark.parametrize(
    ("events", "goes_on"),
    [
        ([CREATED, ADDED, without(PART, "content_index"), DELTA], True),
        ([CREATED, without(ADDED, "output_index"), PART, DELTA], True),
        ([{**CREATED, "sequence_number": None}, ADDED, PART, DELTA], True),
        ([CREATED, ADDED, without(PART, "part"), DELTA], False),
        ([{**CREATED, "response": {}}, ADDED, PART, DELTA], False),
        ([{**CREATED, "sequence_number": "0"}, ADDED, PART, DELTA], False),
    ],
)
async def test_a_response_of_another_servers(events: list[dict[str, Any]], goes_on: bool) -> None:
    """Members that say where there is one of each may be absent; without the others the stream ends as an error."""
    answer = await broken_off(events, RESPONSE, "/v1/responses")
    assert (b"response.completed" in answer) == goes_on
    assert (b"stream_broken" in answer) != goes_on


@pytest.mark.parametrize("options", ["usage", [1], {"include_usage": "yes"}])
async def test_options_of_another_type(options: Any) -> None:
    """A server may not mind what stream_options is; the completion goes on."""
    answer = await broken_off([CHUNK], {**COMPLETION, "stream_options": options}, "/v1/completions")
    assert b"p0/m broke off" in answer
