"""Odd requests that are legal, and odd streams, for each pair of dialects: nothing is lost without its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.dialects import translate
from edge.dialects.errors import CannotCarryError, UnreadableAnswerError, UnreadableRequestError
from edge.dialects.members import Members
from edge.dialects.openai import schema
from tests.reference import dialect_streams
from tests.unit.test_dialect_cases import DIALECTS, PAIRS
from tests.unit.test_dialect_sdk_types import EVENTS, REQUESTS

TOOL: dict[str, Any] = {"name": "f", "description": "d"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
PIXEL = "QUJD"
NULLS: dict[str, dict[str, Any]] = {
    "openai": {
        "messages": [{"role": "user", "content": "Hi", "name": None}],
        **dict.fromkeys(("tools", "tool_choice", "stop", "n", "seed", "user", "response_format", "logit_bias")),
        **dict.fromkeys(("max_tokens", "max_completion_tokens", "temperature", "top_p", "stream", "stream_options")),
        **dict.fromkeys(("reasoning_effort", "parallel_tool_calls", "metadata", "service_tier", "modalities")),
    },
    "responses": {
        "input": [{"role": "user", "content": "Hi", "id": None}],
        **dict.fromkeys(("instructions", "tools", "tool_choice", "text", "reasoning", "metadata", "include", "prompt")),
        **dict.fromkeys(("store", "truncation", "background", "previous_response_id", "conversation", "user")),
    },
    "anthropic": {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": None}]}],
        **dict.fromkeys(("system", "tools", "tool_choice", "thinking", "metadata", "stop_sequences", "service_tier")),
        **dict.fromkeys(("container", "mcp_servers", "output_config", "inference_geo")),
    },
    "gemini": {
        "contents": [{"parts": [{"text": "Hi", "inlineData": None}], "role": None}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": None}], "googleSearch": None}],
        **dict.fromkeys(("systemInstruction", "generationConfig", "toolConfig", "safetySettings", "cachedContent")),
    },
}
# By client: a body, and what must be named for a target that is not of the client's dialect.
ODD: dict[str, list[tuple[dict[str, Any], set[str]]]] = {
    "openai": [
        ({"messages": [{"role": "user", "content": []}, {"role": "user", "content": "Hi"}]}, set()),
        ({"messages": [{"role": "developer", "content": "A"}, {"role": "system", "content": "B"},
                       {"role": "user", "content": '\u2028\u0000\U0001f468\u200d\U0001f469 \\ "'}]}, set()),
        ({"messages": [{"role": "user", "content": "Hi"}], "tools": [], "tool_choice": "none"}, set()),
        ({"messages": [{"role": "user", "content": "Hi"}], "logit_bias": {"1": 1}, "logprobs": False,
          "metadata": {"a": "b"}, "service_tier": "flex", "x-own": {"y": 1}},
         {"logit_bias", "metadata", "service_tier", "x-own"}),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "x_mark": 1}], "x_turn": "y"}]},
         {"messages.content.x_mark", "messages.x_turn"}),
        ({"messages": [{"role": "user", "content": "Hi"},
                       {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}],
                        "annotations": [{"type": "url_citation"}]},
                       {"role": "user", "content": "Why?"}]}, {"messages.annotations"}),
        ({"messages": [{"role": "user", "content": "Hi"}],
          "tools": [{"type": "function", "function": {**TOOL, "parameters": SCHEMA, "x_cost": 3}}],
          "tool_choice": "none"}, {"tools.function.x_cost"}),
        ({"messages": [{"role": "user", "content": "Hi"},
                       {"role": "assistant", "content": None, "tool_calls": [
                           {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
                           {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                       {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": ""}]},
                       {"role": "tool", "tool_call_id": "a", "content": ""}]}, set()),
    ],
    "responses": [
        ({"input": [{"role": "user", "content": []}, {"role": "user", "content": "Hi"}]}, set()),
        ({"input": "Hi", "include": ["message.output_text.logprobs"], "prompt_cache_key": "k"},
         {"logprobs", "prompt_cache_key"}),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}], "phase": "commentary"},
                    {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
                        {"type": "output_text", "text": "A", "annotations": [{"type": "url_citation"}],
                         "logprobs": []}]},
                    {"role": "user", "content": "B"}]}, {"input.phase", "input.content.annotations"}),
        ({"input": [{"role": "user", "content": "Hi"},
                    {"type": "reasoning", "id": "rs_1", "summary": [], "content": [
                        {"type": "reasoning_text", "text": "Hm"}]},
                    {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "status": "completed"},
                    {"type": "function_call_output", "call_id": "a", "output": [
                        {"type": "input_text", "text": "x"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}]}]},
         set()),
        ({"input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "defer_loading": True}]},
         {"tools.defer_loading"}),
    ],
    "anthropic": [
        ({"max_tokens": 9, "messages": [{"role": "user", "content": []}, {"role": "user", "content": "Hi"}]}, set()),
        ({"max_tokens": 9, "system": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
          "messages": [{"role": "user", "content": [{"type": "document", "source": {
              "type": "base64", "media_type": "application/pdf", "data": PIXEL},
              "context": "c", "citations": {"enabled": True}}]}]},
         {"messages.content.context", "messages.content.citations"}),
        ({"max_tokens": 9, "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "text", "text": "A", "citations": [{"type": "char_location"}]},
                {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}, "caller": {"type": "direct"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": {
                    "type": "base64", "media_type": "image/png", "data": PIXEL}}]},
                {"type": "tool_result", "tool_use_id": "b"},
                {"type": "text", "text": "Go on"}]}]}, {"messages.content.citations"}),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "speed": "fast",
          "context_management": {"edits": []}, "cache_control": {"type": "ephemeral"}}, {"speed", "cache_control"}),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
          "tools": [{**TOOL, "input_schema": SCHEMA, "eager_input_streaming": True, "input_examples": [{}]}]},
         {"tools.eager_input_streaming", "tools.input_examples"}),
    ],
    "gemini": [
        ({"contents": [{"role": "user", "parts": []}, {"role": "user", "parts": [{"text": "Hi"}]}]}, set()),
        ({"contents": [{"role": "user", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": PIXEL, "displayName": "a"},
             "mediaResolution": {"level": "LOW"}}]}],
          "labels": {"a": "b"}, "serviceTier": "flex"},
         {"contents.parts.inlineData.displayName", "contents.parts.mediaResolution", "labels", "serviceTier"}),
        ({"contents": "Hi", "tools": [{"functionDeclarations": [{**TOOL, "response": {"type": "OBJECT"}}]}],
          "toolConfig": {"functionCallingConfig": {"mode": "NONE"}, "retrievalConfig": {"languageCode": "de"}}},
         {"tools.functionDeclarations.response", "toolConfig.retrievalConfig"}),
    ],
}  # fmt: skip


def written(client: str, target: str, body: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the body for a target, and what is named as left out."""
    said = translate.conversation(client, json.dumps(body).encode(), "chat", False).body_for(target, "up", False)
    REQUESTS[target].validate_json(said.body)
    return json.loads(said.body), set(said.dropped)


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_null_is_nothing(client: str, target: str) -> None:
    """A member that is null is as good as absent, and nothing is left out then."""
    assert written(client, target, NULLS[client])[1] == set()


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_what_a_target_cannot_be_told_is_named(client: str, target: str) -> None:
    """Members that edge does not know are named, however deep they stand; the body is one of the target's SDK."""
    for body, lost in ODD[client]:
        assert written(client, target, body)[1] >= lost, body
        assert not lost or not {name for name in written(client, target, body)[1] if "cache" in name} - lost


# By client: what only its own provider can do. It is refused with its name.
OURS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "openai": [
        ({"messages": [{"role": "user", "content": "Hi"}], "web_search_options": {"a": 1}}, "web_search_options"),
        ({"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "mcp"}, {"type": "web_search"}]},
         "tools.0..type mcp, tools.1..type web_search"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]}, "function_call"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "audio"),
    ],
    "responses": [
        *(({"input": "Hi", "tools": [{"type": kind}]}, f"tools.0..type {kind}") for kind in (
            "local_shell", "shell", "web_search", "web_search_preview", "mcp", "computer_use_preview", "computer",
            "tool_search", "file_search", "code_interpreter", "image_generation", "apply_patch", "namespace")),
        ({"input": "Hi", "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]},
         "tools.0..tools.0..type mcp"),
        *(({"input": [{"type": kind, "call_id": "a", "id": "b", "status": "completed"}]}, kind) for kind in (
            "local_shell_call", "shell_call", "web_search_call", "mcp_call", "computer_call", "tool_search_call",
            "tool_search_output", "compaction", "item_reference", "image_generation_call")),
        ({"input": "Hi", "tool_choice": {"type": "web_search"}}, "web_search"),
        ({"input": "Hi", "prompt": {"id": "p"}}, "prompt"),
    ],
    "anthropic": [
        *(({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": kind, "name": "x"}]},
           f"tools.0..type {kind}") for kind in (
            "bash_20250124", "code_execution_20260521", "computer_toolset_20260801", "memory_20250818",
            "text_editor_20250728", "tool_search_tool_regex_20251119", "web_fetch_20260318", "web_search_20260318",
            "browser_toolset_20260801", "mcp_toolset", "advisor_20260301")),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "container": {"skills": []}}, "container"),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "inference_geo": "us"}, "inference_geo"),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "mcp_servers": [{"url": "x"}]},
         "mcp_servers"),
        ({"max_tokens": 9, "messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "a"}]}]},
         "server_tool_use"),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "a"}]}]},
         "container_upload"),
    ],
    "gemini": [
        *(({"contents": "Hi", "tools": [{kind: {}}]}, f"tools.0..{kind}") for kind in (
            "googleSearch", "codeExecution", "urlContext", "computerUse", "fileSearch", "googleMaps", "mcpServers")),
        ({"contents": "Hi", "cachedContent": "cachedContents/a"}, "cachedContent"),
        ({"contents": [{"parts": [{"executableCode": {"code": "1"}}]}]}, "code that ran"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_what_runs_at_one_provider_is_refused_by_name(client: str, target: str) -> None:
    """Tools that a provider runs, what it keeps, and calls of them in earlier turns: never dropped."""
    for body, what in OURS[client]:
        with pytest.raises((CannotCarryError, UnreadableRequestError), match=what):
            written(client, target, body)


def test_names_of_many_members_are_few() -> None:
    """A client cannot fill a field of the answer with names of its own."""
    turn = {"role": "user", "content": "Hi"} | {f"x_{number}" + "y" * 200: 1 for number in range(100)}
    _, dropped = written("openai", "anthropic", {"messages": [turn]})
    assert (len(dropped), max(map(len, dropped))) == (17, len("messages.") + 64)


def test_the_twin_of_a_struct_reads_what_the_struct_reads() -> None:
    """A body whose members are all known is read once, and gives the same values."""
    members = Members(schema.Request)
    body = json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "seed": 7}).encode()
    read, unknown = members.decode(body)
    assert (read.seed, read.messages[0].role, unknown) == (7, "user", ())
    assert isinstance(read.messages[0].content, list)
    assert read.messages[0].content[0].text == "Hi"


# --- streams ----------------------------------------------------------------------------------------------------------
def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk of a chat completion."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices, **more}


def call(index: int, **function: Any) -> dict[str, Any]:
    """Return a fragment of a call."""
    own = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **own, "function": function}]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
STREAMS: dict[str, list[Any]] = {
    "usage alone": [chunk(usage=USAGE), "[DONE]"],
    "nothing at all": ["[DONE]"],
    "no content": [chunk({"role": "assistant", "content": ""}), chunk({}, "stop"), "[DONE]"],
    "two ends": [chunk({"content": "A"}), chunk({}, "stop"), chunk({}, "stop", usage=USAGE), "[DONE]"],
    "calls mixed": [
        chunk(call(0, name="f", arguments="")),
        chunk(call(1, name="g", arguments='{"a"')),
        chunk(call(0, arguments='{"b":1')),
        chunk(call(1, arguments=":2}")),
        chunk(call(0, arguments="}")),
        chunk({}, "tool_calls"),
        "[DONE]",
    ],
    "thoughts in parts": [
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}),
        chunk({"content": [{"type": "text", "text": "A"}, {"type": "reference", "reference_ids": [1]}]}),
        chunk({}, "stop"),
        "[DONE]",
    ],
    "words between escapes": [chunk({"content": "\u2028\U0001f600"}), chunk({"content": "\u0000"}, "length"), "[DONE]"],
}


def asked(client: str) -> translate.Conversation:
    """Return a streamed request of a client."""
    bodies: dict[str, dict[str, Any]] = {
        "openai": {"messages": [{"role": "user", "content": "Hi"}], "stream": True},
        "responses": {"input": "Hi", "stream": True},
        "anthropic": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": True},
        "gemini": {"contents": "Hi"},
    }
    return translate.conversation(client, json.dumps(bodies[client]).encode(), "chat", True)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("client", DIALECTS)
def test_an_odd_stream_is_one_that_the_clients_sdk_reads(client: str, name: str) -> None:
    """It has the grammar and the types of the client's dialect, with one end, and says all that came."""
    stream = asked(client).stream("openai", "q1")
    said = b"".join(stream.push_events(dialect_streams.written("openai", STREAMS[name]))) + stream.finish()
    for _, event in dialect_streams.events(said):
        if event != "[DONE]":
            EVENTS[client].validate_json(json.dumps(event))
    whole = json.dumps(dialect_streams.whole(client, said), ensure_ascii=False)
    for word in {"calls mixed": ("f", "g", "b", "1", "2"), "thoughts in parts": ("Hm", "A"), "two ends": ("A",)}.get(
        name, ()
    ):
        assert word in whole
    assert said.count(b'"finish_reason":"stop"') <= 1


@pytest.mark.parametrize("client", DIALECTS)
def test_a_failure_in_the_middle_is_the_last_that_a_client_is_told(client: str) -> None:
    """Neither an end nor another word follows it."""
    stream = asked(client).stream("openai", "q1")
    sent = [chunk({"content": "A"}), {"error": {"message": "overloaded", "code": 503}}]
    said = b"".join(stream.push_events(dialect_streams.written("openai", sent)))
    assert b"overloaded" in said.split(b"\n\n")[-2]
    assert stream.finish() == b""


def test_mistrals_thoughts_are_read_in_a_whole_answer() -> None:
    """They stand in parts beside the text."""
    message = {"role": "assistant", "content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "A"}]}  # fmt: skip
    body = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    answer = json.loads(asked("anthropic").answer("openai", json.dumps(body).encode(), "q1"))
    assert [block.get("thinking", block.get("text")) for block in answer["content"]] == ["Hm", "A"]


def test_a_failed_result_stays_one_for_gemini() -> None:
    """What it returned is under error, be it an object or text."""
    call_of = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": '{"code":1}'}
    body = {"max_tokens": 9, "messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": [call_of]},
        {"role": "user", "content": [result]}]}  # fmt: skip
    said, dropped = written("anthropic", "gemini", body)
    response = said["contents"][-1]["parts"][0]["functionResponse"]["response"]
    assert (response, dropped) == ({"error": '{"code":1}'}, set())
    assert written("anthropic", "openai", body)[1] == {"is_error"}


def test_an_answer_that_another_dialect_cannot_say_is_the_targets_failure() -> None:
    """Sound and pictures of Gemini's, and what ran at Anthropic, are not dropped from an answer."""
    picture = {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}]},
                               "finishReason": "STOP"}]}  # fmt: skip
    ran = {"content": [{"type": "server_tool_use", "id": "a", "name": "web_search"}], "stop_reason": "end_turn"}
    for target, body in (("gemini", picture), ("anthropic", ran)):
        with pytest.raises(UnreadableAnswerError):
            asked("openai").answer(target, json.dumps(body).encode(), "q1")


THOUGHTS = {"omitted": {"type": "thinking", "thinking": "", "signature": "EqQB"},
            "shown": {"type": "thinking", "thinking": "Hm", "signature": "EqQB"},
            "redacted": {"type": "redacted_thinking", "data": "EmwK"}}  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", THOUGHTS)
@pytest.mark.parametrize("client", ["openai", "responses", "gemini"])
def test_thoughts_of_anthropics_come_back_as_they_were(client: str, name: str, streamed: bool) -> None:
    """Omitted, shown and redacted ones pass through a client of another dialect, and reach Anthropic unchanged."""
    block, call_of = THOUGHTS[name], {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    if streamed:
        begun = {**block, **({"thinking": "", "signature": ""} if block["type"] == "thinking" else {})}
        deltas = [] if name == "redacted" else [{"type": "signature_delta", "signature": "EqQB"}]
        deltas = [{"type": "thinking_delta", "thinking": "Hm"}, *deltas] if name == "shown" else deltas
        message = {"id": "m", "type": "message", "role": "assistant", "model": "up", "content": [], "usage": {}}
        sent: list[Any] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": begun},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": call_of},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
        stream = asked(client).stream("anthropic", "q1")
        said = b"".join(stream.push_events(dialect_streams.written("anthropic", sent))) + stream.finish()
        answer = dialect_streams.whole(client, said)
    else:
        body = {"id": "m", "content": [block, call_of], "stop_reason": "tool_use"}
        answer = json.loads(asked(client).answer("anthropic", json.dumps(body).encode(), "q1"))
    user: dict[str, Any] = {"role": "user", "content": "Hi"}
    again: dict[str, Any]
    if client == "openai":
        result = {"role": "tool", "tool_call_id": "a", "content": "1"}
        again = {"messages": [user, answer["choices"][0]["message"], result]}
    elif client == "responses":
        again = {"input": [user, *answer["output"], {"type": "function_call_output", "call_id": "a", "output": "1"}]}
    else:
        part = {"functionResponse": {"name": "f", "id": "a", "response": {"result": 1}}}
        again = {"contents": [{"parts": [{"text": "Hi"}]}, answer["candidates"][0]["content"], {"parts": [part]}]}
    assert written(client, "anthropic", again)[0]["messages"][1]["content"][0] == block
