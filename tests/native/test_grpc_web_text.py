"""The kernel of gRPC-Web against Python's own base64, and its media types and trailers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.grpc_web import TextReader, kind_of, write_trailers


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """Return the text in parts."""
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(min_value=0), max_size=8))
def test_text_is_decoded_wherever_it_is_cut_and_padded(parts: list[bytes], places: list[int]) -> None:
    """Segments that are padded each, cut anywhere, decode to the bytes of all."""
    reader = TextReader()
    text = b"".join(base64.b64encode(part) for part in parts)
    assert b"".join(reader.read(part) for part in cut(text, places)) == b"".join(parts)
    assert reader.whole()


@given(st.binary(max_size=60))
def test_what_is_no_base64_fails_and_gives_no_more(noise: bytes) -> None:
    """A text is whole if Python decodes each of its quanta strictly, and then the bytes are the same."""
    reader = TextReader()
    found = reader.read(noise)
    try:
        told = b"".join(base64.b64decode(noise[at : at + 4], validate=True) for at in range(0, len(noise), 4))
    except ValueError:
        assert not reader.whole()
    else:
        assert (reader.whole(), found) == (True, told)
    if reader.failed:
        assert reader.read(b"AAAA") == b""


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"application/grpc-web", 1),
        (b"application/grpc-web+proto", 1),
        (b"application/grpc-web;charset=utf-8", 1),
        (b"application/grpc-web-text", 2),
        (b"application/grpc-web-text+proto", 2),
        (b"application/grpc", 0),
        (b"application/grpc+proto", 0),
        (b"application/grpc-website", 0),
        (b"application/grpc-web-texts", 0),
        (b"application/json", 0),
        (b"", 0),
        (None, 0),
    ],
)
def test_media_types(content_type: bytes | None, kind: int) -> None:
    """The binary form, the text form, and what is neither."""
    assert kind_of(content_type) == kind


def test_trailers_are_the_last_frame() -> None:
    """Trailers have the flag 0x80, a length, and a line each."""
    block = b"grpc-status:5\r\ngrpc-message:gone\r\n"
    told = write_trailers([(b"grpc-status", b"5"), (b"grpc-message", b"gone")])
    assert told == b"\x80" + len(block).to_bytes(4, "big") + block
