"""Frames of WebSocket are read as the reference reads them, however they are cut, and faults are found early."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native.codec.websocket import FrameReader, accept, close, frame, text, valid_utf8
from tests.reference import websocket as twin
from tests.reference.websocket import masked

LIMIT = 300

PAYLOADS = st.binary(max_size=200) | st.text(max_size=60).map(str.encode)
FRAMES = st.builds(
    masked,
    st.sampled_from([0, 1, 1, 2, 8, 9, 10]),
    PAYLOADS | st.builds(close, st.integers(990, 5100), st.sampled_from(["", "bye"])),
    st.binary(min_size=4, max_size=4),
    final=st.booleans(),
)
NOISE = st.binary(max_size=12)


def fed(data: bytes, cuts: list[int], limit: int = LIMIT) -> twin.Read:
    """Return what the reader makes of ``data`` in pieces that end at ``cuts``."""
    reader = FrameReader(limit)
    found: list[tuple[int, bytes]] = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        found += reader.push(data[start:end])
    return twin.Read(found, reader.fault, reader.closed)


@given(st.lists(FRAMES | NOISE, max_size=8).map(b"".join), st.lists(st.integers(0, 4000), max_size=12))
@example(masked(1, b"a" * 301), [])
def test_it_reads_what_the_reference_reads(data: bytes, cuts: list[int]) -> None:
    """Messages, faults and ends are those of the reference, and do not depend on how the bytes are cut."""
    assert fed(data, cuts) == twin.read(data, LIMIT)
    assert fed(data, list(range(len(data)))) == twin.read(data, LIMIT)


@given(st.sampled_from([1, 2]), st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=4))
def test_a_fragmented_message_is_one(opcode: int, data: bytes, cuts: list[int]) -> None:
    """The pieces of a message are joined, with control frames between them taken out."""
    data = data if opcode == 2 or valid_utf8(data) else data.hex().encode()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(edges)] or [b""]
    wire = b"".join(
        masked(0 if at else opcode, piece, final=at == len(pieces) - 1)
        + (b"" if at == len(pieces) - 1 else masked(9, b"p"))
        for at, piece in enumerate(pieces)
    )
    reader = FrameReader(200_000)
    assert reader.push(wire) == [(9, b"p")] * (len(pieces) - 1) + [(opcode, data)]
    assert (reader.fault, reader.held, reader.within) == (0, 0, False)


@given(st.sampled_from([1, 2, 8, 9, 10]), st.binary(max_size=300))
@example(2, b"\xff" * 65_535)
@example(2, b"\xff" * 65_536)
def test_round_trip_of_a_server(opcode: int, payload: bytes) -> None:
    """A client reads what a server wrote; a masked frame of a server is refused, and one of a client that is not."""
    payload = payload[:100] if opcode >= 8 else payload
    payload = close(1000, "") + b"r" * (len(payload) // 2) if opcode == 8 else payload
    payload = payload.hex().encode() if opcode == 1 else payload
    client = FrameReader(200_000, masked=False)
    assert (client.push(frame(opcode, payload)), client.fault) == ([(opcode, payload)], 0)
    assert text(b'{"a":', b"xx1}", 2) == frame(1, b'{"a":1}')
    server = FrameReader(200_000)
    assert (server.push(frame(opcode, payload)), server.fault) == ([], 1002)
    client = FrameReader(200_000, masked=False)
    assert (client.push(masked(2, b"")), client.fault) == ([], 1002)


@given(st.binary(max_size=40) | st.text(max_size=12).map(str.encode))
def test_utf8_is_what_python_takes_for_it(data: bytes) -> None:
    """The validator accepts what a strict decoder accepts."""
    assert valid_utf8(data) == twin.is_text(data)


# The cases of the Autobahn suite by their numbers, as (bytes of the client, messages, close code).
CASES = {
    "1.1.1 empty text": (masked(1, b""), [(1, b"")], 0),
    "1.2.2 binary": (masked(2, b"\xfe" * 125), [(2, b"\xfe" * 125)], 0),
    "2.4 ping": (masked(9, bytes(range(125))), [(9, bytes(range(125)))], 0),
    "2.5 ping of 126 bytes": (bytes([0x89, 0xFE, 0, 126]), [], 1002),
    "2.7 pong nobody asked for": (masked(10, b""), [(10, b"")], 0),
    "3.1 reserved bit": (b"\xc1", [], 1002),
    "4.1.1 reserved opcode": (b"\x83", [], 1002),
    "4.2.1 reserved control opcode": (masked(1, b"a") + b"\x8b", [(1, b"a")], 1002),
    "5.1 fragmented ping": (b"\x09", [], 1002),
    "5.9 continuation of nothing": (masked(1, b"a") + b"\x00", [(1, b"a")], 1002),
    "5.18 text within text": (masked(1, b"a", final=False) + b"\x81", [], 1002),
    "6.3.1 not UTF-8": (masked(1, b"\xce\xba\xed\xa0\x80edited"), [], 1007),
    "6.4.1 fails before the message ends": (masked(1, b"\xce\xba\xf4\x90\x80\x80", final=False), [], 1007),
    "6.6 character cut by frames": (
        masked(1, b"\xf0\x9f", final=False) + masked(0, b"\x98", final=False) + masked(0, b"\x80"),
        [(1, b"\xf0\x9f\x98\x80")],
        0,
    ),
    "6.7 character that is not complete": (masked(1, b"\xf0\x9f\x98"), [], 1007),
    "7.3.1 empty Close": (masked(8, b""), [(8, b"")], 0),
    "7.3.2 half a code": (masked(8, b"\x03"), [], 1002),
    "7.3.6 Close of 126 bytes": (bytes([0x88, 0xFE]), [], 1002),
    "7.5.1 reason not UTF-8": (masked(8, b"\x03\xe8\xce"), [], 1007),
    "7.9 code 1005": (masked(8, b"\x03\xed"), [], 1002),
    "7.9 code 2999": (masked(8, b"\x0b\xb7"), [], 1002),
    "7.7 code 3000": (masked(8, b"\x0b\xb8"), [(8, b"\x0b\xb8")], 0),
    "9 message too long": (masked(1, b"a" * 301)[:4], [], 0),
    "9 message too long by its announced size": (masked(1, b"a" * 301)[:8], [], 1009),
    "9 message too long by its frames": (masked(1, b"a" * 200, final=False) + masked(0, b"a" * 101)[:8], [], 1009),
    "length not in its shortest form": (bytes([0x81, 0xFE, 0, 125]) + bytes(4), [], 1002),
    "length with the highest bit": (bytes([0x82, 0xFF, 0x80]) + bytes(11), [], 1002),
    "frame that is not masked": (frame(1, b"a"), [], 1002),
    "nothing is read behind a Close": (masked(8, b"") + masked(1, b"a"), [(8, b"")], 0),
    "nothing is read behind a fault": (masked(1, b"\xff") + masked(1, b"a"), [], 1007),
}


@pytest.mark.parametrize("case", CASES)
def test_cases(case: str) -> None:
    """Each case ends as the suite demands of a strict server, whole and byte by byte."""
    data, found, fault = CASES[case]
    for cuts in ([], list(range(len(data)))):
        read = fed(data, cuts)
        assert (read.found, read.fault) == (found, fault)


def test_memory_follows_what_has_come() -> None:
    """An announced length reserves nothing: what is held is what has come."""
    reader = FrameReader(1 << 40)
    assert reader.push(bytes([0x82, 0xFF]) + (1 << 39).to_bytes(8, "big") + bytes(4) + b"abc") == []
    assert (reader.held, reader.fault) == (3, 0)


def test_accept_value() -> None:
    """The value of Sec-WebSocket-Accept is that of RFC 6455 1.3; what is no key has none."""
    assert accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert [
        accept(key) for key in (b"", b"a", b"dGhlIHNhbXBsZSBub25jZQ", b"*" * 24, b"dGhlIHNhbXBsZSBub25jZQ==\n")
    ] == ([None] * 5)
