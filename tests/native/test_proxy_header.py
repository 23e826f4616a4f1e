"""A PROXY header is read to its end and no further, in every division into reads; anything else is refused."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from native.io.proxy_header import read_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def binary(command: int = 0x21, kind: int = 0x11, body: bytes | None = None, more: bytes = b"") -> bytes:
    """Return a header of version 2 from 203.0.113.9:5000."""
    if body is None:
        body = bytes([203, 0, 113, 9, 10, 0, 0, 1]) + struct.pack(">HH", 5000, 443)
    return SIGNATURE + bytes([command, kind]) + struct.pack(">H", len(body + more)) + body + more


V6 = ipaddress.IPv6Address("2001:db8::7").packed + bytes(16) + struct.pack(">HH", 7, 8)
TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"
GOOD = {
    "v1": (b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 443\r\n", ("203.0.113.9", 5000), False),
    "v1-v6": (b"PROXY TCP6 2001:db8::7 ::1 7 8\r\n", ("2001:db8::7", 7), False),
    "v1-unknown": (b"PROXY UNKNOWN\r\n", None, False),
    "v1-unknown-more": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None, False),
    "v2": (binary(), ("203.0.113.9", 5000), False),
    "v2-v6": (binary(kind=0x21, body=V6), ("2001:db8::7", 7), False),
    "v2-local": (binary(command=0x20, kind=0, body=b""), None, False),
    "v2-unix": (binary(kind=0x31, body=bytes(216)), None, False),
    "v2-tls": (binary(more=b"\x05\x00\x01x" + TLS), ("203.0.113.9", 5000), True),
}
BAD = {
    "http": b"GET / HTTP/1.1\r\n",
    "tls": b"\x16\x03\x01\x02\x00",
    "v1-no-cr": b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 443\n",
    "v1-long": b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    "v1-port": b"PROXY TCP4 203.0.113.9 10.0.0.1 65536 443\r\n",
    "v1-family": b"PROXY TCP6 203.0.113.9 10.0.0.1 5000 443\r\n",
    "v1-spaces": b"PROXY TCP4  203.0.113.9 10.0.0.1 5000 443\r\n",
    "v1-nul": b"PROXY TCP4 203.0.113.9\x00 10.0.0.1 5000 443\r\n",
    "v2-version": binary(command=0x11),
    "v2-command": binary(command=0x22),
    "v2-short": binary(body=b"\x7f\x00\x00\x01"),
    "v2-extension": binary(more=b"\x20\x00\x09\x01"),
    "v2-huge": SIGNATURE + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """The header is complete with its last byte, and tells the source; what follows is not touched."""
    data, source, secure = GOOD[name]
    assert read_proxy_header(data + b"GET /") == (len(data), True, False, source, secure)
    for size in range(len(data)):
        taken, complete, bad, _, _ = read_proxy_header(data[:size])
        assert (taken, complete, bad) == (size, False, False)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    """Anything else is refused, at the first byte that cannot belong to a header where that is known."""
    taken, complete, bad, source, _ = read_proxy_header(BAD[name])
    assert (complete, bad, source) == (False, True, None)
    assert 0 < taken <= len(BAD[name])
