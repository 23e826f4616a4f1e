"""Trace contexts are parsed strictly, and written contexts can be read back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from native.codec.trace_context import format_traceparent, parse_traceparent
from tests.native.trace_values import GOOD, VALUES, WORDS
from tests.reference import trace_context as twin


@given(VALUES)
@example(GOOD)
@example(GOOD.upper())
@example(GOOD[:-1])
@example(b"00-" + b"0" * 32 + GOOD[35:])
@example(GOOD[:36] + b"0" * 16 + GOOD[52:])
@example(b"cc" + GOOD[2:] + b"-what-comes-later")
@example(b"ff" + GOOD[2:])
def test_read_agrees(value: bytes) -> None:
    """The reader accepts exactly W3C's grammar."""
    assert parse_traceparent(value) == twin.parse(value)


@given(WORDS, WORDS, st.integers(1, 2**64 - 1), st.integers(0, 3))
def test_written_is_read(high: int, low: int, span: int, flags: int) -> None:
    """A written traceparent of version 00 reads back the same."""
    written = format_traceparent(high, low, span, flags)
    assert written == f"00-{high:016x}{low:016x}-{span:016x}-{flags:02x}".encode()
    if high or low:
        assert parse_traceparent(written) == (f"{high:016x}{low:016x}", f"{span:016x}", flags)
