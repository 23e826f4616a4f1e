"""Answers that ask nobody to wait are told by a glance; every answer that asks is passed to the parser."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.providers.retry_after import retry_after_seconds
from native.codec.retry_hints import may_ask

KINDS = ("requests", "tokens", "input-tokens")
NAMES = [
    b"retry-after",
    b"retry-after-ms",
    b"x-ms-retry-after-ms",
    b"date",
    b"x-ratelimit-reset",
    b"x-ratelimit-remaining",
    b"x-tokenlimit-reset",
    b"x-tokenlimit-remaining",
    b"ratelimitbysize-reset",
    b"ratelimitbysize-remaining",
    *(f"x-ratelimit-{what}-{kind}".encode() for kind in KINDS for what in ("reset", "remaining", "limit")),
    *(f"anthropic-ratelimit-{kind}-{what}".encode() for kind in KINDS for what in ("reset", "remaining", "limit")),
]
VALUES = st.sampled_from(
    [b"", b"0", b"00", b"1", b"17", b"0.5", b" 0", b"6m0s", b"12ms", b"-1", b"1e-400", b"1.5", b"2030-01-01T00:00:00Z"]
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
@example([(b"x-ratelimit-reset-tokens", b"6m0s"), (b"x-ratelimit-remaining-requests", b"5")])
@example([(b"x-ratelimit-reset", b"6m0s"), (b"x-ratelimit-remaining", b"1"), (b"x-ratelimit-remaining", b"0")])
def test_no_wish_is_overlooked(fields: list[tuple[bytes, bytes]]) -> None:
    """Whenever the parser finds a time to wait, the glance has said that there may be one."""
    assert retry_after_seconds(fields) is None or may_ask(fields)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"date", b"Mon, 01 Sep 2025 12:00:00 GMT"), (b"content-type", b"application/json")],
        [(b"x-ratelimit-reset-requests", b"12ms"), (b"x-ratelimit-remaining-requests", b"59")],
        [
            (b"anthropic-ratelimit-tokens-remaining", b"9"),
            (b"anthropic-ratelimit-tokens-reset", b"2030-01-01T00:00:00Z"),
        ],
        [(b"x-tokenlimit-reset", b"1"), (b"x-tokenlimit-remaining", b"9000")],
        [(b"ratelimitbysize-reset", b"28"), (b"ratelimitbysize-remaining", b"499900")],
        [(b"x-ratelimit-remaining-tokens", b"0"), (b"anthropic-ratelimit-x", b"1"), (b"x-ratelimit-", b"")],
    ],
)
def test_usual_answers_are_not_parsed(fields: list[tuple[bytes, bytes]]) -> None:
    """An answer whose limits are not used up needs no parser."""
    assert not may_ask(fields)
