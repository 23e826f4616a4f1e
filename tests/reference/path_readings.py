"""Reads a path in every way at once: the reference model of native/codec/path_readings.pyx."""

from __future__ import annotations

import itertools
import re

ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


def _decode(path: bytes, *, slash: bool, backslash: bool) -> bytes:
    """Decode every %XX; %2F and %5C only where they separate."""

    def one(match: re.Match[bytes]) -> bytes:
        char = bytes.fromhex(match[1].decode())
        if char == b"/":
            return char if slash else match[0]
        if char == b"\\":
            return b"/" if backslash else match[0]
        return char

    return ENCODED.sub(one, path.replace(b"\\", b"/") if backslash else path)


def _dots(path: bytes) -> bytes:
    """Remove dot segments (RFC 3986 5.2.4)."""
    out: list[bytes] = []
    parts = path.split(b"/")[1:]
    for at, part in enumerate(parts):
        if part in (b".", b".."):
            if part == b".." and out:
                out.pop()
            if at == len(parts) - 1:
                out.append(b"")
        else:
            out.append(part)
    return b"".join(b"/" + part for part in out)


def _empty(path: bytes) -> bytes:
    return re.sub(rb"/+", b"/", path)


def decoded(path: bytes) -> bytes:
    """Return the path that a service is matched by."""
    return _decode(path, slash=False, backslash=False)


def readings(path: bytes) -> set[bytes]:
    """Return what servers may take a path for; it begins with a slash."""
    found = set()
    for slash, backslash, parameters, dots, empty in itertools.product(
        (False, True), (False, True), ("", "raw", "decoded"), (False, True), ("", "first", "last")
    ):
        read = re.sub(rb";[^/]*", b"", path) if parameters == "raw" else path
        read = _decode(read, slash=slash, backslash=backslash)
        if parameters == "decoded":
            read = re.sub(rb";[^/]*", b"", read)
        if empty == "first":
            read = _empty(read)
        if dots and read.startswith(b"/"):
            read = _dots(read)
        found.add(_empty(read) if empty == "last" else read)
    return found
