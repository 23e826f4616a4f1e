"""The stream scanner finds the same as a complete parse, wherever the network cuts, and passes every byte on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native.codec import event_kind, sse
from tests.reference import sse as twin

LIMIT = 160  # small, so that generated events go over it as well
MARK = b"\xef\xbb\xbf"


def chat(delta: Any, finish: Any = None, **more: Any) -> dict[str, Any]:
    """Build a chat chunk."""
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


def block(start: Any) -> dict[str, Any]:
    """Build an Anthropic content_block_start."""
    return {"type": "content_block_start", "index": 0, "content_block": start}


def gemini(parts: Any, **more: Any) -> dict[str, Any]:
    """Build a Gemini chunk."""
    return {"candidates": [{"content": {"role": "model", "parts": parts}, **more}]}


# What each event says by itself: the shapes of the providers, one line per shape.
SHAPES: list[tuple[Any, int]] = [
    # chat
    (chat({"role": "assistant", "content": ""}), twin.PREAMBLE),
    (chat({"role": "assistant", "content": None, "reasoning_content": ""}), twin.PREAMBLE),
    (chat({"content": "Hi"}), twin.CONTENT),
    (chat({"content": " "}), twin.CONTENT),
    (chat({"content": '"'}), twin.CONTENT),
    (chat({"reasoning_content": "Hm"}), twin.CONTENT),
    (chat({"reasoning": "Hm"}), twin.CONTENT),
    (chat({"refusal": "No"}), twin.CONTENT),
    (chat({"content": [{"type": "text", "text": "Hi"}]}), twin.CONTENT),
    (chat({"content": []}), twin.PREAMBLE),
    (chat({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]}), twin.CONTENT),
    (chat({"tool_calls": []}), twin.PREAMBLE),
    (chat({"function_call": {"name": "f"}}), twin.CONTENT),
    (chat({"function_call": None}), twin.PREAMBLE),
    (chat({"audio": {"id": "a", "data": "AAAA"}}), twin.CONTENT),
    (chat({"provider_specific_fields": {"x": "y"}}), twin.PREAMBLE),
    (chat({}, "stop"), twin.FINISH),
    (chat({}, ""), twin.PREAMBLE),
    (chat({"content": "!"}, "stop"), twin.CONTENT | twin.FINISH),
    (chat({"content": ""}, "error"), twin.ERROR),
    (chat({"content": "x"}, None, error={"code": 502}), twin.ERROR),
    (chat({"content": "x"}, None, error=None), twin.CONTENT),
    (chat({"content": "x"}, None, error=""), twin.CONTENT),
    ({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}, twin.PREAMBLE),
    ({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, twin.PREAMBLE),
    ({"choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}, twin.CONTENT),
    ({"choices": [{"index": 0, "text": "", "finish_reason": None}]}, twin.PREAMBLE),
    ({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}, twin.FINISH),
    ({"choices": [{"delta": {"role": "assistant"}}, {"delta": {"content": "second"}}]}, twin.CONTENT),
    ({"choices": [{"message": {"role": "assistant", "content": "whole"}}]}, twin.CONTENT),
    # errors
    ({"error": {"message": "overloaded"}}, twin.ERROR),
    ({"error": "overloaded"}, twin.ERROR),
    ({"error": {}}, twin.PREAMBLE),
    ({"object": "error", "message": "overloaded"}, twin.ERROR),
    ({"type": "error", "error": {"type": "overloaded_error"}}, twin.ERROR),
    ({"type": "error", "code": "server_error", "message": "x"}, twin.ERROR),
    ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, twin.ERROR),
    # responses
    ({"type": "response.created", "response": {"status": "in_progress", "error": None}}, twin.PREAMBLE),
    ({"type": "response.in_progress", "response": {}}, twin.PREAMBLE),
    ({"type": "response.output_item.added", "item": {"type": "message", "content": []}}, twin.PREAMBLE),
    ({"type": "response.output_text.delta", "delta": "Hi"}, twin.CONTENT),
    ({"type": "response.output_text.delta", "delta": ""}, twin.PREAMBLE),
    ({"type": "response.reasoning_summary_text.delta", "delta": "Hm"}, twin.CONTENT),
    ({"type": "response.function_call_arguments.delta", "delta": "{"}, twin.CONTENT),
    ({"type": "response.output_text.done", "text": "Hi"}, twin.CONTENT),
    ({"type": "response.output_text.done", "text": ""}, twin.PREAMBLE),
    ({"type": "response.function_call_arguments.done", "arguments": "{}"}, twin.CONTENT),
    ({"type": "response.output_item.done", "item": {"content": [{"text": "Hi"}]}}, twin.PREAMBLE),
    ({"type": "response.image_generation_call.partial_image", "partial_image_b64": "AA"}, twin.CONTENT),
    ({"type": "response.completed", "response": {"usage": {"input_tokens": 4, "output_tokens": 6}}}, twin.FINISH),
    ({"type": "response.incomplete", "response": {}}, twin.FINISH),
    ({"type": "image_generation.completed", "b64_json": "iVBOR"}, twin.FINISH),
    ({"type": "image_edit.completed", "b64_json": "iVBOR"}, twin.FINISH),
    ({"type": "speech.audio.done", "usage": {}}, twin.FINISH),
    ({"type": "transcript.text.done", "text": ""}, twin.FINISH),
    ({"type": "transcript.text.done", "text": "said"}, twin.FINISH | twin.CONTENT),
    # Anthropic
    (
        {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 7, "output_tokens": 1}}},
        twin.PREAMBLE,
    ),
    ({"type": "ping"}, twin.PREAMBLE),
    (block({"type": "text", "text": ""}), twin.PREAMBLE),
    (block({"type": "thinking", "thinking": "", "signature": ""}), twin.PREAMBLE),
    (block({"type": "text", "text": "Hi"}), twin.CONTENT),
    (block({"type": "tool_use", "id": "t", "name": "f", "input": {}}), twin.CONTENT),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}, twin.CONTENT),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}, twin.PREAMBLE),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {}}}, twin.CONTENT),
    ({"type": "content_block_stop", "index": 0}, twin.PREAMBLE),
    ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}}, twin.PREAMBLE),
    ({"type": "message_stop"}, twin.FINISH),
    # Gemini
    (gemini([{"text": "Hi"}]), twin.CONTENT),
    (gemini([]), twin.PREAMBLE),
    (gemini([{"text": "."}], finishReason="STOP"), twin.CONTENT | twin.FINISH),
    ({"candidates": [{"finishReason": "SAFETY"}]}, twin.FINISH),
    ({"usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 9}}, twin.PREAMBLE),
    ({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8}}, twin.FINISH),
    ({"promptFeedback": {"safetyRatings": []}}, twin.PREAMBLE),
    # no object at all
    ("text", twin.GARBAGE),
    ([], twin.GARBAGE),
    (5, twin.GARBAGE),
]

CHAT = ("choices", "delta", "message", "content", "text", "finish_reason", "role", "id", "tool_calls", "function_call")
OTHERS = (
    "candidates",
    "parts",
    "finishReason",
    "usageMetadata",
    "promptTokenCount",
    "content_block",
    "thinking",
    "tool_use",
)
BOTH = (
    "type",
    "error",
    "object",
    "usage",
    "response",
    "prompt_tokens",
    "output_tokens",
    "arguments",
    "audio",
    "x",
    "stop",
)
TYPES = ("response.output_text.delta", "response.output_text.done", "response.completed", "response.failed", ".delta")
MORE_TYPES = ("message_stop", "content_block_delta", "content_block_start", "a.partial_image")
WORDS = st.sampled_from((*CHAT, *OTHERS, *BOTH, *TYPES, *MORE_TYPES, "", "é", "\n", '"', "[DONE]"))
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 2**66), st.floats(0, 2), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=14,
)
KNOWN = st.sampled_from([shape for shape, _ in SHAPES])


@st.composite
def units(draw: st.DrawFn) -> bytes:
    """One event, comment or odd line, with its line ends."""
    end = draw(st.sampled_from((b"\n", b"\r\n", b"\r")))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return (
            b":"
            + draw(st.sampled_from((b" keep-alive", b"", b" OPENROUTER PROCESSING", b"x" * 200)))
            + end * draw(st.integers(1, 2))
        )
    if kind == 1:
        return end * draw(st.integers(1, 3))
    if kind == 2:
        return b"data: [DONE]" + end + end
    if kind == 3:
        lines = st.sampled_from(
            (
                b"data",
                b"data:",
                b"data: {",
                b"data:}",
                b"event: error",
                b"event:error ",
                b"event",
                b"id: 7",
                b"retry: 9",
                b":c",
                b"dat: x",
                b"data : x",
            )
        )
        return b"".join(line + end for line in draw(st.lists(lines, max_size=4))) + end
    data = json.dumps(draw(st.one_of(KNOWN, ANYTHING)), ensure_ascii=draw(st.booleans()))
    if kind == 4:
        data = data[: draw(st.integers(0, len(data)))] + draw(st.sampled_from(("", "}", " ", "x")))
    name = (
        b""
        if draw(st.booleans())
        else b"event: " + draw(st.sampled_from((b"message", b"error", b"response.completed"))) + end
    )
    space = draw(st.sampled_from((b"", b" ", b"  ")))
    cut = draw(st.integers(0, len(data)))
    if kind == 5:  # one JSON text over two data lines: white space where it was cut, mostly garbage
        return name + b"data:" + space + data[:cut].encode() + end + b"data:" + space + data[cut:].encode() + end + end
    return name + b"data:" + space + data.encode() + end + end


STREAMS = st.tuples(
    st.sampled_from((b"", b"", MARK, MARK[:2])), st.lists(units(), max_size=6), st.binary(max_size=8)
).map(lambda parts: parts[0] + b"".join(parts[1]) + parts[2])


def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The stream in any number of chunks, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


@st.composite
def cut_streams(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = STREAMS) -> list[bytes]:
    """A stream in chunks."""
    return cuts(draw, draw(streams))


def heard_by(scanner: sse.Scanner) -> tuple[int, int, bytes | None, int, int]:
    """Return all that a scanner has found in the stream so far."""
    return scanner.said, scanner.events, scanner.error, scanner.prompt_tokens, scanner.output_tokens


def check(chunks: list[bytes], limit: int) -> None:
    """Assert after every chunk that the scanner agrees with a complete parse of the bytes so far."""
    scanner = sse.Scanner(limit)
    stream = b"".join(chunks)
    came = handed = said = 0
    cuts: list[tuple[int, int, int]] = []
    for chunk in chunks:
        out = scanner.push(chunk)
        cuts += [(handed + start, handed + end, why) for start, end, why in scanner.broken]
        assert stream[handed : handed + len(out)] == out
        came += len(chunk)
        handed += len(out)
        expected = twin.hear(stream[:came], limit)
        assert (
            expected.said,
            expected.events,
            expected.error,
            *expected.tokens,
        ) == heard_by(scanner), stream[:came]
        assert expected.border == handed
        assert [(start, why) for start, _, why in expected.cuts] == [(start, why) for start, _, why in cuts]
        assert all(0 <= end - cut_end <= 1 for (_, end, _), (_, cut_end, _) in zip(expected.cuts, cuts, strict=True))
        assert (expected.choices <= expected.ended) == scanner.ended_choices
        assert came - handed <= limit
        said |= scanner.fresh
        assert said == scanner.said
    assert stream[handed:] == scanner.tail()
    assert scanner.tail() == b""


@pytest.mark.parametrize(("shape", "expected"), SHAPES, ids=[json.dumps(shape)[:70] for shape, _ in SHAPES])
def test_each_shape_says_what_it_means(shape: Any, expected: int) -> None:
    """Each provider's events are classified as its API defines them, and as the model does."""
    stream = b"data: " + json.dumps(shape).encode() + b"\n\n"
    scanner = sse.Scanner()
    assert scanner.push(stream) is stream
    first = twin.ERROR_FIRST if expected & twin.ERROR else 0
    assert expected | first == scanner.said & ~(twin.CALL | twin.CHOICES)
    assert (expected & twin.CONTENT > 0) == scanner.events
    check([stream], 1 << 18)


@given(cut_streams())
@example([b"data: {}\r", b"\n\r", b"\ndata: {}\n\n"])
@example([b"data: {}\r\r", b"\n", b"\n"])
@example([b": a\r", b"\n: b\n"])
@example([b"\xef", b"\xbb", b"\xbfdata: [DONE]\n\n"])
@example([b"\xef", b"\xbb", b"data: [DONE]\n\n"])
@example([MARK + b": x\n", b"data: [DONE]\n\n"])
@example([b"data: [DONE]\ndata: 1\n\n"])
@example([b"da", b"ta", b":", b" ", b"[DO", b"NE]", b"\n", b"\n"])
def test_hears_the_same_wherever_it_is_cut(chunks: list[bytes]) -> None:
    """Bits, counts and borders after each chunk depend only on the bytes so far, and not on the cuts."""
    check(chunks, 1 << 18)


@given(cut_streams(), st.integers(16, 2 * LIMIT))
@example([b"data: " + b"x" * 30, b"y" * 30 + b"\n", b"\n", b"data: [DONE]\n\n"], 32)
@example([b":" + b"x" * 30, b"y" * 30 + b"\ndata: [DONE]\n", b"\n"], 32)
@example([b'data: {"type":"response.completed","x":"' + b"x" * 200, b'"}\n\n'], 64)
@example([b"data: [DONE]\r\r", b"\n"], 13)
@example([b"data: [DONE]\r\n\r", b"\n"], 15)
@example([b'data:{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'], 74)
def test_long_events_are_not_held(chunks: list[bytes], limit: int) -> None:
    """At most ``limit`` bytes are held back, and the classification of a long event does not depend on the cuts."""
    check(chunks, limit)


@given(cut_streams(st.binary(max_size=80)), st.integers(16, 64))
@example([b"\x00\r\n\xff:\r"], 16)
def test_any_bytes_pass_through(chunks: list[bytes], limit: int) -> None:
    """Random bytes are passed on unchanged and classified as by the model, without a crash."""
    check(chunks, limit)


@given(cut_streams(st.text('dat: {}[]\r\n"event:o,\\', max_size=80).map(str.encode)))
def test_near_events_pass_through(chunks: list[bytes]) -> None:
    """Bytes that are almost events are passed on unchanged, and classified as by the model."""
    check(chunks, 1 << 18)


def test_no_copy_when_nothing_is_cut() -> None:
    """A chunk of complete events is passed on as the same object, also after an incomplete event was completed."""
    scanner = sse.Scanner()
    chunk = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n: ping\n\n'
    assert scanner.push(chunk) is chunk
    assert scanner.push(b"data: [DO") == b""
    assert scanner.push(b"NE]\n\n") == b"data: [DONE]\n\n"
    assert scanner.push(chunk) is chunk


def test_an_error_before_content_is_told_apart() -> None:
    """ERROR_FIRST is set only if no content came before the first error, even within one chunk."""
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    content = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
    preamble = b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
    for stream, first in [(error + content, True), (preamble + error, True), (content + error, False)]:
        scanner = sse.Scanner()
        scanner.push(stream)
        assert scanner.said & event_kind.Said.SAID_ERROR
        assert bool(scanner.said & event_kind.Said.SAID_ERROR_FIRST) is first
        assert scanner.error == b'{"error":{"message":"overloaded"}}'


def test_the_first_error_is_kept_within_bounds() -> None:
    """The first error's data is kept, cut at 16 KiB, and a later error does not replace it."""
    scanner = sse.Scanner()
    long = json.dumps({"error": "x" * 20_000}).encode()
    scanner.push(b"data: " + long + b"\n\nevent: error\ndata: second\n\n")
    assert long[: 16 * 1024] == scanner.error


def test_an_error_by_name_needs_no_json() -> None:
    """An event named error is an error, whatever its data is; what is no JSON is not for a client."""
    scanner = sse.Scanner()
    scanner.push(b"event: error\ndata: upstream went away\n\n")
    assert scanner.said == twin.ERROR | twin.ERROR_FIRST | twin.GARBAGE
    assert scanner.broken == [(0, 39, twin.CUT_BROKEN | twin.CUT_ERROR)]
    assert scanner.error == b"upstream went away"


@pytest.mark.parametrize("name", [b"response.completed", b"message_stop"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_the_end_is_heard_in_an_event_over_the_limit(name: bytes, chunk: int) -> None:
    """A last event over the limit (a Responses answer repeats itself) is still the end, by type or by name."""
    by_type = b'data: {"type":"' + name + b'","response":{"output":"' + b"x" * 3000 + b'"}}\n\n'
    by_name = b"event: " + name + b'\ndata: {"response":{"output":"' + b"x" * 3000 + b'"}}\n\n'
    for stream in (by_type, by_name):
        scanner = sse.Scanner(1000)
        out = b"".join(scanner.push(stream[at : at + chunk]) for at in range(0, len(stream), chunk))
        assert stream == out
        assert scanner.said == event_kind.Said.SAID_FINISH | event_kind.Said.SAID_CONTENT


def test_usage_is_the_last_said() -> None:
    """Token counts are found in every dialect, and later counts replace earlier ones."""
    scanner = sse.Scanner()
    assert (scanner.prompt_tokens, scanner.output_tokens) == (-1, -1)
    scanner.push(b'data: {"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}}\n\n')
    assert (scanner.prompt_tokens, scanner.output_tokens) == (7, 1)
    scanner.push(b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n')
    assert (scanner.prompt_tokens, scanner.output_tokens) == (7, 15)
    scanner.push(b'data: {"choices":[],"usage":null}\n\ndata: {"usage":{"output_tokens":99}\n\n')
    assert (scanner.prompt_tokens, scanner.output_tokens) == (7, 15)


def test_a_limit_of_nothing_is_refused() -> None:
    """A limit below one byte is refused with a message."""
    with pytest.raises(ValueError, match="at least 1 byte"):
        sse.Scanner(0)
