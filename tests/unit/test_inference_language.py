"""Requests of edge's gRPC API reach a provider, and its answers come back, without loss."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects import inference
from edge.dialects.inference import AnswerUnreadableError, RequestUnreadableError
from edge.wire.edge.v1 import inference_pb2 as wire

FACTS = {"target": "one/small", "region": "eu", "attempts": 2, "request_id": "r-1", "reason": "two/big: fail_reset"}

# Text as JSON and protobuf both have it: no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
WORD = st.text(st.characters(codec="ascii", categories=("L",)), min_size=1, max_size=8)
# Names that no message has a field for.
NAME = WORD.map(lambda word: f"x_{word}")
PLAIN = st.one_of(TEXT, st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
VALUE = st.recursive(
    st.one_of(PLAIN, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
EXTRA = st.dictionaries(NAME, st.one_of(PLAIN, st.lists(VALUE, max_size=3)), max_size=3)


def asked(stream: bool = False, **fields: Any) -> dict[str, Any]:
    """Read a request from protobuf's JSON; model and message have defaults."""
    fields = {"model": "chat", "messages": [{"role": "ROLE_USER", "parts": [{"text": "Hi"}]}], **fields}
    return json.loads(inference.read(ParseDict(fields, wire.ChatRequest()).SerializeToString(), stream))


def answered(**fields: Any) -> wire.ChatResponse:
    """Write a response from a provider's JSON."""
    return wire.ChatResponse.FromString(inference.write(json.dumps(fields).encode(), FACTS))


def same(one: Any, two: Any) -> bool:
    """Compare JSON values by number: 1.0 equals 1, and true does not."""
    return json.dumps(normal(one), sort_keys=True) == json.dumps(normal(two), sort_keys=True)


def normal(value: Any) -> Any:
    """Return numbers in one form."""
    if isinstance(value, dict):
        return {name: normal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    return value if isinstance(value, (bool, str)) or value is None else float(value) + 0.0


# ---- requests


def test_the_smallest_request() -> None:
    """A model and a text become a body with only these; a single text part is plain text."""
    assert asked() == {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_stream_asks_for_usage() -> None:
    """The streaming method requests a stream with usage, so that the cost is known."""
    body = asked(stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_everything_that_can_be_asked() -> None:
    """Every field of a request has its place in the body that OpenAI documents."""
    schema = '{"type": "object", "properties": {"z": {}, "a": {}}}'
    body = asked(
        messages=[
            {"role": "ROLE_SYSTEM", "parts": [{"text": "Be brief."}], "name": "boss"},
            {
                "role": "ROLE_USER",
                "parts": [
                    {"text": "What is it?"},
                    {"image": {"url": "https://pictures.test/a.png", "detail": "low"}},
                    {"image": {"data": base64.b64encode(b"\x89PNG").decode(), "mimeType": "image/png"}},
                    {"other": {"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}}},
                ],
            },
            {
                "role": "ROLE_ASSISTANT",
                "toolCalls": [{"id": "c1", "name": "look", "arguments": '{"at": 1}', "extra": {"signature": "s"}}],
                "reasoning": "hm",
            },
            {"role": "ROLE_TOOL", "toolCallId": "c1"},
        ],
        tools=[
            {"function": {"name": "look", "description": "Looks.", "parametersJson": schema, "strict": True}},
            {"other": {"type": "web_search"}},
        ],
        toolChoice={"function": "look"},
        parallelToolCalls=False,
        sampling={
            "temperature": 0.5,
            "topP": 1,
            "maxTokens": "5",
            "maxCompletionTokens": "6",
            "seed": "9007199254740993",
            "presencePenalty": -1.5,
            "frequencyPenalty": 0,
            "n": 2,
        },
        responseFormat={"jsonSchema": {"name": "out", "description": "d", "schemaJson": schema, "strict": False}},
        stop=["END", "\n"],
        user="u-1",
        extra={"service_tier": "flex", "top_k": 40, "deep": {"a": [1.5, None, True]}},
    )
    function = {"name": "look", "description": "Looks.", "parameters": json.loads(schema), "strict": True}
    assert body == {
        "model": "chat",
        "messages": [
            {"role": "system", "content": "Be brief.", "name": "boss"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                    {"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"at": 1}'},
                        "signature": "s",
                    }
                ],
                "reasoning_content": "hm",
            },
            {"role": "tool", "content": "", "tool_call_id": "c1"},
        ],
        "tools": [{"type": "function", "function": function}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 5,
        "max_completion_tokens": 6,
        "seed": 9007199254740993,
        "presence_penalty": -1.5,
        "frequency_penalty": 0,
        "n": 2,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "out", "description": "d", "schema": json.loads(schema), "strict": False},
        },
        "stop": ["END", "\n"],
        "user": "u-1",
        "service_tier": "flex",
        "top_k": 40,
        "deep": {"a": [1.5, None, True]},
    }
    # The order of a schema's properties is the order in which a model fills them.
    assert list(body["tools"][0]["function"]["parameters"]["properties"]) == ["z", "a"]


@pytest.mark.parametrize(
    ("mode", "word"), [("MODE_AUTO", "auto"), ("MODE_NONE", "none"), ("MODE_REQUIRED", "required")]
)
def test_tool_choices(mode: str, word: str) -> None:
    """The modes are OpenAI's words."""
    assert asked(toolChoice={"mode": mode})["tool_choice"] == word


@pytest.mark.parametrize("kind", ["text", "jsonObject"])
def test_plain_formats(kind: str) -> None:
    """A format without a schema is a word."""
    assert asked(responseFormat={kind: {}})["response_format"] == {
        "type": {"jsonObject": "json_object"}.get(kind, kind)
    }


USER = {"role": "ROLE_USER", "parts": [{"text": "Hi"}]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": ""}, "model is empty"),
        ({"messages": []}, "messages is empty"),
        ({"messages": [USER, {"parts": [{"text": "Hi"}]}]}, "messages[1].role is 0; it must be ROLE_SYSTEM"),
        ({"messages": [{"role": "ROLE_TOOL"}]}, "messages[0].tool_call_id is empty"),
        ({"messages": [{"role": "ROLE_USER", "parts": [{"text": "a"}, {}]}]}, "messages[0].parts[1] is empty"),
        ({"messages": [{"role": "ROLE_USER", "parts": [{"image": {}}]}]}, "parts[0].image has neither url nor data"),
        ({"messages": [{"role": "ROLE_USER", "parts": [{"image": {"data": "aa=="}}]}]}, "image.mime_type is empty"),
        ({"messages": [{**USER, "extra": {"role": "x"}}]}, "messages[0].extra has 'role'"),
        (
            {"messages": [{"role": "ROLE_ASSISTANT", "toolCalls": [{"extra": {"id": 1}}]}]},
            "tool_calls[0].extra has 'id'",
        ),
        ({"tools": [{}]}, "tools[0] has neither"),
        (
            {"tools": [{"function": {"name": "f", "parametersJson": "{"}}]},
            "tools[0].function.parameters_json is not JSON",
        ),
        ({"tools": [{"function": {"name": "f", "parametersJson": "[]"}}]}, "must be a JSON object"),
        ({"toolChoice": {}}, "tool_choice is empty"),
        ({"responseFormat": {}}, "response_format is empty"),
        (
            {"responseFormat": {"jsonSchema": {"schemaJson": "no"}}},
            "response_format.json_schema.schema_json is not JSON",
        ),
        ({"sampling": {"temperature": "Infinity"}}, "sampling.temperature is inf"),
        ({"extra": {"stream": True}}, "extra has 'stream'"),
        ({"extra": {"model": "other"}}, "extra has 'model'"),
    ],
)
def test_what_cannot_be_read_is_the_callers(fields: dict[str, Any], said: str) -> None:
    """An invalid request is refused with the name of the field, by a ValueError."""
    with pytest.raises(RequestUnreadableError) as refused:
        asked(**fields)
    assert said in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_numbers_that_json_lacks() -> None:
    """Not-a-number in extra is refused with its path, and not sent as null."""
    request = wire.ChatRequest(model="m", messages=[wire.Message(role=wire.ROLE_USER)])
    request.extra.fields["a"].list_value.values.add().number_value = float("nan")
    with pytest.raises(RequestUnreadableError, match=r"extra\.a\[0\] is nan"):
        inference.read(request.SerializeToString(), False)


@pytest.mark.parametrize("message", [b"\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x05ab"])
def test_bytes_that_are_no_request(message: bytes) -> None:
    """Random bytes, text that is not UTF-8, and truncated messages are refused."""
    with pytest.raises(RequestUnreadableError):
        inference.read(message, False)


# ---- answers


def test_everything_that_can_be_answered() -> None:
    """Known fields have their places, and the provider's additional fields are kept where they were."""
    answer = answered(
        id="a-1",
        object="chat.completion",
        created=17,
        model="small-1",
        system_fingerprint="fp",
        service_tier=None,
        choices=[
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "logprobs": {"content": []},
                "message": {
                    "role": "assistant",
                    "content": "Looking.",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "annotations": [{"x": 1}],
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{"}, "sig": "s"},
                        {"id": "c2", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
                    ],
                },
            },
            {"index": 1, "finish_reason": "eos", "message": {"role": "assistant", "content": [{"type": "x", "y": 1}]}},
        ],
        usage={
            "prompt_tokens": 5,
            "completion_tokens": 7.0,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 3},
            "cost": 0.5,
        },
    )
    assert (answer.id, answer.model, answer.created) == ("a-1", "small-1", 17)
    assert dict(answer.extra) == {"system_fingerprint": "fp"}
    one, two = answer.choices
    assert (one.finish_reason, one.message.role) == (wire.FINISH_REASON_TOOL_CALLS, wire.ROLE_ASSISTANT)
    assert dict(one.extra["logprobs"]) == {"content": one.extra["logprobs"]["content"]}
    assert (one.message.parts[0].text, one.message.reasoning) == ("Looking.", "hm")
    assert [(call.id, call.name, call.arguments) for call in one.message.tool_calls] == [
        ("c1", "look", "{"),
        ("c2", "", ""),
    ]
    assert dict(one.message.tool_calls[0].extra) == {"sig": "s"}
    assert one.message.tool_calls[1].extra["type"] == "custom"
    assert (two.index, two.finish_reason, two.finish_reason_text) == (1, wire.FINISH_REASON_OTHER, "eos")
    assert two.message.parts[0].other["type"] == "x"
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (5, 7, 12)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 3)
    assert (usage.extra["cost"], dict(usage.extra["prompt_tokens_details"])) == (0.5, {"audio_tokens": 1.0})
    assert "completion_tokens_details" not in usage.extra
    said = answer.answered
    assert (said.target, said.region, said.attempts) == ("one/small", "eu", 2)
    assert (said.request_id, said.reason) == ("r-1", "two/big: fail_reset")


def test_answers_with_next_to_nothing_in_them() -> None:
    """Fields that are missing or null are absent; absent usage is not a usage of zero."""
    answer = answered(choices=[{"message": {"content": None, "tool_calls": None}}, {"message": None}, {}])
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert not answer.HasField("usage")
    assert answered(choices=[], usage={"prompt_tokens": None}).usage.input_tokens == 0


def test_deepseeks_count_of_cached_tokens() -> None:
    """DeepSeek's spelling of cached tokens has the same place."""
    assert answered(choices=[], usage={"prompt_cache_hit_tokens": 3}).usage.cached_tokens == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": 1}',
        b'{"choices": [1]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": [5]}}]}',
        b'{"choices": [{"message": {"tool_calls": ["a"]}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"choices": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_answer_is_the_providers(body: bytes) -> None:
    """An invalid chat completion is refused with the name of the field, by a ValueError."""
    with pytest.raises(AnswerUnreadableError) as refused:
        inference.write(body, FACTS)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("index", [-1, 2**31, 10**30])
def test_an_index_that_cannot_be_meant(index: int) -> None:
    """An invalid index means "in order"."""
    assert [choice.index for choice in answered(choices=[{}, {"index": index}]).choices] == [0, 1]


def test_numbers_and_depths_that_protobuf_lacks_are_kept_as_text() -> None:
    """Values that no double and no Struct can hold are sent as JSON text, and the message can be read."""
    deep: Any = "bottom"
    for _ in range(60):
        deep = [deep]
    answer = answered(choices=[{"message": {"content": "", "big": 10**400, "deep": deep}}], deep=deep)
    extra = answer.choices[0].message.extra
    assert extra["big"] == str(10**400)
    level: Any = extra["deep"]
    while not isinstance(level, str):
        level = level[0]
    assert json.loads(level)[0][0] == [] or "bottom" in level


def test_half_a_character_is_replaced() -> None:
    """A lone surrogate, as servers that cut between tokens send it, is replaced, and the rest is kept."""
    body = rb'{"choices":[{"message":{"content":"a\ud83d b\ud83d\ude08 c\\ud83d d\u0041"}}]}'
    message = wire.ChatResponse.FromString(inference.write(body, FACTS)).choices[0].message
    assert message.parts[0].text == "a\ufffd b😈 c\\ud83d dA"


ARGUMENTS = st.one_of(TEXT, st.just('{"a": 1}'))
CALL = st.builds(
    lambda name, call, arguments, extra: {
        "id": call,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        **extra,
    },
    WORD,
    WORD,
    ARGUMENTS,
    EXTRA,
)
MESSAGE = st.builds(
    lambda content, calls, thought, extra: {
        "role": "assistant",
        "content": content,
        **({"tool_calls": calls} if calls else {}),
        **({"reasoning_content": thought} if thought else {}),
        **extra,
    },
    st.one_of(st.none(), TEXT.filter(bool)),
    st.lists(CALL, max_size=2),
    TEXT,
    EXTRA,
)


@given(MESSAGE)
def test_an_answer_can_be_sent_back_as_it_came(message: dict[str, Any]) -> None:
    """A provider's message survives both conversions unchanged: reasoning, calls and additional fields too."""
    answer = answered(choices=[{"index": 0, "message": message}])
    request = wire.ChatRequest(model="m", messages=[answer.choices[0].message])
    (again,) = json.loads(inference.read(request.SerializeToString(), False))["messages"]
    assert same(again, message)


@given(EXTRA)
def test_additions_survive_both_ways(extra: dict[str, Any]) -> None:
    """Additional fields of caller and provider reach the other side, value by value."""
    answer = answered(choices=[], **extra)
    request = wire.ChatRequest(model="m", messages=[wire.Message(role=wire.ROLE_USER)], extra=answer.extra)
    body = json.loads(inference.read(request.SerializeToString(), False))
    assert same({name: body[name] for name in extra}, extra)


@given(st.binary(max_size=80))
def test_no_bytes_escape_with_another_error(data: bytes) -> None:
    """Any input of either side is converted, or refused by its own error."""
    for tell in (lambda: inference.read(data, True), lambda: inference.write(data, FACTS)):
        with contextlib.suppress(RequestUnreadableError, AnswerUnreadableError):
            tell()
