"""Lists where edge refuses HTTP/1.1 messages that llhttp takes, with the section that allows it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Stricter(NamedTuple):
    """Messages that llhttp takes and edge refuses: those that match ``pattern``, for ``reason``; one of them.

    Both are regular expressions, and ``reason`` is the whole of what edge says.
    """

    name: str
    section: str
    pattern: bytes
    reason: str
    example: bytes


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"

NO_HTTP1 = "the request is not HTTP/1.1: "
STRICTER_REQUESTS = (
    Stricter(
        "an empty line before a request is CR LF",
        "9112 2.2",
        rb"(?<!\r)\n|\r(?!\n)",
        NO_HTTP1 + "a line does not end in CR LF",
        b"\n" + GET + b"\r\n",
    ),
    Stricter(
        "empty lines before a request are bounded",
        "9112 2.2",
        rb"(\r\n){9}",
        NO_HTTP1 + "more than 8 empty lines before a request",
        b"\r\n" * 9 + GET + b"\r\n",
    ),
    Stricter(
        "the protocol is HTTP",
        "9112 2.3",
        rb"RTSP/|ICE/| (R|RT|RTS|RTSP|I|IC|ICE)$",
        NO_HTTP1 + "HTTP/ is missing",
        b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "the methods are those of HTTP",
        "9110 9.1",
        rb"DES|AN|SET|PL|PAU|TE|GET_|RED|REC|F|PRI",
        NO_HTTP1 + "the method is not known",
        b"DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "the version is 1.1 or 1.0",
        "9112 2.3",
        rb"HTTP/(0\.9|2\.0)",
        "only HTTP/1.1 and HTTP/1.0 are spoken here",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "a request line has a version",
        "9112 3",
        rb"[A-Z] +[^ \r\n]+\r",
        "only HTTP/1.1 and HTTP/1.0 are spoken here",
        b"GET /\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "the target is a path, an http URL, or * of OPTIONS",
        "9112 3.2",
        rb"[A-Z] +[^/ ]",
        "the request target (is neither a path nor an http URL|has no path)",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "the target has no fragment",
        "9112 3.2",
        rb" [^ ]*#",
        NO_HTTP1 + "a character in the request target that must be percent-encoded",
        b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "the target is bounded",
        "9112 3",
        rb"[^ \r\n]{16385}",
        "the request target is longer than 16384 bytes",
        b"GET /" + b"a" * 16384 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    Stricter(
        "CONNECT is not offered",
        "9110 9.3.6",
        rb"CONNECT ",
        "CONNECT is not offered",
        b"CONNECT a:1 " + GET[6:] + b"\r\n",
    ),
    Stricter("Host is there", "9112 3.2", rb"", "Host is missing", b"GET / HTTP/1.1\r\n\r\n"),
    Stricter("Host is there once", "9112 3.2", rb"(?i)host:", "more than one Host", GET + b"Host: a\r\n\r\n"),
    Stricter(
        "Host is a host",
        "9112 3.2",
        rb"(?i)host:|https?://",
        "Host is not a host name with an optional port",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ),
    Stricter(
        "a length is written in one way",
        "9110 8.6",
        rb"(?i)content-length:[ \t]*(0[0-9]|[0-9]{19})",
        "Content-Length is not a plain decimal number",
        GET + b"Content-Length: 00\r\n\r\n",
    ),
    Stricter(
        "chunked is the only coding",
        "9112 6.1",
        rb"(?i)transfer-encoding:",
        "a transfer coding other than chunked",
        GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    Stricter(
        "the coding is said once",
        "9112 6.1",
        rb"(?i)transfer-encoding:",
        "more than one Transfer-Encoding",
        GET + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Stricter(
        "HTTP/1.0 has no coding",
        "9112 6.1",
        rb"HTTP/1\.0",
        "Transfer-Encoding in an HTTP/1.0 message",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Stricter(
        "100-continue is the only expectation",
        "9110 10.1.1",
        rb"(?i)expect:",
        "Expect asks for something other than 100-continue",
        GET + b"Expect: more\r\n\r\n",
    ),
    Stricter(
        "fields are bounded in number",
        "9110 5.4",
        rb"(.*\n){100}",
        "more than 100 header fields",
        GET + b"a: b\r\n" * 100 + b"\r\n",
    ),
    Stricter(
        "fields are bounded in size",
        "9110 5.4",
        rb"(?s).{65000}",
        "header fields larger than 65536 bytes",
        GET + b"a: " + b"b" * 65536 + b"\r\n\r\n",
    ),
    Stricter(
        "trailers are bounded",
        "9110 5.4",
        rb"(?s).{65000}",
        "trailers without end",
        POST + b"0\r\na: " + b"b" * 65536 + b"\r\n\r\n",
    ),
)
STRICTER_RESPONSES = (
    Stricter(
        "nothing stands before a status line",
        "9112 4",
        rb"(^|\n)[\r\n]",
        "the upstream does not speak HTTP/1.1: HTTP/ is missing",
        b"\r\n" + OK + b"\r\n",
    ),
    Stricter(
        "the protocol is HTTP",
        "9112 2.3",
        rb"RTSP/|ICE/|(^|\n)(R|RT|RTS|RTSP|I|IC|ICE)$",
        "the upstream does not speak HTTP/1.1: HTTP/ is missing",
        b"ICE/1.0 200 OK\r\n\r\n",
    ),
    Stricter(
        "the version is 1.1 or 1.0",
        "9112 2.3",
        rb"HTTP/(0\.9|2\.0)",
        "the upstream does not speak HTTP/1.1: only HTTP/1.1 and HTTP/1.0 are spoken here",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ),
    Stricter(
        "a reason phrase has no control character",
        "9112 4",
        rb"[0-9]{3} [^\r\n]*[\x00-\x08\x0b-\x1f\x7f]",
        "the upstream does not speak HTTP/1.1: a control character in the reason phrase",
        b"HTTP/1.1 200 O\x00\r\n\r\n",
    ),
    Stricter(
        "a status is from 100 to 599",
        "9110 15",
        rb"HTTP/1\.[01] [06-9]",
        "the upstream's answer was refused: status [0-9]+ is not a status",
        b"HTTP/1.1 600 Odd\r\n\r\n",
    ),
    Stricter(
        "a length is written in one way",
        "9110 8.6",
        rb"(?i)content-length:[ \t]*(0[0-9]|[0-9]{19})",
        "the upstream's answer was refused: Content-Length is not a plain decimal number",
        OK + b"Content-Length: 00\r\n\r\n",
    ),
    Stricter(
        "chunked is the only coding, said once, and not by HTTP/1.0",
        "9112 6.1",
        rb"(?i)transfer-encoding:",
        "the upstream's answer was refused: a Transfer-Encoding that cannot be trusted",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
    ),
    Stricter(
        "an interim response has no body",
        "9110 8.6",
        rb"HTTP/1\.[01] 1",
        "the upstream's answer was refused: an interim answer with a body",
        b"HTTP/1.1 110 Odd\r\nContent-Length: 1\r\n\r\na" + OK + b"\r\n",
    ),
    Stricter(
        "an interim response does not end the connection",
        "9110 15.2",
        rb"HTTP/1\.[01] 1",
        "the upstream's answer was refused: an interim answer that ends the connection",
        b"HTTP/1.0 103 Early\r\n\r\n",
    ),
    Stricter(
        "interim responses are bounded",
        "9110 15.2",
        rb"(?s)(HTTP/1\.[01] 1.*){17}",
        "the upstream's answer was refused: interim answers without a final one",
        b"HTTP/1.1 103 Early\r\n\r\n" * 17 + OK + b"\r\n",
    ),
    Stricter(
        "101 is an answer to Upgrade",
        "9110 15.2.2",
        rb"HTTP/1\.[01] 101",
        "the upstream's answer was refused: 101 without being asked",
        b"HTTP/1.1 101 Odd\r\n\r\n",
    ),
    Stricter(
        "no response expects",
        "9110 10.1.1",
        rb"(?i)expect:",
        "the upstream's answer was refused: Expect asks for something other than 100-continue",
        OK + b"Expect: more\r\n\r\n",
    ),
    Stricter(
        "fields are bounded in number",
        "9110 5.4",
        rb"(.*\n){100}",
        "the upstream does not speak HTTP/1.1: more than 100 header fields",
        OK + b"a: b\r\n" * 101 + b"\r\n",
    ),
    Stricter(
        "fields are bounded in size",
        "9110 5.4",
        rb"(?s).{65000}",
        "the upstream does not speak HTTP/1.1: header fields larger than 65536 bytes",
        OK + b"a: " + b"b" * 65536 + b"\r\n\r\n",
    ),
    Stricter(
        "a head ends",
        "9110 5.4",
        rb"(?s).{81000}",
        "the upstream's answer has a head without end",
        OK + b"a: " + b"b" * 90000 + b"\r\n\r\n",
    ),
    Stricter(
        "no trailer names a coding",
        "9110 6.5.1",
        rb"(?i)transfer-encoding:",
        "the upstream does not speak HTTP/1.1: a trailer that frames the message",
        CHUNKS + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    Stricter(
        "trailers end",
        "9110 5.4",
        rb"(?s).{81000}",
        "the upstream's answer has trailers without end",
        CHUNKS + b"0\r\na: " + b"b" * 90000 + b"\r\n\r\n",
    ),
)
# Of chunks, in requests and responses: what follows the head in an example.
STRICTER_CHUNKS = (
    Stricter(
        "a chunk is smaller than 2^63",
        "9112 7.1",
        rb"[0-9A-Fa-f]{16}",
        "the size of a chunk is too large",
        b"ffffffffffffffff\r\na",
    ),
    Stricter(
        "a size has at most 16 digits",
        "9112 7.1",
        rb"[0-9A-Fa-f]{17}",
        "the size of a chunk is too large",
        b"00000000000000001\r\na\r\n0\r\n\r\n",
    ),
    Stricter(
        "a chunk extension is a name, and a value behind =",
        "9112 7.1.1",
        rb";",
        "a chunk extension is not a name with a value",
        b"1;a=\r\na\r\n0\r\n\r\n",
    ),
    Stricter(
        "framing is bounded",
        "9112 7.1.1",
        rb"(?s).{65000}",
        "chunk framing outweighs the body",
        b"1;" + b"a" * 90000 + b"\r\na\r\n0\r\n\r\n",
    ),
    Stricter(
        "no trailer ends the connection",
        "9110 6.5.1",
        rb"(?i)connection:",
        "a trailer that frames the message",
        b"0\r\nConnection: close\r\n\r\n",
    ),
)


def chunk_rows(prefix: str, head: bytes) -> tuple[Stricter, ...]:
    """The rows of chunks for one kind of message."""
    return tuple(row._replace(reason=prefix + row.reason, example=head + row.example) for row in STRICTER_CHUNKS)


REQUEST_ROWS = STRICTER_REQUESTS + chunk_rows("", POST)
RESPONSE_ROWS = STRICTER_RESPONSES + chunk_rows("the upstream does not speak HTTP/1.1: ", CHUNKS)


def is_allowed(rows: tuple[Stricter, ...], data: bytes, reason: str) -> bool:
    """Whether a row allows edge to refuse these bytes for this reason."""
    return any(re.fullmatch(row.reason, reason) and re.search(row.pattern, data) for row in rows)
