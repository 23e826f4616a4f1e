"""The text that a stream has shown is kept exactly, in every dialect, or the stream counts as spoiled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.shown import Shown
from native.codec.sse import Scanner

TEXTS = st.lists(st.text(max_size=8), max_size=8)


def chat(text: str) -> dict[str, Any]:
    """Build a chunk of a chat completion."""
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def message(text: str) -> dict[str, Any]:
    """Build an event of Anthropic's messages."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def response(text: str) -> dict[str, Any]:
    """Build an event of Responses."""
    return {"type": "response.output_text.delta", "output_index": 0, "item_id": "i", "delta": text, "logprobs": []}


def generate(text: str) -> dict[str, Any]:
    """Build a chunk of Gemini's generateContent."""
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}


def completion(text: str) -> dict[str, Any]:
    """Build a chunk of the older text completions."""
    return {"id": "c", "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}]}


SAYS = (chat, message, response, generate, completion)
OTHERS: list[dict[str, Any]] = [
    {"choices": [{"index": 0, "delta": {"content": None, "tool_calls": [{"index": 0, "id": "x"}]}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm"}}]},
    {"choices": [{"index": 0, "delta": {"refusal": "No"}}]},
    {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "x"}]}}]},
    {"choices": [{"index": 0, "delta": {"content": "x", "annotations": [{"type": "url_citation"}]}}]},
    {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"type": "page"}}},
    {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{"},
    {"type": "response.refusal.delta", "output_index": 0, "delta": "No"},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "Hm", "thought": True}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}]},
]


def events(*bodies: dict[str, Any]) -> bytes:
    """Return a stream of these events."""
    return b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies)


def shown_of(*streams: bytes, limit: int = 4096) -> Shown:
    """Return what is kept of a stream that comes in these pieces."""
    shown = Shown(limit)
    scanner = Scanner(shown=shown)
    for piece in streams:
        scanner.push(piece)
    return shown


@pytest.mark.parametrize("says", SAYS)
@given(texts=TEXTS, cut=st.integers(0, 2000))
def test_the_text_is_kept_exactly(says: Any, texts: list[str], cut: int) -> None:
    """Whatever the text and wherever the network cuts, all of it is kept, escapes included."""
    stream = events(*(says(text) for text in texts))
    cut %= len(stream) + 1
    shown = shown_of(stream[:cut], stream[cut:])
    assert (shown.spoiled, shown.finished) == (False, False)
    assert json.loads(b'"' + shown.text + b'"', strict=False) == "".join(texts)


def test_a_signature_is_no_content() -> None:
    """Gemini signs parts of its text; that says nothing to the reader."""
    part = {"text": "a", "thoughtSignature": "c2ln", "thought": False}
    shown = shown_of(events({"candidates": [{"content": {"parts": [part]}}]}))
    assert (shown.text, shown.spoiled) == (b"a", False)


def test_a_pair_of_surrogates_over_two_events() -> None:
    """A character whose escapes stand in two events is one character."""
    halves = events(chat("X")).replace(b"X", b"\\ud83d") + events(chat("X")).replace(b"X", b"\\ude00")
    assert json.loads(b'"' + shown_of(halves).text + b'"') == "\N{GRINNING FACE}"


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("other", OTHERS)
def test_anything_else_spoils_it(says: Any, other: dict[str, Any]) -> None:
    """A stream with other content than one text cannot be continued."""
    shown = shown_of(events(says("a"), other, says("b")))
    assert shown.spoiled
    assert shown.text == b""


@pytest.mark.parametrize(
    "begun",
    [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
    ],
)
def test_a_second_part_spoils_it(begun: dict[str, Any]) -> None:
    """One block or item is one text; what a second one is to be cannot be told yet."""
    assert not shown_of(events(begun)).spoiled
    assert shown_of(events(begun, begun)).spoiled


@pytest.mark.parametrize(
    "end",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "response.output_text.done", "output_index": 0, "text": "a"},
        {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]},
    ],
)
def test_a_complete_text_is_finished(end: dict[str, Any]) -> None:
    """Behind the end of its text nothing is missing that another target could say."""
    assert shown_of(events(chat("a"), end)).finished


@pytest.mark.parametrize("bad", [b'data: {"error":{"message":"busy"}}\n\n', b'data: {"choices": [{"ind\n\n'])
def test_what_is_not_shown_is_not_kept(bad: bytes) -> None:
    """An error event, an event that is no JSON, and what follows them reach no client."""
    shown = shown_of(events(chat("a")) + bad + events(chat("b")))
    assert shown.text == b"a"
    assert not shown.spoiled


def test_a_long_text_is_not_kept() -> None:
    """The text is bounded; over its limit nothing of it is kept."""
    assert shown_of(events(chat("x" * 40), chat("y" * 24)), limit=64).text == b"x" * 40 + b"y" * 24
    shown = shown_of(events(chat("x" * 40), chat("y" * 25)), limit=64)
    assert shown.spoiled
    assert shown.text == b""
