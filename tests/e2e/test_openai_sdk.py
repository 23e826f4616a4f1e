"""An application that uses the official OpenAI SDK gets the same from edge as from the provider."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sdk import CHAT, HELLO, ODD, UPSTREAM

if TYPE_CHECKING:
    from sdk import Sdk

SEED = {"extra_body": {"sim": {"seed": 5}}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"}},
        },
    },
}
ARGUMENTS = {"city": "sim", "days": 7, "exact": True}


def text_of(chunks: list[Any]) -> str:
    """Join the content of a stream."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def test_chat_whole(sdk: Sdk) -> None:
    """A complete chat answer arrives as the provider gave it: text, finish reason, usage, fingerprint."""
    answer = await sdk.call("chat.completions.create", **CHAT)
    assert answer.choices[0].message.content.startswith("Hello from main:")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12
    assert (answer.model, answer.system_fingerprint) == ("sim-small", "main")


async def test_chat_stream_says_what_the_whole_answer_says(sdk: Sdk) -> None:
    """A streamed answer is complete, token by token, and has usage only if requested."""
    whole = await sdk.call("chat.completions.create", **CHAT, **SEED)
    chunks = await sdk.drain("chat.completions.create", **CHAT, **SEED)
    assert text_of(chunks) == whole.choices[0].message.content
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 12
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.usage for chunk in chunks} == {None}


async def test_stream_with_usage(sdk: Sdk) -> None:
    """With include_usage the last chunk has the usage and no choice, as OpenAI defines it."""
    chunks = await sdk.drain("chat.completions.create", **CHAT, stream_options={"include_usage": True})
    *before, last = chunks
    assert last.choices == []
    assert last.usage.completion_tokens == 12
    assert last.usage.total_tokens == last.usage.prompt_tokens + 12
    assert {chunk.usage for chunk in before} == {None}


async def test_tool_calls_whole(sdk: Sdk) -> None:
    """A tool call comes back with its id, its name and arguments that parse."""
    answer = await sdk.call("chat.completions.create", **CHAT, tools=[WEATHER], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments) == ARGUMENTS


async def test_tool_calls_in_fragments(sdk: Sdk) -> None:
    """A streamed tool call's fragments come in order and join to the same arguments; the name comes once."""
    chunks = await sdk.drain("chat.completions.create", **CHAT, tools=[WEATHER], tool_choice="required")
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.function.name for call in calls if call.function.name] == ["weather"]
    assert len(calls) > 3
    assert {call.index for call in calls} == {0}
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == ARGUMENTS
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_completions(sdk: Sdk) -> None:
    """The older completions API answers complete and streamed."""
    asked: dict[str, Any] = {"model": "chat", "prompt": "once", **SEED}
    whole = await sdk.call("completions.create", **asked)
    assert whole.choices[0].text.startswith("Hello from main:")
    chunks = await sdk.drain("completions.create", **asked, stream_options={"include_usage": True})
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(sdk: Sdk, encoding: str) -> None:
    """Vectors arrive in order and with the requested size, as numbers and as base64."""
    asked: dict[str, Any] = {"input": ["a", "b", "c"], "dimensions": 17, "encoding_format": encoding}
    answer = await sdk.call("embeddings.create", model="embed", **asked)
    assert [item.index for item in answer.data] == [0, 1, 2]
    sizes = [len(item.embedding) for item in answer.data]
    assert sizes == [17, 17, 17] if encoding == "float" else len(set(sizes)) == 1
    assert answer.model == "sim-embed"


async def test_responses_whole(sdk: Sdk) -> None:
    """The Responses API answers as one JSON object."""
    answer = await sdk.call("responses.create", model="chat", input="hello")
    assert answer.output_text.startswith("Hello from main:")
    assert (answer.status, answer.usage.output_tokens) == ("completed", 12)


async def test_responses_stream(sdk: Sdk) -> None:
    """Its stream keeps every named event, in order, from the first to ``response.completed``; there is no [DONE]."""
    whole = await sdk.call("responses.create", model="chat", input="hello", **SEED)
    events = await sdk.drain("responses.create", model="chat", input="hello", **SEED)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.output_text.delta") == 12
    assert kinds[-1] == "response.completed"
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == whole.output_text == events[-1].response.output_text


async def test_models(sdk: Sdk) -> None:
    """The list has the aliases first and then the configured targets; each can be retrieved by its name."""
    listed = (await sdk.call("models.list")).data
    names = [model.id for model in listed]
    assert names[:6] == ["chat", "embed", "echo", "breaks", "moved", "gone"]
    assert {"main/sim-small", "spare/sim-small", f"main/{UPSTREAM}"} <= set(names)
    assert {model.object for model in listed} == {"model"}
    for name, owner in (("chat", "edge"), (ODD, "edge"), ("spare/sim-small", "spare"), (f"main/{UPSTREAM}", "main")):
        model = await sdk.call("models.retrieve", name)
        assert (model.id, model.owned_by) == (name, owner)


async def test_fields_of_edge(sdk: Sdk) -> None:
    """The raw answer's fields have the request id, the target, the region and the number of attempts."""
    raw = await sdk.call("chat.completions.with_raw_response.create", **CHAT)
    again = await sdk.call("chat.completions.with_raw_response.create", **CHAT)
    fields = {name: value for name, value in raw.headers.items() if name.startswith("x-edge-")}
    assert fields.pop("x-edge-request-id") != again.headers["x-edge-request-id"]
    assert fields == {"x-edge-target": "main/sim-small", "x-edge-region": "test", "x-edge-attempts": "1"}
    assert raw.headers["x-sim-provider"] == "main"
    assert raw.parse().choices[0].message.content.startswith("Hello from main:")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_another_target_answers(sdk: Sdk, stream: bool) -> None:
    """A first target that refuses connections costs the application nothing; the fields report it."""
    asked: dict[str, Any] = {"model": "moved", "messages": HELLO, "stream": stream}
    raw = await sdk.call("chat.completions.with_raw_response.create", **asked)
    fields = {name: value for name, value in raw.headers.items() if name.startswith("x-edge-")}
    assert fields["x-edge-target"] == "spare/sim-large"
    assert fields["x-edge-reason"] == "dark/moved: fail_connect"
    assert fields["x-edge-attempts"] == "2"
    if not stream:
        assert raw.parse().choices[0].message.content.startswith("Hello from spare:")


@pytest.mark.parametrize(
    ("asked", "upstream"),
    [
        ("main/sim-small", "sim-small"),
        ("spare/never-configured", "never-configured"),
        ("main/org/model:free", "org/model:free"),
        (f"main/{ODD}", ODD),
        (f"spare/{ODD}", ODD),
        ("main/a\tb\u2028c\x7f", "a\tb\u2028c\x7f"),
        (f"main/{UPSTREAM}", UPSTREAM),
        ("odd-upstream", UPSTREAM),
    ],
)
async def test_provider_and_model(sdk: Sdk, asked: str, upstream: str) -> None:
    """``provider/model`` goes to that provider under that name, configured or not, in any script and escaping."""
    answer = await sdk.call("chat.completions.create", model=asked, messages=HELLO)
    assert answer.model == upstream
    provider = asked.partition("/")[0] if "/" in asked else "main"
    assert answer.choices[0].message.content.startswith(f"Hello from {provider}:")
