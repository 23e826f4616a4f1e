"""Compressed bodies are decoded in pieces of any size, and expand no more than they may."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from native.codec.content_coding import decode

CODINGS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b" GZIP ": gzip.compress,
    b"deflate": zlib.compress,
    b"zstd": zstandard.compress,
    b"br": brotli.compress,
}


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
    assert decode(b"zstd", [zstandard.compress(b"one ") + zstandard.compress(b"two")]) == b"one two"
    assert decode(b"zstd", [zstandard.compress(b"one "), zstandard.compress(b"two")]) == b"one two"


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


@pytest.mark.parametrize("coding", [b"gzip", b"zstd", b"br"])
def test_a_bomb_ends_early(coding: bytes) -> None:
    """64 MiB of zeros end after the first MiB, in each coding, and the last byte of a body may not be missing."""
    compress = CODINGS[coding]
    assert decode(coding, [compress(bytes(64 << 20))]) is None
    assert decode(coding, [compress(b"whole")[:-1]]) is None
    assert decode(coding, [b"no such body"]) is None


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_many_members_have_to_give_something(coding: bytes) -> None:
    """An empty member has a few bytes and costs as much as a full one: a body of a hundred of them is refused."""
    compress = CODINGS[coding]
    assert decode(coding, [compress(b"") * 60]) == b""
    assert decode(coding, [compress(b"") * 100]) is None
    assert decode(coding, [compress(b"x" * 100) * 1000]) == b"x" * 100_000


@pytest.mark.parametrize("coding", [b"compress", b"gzip, gzip", b"zstd, br", b""])
def test_an_unknown_coding_is_said_so(coding: bytes) -> None:
    """What cannot be decoded is not guessed."""
    with pytest.raises(ValueError, match="no decoder"):
        decode(coding, [b""])


def test_libraries_are_loaded_when_they_are_needed() -> None:
    """A worker that meets no such body has neither library in memory."""
    code = "import sys, native.codec.content_coding; print({'zstandard', 'brotli'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "set()"
