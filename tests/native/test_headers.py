"""The head reader agrees with its reference model on every request, and its output can be read back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.head import Head, Length
from native.codec.head_writer import Framing, request_head, response_head
from native.codec.request_head import read_request
from native.codec.response_head import read_response
from tests.reference import headers as twin

NAMES = st.sampled_from(
    [
        b"Host",
        b"host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Upgrade",
        b"Expect",
        b"TE",
        b"X-A",
        b"x-a",
        b"Authorization",
        b"Keep-Alive",
        b"Content-Type",
        b"Trailer",
        b"Via",
        b"Proxy-Authorization",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"a.b",
            b"a.b:80",
            b"[::1]:8",
            b"a b",
            b"0",
            b"5",
            b"05",
            b"+5",
            b"5,5",
            b"chunked",
            b"Chunked",
            b"gzip, chunked",
            b"close",
            b"keep-alive, x-a",
            b"X-A, Authorization",
            b"100-continue",
            b" padded\t",
            b"",
            b"a\x00",
            b"a\x7f",
            b"h2c",
            b"\xe9",
            b"999999999999999999",
            b"9999999999999999999",
        ]
    ),
    st.binary(max_size=6),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=7)


@given(st.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT"]), st.sampled_from([9, 10, 11, 20]), FIELDS)
def test_requests_agree(method: bytes, version: int, fields: list[tuple[bytes, bytes]]) -> None:
    """Both readers refuse the same requests, and find the same length and end-to-end fields in the others."""
    told = twin.read_request(method, version, fields)
    head = read_request(method, b"/a?b", version, fields)
    if told is None:
        assert isinstance(head, tuple), head
        assert 400 <= head[0] <= 505
    else:
        assert isinstance(head, Head), head
        assert (head.length, head.fields) == told
        assert (head.path, head.target) == (b"/a", b"/a?b")


@given(st.sampled_from([199, 200, 204, 304, 500]), st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_answers_have_one_end(status: int, fields: list[tuple[bytes, bytes]]) -> None:
    """The end of an accepted answer is unique: by length, by chunks, by the connection, or at once."""
    head = read_response(status, 11, fields)
    if isinstance(head, tuple):
        assert head[0] in (400, 417, 502)
        return
    framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in fields)
    assert head.until_close == (not framed and status not in (199, 204, 304))
    assert not (head.until_close and head.keep_alive)
    assert head.length >= Length.UNKNOWN_LENGTH


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b-c"]), st.sampled_from([b"", b"x", b"y z"])), max_size=5))
def test_written_heads(fields: list[tuple[bytes, bytes]]) -> None:
    """One line per field, one empty line at the end."""
    lines = [b"%b: %b" % field for field in fields]
    text = request_head(b"GET", b"/", b"there:80", fields, 0)
    assert text == b"\r\n".join([b"GET / HTTP/1.1", b"host: there:80", *lines, b"content-length: 0", b"", b""])
    text = request_head(b"OPTIONS", b"*", b"", fields)
    assert text == b"\r\n".join([b"OPTIONS * HTTP/1.1", b"host: ", *lines, b"", b""])


@given(
    st.sampled_from([200, 404, 599]),
    st.lists(st.tuples(st.sampled_from([b"a", b"b-c"]), st.sampled_from([b"", b"x", b"y z"])), max_size=5),
    st.sets(st.sampled_from(list(Framing))),
    st.integers(0, 2**62),
)
def test_written_framing(status: int, fields: list[tuple[bytes, bytes]], framing: set[Framing], length: int) -> None:
    """Each framing line that is asked for follows the fields once, and no other."""
    lines = {
        Framing.FRAME_LENGTH: b"content-length: %d" % length,
        Framing.FRAME_CHUNKED: b"transfer-encoding: chunked",
        Framing.FRAME_CLOSE: b"connection: close",
        Framing.FRAME_KEEP_ALIVE: b"connection: keep-alive",
        Framing.FRAME_UPGRADE: b"connection: upgrade",
    }
    phrase = {200: b"OK", 404: b"Not Found", 599: b""}[status]
    text = response_head(status, fields, sum(framing), length)
    expected = [b"%b: %b" % field for field in fields] + [line for name, line in lines.items() if name in framing]
    assert text == b"\r\n".join([b"HTTP/1.1 %d %b" % (status, phrase), *expected, b"", b""])


@pytest.mark.parametrize("fields", [[("a", b"b")], [(b"a", 1)], [[b"a", b"b"]], [None]])
def test_fields_of_another_type_are_refused(fields: list[Any]) -> None:
    """Only pairs of bytes are copied."""
    with pytest.raises(TypeError):
        response_head(200, fields)


def test_bounds() -> None:
    """The limits are exact: a head at the limit is accepted, and a larger one gives 431."""
    fields = [(b"host", b"a")] + [(b"x", b"y")] * 9
    assert isinstance(read_request(b"GET", b"/", 11, fields, 65536, 10), Head)
    assert read_request(b"GET", b"/", 11, [*fields, (b"x", b"y")], 65536, 10) == (431, "more than 10 header fields")
    size = sum(len(name) + len(value) + 4 for name, value in fields)
    assert isinstance(read_request(b"GET", b"/", 11, fields, size, 10), Head)
    assert read_request(b"GET", b"/", 11, fields, size - 1, 10)[0] == 431  # type: ignore[index]
