"""Durations, sizes and shares are read as they are written, and are written back the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import units

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("2s", 2 * 10**9),
        ("5m", 300 * 10**9),
        ("1h", 3600 * 10**9),
        ("1.5s", 1_500_000_000),
        ("400d", 400 * 86400 * 10**9),
    ],
)
def test_durations(text: str, ns: int) -> None:
    """Each unit has its value, and fractions are exact."""
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("7B", 7), ("64KiB", 65536), ("32MiB", 32 * 1024**2), ("1GB", 10**9), ("1.5MiB", 1572864)]
)
def test_sizes(text: str, size: int) -> None:
    """Binary and decimal units are different."""
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "s", "-1s", "1e3s", "1_000ms", "٣s", "1 s", "0x1s", "1S", ".5s", "5.s", "1m30s"])
def test_what_int_would_take_is_no_duration(text: str) -> None:
    """Only plain digits, a point and a known unit are a duration."""
    with pytest.raises(ValueError, match="is not a duration"):
        units.parse_duration(text)


@pytest.mark.parametrize(("text", "said"), [("9999999h", "more than ten years"), ("9999999GB", "more than 1024GiB")])
def test_slips_of_the_finger_are_refused(text: str, said: str) -> None:
    """Values that could overflow later sums are refused."""
    with pytest.raises(ValueError, match=said):
        (units.parse_duration if text.endswith("h") else units.parse_size)(text)


@given(st.integers(0, units.LONGEST_NS // units.NS_PER_MS))
def test_durations_come_back(ms: int) -> None:
    """A shown duration reads back as the same."""
    ns = ms * units.NS_PER_MS
    assert units.parse_duration(units.format_duration(ns)) == ns


@given(st.integers(0, units.LARGEST))
def test_sizes_come_back(size: int) -> None:
    """A shown size reads back as the same."""
    assert units.parse_size(units.format_size(size)) == size


@given(st.integers(0, 10_000))
def test_shares_come_back(hundredths: int) -> None:
    """A shown share reads back as the same."""
    share = units.parse_share(f"{hundredths / 100}%")
    assert units.parse_share(units.format_share(share)) == share


@given(st.text(max_size=20))
def test_any_text_is_understood_or_refused_with_a_remedy(text: str) -> None:
    """No text breaks a parser, and a refusal says what to write."""
    for parse in (units.parse_duration, units.parse_size, units.parse_share):
        said = _said(parse, text)
        assert not said or re.search("write|more than", said)


def _said(parse: Callable[[str], float], text: str) -> str:
    """Return why a text is refused, or an empty string if it is accepted."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""
