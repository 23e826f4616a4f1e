"""Streams of mutated heads on one connection are read as if each head stood alone, wherever the bytes are cut.

EDGE_FUZZ_STREAMS says how many streams are run of requests and of answers; EDGE_FUZZ_SEED where they begin.
"""

from __future__ import annotations

import os
import random
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from native.http.http1_request_parser import parse_requests
from native.http.http1_response_parser import parse_response

if TYPE_CHECKING:
    from native.codec.head import Head

STREAMS = int(os.environ.get("EDGE_FUZZ_STREAMS", "2000"))
SEED = int(os.environ.get("EDGE_FUZZ_SEED", "1"))
# Bounds on the bytes and on the number of fields; some are reached by what the mutations make.
BOUNDS = ((65536, 100), (65536, 100), (400, 12), (4000, 35))
METHODS = ("GET", "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "TRACE", "FOO")
TARGETS = (
    *("/", "/", "/v1/models", "/v1/models?a=1", "//", "/?", "/" + "x" * 300, "*", "http://o/x?y", "http://o/"),
    *("HTTP://a/", "https://q/z", "/a#b", "http://a", "a", "http:///x", "http://a?b"),
)
VERSIONS = (*["1.1"] * 40, "1.0", "2.0", "0.9", "x")
PLAIN = (
    *(
        "X-One: 1",
        "X-One:1",
        "x-one: 1  ",
        "X-Two: two",
        "X-Two:",
        "Cookie: a=1",
        "Cookie: a=11",
        "X-Long: " + "l" * 3000,
    ),
    *("Content-Type: text/plain", "Content-Type: a/b", "Content-Encoding: gzip", "Content-Encoding: br"),
    *(
        "Authorization: Bearer x",
        "Authorization: Bearer y",
        "X-Api-Key: 1",
        "X-Api-Key: 2",
        "Cookie: a=1",
        "Cookie: a=11",
    ),
    *("Upgrade: x", "Connection: keep-alive", "Connection: Upgrade", "Connection: x-one", "Connection: x-two, host"),
    *("Expect: 100-continue", "TE: trailers", "Keep-Alive: 5", "Proxy-Connection: keep-alive", "Trailer: x-one"),
    *(f"X-{number}: {number}" for number in range(20)),
)
FRAMING = (
    *(
        "Host: a",
        "Host: b:80",
        "host: a",
        "Host:",
        "Host: a b",
        "Host: [::1]:8",
        "Content-Length: 5",
        "content-length:3",
    ),
    *("Content-Length: 5", "Content-Length: +3", "Transfer-Encoding: chunked", "Transfer-Encoding: CHUNKED"),
    *("Transfer-Encoding: gzip, chunked", "Connection: close", "Connection: close, x-one", "Proxy-Connection: close"),
    *("Bad Name: 1", "X-Bad: \x01", ": x", " folded", "NoColon", "X-A : 1", "X-NL: a\nb", "Expect: x"),
)


def said(head: Head) -> list[object]:
    """Return all that a Head says."""
    return [getattr(head, name) for name in dir(type(head)) if not name.startswith("_")]


def changed(lines: list[str], chance: random.Random) -> list[str]:
    """Return lines of which most are these."""
    lines = list(lines)
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        kind = chance.random()
        new = chance.choice(PLAIN if chance.random() < 0.9 else FRAMING)
        at = chance.randrange(len(lines)) if lines else 0
        if kind < 0.4 or not lines:
            lines.insert(chance.randint(0, len(lines)), new)
        elif kind < 0.6:
            del lines[at]
        elif kind < 0.8:
            lines[at] = new
        elif kind < 0.9:
            lines[at], lines[-1] = lines[-1], lines[at]
        elif lines[at]:
            place = chance.randrange(len(lines[at]))
            other = chance.choice(" \taB:\r\n\x001")
            lines[at] = lines[at][:place] + other + lines[at][place + chance.randint(0, 1) :]
    return lines


def message(first: str, lines: list[str]) -> bytes:
    """Return a head as bytes, with the body that its fields announce."""
    fields = [line.lower().replace(" ", "") for line in lines]
    body = b""
    if "transfer-encoding:chunked" in fields:
        body = b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    elif lengths := [field.partition(":")[2] for field in fields if field.startswith("content-length:")]:
        body = b"a" * (int(lengths[0]) if lengths[0].isdigit() else 0)
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    """Cut data anywhere, a few times or behind each byte."""
    kind = chance.random()
    if kind < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    places = [chance.randint(0, len(data)) for _ in range(chance.randint(0, 6))] if kind < 0.6 else []
    return [data[start:stop] for start, stop in pairwise(sorted({0, len(data), *places}))]


def requests(chance: random.Random) -> list[bytes]:
    """Return a stream of requests."""
    lines = [chance.choice(PLAIN) for _ in range(chance.randint(0, chance.choice((3, 8, 12, 40))))]
    method, target = "GET", "/"
    made = []
    for _ in range(chance.randint(3, 8)):
        lines = changed(lines, chance)
        if chance.random() < 0.3:
            method = chance.choice(METHODS if chance.random() < 0.3 else METHODS[:5])
        if chance.random() < 0.3:
            target = chance.choice(TARGETS if chance.random() < 0.3 else TARGETS[:7])
        host = [] if any(line.lower().startswith("host") for line in lines) else ["Host: a"]
        empty = "\r\n" * chance.choice((1, 2, 9)) if chance.random() < 0.05 else ""
        space = " " if chance.random() < 0.95 else "  "
        made.append(message(f"{empty}{method}{space}{target} HTTP/{chance.choice(VERSIONS)}", [*host, *lines]))
    return made


@pytest.mark.timeout(0 if STREAMS > 2000 else 300)
def test_mutated_requests() -> None:
    """A connection takes and refuses what fresh connections do, and says the same of each head."""
    chance = random.Random(SEED)
    compared = 0
    for _ in range(STREAMS):
        bounds = chance.choice(BOUNDS)
        messages = requests(chance)
        pieces = cut(b"".join(messages), chance) if chance.random() < 0.6 else messages
        found, refusal = parse_requests(pieces, *bounds)
        told = [(said(head), body, complete) for head, body, complete in found]
        alone: list[tuple[list[object], bytes, bool]] = []
        for each in messages:
            one, why = parse_requests([each], *bounds)
            alone += [(said(head), body, complete) for head, body, complete in one]
            if why is not None:
                assert (told, refusal) == (alone, why), (bounds, pieces)
                break
            if len(one) != 1 or not one[0][2] or not one[0][0].keep_alive:
                assert told[: len(alone)] == alone, (bounds, pieces)
                break
        else:
            assert (told, refusal) == (alone, None), (bounds, pieces)
        compared += max(len(alone) - 2, 0)
    assert compared > STREAMS / 2  # heads behind the first two, which are compared with the one before


@pytest.mark.timeout(0 if STREAMS > 2000 else 300)
def test_mutated_answers() -> None:
    """Interim answers and the one behind them are taken and refused as on fresh connections."""
    chance = random.Random(SEED)
    for _ in range(STREAMS):
        bounds, to_head = chance.choice(BOUNDS), chance.random() < 0.2
        lines = [chance.choice(PLAIN) for _ in range(chance.randint(0, 8))]
        first = "HTTP/1.1 103 Early"
        interim = []
        for _ in range(chance.randint(3, 8)):
            lines = changed(lines, chance)
            if chance.random() < 0.2:
                status = chance.choice(("100 Continue", "102 X", "100", "101 S", "99 x", "100  a"))
                first = f"HTTP/{chance.choice(VERSIONS)} {status}"
            interim.append("\r\n".join([first, *lines, "", ""]).encode("latin-1"))
        status = chance.choice(("200 OK", "204 N", "304 N", "404 x"))
        last = message(f"HTTP/1.1 {status}", changed(lines, chance))
        found = parse_response(cut(b"".join(interim) + last, chance), to_head, False, *bounds)
        taken: list[int] = []
        for each in interim:
            begun = parse_response([each], to_head, False, *bounds)
            taken += begun[0]
            if begun[4] is not None or begun[1] is not None:
                assert (found[0], found[4]) == (taken, begun[4]), (bounds, interim)
                break
        else:
            alone = parse_response([last], to_head, False, *bounds)
            assert (found[0], *found[2:]) == (taken, *alone[2:]), (bounds, interim, last)
            assert (found[1] and said(found[1])) == (alone[1] and said(alone[1])), (bounds, interim, last)
