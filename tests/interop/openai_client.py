"""Asks with OpenAI's SDK for Python: openai_client.py URL KEY MODEL... Prints "NAME: ok", or what went wrong."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import openai
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

URL, KEY, *MODELS = sys.argv[1:]
CLIENT = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0, timeout=30)
MESSAGES: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Person(BaseModel):
    """What a structured answer has."""

    name: str
    age: int


def models() -> None:
    """The aliases are listed, and one is shown."""
    assert set(MODELS) <= {one.id for one in CLIENT.models.list()}
    assert CLIENT.models.retrieve(MODELS[0]).id == MODELS[0]


def embeddings() -> None:
    """Two texts have two vectors."""
    assert len(CLIENT.embeddings.create(model="embed", input=["one", "two"]).data) == 2


def unknown_model() -> None:
    """An unknown model raises NotFoundError."""
    try:
        CLIENT.chat.completions.create(model="none", messages=MESSAGES)
    except openai.NotFoundError as error:
        assert error.request_id or error.response.headers["x-edge-request-id"]
    else:
        raise AssertionError("it was answered")


def unknown_key() -> None:
    """An unknown key raises AuthenticationError."""
    try:
        openai.OpenAI(base_url=URL, api_key="sk-wrong", max_retries=0).models.list()
    except openai.AuthenticationError:
        return
    raise AssertionError("it was answered")


def chat(model: str) -> None:
    """A whole answer has text and usage."""
    answer = CLIENT.chat.completions.create(model=model, messages=MESSAGES)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop", answer.choices[0].finish_reason
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def stream(model: str) -> None:
    """A stream has text, an end and usage."""
    chunks = list(
        CLIENT.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert chunks[-1].usage is not None


def left(model: str) -> None:
    """A stream may be left after its first chunk."""
    with CLIENT.chat.completions.create(model=model, messages=MESSAGES, stream=True) as chunks:
        next(iter(chunks))


def tools(model: str) -> None:
    """A tool call has arguments that are JSON."""
    answer = CLIENT.chat.completions.create(model=model, messages=MESSAGES, tools=[WEATHER], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(json.loads(call.function.arguments), dict)  # type: ignore[union-attr]
    assert answer.choices[0].finish_reason == "tool_calls"


def streamed_tools(model: str) -> None:
    """A streamed tool call is put together by the SDK."""
    with CLIENT.chat.completions.stream(
        model=model, messages=MESSAGES, tools=[WEATHER], tool_choice="required"
    ) as events:
        answer = events.get_final_completion()
    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(json.loads(call.function.arguments), dict)


def structured(model: str) -> None:
    """A structured answer is parsed."""
    answer = CLIENT.chat.completions.parse(model=model, messages=MESSAGES, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person)


def responses(model: str) -> None:
    """The Responses API has text, whole and streamed."""
    assert CLIENT.responses.create(model=model, input="hello").output_text
    with CLIENT.responses.stream(model=model, input="hello") as events:
        assert events.get_final_response().output_text


def report(name: str, case: Callable[..., None], *arguments: str) -> None:
    """Run a case and print how it went."""
    try:
        case(*arguments)
        said = "ok"
    except Exception as error:  # noqa: BLE001 - what went wrong is what is asked
        said = " ".join(f"{type(error).__name__}: {error}".split())[:250]
    print(f"{name}: {said}", flush=True)


for single in (models, embeddings, unknown_model, unknown_key):
    report(single.__name__.replace("_", " "), single)
for asked in MODELS:
    for per_model in (chat, stream, left, tools, streamed_tools, structured, responses):
        report(f"{asked} {per_model.__name__.replace('_', ' ')}", per_model, asked)
