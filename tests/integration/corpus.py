"""Messages that are not HTTP/1.1, and odd but valid ones, by the sections of RFC 9112 and RFC 9110.

``REFUSED`` requests get the status and a closed connection; ``TAKEN`` ones are answered. ``BAD_ANSWERS`` of an upstream
become 502 (or another attempt) and end its connection; ``GOOD_ANSWERS`` are relayed.
"""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """A request and its expected result. ``status`` None = answered by the service behind edge."""

    name: str
    section: str
    data: bytes
    status: int | None = 400


class Answer(NamedTuple):
    """An upstream's answer; ``body`` is what the client must receive, None = 502."""

    name: str
    section: str
    data: bytes
    body: bytes | None = None


def get(fields: bytes = b"", line: bytes = b"GET /a HTTP/1.1", host: bytes = b"Host: svc\r\n") -> bytes:
    """A GET with these fields."""
    return line + b"\r\n" + host + fields + b"\r\n"


def put(fields: bytes, body: bytes, host: bytes = b"Host: svc\r\n") -> bytes:
    """A POST with exactly these framing fields and bytes."""
    return b"POST /a HTTP/1.1\r\n" + host + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"
# As a client sends it that would rather speak HTTP/2 and is content without.
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEA\r\nUpgrade: h2c\r\n"

REFUSED = (
    # RFC 9112 6.1, 6.3: two framings, or one that cannot be trusted
    Request("length-then-chunked", "9112 6.1", put(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n")),
    Request("chunked-then-length", "9112 6.1", put(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n")),
    Request("length-zero-and-chunked", "9112 6.1", put(b"Content-Length: 0\r\n" + CHUNKED, b"0\r\n\r\n")),
    Request("two-lengths-differ", "9112 6.3", put(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"ab")),
    Request("two-lengths-same", "9112 6.3", put(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"a")),
    Request("length-list", "9112 6.3", put(b"Content-Length: 1, 1\r\n", b"a")),
    Request("length-plus", "9110 8.6", put(b"Content-Length: +1\r\n", b"a")),
    Request("length-minus", "9110 8.6", put(b"Content-Length: -1\r\n", b"a")),
    Request("length-minus-zero", "9110 8.6", put(b"Content-Length: -0\r\n", b"")),
    Request("length-hex", "9110 8.6", put(b"Content-Length: 0x1\r\n", b"a")),
    Request("length-underscore", "9110 8.6", put(b"Content-Length: 1_0\r\n", b"aaaaaaaaaa")),
    Request("length-leading-zero", "9110 8.6", put(b"Content-Length: 01\r\n", b"a")),
    Request("length-inner-space", "9110 8.6", put(b"Content-Length: 1 0\r\n", b"aaaaaaaaaa")),
    Request("length-empty", "9110 8.6", put(b"Content-Length: \r\n", b"")),
    Request("length-letters", "9110 8.6", put(b"Content-Length: one\r\n", b"a")),
    Request("length-overflow-64", "9110 8.6", put(b"Content-Length: 18446744073709551617\r\n", b"a")),
    Request("length-overflow-wide", "9110 8.6", put(b"Content-Length: " + b"9" * 60 + b"\r\n", b"a")),
    Request("length-unicode-digit", "9110 8.6", put("Content-Length: \u0661\r\n".encode(), b"a")),
    Request("coding-not-final", "9112 6.3", put(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n")),
    Request("coding-twice", "9112 6.3", put(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n")),
    Request("coding-field-twice", "9112 6.3", put(CHUNKED + CHUNKED, b"0\r\n\r\n")),
    Request("coding-prefix", "9112 6.1", put(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n")),
    Request("coding-suffix", "9112 6.1", put(b"Transfer-Encoding: chunkedx\r\n", b"0\r\n\r\n")),
    Request("coding-comma", "9112 6.1", put(b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"), 501),
    Request("coding-vertical-tab", "9112 6.1", put(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")),
    Request("coding-quoted", "9112 6.1", put(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n")),
    Request("coding-identity", "9112 6.1", put(b"Transfer-Encoding: identity\r\n", b"")),
    Request("coding-gzip-chunked", "9112 6.1", put(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
    Request("coding-empty", "9112 6.1", put(b"Transfer-Encoding: \r\n", b"")),
    Request("coding-in-1.0", "9112 6.1", b"POST /a HTTP/1.0\r\nHost: svc\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    # RFC 9112 7.1: chunks
    Request("chunk-hex-prefix", "9112 7.1", put(CHUNKED, b"0x1\r\na\r\n0\r\n\r\n")),
    Request("chunk-underscore", "9112 7.1", put(CHUNKED, b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n")),
    Request("chunk-leading-space", "9112 7.1", put(CHUNKED, b" 1\r\na\r\n0\r\n\r\n")),
    Request("chunk-trailing-space", "9112 7.1", put(CHUNKED, b"1 \r\na\r\n0\r\n\r\n")),
    Request("chunk-minus", "9112 7.1", put(CHUNKED, b"-1\r\na\r\n0\r\n\r\n")),
    Request("chunk-plus", "9112 7.1", put(CHUNKED, b"+1\r\na\r\n0\r\n\r\n")),
    Request("chunk-empty-size", "9112 7.1", put(CHUNKED, b"\r\na\r\n0\r\n\r\n")),
    Request("chunk-overflow", "9112 7.1", put(CHUNKED, b"10000000000000001\r\na\r\n0\r\n\r\n")),
    Request("chunk-spill", "9112 7.1", put(CHUNKED, b"1\r\nab\r\n0\r\n\r\n")),
    Request("chunk-no-crlf", "9112 7.1", put(CHUNKED, b"1\r\na0\r\n\r\n")),
    Request("chunk-bare-lf-size", "9112 7.1", put(CHUNKED, b"1\na\r\n0\r\n\r\n")),
    Request("chunk-bare-lf-data", "9112 7.1", put(CHUNKED, b"1\r\na\n0\r\n\r\n")),
    Request("chunk-bare-cr-size", "9112 7.1", put(CHUNKED, b"1\ra\r\n0\r\n\r\n")),
    Request("chunk-extension-bare", "9112 7.1.1", put(CHUNKED, b"1;\r\na\r\n0\r\n\r\n")),
    Request("chunk-extension-lf", "9112 7.1.1", put(CHUNKED, b"1;a\nb\r\na\r\n0\r\n\r\n")),
    Request("chunk-extension-cr", "9112 7.1.1", put(CHUNKED, b"1;a\rb\r\na\r\n0\r\n\r\n")),
    Request("chunk-extension-nul", "9112 7.1.1", put(CHUNKED, b"1;a\x00\r\na\r\n0\r\n\r\n")),
    Request("chunk-extensions-endless", "9112 7.1.1", put(CHUNKED, b"1;" + b"a" * 600_000 + b"\r\na\r\n0\r\n\r\n")),
    Request("trailer-framing", "9110 6.5.1", put(CHUNKED, b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n")),
    Request("last-chunk-bare-lf", "9112 7.1", put(CHUNKED, b"1\r\na\r\n0\n\n")),
    # RFC 9112 2.2, 5: lines
    Request("bare-lf-lines", "9112 2.2", b"GET /a HTTP/1.1\nHost: svc\n\n"),
    Request("bare-lf-one", "9112 2.2", b"GET /a HTTP/1.1\r\nHost: svc\nX: y\r\n\r\n"),
    Request("bare-lf-end", "9112 2.2", b"GET /a HTTP/1.1\r\nHost: svc\r\n\n"),
    Request("bare-cr-value", "9112 2.2", get(b"X: a\rb\r\n")),
    Request("bare-cr-line", "9112 2.2", b"GET /a HTTP/1.1\rHost: svc\r\n\r\n"),
    Request("double-cr", "9112 2.2", b"GET /a HTTP/1.1\r\r\nHost: svc\r\n\r\n"),
    Request("obs-fold", "9112 5.2", get(b"X: a\r\n b\r\n")),
    Request("obs-fold-tab", "9112 5.2", get(b"X: a\r\n\tb\r\n")),
    Request("obs-fold-length", "9112 5.2", put(b"Content-Length:\r\n 1\r\n", b"a")),
    Request("obs-fold-first", "9112 2.2", b"GET /a HTTP/1.1\r\n X: y\r\nHost: svc\r\n\r\n"),
    Request("space-before-colon", "9112 5.1", get(b"X : y\r\n")),
    Request("space-before-colon-length", "9112 5.1", put(b"Content-Length : 1\r\n", b"a")),
    Request("tab-before-colon", "9112 5.1", put(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n")),
    Request("no-colon", "9112 5", get(b"XY\r\n")),
    Request("empty-name", "9112 5", get(b": y\r\n")),
    Request("name-space", "9110 5.1", get(b"X Y: z\r\n")),
    Request("name-paren", "9110 5.6.2", get(b"X(Y: z\r\n")),
    Request("name-high-byte", "9110 5.6.2", get(b"X\xe9: z\r\n")),
    Request("name-nul", "9110 5.6.2", get(b"X\x00: z\r\n")),
    Request("value-nul", "9110 5.5", get(b"X: a\x00b\r\n")),
    Request("value-delete", "9110 5.5", get(b"X: a\x7fb\r\n")),
    Request("value-escape", "9110 5.5", get(b"X: a\x1bb\r\n")),
    # RFC 9112 3: request line
    Request("line-tab", "9112 3", get(line=b"GET\t/a HTTP/1.1")),
    Request("line-trailing-space", "9112 3", get(line=b"GET /a HTTP/1.1 ")),
    Request("line-leading-space", "9112 3", get(line=b" GET /a HTTP/1.1")),
    Request("line-no-version", "9112 3", get(line=b"GET /a"), 505),
    Request("line-lower-http", "9112 2.3", get(line=b"GET /a http/1.1")),
    Request("line-version-2", "9112 2.3", get(line=b"GET /a HTTP/2.0"), 505),
    Request("line-version-1.2", "9112 2.3", get(line=b"GET /a HTTP/1.2")),
    Request("line-version-wide", "9112 2.3", get(line=b"GET /a HTTP/1.10")),
    Request("line-version-0.9", "9112 2.3", get(line=b"GET /a HTTP/0.9"), 505),
    Request("line-method-odd", "9110 9.1", get(line=b"G@T /a HTTP/1.1")),
    Request("line-method-lower", "9110 9.1", get(line=b"get /a HTTP/1.1")),
    Request("line-connect", "9110 9.3.6", get(line=b"CONNECT svc:443 HTTP/1.1"), 405),
    Request("target-fragment", "9112 3.2", get(line=b"GET /a#b HTTP/1.1")),
    Request("target-not-a-path", "9112 3.2", get(line=b"GET a HTTP/1.1")),
    Request("target-asterisk", "9112 3.2.4", get(line=b"GET * HTTP/1.1")),
    Request("target-control", "9112 3.2", get(line=b"GET /a\x01 HTTP/1.1")),
    Request("target-long", "9112 3", get(line=b"GET /" + b"a" * 20000 + b" HTTP/1.1"), 414),
    # RFC 9112 3.2: Host
    Request("host-missing", "9112 3.2", get(host=b"")),
    Request("host-twice", "9112 3.2", get(b"Host: svc\r\n")),
    Request("host-twice-differ", "9112 3.2", get(b"Host: other\r\n")),
    Request("host-empty", "9112 3.2", get(host=b"Host: \r\n")),
    Request("host-comma", "9112 3.2", get(host=b"Host: svc, other\r\n")),
    Request("host-userinfo", "9112 3.2", get(host=b"Host: me@svc\r\n")),
    Request("host-path", "9112 3.2", get(host=b"Host: svc/x\r\n")),
    Request("host-port-letters", "9112 3.2", get(host=b"Host: svc:8o\r\n")),
    Request("host-two-ports", "9112 3.2", get(host=b"Host: svc:80:81\r\n")),
    Request("host-bracket-open", "9112 3.2", get(host=b"Host: [::1\r\n")),
    # bounds
    Request("fields-many", "9110 5.4", get(b"".join(b"X-%d: y\r\n" % n for n in range(150))), 431),
    Request("fields-large", "9110 5.4", get(b"X: " + b"a" * 70000 + b"\r\n"), 431),
    Request("expect-other", "9110 10.1.1", put(b"Expect: 200-ok\r\nContent-Length: 1\r\n", b"a"), 417),
    # a body's framing is judged alike where an upgrade is asked for as well
    Request("upgrade-two-framings", "9112 6.1", put(UPGRADE + b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n")),
    Request("upgrade-two-lengths", "9112 6.3", put(UPGRADE + b"Content-Length: 1\r\nContent-Length: 1\r\n", b"a")),
    Request("upgrade-length-plus", "9110 8.6", put(UPGRADE + b"Content-Length: +1\r\n", b"a")),
    Request("upgrade-coding-unknown", "9112 6.1", put(UPGRADE + b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n")),
    Request("chunk-spill-of-upgrade", "9112 7.1", put(UPGRADE + CHUNKED, b"1\r\nab\r\n0\r\n\r\n")),
    Request("chunk-hex-prefix-of-upgrade", "9112 7.1", put(UPGRADE + CHUNKED, b"0x1\r\na\r\n0\r\n\r\n")),
    # what a router and a server behind it could read in two ways
    Request("path-encoded-nul", "3986 2.2", get(line=b"GET /a%00 HTTP/1.1")),
    Request("path-percent-cut", "3986 2.1", get(line=b"GET /a%2 HTTP/1.1")),
)

TAKEN = (
    Request("plain", "9112 3", get(), None),
    Request("empty-line-before", "9112 2.2", b"\r\n" + get(), None),
    Request("value-empty", "9110 5.5", get(b"X:\r\nY: z\r\n"), None),
    Request("value-spaces", "9110 5.5", get(b"X:   \t z \t \r\n"), None),
    Request("value-high-byte", "9110 5.5", get(b"X: caf\xe9\r\n"), None),
    Request("value-inner-tab", "9110 5.5", get(b"X: a\tb\r\n"), None),
    Request("no-space-after-colon", "9110 5.5", get(b"X:y\r\n"), None),
    Request("absolute-form", "9112 3.2.2", get(line=b"GET http://svc/a HTTP/1.1", host=b"Host: other\r\n"), None),
    Request("host-port", "9112 3.2", get(host=b"Host: svc:8080\r\n"), None),
    Request("host-upper", "9112 3.2", get(host=b"Host: SVC\r\n"), None),
    Request("chunked-body", "9112 7.1", put(CHUNKED, b"3\r\nabc\r\n0\r\n\r\n"), None),
    Request("chunked-upper", "9112 7.1", put(b"Transfer-Encoding: Chunked\r\n", b"A\r\n0123456789\r\n0\r\n\r\n"), None),
    Request("chunk-extension", "9112 7.1.1", put(CHUNKED, b'3;a=b;c="d"\r\nabc\r\n0\r\n\r\n'), None),
    Request("chunk-leading-zeros", "9112 7.1", put(CHUNKED, b"0003\r\nabc\r\n000\r\n\r\n"), None),
    Request("trailers", "9112 7.1.2", put(CHUNKED, b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), None),
    # RFC 9112 3 lets a recipient take any white space between the words; what is forwarded has one space
    Request("line-two-spaces", "9112 3", get(line=b"GET  /a HTTP/1.1"), None),
    Request("length-body", "9112 6.2", put(b"Content-Length: 3\r\n", b"abc"), None),
    Request("get-with-body", "9110 9.3.1", b"GET /a HTTP/1.1\r\nHost: svc\r\nContent-Length: 3\r\n\r\nabc", None),
    Request("http-1.0", "9112 2.3", b"GET /a HTTP/1.0\r\nHost: svc\r\n\r\n", None),
    Request("upgrade-ignored", "9110 7.8", get(b"Connection: upgrade\r\nUpgrade: h2c\r\n"), None),
    Request("upgrade-ignored-length", "9110 7.8", put(UPGRADE + b"Content-Length: 3\r\n", b"abc"), None),
    Request("upgrade-ignored-empty", "9110 7.8", put(UPGRADE + b"Content-Length: 0\r\n", b""), None),
    Request("upgrade-ignored-chunked", "9110 7.8", put(UPGRADE + CHUNKED, b"3\r\nabc\r\n0\r\n\r\n"), None),
    Request("upgrade-unsaid-length", "9110 7.8", put(b"Upgrade: h2c\r\nContent-Length: 3\r\n", b"abc"), None),
)

OK = b"HTTP/1.1 200 OK\r\n"

BAD_ANSWERS = (
    Answer("length-and-chunked", "9112 6.3", OK + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n"),
    Answer("two-lengths", "9112 6.3", OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    Answer("length-list", "9112 6.3", OK + b"Content-Length: 3, 3\r\n\r\nabc"),
    Answer("length-plus", "9110 8.6", OK + b"Content-Length: +3\r\n\r\nabc"),
    Answer("length-negative", "9110 8.6", OK + b"Content-Length: -3\r\n\r\nabc"),
    Answer("coding-unknown", "9112 6.1", OK + b"Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    Answer("coding-twice", "9112 6.1", OK + CHUNKED + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n"),
    Answer("coding-in-1.0", "9112 6.1", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n"),
    Answer("bare-lf", "9112 2.2", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"),
    Answer("bare-lf-field", "9112 2.2", OK + b"X: y\nContent-Length: 3\r\n\r\nabc"),
    Answer("bare-cr-value", "9112 2.2", OK + b"X: a\rb\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("obs-fold", "9112 5.2", OK + b"X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("space-before-colon", "9112 5.1", OK + b"Content-Length : 3\r\n\r\nabc"),
    Answer("name-space", "9110 5.1", OK + b"X Y: z\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("value-nul", "9110 5.5", OK + b"X: a\x00\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("not-http", "9112 4", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    Answer("version-2", "9112 2.3", b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("version-odd", "9112 2.3", b"HTTP/1.9 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("status-letters", "9112 4", b"HTTP/1.1 2OO OK\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("status-two-digits", "9112 4", b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("status-600", "9110 15", b"HTTP/1.1 600 Odd\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("switching-unasked", "9110 15.2.2", b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    Answer("fields-endless", "9110 5.4", OK + b"X: " + b"a" * 100000 + b"\r\nContent-Length: 3\r\n\r\nabc"),
    Answer("fields-many", "9110 5.4", OK + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n"),
)

GOOD_ANSWERS = (
    Answer("length", "9112 6.2", OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    Answer("chunked", "9112 7.1", OK + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    Answer("chunk-extension", "9112 7.1.1", OK + CHUNKED + b"\r\n3;x=y\r\nabc\r\n0\r\n\r\n", b"abc"),
    Answer("trailer", "9112 7.1.2", OK + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", b"abc"),
    Answer("until-close", "9112 6.3", OK + b"\r\nabc", b"abc"),
    Answer("until-close-1.0", "9112 6.3", b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
    Answer("no-phrase", "9112 4", b"HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    Answer("no-content", "9110 15.3.5", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    Answer("not-modified", "9110 15.4.5", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
    Answer("interim", "9110 15.2", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    Answer("value-empty", "9110 5.5", OK + b"X:\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    Answer("value-high-byte", "9110 5.5", OK + b"X: caf\xe9\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    Answer("length-zero", "9112 6.2", OK + b"Content-Length: 0\r\n\r\n", b""),
)
