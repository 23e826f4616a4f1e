"""Where dialects differ in what they refuse, and what a translator gets wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.dialects import translate
from edge.dialects.errors import CannotCarryError, UnreadableAnswerError, UnreadableRequestError
from edge.dialects.known import DIALECTS
from edge.terms import chat
from tests.reference import dialect_streams

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def asked(client: str, stream: bool = False, **body: Any) -> translate.Conversation:
    """Read a request; chat completions and messages get a question where the test has none."""
    if client in {"openai", "anthropic"}:
        body.setdefault("messages", [USER])
    if stream and client != "gemini":
        body["stream"] = True
    return translate.conversation(client, json.dumps(body).encode(), "chat", stream)


def sent(conversation: translate.Conversation, target: str, model: str = "up") -> dict[str, Any]:
    """Return the body that a target gets."""
    body: dict[str, Any] = json.loads(conversation.body_for(target, model, False).body)
    return body


@pytest.mark.parametrize("target", ["openai", "responses", "gemini"])
def test_a_begun_answer_is_not_taken_for_a_finished_one(target: str) -> None:
    """Anthropic continues a last turn of the assistant. Others would reply to it, or refuse it."""
    prefilled = asked("anthropic", max_tokens=9, messages=[USER, {"role": "assistant", "content": "{"}])
    if target == "gemini":
        assert sent(prefilled, target)["contents"][-1] == {"role": "model", "parts": [{"text": "{"}]}
        return
    with pytest.raises(CannotCarryError, match="last message of the assistant"):
        prefilled.body_for(target, "up", False)


def test_max_tokens_is_there_for_anthropic_and_below_the_models_bound() -> None:
    """Anthropic requires max_tokens, and refuses more than a model can write."""
    assert sent(asked("openai"), "anthropic", "claude-haiku-4-5")["max_tokens"] == 32000
    assert sent(asked("openai"), "anthropic", "claude-3-haiku-20240307")["max_tokens"] == 4096


def test_a_temperature_over_anthropics_bound_is_cut_and_named() -> None:
    """OpenAI's temperature goes to 2, Anthropic's to 1."""
    written = asked("openai", temperature=1.5).body_for("anthropic", "up", False)
    assert json.loads(written.body)["temperature"] == 1
    assert written.dropped == ("temperature",)


def test_strict_refuses_what_would_be_dropped() -> None:
    """A model with strict: true has no target of a dialect that cannot carry a hint."""
    with pytest.raises(CannotCarryError, match="seed"):
        asked("openai", seed=1).body_for("anthropic", "up", True)
    assert asked("openai", user="u").body_for("anthropic", "up", True).dropped == ()


def test_few_names_of_what_is_left_out_are_shown() -> None:
    """A body with thousands of unknown fields makes no header of megabytes."""
    dropped = asked("openai", **{f"field_{n}_{'x' * 200}": n + 1 for n in range(5000)}).body_for(
        "anthropic", "up", False
    )
    assert len(dropped.dropped) == 17
    assert dropped.dropped[-1] == "4984 more"
    assert len(", ".join(dropped.dropped)) < 1200


def test_thinking_leaves_room_for_the_answer() -> None:
    """A budget is below max_tokens, and at least 1024: else thinking is dropped, and named."""
    tight = asked("openai", max_tokens=3000, reasoning_effort="high").body_for("anthropic", "up", False)
    assert json.loads(tight.body)["thinking"] == {"type": "enabled", "budget_tokens": 1500}
    small = asked("openai", max_tokens=500, reasoning_effort="high").body_for("anthropic", "up", False)
    assert "thinking" not in json.loads(small.body)
    assert small.dropped == ("reasoning",)


def test_thinking_stops_behind_a_call_of_another_provider() -> None:
    """Anthropic refuses a turn that calls tools without its own signed thoughts, if thinking is on."""
    call = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    body: dict[str, Any] = {
        "messages": [USER, call, {"role": "tool", "tool_call_id": "c", "content": "1"}],
        "tools": [TOOL],
        "reasoning_effort": "low",
    }
    written = asked("openai", **body).body_for("anthropic", "up", False)
    assert "thinking" not in json.loads(written.body)
    assert "reasoning" in written.dropped
    call["reasoning_details"] = [
        {"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "anthropic-claude-v1"}
    ]
    signed = json.loads(asked("openai", **body).body_for("anthropic", "up", False).body)
    assert signed["thinking"]["type"] == "enabled"
    assert signed["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm", "signature": "s"}


def test_signatures_stay_with_their_provider() -> None:
    """A thought that Anthropic signed is no part of what Gemini or OpenAI get, and comes back to Anthropic whole."""
    answer = {
        "id": "msg_1", "model": "m", "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1},
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        ],
    }  # fmt: skip
    said = json.loads(asked("responses", input="Hi").answer("anthropic", json.dumps(answer).encode(), "q"))
    items = [{"role": "user", "content": "Hi"}, *said["output"]]
    items.append({"type": "function_call_output", "call_id": "t1", "output": "1"})
    again = asked("responses", input=items)
    assert sent(again, "anthropic")["messages"][1]["content"] == answer["content"]
    assert b"c2ln" not in again.body_for("gemini", "up", False).body
    assert b"c2ln" not in again.body_for("openai", "up", False).body


def test_gemini_3_gets_its_signature_back_or_a_word_for_none() -> None:
    """Gemini 3 refuses its own call without the signature, and a foreign one without the word that excuses it."""
    answer = {
        "candidates": [
            {
                "content": {"parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]},
                "finishReason": "STOP",
            }
        ]
    }
    said = json.loads(asked("anthropic", max_tokens=9).answer("gemini", json.dumps(answer).encode(), "q"))
    call = next(block["id"] for block in said["content"] if block["type"] == "tool_use")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "1"}]}
    turns = [USER, {"role": "assistant", "content": said["content"]}, result]
    back = sent(asked("anthropic", max_tokens=9, messages=turns), "gemini", "gemini-3.1-pro")
    assert back["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]
    turns[1] = {"role": "assistant", "content": [{"type": "tool_use", "id": call, "name": "f", "input": {}}]}
    foreign = sent(asked("anthropic", max_tokens=9, messages=turns), "gemini", "gemini-3.1-pro")
    assert foreign["contents"][1]["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"


def test_results_of_functions_stand_in_the_order_of_their_calls() -> None:
    """Gemini matches results by position; clients may send them in any order."""
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in "abc"]
    turns = [USER, {"role": "assistant", "tool_calls": calls}]
    turns += [{"role": "tool", "tool_call_id": name, "content": name} for name in "cab"]
    parts = sent(asked("openai", messages=turns), "gemini")["contents"][2]["parts"]
    assert [part["functionResponse"]["name"] for part in parts] == ["a", "b", "c"]


def test_calls_of_gemini_without_ids_are_matched_by_name() -> None:
    """Two calls of one function and their results keep their order."""
    conversation = asked(
        "gemini",
        contents=[
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"n": n}}} for n in (1, 2)]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": n}}} for n in (1, 2)]},
        ],
    )
    messages = sent(conversation, "openai")["messages"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == [said["tool_call_id"] for said in messages[2:]]
    assert [said["content"] for said in messages[2:]] == ['{"r":1}', '{"r":2}']


def test_arguments_that_are_no_object_reach_anthropic_in_one() -> None:
    """A model sometimes writes broken arguments; the conversation can go on at another provider."""
    call = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": '}}]}
    turns = [USER, call, {"role": "tool", "tool_call_id": "c", "content": "bad"}]
    assert sent(asked("openai", messages=turns), "anthropic")["messages"][1]["content"][0]["input"] == {
        "arguments": '{"a": '
    }


def test_an_image_in_a_tools_result_reaches_chat_completions_behind_it() -> None:
    """There a result is text alone: the image follows as the user's."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    turns = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]},
    ]
    messages = sent(asked("anthropic", max_tokens=9, messages=turns), "openai")["messages"]
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "t", "content": ""},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
    ]


@pytest.mark.parametrize(
    ("client", "body", "what"),
    [
        ("responses", {"input": "Hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", {"input": "Hi", "background": True}, "background"),
        ("responses", {"input": "Hi", "tools": [{"type": "web_search"}]}, "web_search"),
        ("openai", {"modalities": ["text", "audio"], "audio": {"voice": "a"}}, "modalities"),
        (
            "anthropic",
            {"max_tokens": 9, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "web_search",
        ),
        ("gemini", {"contents": "Hi", "tools": [{"googleSearch": {}}]}, "googleSearch"),
        ("gemini", {"contents": "Hi", "cachedContent": "cachedContents/1"}, "cachedContent"),
    ],
)
def test_what_the_answer_depends_on_is_never_dropped(client: str, body: dict[str, Any], what: str) -> None:
    """Tools that run at a provider and state that it keeps exclude targets of another dialect, each of them."""
    for target in DIALECTS:
        if target != client:
            with pytest.raises(CannotCarryError, match=what):
                asked(client, **body).body_for(target, "up", False)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"3", b'{"messages":3,"input":3,"contents":3}', b'{"messages":[],"contents":[],"input":[]}',
        b'{"messages":[{"role":"user","content":[{"type":"x"}]}],"input":[{"type":"x"}],"contents":[{"parts":[{}]}]}',
        b'{"messages":[{"role":"nobody","content":"x"}],"input":[{"role":"nobody"}],"contents":[{"role":"nobody"}]}',
        b'{"messages":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_the_clients_mistake(client: str, body: bytes) -> None:
    """The error names what is wrong; nothing else is raised."""
    with pytest.raises(UnreadableRequestError):
        translate.conversation(client, body, "chat", False)


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"{}", b'{"choices":[],"output":null,"content":null,"candidates":[]}',
        b'{"choices":[{"message":{"content":"x"},"finish_reason":"insufficient_system_resource"}]}',
        b'{"output":[],"status":"failed","content":[],"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_answer_is_the_targets_failure(target: str, body: bytes) -> None:
    """An incomplete or foreign answer is never taken for a complete one."""
    client = "openai" if target != "openai" else "anthropic"
    with pytest.raises(UnreadableAnswerError):
        asked(client, max_tokens=9).answer(target, body, "q")


ERRORS = {
    "openai": {"error": {"message": "No good.", "type": "invalid_request_error", "param": None, "code": None}},
    "responses": {"error": {"message": "No good.", "type": "invalid_request_error", "param": None, "code": None}},
    "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": "No good."}},
    "gemini": {"error": {"code": 400, "message": "No good.", "status": "INVALID_ARGUMENT"}},
}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("target", DIALECTS)
def test_an_error_is_said_in_the_clients_dialect(client: str, target: str) -> None:
    """A target's words reach the client in the client's shape."""
    body = translate.error(target, client, 400, json.dumps(ERRORS[target]).encode(), "")
    assert json.loads(body) == ERRORS[client]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (
            "anthropic",
            {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9"}},
        ),
        ("gemini", {"error": {"code": 400, "message": "The input exceeds the maximum number of tokens allowed"}}),
    ],
)
def test_a_prompt_that_is_too_long_has_openais_code(target: str, body: dict[str, Any]) -> None:
    """Applications look for the code context_length_exceeded to shorten a conversation."""
    said = translate.error(target, "openai", 400, json.dumps(body).encode(), "")
    assert json.loads(said)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("target", DIALECTS)
def test_an_error_page_is_still_an_error(target: str) -> None:
    """A body that is no JSON becomes a sentence with the status, and none of the page."""
    said = translate.error(target, "anthropic", 400, b"<html>secret</html>", "q")
    assert (b"secret" in said, b"400" in said) == (False, True)


FAILURES = {
    "openai": [
        {"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": "A"}}]},
        {"error": {"message": "x"}},
    ],
    "responses": [
        {"type": "response.created", "response": {"id": "1", "model": "m"}},
        {"type": "response.failed", "response": {"id": "1", "error": {"code": "server_error", "message": "x"}}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"id": "1", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"text": "A"}]}}]},
        {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("target", DIALECTS)
def test_a_failure_in_a_stream_stays_one(client: str, target: str) -> None:
    """The client's last event is an error in its dialect, and nothing says that the answer is complete."""
    stream = asked(client, stream=True, input="Hi", contents="Hi", max_tokens=9).stream(target, "q")
    said = b"".join(stream.push_events(dialect_streams.written(target, FAILURES[target]))) + stream.finish()
    events = dialect_streams.events(said)
    name, last = events[-1]
    assert name == {"responses": "response.failed", "anthropic": "error"}.get(client, "")
    assert last.get("response", last)["error"]["message"] == "x"
    whole = ("[DONE]", "message_stop", "response.completed", "finishReason")
    assert not any(word.encode() in said for word in whole)


def test_the_usage_of_a_stream_is_asked_for_and_shown_only_to_those_who_asked() -> None:
    """Edge always asks; a client of chat completions gets the chunk only with include_usage."""
    assert sent(asked("anthropic", stream=True, max_tokens=9), "openai")["stream_options"] == {"include_usage": True}
    said = [
        {"type": "message_start", "message": {"id": "1", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    for options, shown in (({}, False), ({"stream_options": {"include_usage": True}}, True)):
        stream = asked("openai", stream=True, **options).stream("anthropic", "q")
        events = b"".join(stream.push_events(dialect_streams.written("anthropic", said))) + stream.finish()
        assert (b'"total_tokens":3' in events) is shown


def test_a_conversation_is_never_changed() -> None:
    """Writing for one target leaves nothing behind in what another gets."""
    conversation = asked("openai", messages=[{"role": "system", "content": "S"}, USER], tools=[TOOL], seed=1)
    before = {name: conversation.body_for(name, "up", False) for name in DIALECTS if name != "openai"}
    fresh = asked("openai", messages=[{"role": "system", "content": "S"}, USER], tools=[TOOL], seed=1)
    after = {name: fresh.body_for(name, "up", False) for name in reversed(DIALECTS) if name != "openai"}
    assert before == after
    assert isinstance(conversation.request, chat.Request)
