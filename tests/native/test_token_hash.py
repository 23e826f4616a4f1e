"""The keyed hash of tokens is NH as it is defined, and tells all tokens apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.state.tokens import token_hash

KEY = bytes(range(1, 252)) * 40
WORD = 1 << 64


def words(data: bytes) -> list[int]:
    """Return data as little-endian words of 64 bits; the last pair is filled with zeros."""
    padded = data + b"\0" * (-len(data) % 16)
    return [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]


def nh(message: list[int], key: list[int]) -> int:
    """Return NH: the sum of products of sums (UMAC, CRYPTO 1999, section 3)."""
    pairs = zip(message[::2], message[1::2], key[::2], key[1::2], strict=False)
    return sum(((m + k) % WORD) * ((n + q) % WORD) for m, n, k, q in pairs) % (1 << 128)


def reference(data: bytes, key: bytes) -> bytes:
    """Return the hash by its definition."""
    message, secret = words(data), words(key)
    parts = nh(message, secret), nh(message, secret[2:])
    return b"".join(part.to_bytes(16, "little") for part in parts) + len(data).to_bytes(8, "little")


@given(st.binary(max_size=400), st.binary(min_size=431, max_size=440))
def test_it_is_nh(data: bytes, key: bytes) -> None:
    """It equals the definition for every length."""
    assert token_hash(data, key) == reference(data, key)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_changed_byte_changes_both_halves(data: bytes, drawn: st.DataObject) -> None:
    """Two texts that differ in one byte differ in each of the two hashes."""
    at = drawn.draw(st.integers(0, len(data) - 1))
    other = data[:at] + bytes([data[at] ^ drawn.draw(st.integers(1, 255))]) + data[at + 1 :]
    one, two = token_hash(data, KEY), token_hash(other, KEY)
    assert one[:16] != two[:16]
    assert one[16:32] != two[16:32]


def test_zeros_at_the_end_count() -> None:
    """A text and the same with zeros behind it have different hashes, although both fill the same words."""
    assert len({token_hash(b"a" + b"\0" * count, KEY) for count in range(15)}) == 15


def test_the_longest_token_fits() -> None:
    """The key of a worker is long enough for the longest token."""
    assert token_hash(b"x" * 8192, bytes(8192 + 31)) == reference(b"x" * 8192, bytes(8192 + 32))
    with pytest.raises(ValueError, match="too short"):
        token_hash(b"x" * 8192, bytes(8192 + 30))
