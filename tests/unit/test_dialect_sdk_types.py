"""What edge writes, and what the cases take for a provider's words, has the types of the vendors' own SDKs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from anthropic.types import Message, MessageCreateParams, RawMessageStreamEvent
from google.genai import types as genai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, CompletionCreateParams
from openai.types.responses import Response, ResponseCreateParams, ResponseStreamEvent
from pydantic import ConfigDict, TypeAdapter, ValidationError

from tests.reference import dialect_streams
from tests.unit.test_dialect_cases import conversation, pairs

REQUESTS: dict[str, TypeAdapter[Any]] = {
    "openai": TypeAdapter(CompletionCreateParams),
    "responses": TypeAdapter(ResponseCreateParams),
    "anthropic": TypeAdapter(MessageCreateParams),
}
ANSWERS: dict[str, TypeAdapter[Any]] = {
    "openai": TypeAdapter(ChatCompletion),
    "responses": TypeAdapter(Response),
    "anthropic": TypeAdapter(Message),
    "gemini": TypeAdapter(genai.GenerateContentResponse),
}
EVENTS: dict[str, TypeAdapter[Any]] = {
    "openai": TypeAdapter(ChatCompletionChunk),
    "responses": TypeAdapter(ResponseStreamEvent),
    "anthropic": TypeAdapter(RawMessageStreamEvent),
    "gemini": TypeAdapter(genai.GenerateContentResponse),
}


class GeminiRequest(genai._common.BaseModel):
    """The body of generateContent. The SDK has types for its parts only."""

    model_config = ConfigDict(extra="forbid", alias_generator=genai._common.BaseModel.model_config["alias_generator"])
    contents: list[genai.Content]
    system_instruction: genai.Content | None = None
    tools: list[genai.Tool] | None = None
    tool_config: genai.ToolConfig | None = None
    generation_config: genai.GenerationConfig | None = None


REQUESTS["gemini"] = TypeAdapter(GeminiRequest)


@pytest.mark.parametrize(("case", "client", "target"), pairs("request", "upstream"))
def test_a_request_has_the_types_of_the_targets_sdk(case: dict[str, Any], client: str, target: str) -> None:
    """The body that a target gets is one that its own SDK could have sent."""
    refused = case.get("refused", {})
    if target in refused or f"{client}>{target}" in refused:
        return
    written = conversation(case, client, False).body_for(target, case.get("model", "up"), False)
    REQUESTS[target].validate_json(written.body)


@pytest.mark.parametrize(("case", "client", "target"), pairs("answer", "client"))
def test_an_answer_has_the_types_of_the_clients_sdk(case: dict[str, Any], client: str, target: str) -> None:
    """The body that a client gets is one that its SDK understands."""
    answer = conversation(case, client, False).answer(target, dialect_streams.compact(case["answer"][target]), "q1")
    ANSWERS[client].validate_json(answer)


@pytest.mark.parametrize(("case", "client", "target"), pairs("stream", "client"))
def test_a_stream_has_the_types_of_the_clients_sdk(case: dict[str, Any], client: str, target: str) -> None:
    """Each event that a client gets is one that its SDK understands."""
    stream = conversation(case, client, True).stream(target, "q1")
    said = b"".join(stream.push_events(dialect_streams.written(target, case["stream"][target]))) + stream.finish()
    for _, event in dialect_streams.events(said):
        if event != "[DONE]" and not (client == "openai" and '"custom"' in json.dumps(event)):
            # the type of a chunk names calls of functions alone, although custom tools are called in chunks too
            EVENTS[client].validate_json(json.dumps(event))


@pytest.mark.parametrize("dialect", ANSWERS)
def test_the_types_would_notice(dialect: str) -> None:
    """Each of the types above refuses an answer with a field of another type."""
    broken = {"choices": 3, "output": 3, "content": 3, "candidates": 3}
    with pytest.raises(ValidationError):
        ANSWERS[dialect].validate_python(broken)
    with pytest.raises(ValidationError):
        REQUESTS[dialect].validate_python({"model": [], "messages": 3, "contents": 3, "input": 3})


def test_ids_of_calls_are_those_that_anthropic_accepts() -> None:
    """Any id of a call becomes one of Anthropic's characters; the same one for the call and its result."""
    odd = "call:ö/" + "x" * 80
    body = json.dumps(
        {
            "model": "chat",
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "tool_calls": [{"id": odd, "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": odd, "content": "1"},
            ],
        }
    ).encode()
    written = json.loads(
        conversation({"request": {"openai": json.loads(body)}}, "openai", False).body_for("anthropic", "up", False).body
    )
    call = written["messages"][1]["content"][0]["id"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", call)
    assert written["messages"][2]["content"][0]["tool_use_id"] == call
