"""The text of one member of a JSON object is found as a complete parse finds it, and without reading what follows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.json_member import find_member, find_response

PLAIN = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=8)
KEYS = st.sampled_from(["id", "response", "x", "idx"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_it_finds_what_a_parse_finds(value: dict[str, Any]) -> None:
    """A string member of the object, or of an object in it, is returned; nothing else is."""
    content = json.dumps(value, ensure_ascii=False).encode()
    own, inner = value.get("id"), value.get("response")
    within = inner.get("id") if isinstance(inner, dict) else None
    assert find_member(content, None, b"id") == (own.encode() if isinstance(own, str) else None)
    assert find_member(content, b"response", b"id") == (within.encode() if isinstance(within, str) else None)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"id":"a", broken', b"a"),  # what follows is not read
        (b'{"x" 1,"id":"a"}', None),
        (b"[]", None),
        (b"", None),
        (b'{"id":"a', None),
        (rb'{"id":"a\"b"}', rb"a\"b"),
    ],
)
def test_the_edges(content: bytes, found: bytes | None) -> None:
    """What is no JSON up to the member has none; a text is returned as it is written."""
    assert find_member(content, None, b"id") == found


def test_the_first_events_name_the_response() -> None:
    """The id of a response stands in the first event that has a response."""
    events = (
        b': hello\n\nevent: response.queued\ndata: {"type":"other"}\n\n'
        b'event: response.created\ndata: {"type":"response.created","response":{"object":"response","id":"resp_1"}}\n\n'
    )
    assert find_response(events) == b"resp_1"
    assert find_response(b"data: [DONE]\n\n") is None
