"""The parts of gRPC that a proxy must understand are read and written as the specification says."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native.codec import grpc

UNITS = {b"H": 3600 * 10**9, b"M": 60 * 10**9, b"S": 10**9, b"m": 10**6, b"u": 10**3, b"n": 1}


@given(st.binary(max_size=11))
def test_timeouts_are_read_strictly(value: bytes) -> None:
    """A timeout is one to eight digits and a unit, and nothing else."""
    found = re.fullmatch(rb"([0-9]{1,8})([HMSmun])", value)
    expected = -1 if found is None else int(found[1]) * UNITS[found[2]]
    assert grpc.read_timeout(value) == expected


@given(st.integers(0, 2**62 - 1))
@example(10**17 - 1)
@example(10**17)  # nine digits of seconds
def test_written_timeouts_are_never_longer(ns: int) -> None:
    """A written timeout is rounded down, to the smallest unit in which it has at most eight digits."""
    units = (1, 10**3, 10**6, 10**9, 60 * 10**9, 3600 * 10**9)
    unit = next(unit for unit in units if ns // unit < 10**8)
    assert grpc.read_timeout(grpc.format_timeout(ns)) == max(ns, 1) // unit * unit


@given(st.binary(max_size=3))
def test_statuses(value: bytes) -> None:
    """0 to 16 in decimal, without leading zeros."""
    expected = int(value) if value in [b"%d" % code for code in range(17)] else -1
    assert grpc.status_code(value) == expected


@pytest.mark.parametrize(
    ("value", "told"), [(b"0", 0), (b"250", 250), (b"-1", -1), (b"", -1), (b"1s", -1), (b"9" * 12, -1)]
)
def test_pushback(value: bytes, told: int) -> None:
    """A pushback is a non-negative number of milliseconds; anything else forbids the retry (A6)."""
    assert grpc.pushback(value) == told


@given(st.lists(st.binary(max_size=40), max_size=5), st.binary(max_size=4))
def test_framing(messages: list[bytes], rest: bytes) -> None:
    """Framed messages can be read back; an incomplete prefix is not consumed."""
    data = b"".join(grpc.frame_message(message) for message in messages)
    assert data == b"".join(struct.pack(">BI", 0, len(message)) + message for message in messages)
    assert grpc.read_messages(data + rest) == (messages, len(data))


def test_framing_refuses() -> None:
    """Compressed and oversized messages are distinguished from incomplete ones."""
    assert grpc.read_messages(b"\x01\x00\x00\x00\x01a")[1] == -1
    assert grpc.read_messages(b"\x00\x00\x00\x00\x09abc", 8)[1] == -2
    assert grpc.read_messages(b"\x00\x00\x00\x00\x09abc", 9)[1] == 0


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;x=y", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_content_types(value: bytes, told: bool) -> None:
    """The content type of gRPC may have a subtype; gRPC-Web is another protocol."""
    assert grpc.is_grpc_type(value) == told
