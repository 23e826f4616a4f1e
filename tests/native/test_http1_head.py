"""The HTTP/1.1 parsers agree with llhttp, or are stricter as listed; how bytes are cut changes nothing."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.chunked import decode_body
from native.codec.field_names import known_name
from native.codec.http1_head import METHODS, scan_head
from native.http.http1_request_parser import parse_requests
from native.http.http1_response_parser import parse_response
from tests.integration.corpus import BAD_ANSWERS, GOOD_ANSWERS, REFUSED, TAKEN
from tests.reference import headers as reference
from tests.reference import http1_twin as twin
from tests.reference.http1_differences import GET, OK, POST, REQUEST_ROWS, RESPONSE_ROWS, Stricter, is_allowed

if TYPE_CHECKING:
    from native.codec.head import Head
    from tests.integration.corpus import Request

# What mutations put in: what delimits, what frames, and what is almost one of them.
TOKENS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"=", b'"', b"\\", b"\x00", b"\x7f", b"\x0b", b"\xe9", b"#",
    b"0", b"1", b"5", b"a", b"f", b"F", b"0\r\n\r\n", b"\r\n\r\n", b"0\r\n", b"5\r\nhello\r\n", b"ffffffffffffffff\r\n",
    b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"RTSP/1.0", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"M-SEARCH", b"PRI",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: x\r\n", b"Proxy-Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"X: y\r\n", b": y\r\n", b"X : y\r\n",
    b"http://b:1/", b"*", b"?q", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"204", b"304", b"101",
]  # fmt: skip
# Long cases of the corpora make examples slow and find nothing that their limits' own tests do not.
REQUESTS = [case.data for case in (*REFUSED, *TAKEN) if len(case.data) < 2000]
REQUESTS += [row.example for row in REQUEST_ROWS if len(row.example) < 2000]
RESPONSES = [case.data for case in (*BAD_ANSWERS, *GOOD_ANSWERS) if len(case.data) < 2000]
RESPONSES += [row.example for row in RESPONSE_ROWS if len(row.example) < 2000]
# From the third head of a connection on, each is compared with the one before.
REQUESTS += [b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n" * 4, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" * 4]
RESPONSES += [b"HTTP/1.1 103 E\r\nLink: a\r\n\r\n" * 4 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
# What could complete a message that llhttp has refused.
ENDINGS = (
    b"\r\n\r\n",
    b"\n\r\n",
    b"x\r\n\r\n",
    b": x\r\n\r\n",
    b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"0\r\n\r\n",
    b"a" * 9,
)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One or two messages of the corpus with a few changes."""
    data = b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 4)))
        new = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=2), st.just(data[at : at + 20])))
        data = data[:at] + new + data[to:]
    return data


SPACE = st.sampled_from([b"", b" ", b"  ", b"\t", b" \t "])
NAME = st.sampled_from(
    [b"Host", b"content-length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"X", b"X-Y", b"Expect", b"Cookie"]
)
VALUE = st.sampled_from(
    [
        b"",
        b"a",
        b"5",
        b"0",
        b"chunked",
        b"close",
        b"keep-alive",
        b"upgrade",
        b"100-continue",
        b"caf\xe9",
        b"a b\tc",
        b"1 2",
    ]
)
FIELD = st.builds(b"".join, st.tuples(NAME, st.just(b":"), SPACE, VALUE, SPACE, st.just(b"\r\n")))
BODY = st.sampled_from(
    [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"2;a=b\r\nhi\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", b"0\r\n\r\n"]
)
TARGET = st.sampled_from([b"/", b"/a?b=c", b"http://b/c", b"https://b", b"*", b"/%2e?"])
VERSION = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"])
REQUEST = st.builds(
    lambda method, target, version, fields, body: (
        method + b" " + target + b" " + version + b"\r\n" + b"".join(fields) + b"\r\n" + body
    ),
    st.sampled_from(METHODS),
    TARGET,
    VERSION,
    st.lists(FIELD, max_size=5),
    BODY,
)
RESPONSE = st.builds(
    lambda version, status, fields, body: version + b" " + status + b" OK\r\n" + b"".join(fields) + b"\r\n" + body,
    VERSION,
    st.sampled_from([b"200", b"100", b"103", b"204", b"304", b"500", b"101", b"199"]),
    st.lists(FIELD, max_size=4),
    BODY,
)
REQUEST_BYTES = st.one_of(mutated(REQUESTS), st.builds(b"".join, st.lists(REQUEST, min_size=1, max_size=3)))
RESPONSE_BYTES = st.one_of(mutated(RESPONSES), st.builds(b"".join, st.lists(RESPONSE, min_size=1, max_size=3)))
CUTS = st.lists(st.floats(0, 1), max_size=6)


def cut(data: bytes, places: list[float]) -> list[bytes]:
    """Cut bytes at these places."""
    at = sorted({0, len(data), *(int(place * len(data)) for place in places)})
    return [data[start:end] for start, end in pairwise(at)]


def one_by_one(data: bytes) -> list[bytes]:
    """Cut bytes into single ones."""
    return [data[at : at + 1] for at in range(len(data))]


def shown(head: Head | None) -> tuple[object, ...]:
    """Everything that a Head says."""
    if head is None:
        return ()
    return (
        head.method, head.target, head.path, head.authority, head.host, head.status, head.fields, head.length,
        head.version, head.expects, head.keep_alive, head.upgrades, head.upgrade, head.until_close, head.content_type,
        head.content_encoding,
    )  # fmt: skip


def requests_of(pieces: list[bytes]) -> tuple[list[tuple[tuple[object, ...], bytes, bool]], tuple[int, str] | None]:
    """Everything that the request parser says."""
    found, refusal = parse_requests(pieces)
    return [(shown(head), body, complete) for head, body, complete in found], refusal


def response_of(pieces: list[bytes], *, to_head: bool) -> tuple[object, ...]:
    """Everything that the response parser says."""
    interims, head, *rest = parse_response(pieces, to_head, True)
    return interims, shown(head), *rest


def check_request(head: Head, theirs: twin.Message) -> None:
    """What edge takes from a head is what llhttp read; the authority of an absolute target replaces Host."""
    target, fields = theirs.target, theirs.fields
    if absolute := re.fullmatch(rb"(?i:https?)://([^/]*)(.*)", target):
        target = absolute[2] or b"/"
        fields = [(name, absolute[1] if name.lower() == b"host" else value) for name, value in fields]
    assert reference.read_request(theirs.method, theirs.version, fields) == (head.length, head.fields)
    assert (head.method, head.target, head.version) == (theirs.method, target, theirs.version)


def check_requests(data: bytes) -> None:
    """Edge takes what llhttp takes, with the same parts, or refuses it for a reason that is listed."""
    found, refusal = parse_requests([data])
    theirs, refused = twin.read_requests(data)
    with_head = [message for message in theirs if message.has_head]
    assert len(found) <= len(with_head)
    for (head, body, complete), message in zip(found, with_head, strict=False):
        check_request(head, message)
        last = message is with_head[-1] or refusal is not None
        assert complete == message.complete or (last and (refused or refusal is not None))
        assert body == message.body or (not complete and message.body.startswith(body)) or (refused and last)
    if not refused:
        if refusal is None:
            assert len(found) == len(with_head)
        else:
            assert is_allowed(REQUEST_ROWS, data, refusal[1]), refusal
    elif refusal is None:
        # the head that llhttp has refused is not complete yet: nothing completes it
        for ending in ENDINGS:
            assert len(parse_requests([data + ending])[0]) == len(found)


def check_response(data: bytes, *, to_head: bool) -> None:
    """Edge takes the response that llhttp takes, with the same parts, or refuses it for a reason that is listed."""
    interims, head, body, complete, refusal = parse_response([data], to_head, True)
    theirs, refused = twin.read_response(data, to_head=to_head)
    with_head = [message for message in theirs if message.has_head]
    final = [message for message in with_head if message.status >= 200 or message.status == 101]
    said = [message.status for message in with_head if message not in final]
    if refusal is not None and refusal.endswith("an answer too many"):
        assert complete
        refusal = None
    assert interims == said[: len(interims)]
    if head is not None:
        assert (head.status, head.version) == (final[0].status, final[0].version)
        assert final[0].body.startswith(body) or head.status == 101 or refused
    if refused:
        assert refusal is not None or not complete
        if refusal is None:
            for ending in ENDINGS:
                assert not parse_response([data + ending], to_head, True)[3]
    elif refusal is not None:
        assert is_allowed(RESPONSE_ROWS, data, refusal), refusal
    else:
        assert (interims, head is None) == (said, not final)
        if head is not None and head.status != 101:
            assert (body, complete) == (final[0].body, final[0].complete)


@given(REQUEST_BYTES)
def test_requests_agree(data: bytes) -> None:
    """What llhttp refuses is refused; what it takes is taken with the same parts, or refused as the table says."""
    check_requests(data)


@given(RESPONSE_BYTES, st.booleans())
def test_responses_agree(data: bytes, to_head: bool) -> None:
    """What llhttp refuses is refused; what it takes is taken with the same parts, or refused as the table says."""
    check_response(data, to_head=to_head)


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_of_the_corpus_agree(data: bytes) -> None:
    """The same for each request that the framing tests send, whole and cut off anywhere."""
    for end in range(len(data) + 1):
        check_requests(data[:end])


@pytest.mark.parametrize("data", RESPONSES)
def test_responses_of_the_corpus_agree(data: bytes) -> None:
    """The same for each response that the framing tests send, whole and cut off anywhere."""
    for end in range(len(data) + 1):
        check_response(data[:end], to_head=False)
        check_response(data[:end], to_head=True)


@given(REQUEST_BYTES, CUTS)
def test_cuts_change_nothing_in_requests(data: bytes, places: list[float]) -> None:
    """Whole, cut anywhere, or byte by byte: the same requests, and the same refusal."""
    whole = requests_of([data])
    assert requests_of(cut(data, places)) == whole
    assert requests_of(one_by_one(data)) == whole


@given(RESPONSE_BYTES, CUTS, st.booleans())
def test_cuts_change_nothing_in_responses(data: bytes, places: list[float], to_head: bool) -> None:
    """Whole, cut anywhere, or byte by byte: the same response, and the same refusal."""
    whole = response_of([data], to_head=to_head)
    assert response_of(cut(data, places), to_head=to_head) == whole
    assert response_of(one_by_one(data), to_head=to_head) == whole


@pytest.mark.parametrize("row", REQUEST_ROWS, ids=lambda row: row.name)
def test_each_difference_of_requests_occurs(row: Stricter) -> None:
    """Llhttp takes the example of each row, and edge refuses it for the reason of the row."""
    _, refusal = parse_requests([row.example])
    assert not twin.read_requests(row.example)[1]
    assert refusal is not None
    assert re.fullmatch(row.reason, refusal[1])
    assert re.search(row.pattern, row.example)


@pytest.mark.parametrize("row", RESPONSE_ROWS, ids=lambda row: row.name)
def test_each_difference_of_responses_occurs(row: Stricter) -> None:
    """Llhttp takes the example of each row, and edge refuses it for the reason of the row."""
    refusal = parse_response([row.example])[4]
    assert not twin.read_response(row.example)[1]
    assert refusal is not None
    assert re.fullmatch(row.reason, refusal)
    assert re.search(row.pattern, row.example)


@pytest.mark.parametrize("case", [*REFUSED, *TAKEN], ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_corpus_in_pieces(case: Request, size: int) -> None:
    """Each request of the corpus is refused with its status, or taken, however it is cut."""
    pieces = [case.data[at : at + size] for at in range(0, len(case.data), size)]
    assert requests_of(pieces) == requests_of([case.data])


@pytest.mark.parametrize("method", METHODS)
def test_methods(method: bytes) -> None:
    """Every method that edge knows is one that llhttp knows."""
    data = method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert scan_head([data], True) == (method, b"/", 11, 0, [(b"Host", b"a")], len(data))
    check_requests(data)


def test_parts_of_heads() -> None:
    """The scanner gives names as they were sent and values without the white space around them."""
    data = b"\r\nPUT  /a?b   HTTP/1.0\r\nX-A:\t a \t b\t \r\nx:\r\n\r\nrest"
    fields = [(b"X-A", b"a \t b"), (b"x", b"")]
    assert scan_head([data], True) == (b"PUT", b"/a?b", 10, 0, fields, len(data) - 4)
    assert scan_head([b"HTTP/1.1 404\r\nx: y\r\n\r\n"], False) == (b"", b"", 11, 404, [(b"x", b"y")], 22)
    assert scan_head([b"GET / HTTP/1.1\r\nx: y\r\n\r"], True) is None


def test_bounds_of_heads() -> None:
    """The bounds hold at the border: on a head's bytes, on its fields' bytes and number, and on the target."""
    head = GET + b"X: y\r\n\r\n"
    assert scan_head([head], True, len(head), 9 + 6, 2) == (
        b"GET",
        b"/",
        11,
        0,
        [(b"Host", b"a"), (b"X", b"y")],
        len(head),
    )
    for limits in ((len(head), 9 + 6 - 1, 100), (len(head), 100, 1), (len(head) - 1, 100, 100)):
        refused = scan_head([head], True, *limits)
        assert refused is not None
        assert refused[0] == 431
    assert isinstance(scan_head([b"GET /" + b"a" * 16383 + b" HTTP/1.1\r\n\r\n"], True), tuple)
    assert scan_head([b"GET /" + b"a" * 16384], True) == (414, "the request target is longer than 16384 bytes")


def test_a_head_without_end_is_not_kept() -> None:
    """A head that goes on and on is refused at its bound, whatever comes with it."""
    begun = [b"GET / HTTP/1.1\r\nX: ", *[b" " * 1000] * 200]
    assert parse_requests(begun)[1] == (431, "header fields larger than 65536 bytes")
    assert parse_response([OK + b"X: ", *[b" " * 1000] * 200])[4] == "the upstream's answer has a head without end"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=50), CUTS)
def test_chunks_come_back(chunks: list[bytes], places: list[float]) -> None:
    """What was written in chunks is read, in order, however many chunks come at once."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX: y\r\n\r\n"
    assert decode_body(cut(data + b"next", places)) == (b"".join(chunks), True, len(data), None)


def test_bounds_of_chunk_framing() -> None:
    """Each chunk, and a tenth of the body, earns framing; beyond the bound on the rest the body is refused."""
    heavy = b"1;" + b"a" * 96 + b"\r\nx\r\n"  # 102 bytes of framing, 16 of them for the chunk
    assert decode_body([heavy * 10], 1000)[3] is None
    assert decode_body([heavy * 13], 1000)[3] == "chunk framing outweighs the body"
    assert decode_body([heavy * 1000], 110, 100, True)[3] is None
    assert decode_body([heavy], 99, 100, True)[3] == "chunk framing outweighs the body"
    assert decode_body([b"0\r\na: b\r\n\r\n"], 10, 8)[1]
    assert decode_body([b"0\r\na: b\r\n\r\n"], 10, 7)[3] == "trailers without end"


def test_behind_a_request_that_ends_the_connection() -> None:
    """Line ends are dropped, anything else is refused; the request itself stands."""
    closing = GET + b"Connection: close\r\n\r\n"
    for more, refusal in ((b"\r\n", None), (b"\r\nGET", (400, "data behind a request that ends the connection"))):
        found, refused = parse_requests([closing + more])
        assert ([complete for _, _, complete in found], refused) == ([True], refusal)


def test_proxy_connection_ends_a_connection() -> None:
    """Close in Proxy-Connection is heeded, as llhttp does; nothing else of it is, and it goes no further."""
    ((head, _, _),), _ = parse_requests([GET + b"Proxy-Connection: close, x\r\nX: y\r\n\r\n"])
    assert (head.keep_alive, head.fields) == (False, [(b"x", b"y")])
    ((head, _, _),), _ = parse_requests([GET.replace(b"1.1", b"1.0") + b"Proxy-Connection: keep-alive\r\n\r\n"])
    assert not head.keep_alive


def test_names_are_made_once() -> None:
    """Common names are the same object in every head, and others are not remembered."""
    fields = b"Accept: a\r\nX-Unheard-Of: b\r\n"
    names = [[name for name, _ in head.fields] for (head, _, _) in parse_requests([(GET + fields + b"\r\n") * 2])[0]]
    assert names[0] == names[1] == [b"accept", b"x-unheard-of"]
    assert names[0][0] is names[1][0] is known_name(b"ACCEPT")
    assert known_name(b"X-Unheard-Of") is None


def test_body_pieces_of_one_read_are_one() -> None:
    """The data of a chunked body that came in one read is handed on as one piece."""
    found, _ = parse_requests([POST + b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n0\r\n\r\n"])
    assert [(body, complete) for _, body, complete in found] == [(b"abc", True)]
