"""Heads of one connection are read as if each stood alone, and repeated lines are not read again."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.kept_head import keep_at_most, kept_bytes
from native.http.http1_request_parser import parse_requests
from native.http.http1_response_parser import parse_response

if TYPE_CHECKING:
    from native.codec.head import Head

TARGETS = ["/v1/models", "/v1/models?a=1", "/", "http://other/x?y", "*", "/a#b", "http://a"]
LINES = [
    "Host: a", "Host: b:80", "host: a", "Content-Length: 5", "Content-Length: 3", "Transfer-Encoding: chunked",
    "Upgrade: x", "Connection: close", "Connection: keep-alive", "Connection: x-one", "X-One: 1", "X-One:1",
    "x-one: 1  ", "X-Two: two", "Content-Type: text/plain", "Content-Encoding: gzip", "Expect: 100-continue",
    "TE: trailers", "Authorization: Bearer x", "Bad Name: 1", "X-Bad: \x01", "X-Long: " + "l" * 300,
    "Keep-Alive: 5", "Proxy-Connection: close", "Trailer: x-one",
]  # fmt: skip
USUAL = "GET /v1/models?a=1 HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\nContent-Type: text/plain\r\nX-Two: 2\r\n\r\n"


def said(head: Head) -> list[object]:
    """Return all that a Head says."""
    names = [name for name in dir(type(head)) if not name.startswith("_")]
    return [(name, getattr(head, name)) for name in names]


@st.composite
def heads(draw: st.DrawFn) -> list[str]:
    """Heads of which each repeats much of the one before: some lines change, come or go."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=6))
    found = []
    for _ in range(draw(st.integers(2, 6))):
        method = draw(st.sampled_from(["GET", "GET", "OPTIONS", "POST"]))
        target = draw(st.sampled_from(TARGETS[: draw(st.integers(1, 7))]))
        first = f"{method} {target} HTTP/1.{draw(st.sampled_from('1110'))}"
        if draw(st.booleans()):
            lines = list(lines)
            at = draw(st.integers(0, len(lines)))
            lines[at : at + draw(st.integers(0, 1))] = draw(st.lists(st.sampled_from(LINES), max_size=1))
        host = [] if any(line.lower().startswith("host") for line in lines) else ["Host: a"]
        found.append("\r\n".join([first, *host, *lines]) + "\r\n\r\n")
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data at these places, modulo its size."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(heads(), st.lists(st.integers(0, 4000), max_size=6), st.booleans())
def test_a_head_is_read_as_if_it_stood_alone(texts: list[str], places: list[int], whole: bool) -> None:
    """A connection that keeps heads takes and refuses what fresh connections do, however the bytes are cut."""
    messages = [
        text.encode("latin-1") + (b"abc" if "ength: 3" in text else b"abcde" if "ength: 5" in text else b"")
        for text in texts
        if "chunked" not in text  # its body would need an end
    ]
    pieces = messages if whole else cut(b"".join(messages), places)
    found, refusal = parse_requests(pieces)
    alone = []
    for message in messages:
        one, why = parse_requests([message])
        alone += [(said(head), body, complete) for head, body, complete in one]
        if why is not None or not one or not one[0][0].keep_alive:
            break
    else:
        why = None
    assert [(said(head), body, complete) for head, body, complete in found][: len(alone)] == alone
    assert refusal == why or (why is None and not found[-1][0].keep_alive)


@given(heads(), st.lists(st.integers(0, 4000), max_size=6))
def test_answers_are_read_as_if_each_stood_alone(texts: list[str], places: list[int]) -> None:
    """Interim answers of one connection are taken and refused as on fresh ones, and so is the answer behind them."""
    answers = [text.replace(text.partition("\r\n")[0], "HTTP/1.1 103 Early", 1).encode("latin-1") for text in texts]
    data = b"".join(answers)
    last = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    found = parse_response(cut(data + last, places))
    refusals = [parse_response([answer])[4] for answer in answers]
    wrong = [number for number, why in enumerate(refusals) if why is not None]
    if wrong:
        assert found[0] == [103] * wrong[0]
        assert found[4] == refusals[wrong[0]]
    else:
        assert found[0] == [103] * len(answers)
        assert found[4] is None
        assert said(found[1]) == said(parse_response([last])[1])  # type: ignore[arg-type]


def test_repeated_lines_are_read_once() -> None:
    """From the third head of a connection on, a line that stays is the same object, whatever changes beside it."""
    changed = USUAL.replace("X-Own: 1", "X-Own: 22").replace("models", "others")
    texts = [USUAL, USUAL, USUAL, changed, changed, USUAL]
    requests, refusal = parse_requests([text.encode() for text in texts])
    found = [head for head, _, _ in requests]
    assert refusal is None
    assert [head.path for head in found] == [b"/v1/models"] * 3 + [b"/v1/others"] * 2 + [b"/v1/models"]
    assert found[0].fields[0] is not found[1].fields[0]  # one request on a connection costs nothing
    assert found[1].fields is found[2].fields
    assert found[1].path is found[2].path
    assert found[2].fields[0] is not found[3].fields[0]
    assert found[2].fields[1] is found[3].fields[1]  # it stands elsewhere in the bytes
    assert found[3].fields is found[4].fields
    assert found[5].fields == found[0].fields


@pytest.mark.parametrize("more", [["X: " + "x" * 4096], [f"X-{number}: 1" for number in range(33)]])
def test_little_is_kept(more: list[str]) -> None:
    """A large head is read anew each time, so that idle connections hold little."""
    text = "\r\n".join(["GET / HTTP/1.1", "Host: a", *more, "", ""])
    requests, refusal = parse_requests([text.encode()] * 3)
    assert refusal is None
    assert requests[2][0].fields == requests[1][0].fields
    assert requests[2][0].fields is not requests[1][0].fields
    assert requests[2][0].fields[-1] is not requests[1][0].fields[-1]


def test_all_connections_together_keep_little() -> None:
    """Heads beyond the bound on what all connections keep are read in full, and what was kept is given back."""
    before = kept_bytes()
    data = USUAL.encode()
    former = keep_at_most(before + 2 * len(data))
    try:
        requests, refusal = parse_requests([data] * 4)
        assert refusal is None
        assert requests[3][0].fields == requests[2][0].fields
        assert requests[3][0].fields is not requests[2][0].fields
        keep_at_most(before + 2 * len(data) + 4 * 256)
        requests, refusal = parse_requests([data] * 4)
        assert requests[3][0].fields is requests[2][0].fields
        larger = data.replace(b"X-Two: 2", b"X-Two: 2\r\nX-Three: 3")
        requests, refusal = parse_requests([data, data, data, larger, data, data])
        assert [head.fields for head, _, _ in requests[4:]] == [requests[0][0].fields] * 2
    finally:
        assert keep_at_most(former) == before + 2 * len(data) + 4 * 256
    assert kept_bytes() == before


def test_what_a_line_means_is_judged_for_each_head() -> None:
    """A duplicate that a kept line would hide is refused, and an authority in the target is heeded each time."""
    twice = USUAL.replace("Host: a\r\n", "Host: a\r\nHost: a\r\n")
    requests, refusal = parse_requests([text.encode() for text in (USUAL, USUAL, USUAL, twice)])
    assert (len(requests), refusal) == (3, (400, "more than one Host"))
    absolute = USUAL.replace("/v1", "http://b/v1")
    requests, refusal = parse_requests([absolute.encode()] * 4)
    assert refusal is None
    assert [(head.host, head.target) for head, _, _ in requests] == [(b"b", b"/v1/models?a=1")] * 4


@pytest.mark.parametrize(("target", "first", "then"), [("/", "GET", "CONNECT"), ("*", "OPTIONS", "GET")])
def test_a_target_is_judged_with_its_method(target: str, first: str, then: str) -> None:
    """A target of one byte is one object whoever makes it; a method that it is no target of is refused all the same."""
    texts = [f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n" for method in (first, first, first, then)]
    requests, refusal = parse_requests([text.encode() for text in texts])
    assert len(requests) == 3
    assert refusal == parse_requests([texts[3].encode()])[1]
    assert refusal is not None
