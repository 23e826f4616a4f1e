"""An HTTP/2 head is validated, also as the HTTP/1.1 head that it may become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.head import Head, Length
from native.codec.head_writer import request_head
from native.codec.request_head import read_http2_request

PSEUDO = (b"GET", b"https", b"/a?b", b"edge:443")


def read(*fields: tuple[bytes, bytes], ended: bool = True) -> Head | tuple[int, str]:
    """Read an ordinary request with these fields."""
    return read_http2_request(*PSEUDO, list(fields), ended)


def test_a_usual_head() -> None:
    """Pseudo-header fields set the same attributes as an HTTP/1.1 request line."""
    head = read((b"accept", b"*/*"), (b"te", b"trailers"), (b"content-type", b"text/plain"))
    assert isinstance(head, Head)
    assert (head.method, head.target, head.path) == (b"GET", b"/a?b", b"/a")
    assert (head.authority, head.host, head.version) == (b"edge:443", b"edge", 20)
    assert head.fields == [(b"accept", b"*/*"), (b"content-type", b"text/plain")]
    assert (head.content_type, head.length, head.keep_alive) == (b"text/plain", Length.NO_BODY, True)


@pytest.mark.parametrize(
    ("fields", "ended", "length"),
    [
        ([], True, Length.NO_BODY),
        ([], False, Length.UNKNOWN_LENGTH),
        ([(b"content-length", b"0")], True, 0),
        ([(b"content-length", b"7")], False, 7),
    ],
)
def test_lengths(fields: list[tuple[bytes, bytes]], ended: bool, length: int) -> None:
    """The end of the stream tells whether there is a body, and Content-Length its size."""
    head = read(*fields, ended=ended)
    assert isinstance(head, Head)
    assert head.length == length


@pytest.mark.parametrize("name", [b"connection", b"transfer-encoding", b"upgrade"])
def test_fields_of_http1_connections(name: bytes) -> None:
    """Fields that libnghttp2 refuses are refused here too."""
    value = {b"connection": b"close", b"transfer-encoding": b"chunked", b"upgrade": b"h2c"}[name]
    assert read((name, value)) == (400, "a field that belongs to HTTP/1.1 connections")


@given(
    path=st.binary(max_size=8).map(lambda tail: b"/" + tail),
    authority=st.binary(max_size=8),
    value=st.binary(max_size=8),
)
def test_what_passes_cannot_break_a_line(path: bytes, authority: bytes, value: bytes) -> None:
    """Every accepted target, authority and value is one line, with the same words, when written as HTTP/1.1."""
    head = read_http2_request(b"GET", b"http", path, authority, [(b"x-name", value)], True)
    if not isinstance(head, Head):
        assert head[0] in (400, 431)
        return
    assert head.authority is not None
    written = request_head(b"GET", head.target, head.authority, head.fields)
    lines = written.split(b"\r\n")
    assert lines[0].split(b" ") == [b"GET", path, b"HTTP/1.1"]
    assert lines[1:] == [b"host: " + authority, b"x-name: " + value.strip(b" \t"), b"", b""]
    assert not set(written.replace(b"\r\n", b"")) & (set(range(9)) | set(range(10, 32)) | {127})
