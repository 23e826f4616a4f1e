"""Two requests are the same question only if no provider could answer them differently."""

from __future__ import annotations

import json

import pytest

from edge.cache.question import question

BODY = b'{"model":"chat","messages":[{"role":"user","content":"h\\u00e9"}],"temperature":0.5}'


def name(content: bytes, scope: str = "a", path: bytes = b"/chat/completions") -> bytes | None:
    """Return the question's name."""
    return question(scope, path, content)


@pytest.mark.parametrize(
    "other",
    [
        json.dumps(json.loads(BODY), indent=2).encode(),
        json.dumps(json.loads(BODY), ensure_ascii=False).encode(),
        b'{"temperature":0.50,"messages":[{"content":"h\xc3\xa9","role":"user"}],"model":"chat"}',
    ],
)
def test_form_makes_no_difference(other: bytes) -> None:
    """White space, order of names and escapes are no part of the question."""
    assert name(other) == name(BODY)
    assert name(BODY) is not None


@pytest.mark.parametrize(
    "other",
    [
        BODY.replace(b"0.5", b"0.6"),
        BODY.replace(b"0.5", b'"0.5"'),
        BODY.replace(b'"chat"', b'"chat2"'),
        BODY.replace(b"user", b"User"),
        BODY.replace(b"}],", b'}],"stream":true,'),
        BODY.replace(b"0.5", b"null"),
    ],
)
def test_content_makes_a_difference(other: bytes) -> None:
    """Any other value is another question."""
    assert name(other) is not None
    assert name(other) != name(BODY)


def test_scope_and_path_make_a_difference() -> None:
    """The same body of another caller or for another operation is another question; parts cannot run together."""
    names = {name(BODY), name(BODY, "b"), name(BODY, path=b"/responses"), name(BODY, "a/chat", b"/completions")}
    assert len(names) == 4
    assert None not in names


@pytest.mark.parametrize(
    "content",
    [
        b'{"model":"chat","model":"chat"}',
        b'{"messages":[{"content":"a","content":"b"}]}',
        b'{"temperature":1e999}',
        b'{"temperature":NaN}',
        b'{"seed":' + b"9" * 5000 + b"}",
        b'"chat"',
        b"[1]",
        b"\xff",
        b"{",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_what_can_be_read_in_two_ways_has_no_name(content: bytes) -> None:
    """An answer to such a body is never kept, so that nobody plants an answer to another's question."""
    assert name(content) is None
