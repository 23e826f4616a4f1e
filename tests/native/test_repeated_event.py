"""An event that differs from the one before in its text alone says the same as if it were read by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native.codec.event_kind import Said
from native.codec.shown import Shown
from native.codec.sse import Scanner

# What stands around the text, as the dialects have it, and as no event before it may be taken for it.
FRAMES = (
    b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}',
    b'{"choices":[{"index":1,"delta":{"content":"%s"}}]}',
    b'{"choices":[{"index":0,"text":"%s","finish_reason":null}]}',
    b'{"choices":[{"delta":{"content":"%s"},"finish_reason":"stop"}]}',
    b'{"choices":[{"delta":{"content":"%s"}}],"usage":{"prompt_tokens":3,"completion_tokens":5}}',
    b'{"choices":[{"delta":{"content":"%s","tool_calls":[{"index":0}]}}]}',
    b'{"choices":[{"delta":{"reasoning_content":"%s"}}]}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}',
    b'{"delta":{"text":"%s"},"type":"a.audio.delta"}',
    b'{"type":"response.output_text.delta","delta":"%s"}',
    b'{"candidates":[{"content":{"parts":[{"text":"%s"}],"role":"model"}}]}',
    b'{"choices":[{"delta":{"content":"%s"}}],"error":{"message":"x"}}',
    b' {"choices":[{"delta":{"content":"%s"}}]}\t',
)
TEXTS = (
    *(b"a", b" the", b"", b"x" * 64, b"x" * 65, b"data:image/png;base64," + b"A" * 80, b"\\n", b"\\u00e9\\\\", b'\\"'),
    *(
        b"\xc3\xa9",
        b"\xc3",
        b"\xff",
        b"\x01",
        b"\\",
        b"\\x",
        b'"',
        b'","role":"',
        b'"},"error":{"m":"y',
        b'x"}}],"y":[{"z":{"a":"',
    ),
)
CALL = 4  # native.codec.sse.Cut.CUT_CALL
EVENTS = st.tuples(
    st.sampled_from((b"", b"event: content_block_delta\n", b"event: error\n")),
    st.sampled_from(FRAMES),
    st.one_of(st.sampled_from(TEXTS), st.text(max_size=70).map(lambda text: json.dumps(text)[1:-1].encode())),
).map(lambda parts: parts[0] + b"data: " + parts[1].replace(b"%s", parts[2]) + b"\n\n")


def heard(events: list[bytes], scanner: Scanner) -> dict[str, Any]:
    """Return what a scanner says of each event, and of all of them."""
    fresh = []
    for event in events:
        assert scanner.push(event) == event
        # whether a tool call has begun, and whether content has come, depends on what was before
        cuts = [(start, end, why & ~CALL) for start, end, why in scanner.broken]
        fresh.append((scanner.fresh & ~Said.SAID_ERROR_FIRST, cuts))
    return {"fresh": fresh, "events": scanner.events, "size": scanner.said_size, "output": scanner.output_tokens}


@given(st.lists(EVENTS, min_size=1, max_size=12))
@example(
    [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b'data: {"choices":[{"delta":{"content":"b","x":"c"}}]}\n\n']
)
def test_each_says_what_it_says_by_itself(events: list[bytes]) -> None:
    """What stands around a text, and texts that break out of their quotes, are told from what came before."""
    told = heard(events, Scanner())
    alone = [heard([event], Scanner()) for event in events]
    assert told["fresh"] == [item["fresh"][0] for item in alone]
    assert told["events"] == sum(item["events"] for item in alone)
    assert told["size"] == sum(item["size"] for item in alone)


@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_the_text_that_is_shown_is_the_same(events: list[bytes]) -> None:
    """The text is kept as by a scanner that remembers no event, because one of another kind is before each."""
    keeping, other = Shown(), Shown()
    heard(events, Scanner(shown=keeping))
    apart = Scanner(shown=other)
    for event in events:
        for _ in range(2):  # two kinds in turn are never remembered when the next one comes
            apart.push(b'data: {"choices":[{"delta":{"content":"","x":""},"index":7}]}\n\n')
        apart.push(event)
    assert repr(keeping) == repr(other)
    assert keeping.text == other.text


@pytest.mark.parametrize("frame", FRAMES[:3] + FRAMES[7:8])
def test_a_long_stream_of_one_kind(frame: bytes) -> None:
    """Every event of a stream counts, and the one that ends it is not missed."""
    scanner = Scanner()
    for number in range(100):
        scanner.push(b"data: " + frame.replace(b"%s", b"w%d" % number) + b"\n\n")
        assert scanner.fresh & Said.SAID_CONTENT
    scanner.push(b"data: " + frame.replace(b'"%s"', b'"x","error":"e"') + b"\n\n")
    assert scanner.events >= 100
    assert scanner.said_size >= 10 * 2 + 90 * 3
    scanner.push(b"data: [DONE]\n\n")
    assert scanner.fresh == Said.SAID_DONE


@pytest.mark.parametrize("size", [61, 62, 63, 64, 65])
def test_a_picture_in_a_text_counts_the_same_behind_other_texts(size: int) -> None:
    """A text that begins as a picture does counts as one from the same length on, whatever came before it."""
    frame = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
    picture = frame % (b"data:image/png;base64," + b"A" * 80)[:size]
    scanner, alone = Scanner(), Scanner()
    for text in (b"a", b"b"):
        scanner.push(frame % text)
    scanner.push(picture)
    alone.push(picture)
    assert scanner.said_size == 2 + alone.said_size
