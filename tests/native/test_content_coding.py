"""Compressed bodies are decoded in pieces of any size, and expand no more than they may."""

from __future__ import annotations

import gzip
import zlib
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.content_coding import decode

CODINGS = {b"gzip": gzip.compress, b"x-gzip": gzip.compress, b" GZIP ": gzip.compress, b"deflate": zlib.compress}


@pytest.mark.parametrize("coding", CODINGS)
@given(plain=st.binary(max_size=3000), at=st.integers(0, 3000))
def test_it_is_undone_wherever_it_is_cut(coding: bytes, plain: bytes, at: int) -> None:
    """Decoding two pieces gives what was compressed."""
    packed = CODINGS[coding](plain)
    assert decode(coding, [packed[:at], packed[at:]]) == plain


def test_a_body_may_have_several_members() -> None:
    """Members of gzip that follow each other are one body."""
    assert decode(b"gzip", [gzip.compress(b"one ") + gzip.compress(b"two")]) == b"one two"
    assert decode(b"gzip", [gzip.compress(b"one "), gzip.compress(b"two")]) == b"one two"


@pytest.mark.parametrize(
    "packed",
    [b"plain", gzip.compress(b"cut", mtime=0)[:-1], gzip.compress(b"more", mtime=0) + b"rubbish", b"\x1f\x8b"],
)
def test_a_broken_body_is_none(packed: bytes) -> None:
    """What is not a whole body of its coding gives nothing."""
    assert decode(b"gzip", [packed]) is None


def test_no_body_is_empty() -> None:
    """A body without a byte is an empty body."""
    assert decode(b"gzip", []) == b""


def test_it_expands_only_so_far() -> None:
    """A body that expands more than a hundredfold ends after the first MiB, and none passes its limit."""
    assert decode(b"gzip", [gzip.compress(bytes(1 << 20))]) == bytes(1 << 20)
    assert decode(b"gzip", [gzip.compress(bytes(2 << 20))]) is None
    assert decode(b"gzip", [gzip.compress(b"abcd")], 4) == b"abcd"
    assert decode(b"gzip", [gzip.compress(b"abcde")], 4) is None


@pytest.mark.parametrize(("coding", "library"), [(b"br", "brotli"), (b"zstd", "zstandard")])
def test_a_coding_without_its_library_is_unknown(coding: bytes, library: str) -> None:
    """What cannot be decoded is said so, and not guessed."""
    if find_spec(library) is not None:
        assert decode(coding, [b"no such body"]) is None
        return
    with pytest.raises(ValueError, match="no decoder"):
        decode(coding, [b""])
    with pytest.raises(ValueError, match="no decoder"):
        decode(b"gzip, gzip", [b""])
