"""The rest of an answer is asked for in words that its target understands, and told as one answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge.dialects import translate
from edge.dialects.errors import CannotCarryError, CannotResumeError
from edge.dialects.seam import CannotJoinError
from native.proxy.hooks import ShownAnswer

if TYPE_CHECKING:
    from edge.dialects.continuation import Continuation

SHOWN = "The river carries small boats"
USER = {"role": "user", "content": "Tell me."}
CHAT: dict[str, Any] = {"model": "alias", "stream": True, "seed": 7, "vendor": {"a": [1.50]}, "messages": [USER]}
MESSAGES: dict[str, Any] = {
    "model": "alias",
    "max_tokens": 64,
    "stream": True,
    "messages": [USER],
    "metadata": {"user_id": "u"},
}
GENERATE: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Tell me."}]}], "safetySettings": []}
OPENINGS = {
    "openai": b'data: {"id":"","model":"","created":0,"choices":[],"prompt_filter_results":[]}\n\n'
    b'data: {"id":"chatcmpl-1","model":"m1","created":5,"choices":[{"index":0,"delta":{"content":"The"}}]}\n\n',
    "anthropic": b"event: message_start\n"
    b'data: {"type":"message_start","message":{"id":"msg_1","model":"m1","usage":{"input_tokens":3}}}\n\n',
    "gemini": b'data: {"candidates":[{"content":{"parts":[{"text":"T"}]}}],"modelVersion":"m1","responseId":"r"}\n\n',
}
BODIES = {"openai": CHAT, "anthropic": MESSAGES, "gemini": GENERATE}


def begun(client: str = "openai", text: str = SHOWN, **more: Any) -> Continuation:
    """Return what goes on with an answer of which this text was shown."""
    body = json.dumps({**BODIES[client], **more}).encode()
    shown = ShownAnswer(client, body, "alias", OPENINGS[client], json.dumps(text)[1:-1].encode(), "q1")
    return translate.resume(shown, None)


def asked(continuation: Continuation, dialect: str, way: str, *, ask_usage: bool = False) -> dict[str, Any]:
    """Return the body for a target."""
    body: dict[str, Any] = json.loads(continuation.body_for(dialect, "up", way, False, ask_usage).body)
    return body


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """Return a chunk of a chat completion."""
    body = {
        "id": "other",
        "model": "m2",
        "created": 9,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps({**body, **more}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("way", "of_message", "of_body"),
    [
        ("plain", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("partial", {"partial": True}, {}),
        ("final", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_the_clients_own_body_is_added_to(way: str, of_message: dict[str, Any], of_body: dict[str, Any]) -> None:
    """In the client's dialect nothing is lost, and each provider is told in its own words to go on."""
    last = {"role": "assistant", "content": SHOWN, **of_message}
    assert asked(begun(), "openai", way) == {**CHAT, "model": "up", "messages": [USER, last], **of_body}


def test_numbers_keep_their_digits() -> None:
    """What edge does not need is copied byte for byte."""
    assert b"1.5]" in begun().body_for("openai", "up", "plain", False, False).body
    shown = ShownAnswer(
        "openai", json.dumps(CHAT).encode().replace(b"1.5]", b"1.50e0]"), "alias", OPENINGS["openai"], b"Hi", "q"
    )
    assert b"1.50e0]" in translate.resume(shown, None).body_for("openai", "up", "plain", False, False).body


def test_usage_is_asked_for() -> None:
    """A bounded key's stream asks for its usage at the next target, too."""
    assert asked(begun(), "openai", "plain", ask_usage=True)["stream_options"] == {"include_usage": True}


def test_anthropic_gets_no_white_space_at_the_end() -> None:
    """It refuses such a message; the seam expects the white space to come back."""
    continuation = begun("anthropic", SHOWN + " \n")
    body = continuation.body_for("anthropic", "up", "plain", False, False)
    assert body.path == b"/messages"
    assert json.loads(body.body) == {
        **MESSAGES,
        "model": "up",
        "messages": [USER, {"role": "assistant", "content": SHOWN}],
    }
    continuation.begin("anthropic", "plain")
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " \nPast"}}
    said = b"".join(continuation.push_events(b"data: " + json.dumps(delta).encode() + b"\n\n"))
    assert json.loads(said.partition(b"data: ")[2])["delta"]["text"] == "Past"


def test_gemini_is_asked_under_the_path_of_its_model() -> None:
    """The path names the model and the form of the stream."""
    body = begun("gemini").body_for("gemini", "up", "plain", False, False)
    assert body.path == b"/models/up:streamGenerateContent?alt=sse"
    last = {"role": "model", "parts": [{"text": SHOWN}]}
    assert json.loads(body.body) == {**GENERATE, "contents": [*GENERATE["contents"], last]}


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "gemini"])
@pytest.mark.parametrize("client", BODIES)
def test_a_new_turn_asks_for_the_rest(client: str, dialect: str) -> None:
    """Each dialect says what was shown, and by which words the rest is to begin."""
    body = json.dumps(asked(begun(client), dialect, ""))
    assert SHOWN in body
    assert body.count(SHOWN) == 2  # the text is short, so that its last words are all of it
    assert "do not start over" in body


@pytest.mark.parametrize("client", BODIES)
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
def test_prefill_in_another_dialect(client: str, dialect: str) -> None:
    """The last message of the body is what was shown."""
    body = asked(begun(client), dialect, "plain")
    last = (body.get("messages") or body["contents"])[-1]
    assert last["role"] in {"assistant", "model"}
    assert last.get("content") == SHOWN or last["parts"] == [{"text": SHOWN}]


def test_responses_has_no_prefill() -> None:
    """A target of that dialect is asked in a new turn, or not at all."""
    with pytest.raises(CannotCarryError):
        begun().body_for("responses", "up", "plain", False, False)


@pytest.mark.parametrize(
    ("client", "more"),
    [
        ("openai", {"response_format": {"type": "json_object"}}),
        ("openai", {"n": 2}),
        ("openai", {"logprobs": True}),
        ("openai", {"messages": [USER, {"role": "assistant", "content": "{"}]}),
        ("anthropic", {"messages": [USER, {"role": "assistant", "content": "{"}]}),
        ("gemini", {"generationConfig": {"responseMimeType": "application/json"}}),
        ("gemini", {"contents": []}),
    ],
)
def test_some_answers_cannot_be_continued(client: str, more: dict[str, Any]) -> None:
    """An answer that is more than one plain text is refused with a reason."""
    with pytest.raises(ValueError, match=r"cannot be continued|contents"):
        begun(client, **more)


def test_an_answer_without_a_beginning_cannot_be_continued() -> None:
    """Without its id the parts would not be one answer."""
    shown = ShownAnswer("anthropic", json.dumps(MESSAGES).encode(), "alias", b"", b"Hi", "q")
    with pytest.raises(CannotResumeError, match="what it is"):
        translate.resume(shown, None)


def test_the_parts_are_one_answer() -> None:
    """One id, one role, one finish_reason, the sum of the tokens and one [DONE], whatever the target says of itself."""
    continuation = begun(stream_options={"include_usage": True})
    continuation.add_usage(10, 5)
    continuation.begin("openai", "plain")
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    stream = (
        chunk({"role": "assistant", "content": ""})
        + chunk({"reasoning_content": "Where was I?"})
        + chunk({"content": " past"})
        + chunk({"content": " bridges"})
        + chunk({}, "stop")
        + b'data: {"id":"other","choices":[],"usage":'
        + json.dumps(usage).encode()
        + b"}\n\ndata: [DONE]\n\n"
    )
    assert continuation.may_go_on
    said = b"".join(continuation.push_events(stream)) + continuation.finish()
    assert not continuation.may_go_on
    events = [json.loads(line[6:]) for line in said.split(b"\n") if line.startswith(b"data: {")]
    assert {(event["id"], event["model"], event["created"]) for event in events} == {("chatcmpl-1", "m1", 5)}
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert deltas == [{"content": " past"}, {"content": " bridges"}, {}]
    assert events[-1]["usage"]["prompt_tokens"] == 30
    assert events[-1]["usage"]["completion_tokens"] == 12
    assert said.endswith(b"data: [DONE]\n\n")
    assert said.count(b"[DONE]") == 1


def test_a_part_that_breaks_off_is_continued_in_turn() -> None:
    """The next target is asked for what is missing by then."""
    continuation = begun()
    continuation.begin("openai", "plain")
    assert b" past" in b"".join(continuation.push_events(chunk({"content": " past"})))
    assert asked(continuation, "openai", "plain")["messages"][-1]["content"] == SHOWN + " past"


def test_what_does_not_fit_reaches_nobody() -> None:
    """No event is yielded of an answer that starts over and differs, and the error blames no target."""
    continuation = begun()
    continuation.begin("openai", "plain")
    with pytest.raises(CannotJoinError) as raised:
        list(continuation.push_events(chunk({"content": SHOWN[:-5] + "ships"})))
    assert raised.value.blameless
    assert asked(continuation, "openai", "plain")["messages"][-1]["content"] == SHOWN


def test_events_before_a_malformed_one_are_told() -> None:
    """What comes before it is yielded, and counts as shown."""
    continuation = begun()
    continuation.begin("openai", "plain")
    told = continuation.push_events(chunk({"content": " past"}) + b"data: 7\n\n")
    assert b" past" in next(told)
    with pytest.raises(ValueError, match="no chunk"):
        next(told)
    assert asked(continuation, "openai", "plain")["messages"][-1]["content"] == SHOWN + " past"


def test_a_call_behind_the_text_is_passed_on() -> None:
    """The model may call a tool once it has gone on; from then on nobody else can continue."""
    continuation = begun()
    continuation.begin("openai", "plain")
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = b"".join(continuation.push_events(chunk({"content": "."}) + chunk({"tool_calls": [call]})))
    assert b'"name":"f"' in said
    assert not continuation.may_go_on


def test_a_text_that_has_grown_long_is_continued_no_further() -> None:
    """What the parts say is passed on without an end, but kept for the next target up to a bound."""
    continuation = begun()
    continuation.begin("openai", "plain")
    piece = chunk({"content": " word" * 1000})
    for _ in range(40):
        assert b" word" in b"".join(continuation.push_events(piece))
    assert continuation.may_go_on
    assert len(asked(continuation, "openai", "plain")["messages"][-1]["content"]) == len(SHOWN) + 200_000
    for _ in range(40):
        assert b" word" in b"".join(continuation.push_events(piece))
    assert not continuation.may_go_on
