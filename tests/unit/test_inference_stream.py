"""A stream of edge's gRPC API is the same answer as the complete one, however its bytes arrive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects import inference
from edge.dialects.inference import AnswerUnreadableError
from edge.sim.answers import Answer
from edge.sim.asked import Pace, read
from edge.wire.edge.v1 import inference_pb2 as wire

FACTS = {"target": "one/small", "region": "eu", "attempts": 1, "request_id": "r-1"}


def event(value: Any) -> bytes:
    """Frame an event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(fields: dict[str, Any], index: int | None = 0, **choice: Any) -> dict[str, Any]:
    """Return a chunk in OpenAI's shape."""
    where = {} if index is None else {"index": index}
    return {"id": "a", "model": "m", "created": 5, "choices": [{**where, "delta": fields, **choice}]}


def told(*pieces: bytes) -> list[wire.ChatChunk]:
    """Push bytes; return the messages."""
    writer = inference.writer(FACTS)
    return [wire.ChatChunk.FromString(message) for piece in pieces for message in writer.push_events(piece)]


def together(chunks: list[wire.ChatChunk]) -> tuple[str, list[tuple[str, str, str]], int]:
    """Join the first choice: text, calls, finish reason."""
    text, finish = "", 0
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.text
            finish = choice.finish_reason or finish
            for call in choice.tool_calls:
                known = calls.setdefault(call.index, ["", "", ""])
                known[0] += call.id
                known[1] += call.name
                known[2] += call.arguments
    return text, [(one, two, three) for one, two, three in calls.values()], finish


@pytest.fixture
def answers() -> tuple[bytes, bytes]:
    """Return an answer of a simulated provider, complete and as an event stream."""
    asked = {"model": "small", "stream": True, "stream_options": {"include_usage": True}, "messages": [{}]}
    ask = read("/v1/chat/completions", json.dumps(asked).encode(), Pace(tokens=12))
    whole = Answer(ask, "sim-a", "1", 1_700_000_000)
    return whole.whole(), b"".join([*whole.opening(), *whole.content(), *whole.closing()])


def test_a_stream_says_what_the_whole_says(answers: tuple[bytes, bytes]) -> None:
    """The joined texts are the complete text; reason, usage, names and target come once."""
    whole = wire.ChatResponse.FromString(inference.write(answers[0], FACTS))
    chunks = told(answers[1])
    text, calls, finish = together(chunks)
    assert text == whole.choices[0].message.parts[0].text
    assert (calls, finish) == ([], whole.choices[0].finish_reason)
    assert chunks[-1].usage == whole.usage
    assert [index for index, chunk in enumerate(chunks) if chunk.HasField("answered")] == [0]
    assert (chunks[0].id, chunks[0].model, chunks[0].answered) == (whole.id, whole.model, whole.answered)
    assert chunks[0].choices[0].role == wire.ROLE_ASSISTANT
    assert {chunk.id for chunk in chunks[1:]} == {""}


@given(st.data(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_bytes_may_be_cut_anywhere(data: st.DataObject, end: bytes) -> None:
    """The messages do not depend on the cuts of the event stream or on its line ends."""
    stream = (
        b": comment\n\n" + b"".join(event(delta({"content": text})) for text in ("a", "ü", "\n")) + b"data: [DONE]\n\n"
    )
    stream = stream.replace(b"\n", end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [chunk.SerializeToString() for chunk in told(*pieces)] == [
        chunk.SerializeToString() for chunk in told(stream)
    ]
    assert together(told(*pieces))[0] == "aü\n"


def test_calls_in_pieces() -> None:
    """Fragments of calls keep their index; a provider without indices means in order."""
    opening = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}, "sig": "s"}
    chunks = told(
        event(delta({"tool_calls": [{"index": 1, **opening}]})),
        event(delta({"tool_calls": [{"index": 1, "function": {"arguments": '{"a'}}]})),
        event(delta({"tool_calls": [{"index": 1, "function": {"arguments": '":1}'}}]}, finish_reason="tool_calls")),
    )
    assert together(chunks) == ("", [("c", "f", '{"a":1}')], wire.FINISH_REASON_TOOL_CALLS)
    assert dict(chunks[0].choices[0].tool_calls[0].extra) == {"sig": "s"}
    (chunk,) = told(event(delta({"tool_calls": [opening, opening]}, index=None)))
    assert [call.index for call in chunk.choices[0].tool_calls] == [0, 1]


def test_what_is_repeated_is_told_once() -> None:
    """Names, roles and additional fields come with the first chunk and on changes; empty events are dropped."""
    same = {**delta({"role": "assistant", "content": "a"}), "fingerprint": "f"}
    chunks = told(
        event(same),
        event(same),
        event({**same, "choices": [{"index": 0, "delta": {}}]}),
        event({**same, "model": "m2", "fingerprint": "g"}),
    )
    assert [chunk.model for chunk in chunks] == ["m", "", "m2"]
    assert [chunk.choices[0].role for chunk in chunks] == [wire.ROLE_ASSISTANT, 0, 0]
    assert [dict(chunk.extra) for chunk in chunks] == [{"fingerprint": "f"}, {}, {"fingerprint": "g"}]


def test_several_choices_and_thoughts() -> None:
    """Each choice has its own role and text; reasoning and refusals are not text."""
    chunks = told(
        event(delta({"role": "assistant", "reasoning_content": "hm"})),
        event(delta({"reasoning": "hm"}, index=1)),
        event(delta({"role": "assistant", "refusal": "no", "annotations": []}, index=1, logprobs={"content": None})),
        event(delta({"content": [{"type": "text", "text": "pa"}, "rts"]})),
    )
    choices = [chunk.choices[0] for chunk in chunks]
    assert [choice.index for choice in choices] == [0, 1, 1, 0]
    assert [choice.reasoning for choice in choices] == ["hm", "hm", "", ""]
    assert (choices[2].refusal, choices[2].role, choices[3].text) == ("no", wire.ROLE_ASSISTANT, "parts")
    assert set(choices[2].extra.fields) == {"logprobs", "annotations"}


def test_errors_in_the_stream_are_no_message() -> None:
    """Error events and the end mark give no message, because the call's status reports them."""
    assert told(event({"error": {"message": "boom"}}), b"data: [DONE]\n\n") == []


def test_events_of_several_lines() -> None:
    """Data lines of one event are joined; other fields of an event are ignored."""
    (chunk,) = told(b'event: x\nid: 1\ndata: {"choices":[{"delta":\ndata: {"content":"a"}}]}\nretry: 5\n\n')
    assert chunk.choices[0].text == "a"


@pytest.mark.parametrize("data", [b"x", b"{", b"[]", b'{"choices": 5}', b'{"choices":[{"delta":{"content":[{}]}}]}'])
def test_what_is_no_chunk_is_the_providers(data: bytes) -> None:
    """An event that is not a chunk is refused by name."""
    with pytest.raises(AnswerUnreadableError):
        inference.writer(FACTS).push(data)


def test_an_event_without_an_end_is_bounded() -> None:
    """An event that does not end is refused, in one line or in many."""
    for piece in (b"x" * 65_536, b"data: " + b"x" * 65_530 + b"\n"):
        writer = inference.writer(FACTS)
        with pytest.raises(AnswerUnreadableError, match="larger than"):  # noqa: PT012 - whichever piece it is
            for _ in range(70):
                writer.push_events(piece)
