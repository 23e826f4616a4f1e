"""Answers of services that are compressed, partial or not modified pass as they are, over each version of HTTP."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest
from h2peer import Upstream, service
from loopback import LoopbackServer
from one_data_plane import one_data_plane

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from h2peer import Call

PAGE = b"<p>" + bytes(range(256)) * 200 + b"</p>"
# Edge does not look into a body, so that bytes of no coding at all must pass under any name.
BODIES = {"gzip": gzip.compress(PAGE), "br": PAGE[::-1], "zstd": PAGE[7:], "dcb": PAGE[9:], "gzip, br": PAGE[1:]}
Answer = tuple[int, list[tuple[str, str]], bytes]


def answer_of(method: str, fields: Mapping[str, str]) -> Answer:
    """Answer as a server of files does: by coding, range and entity tag (RFC 9110 8.8.3, 13.1.2, 14.2)."""
    coding = fields.get("accept-encoding", "")
    body = BODIES[coding]
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    known = [("etag", tag), ("vary", "accept-encoding"), ("cache-control", "public, no-transform")]
    if fields.get("if-none-match") == tag:
        return 304, known, b""
    known += [("content-encoding", coding), ("accept-ranges", "bytes"), ("content-type", "text/html")]
    status = 200
    if asked := fields.get("range"):
        first, last = (int(place) for place in asked.removeprefix("bytes=").split("-"))
        known.append(("content-range", f"bytes {first}-{last}/{len(body)}"))
        body, status = body[first : last + 1], 206
    known.append(("content-length", str(len(body))))
    return status, known, b"" if method == "HEAD" else body


async def over_http2(call: Call) -> None:
    """Answer one call."""
    fields = {name: value for name, value in call.fields if not name.startswith(":")}
    status, told, body = answer_of(call.field(":method") or "", fields)
    await call.head(status, *told, end=not body)
    if body:
        await call.data(body, end=True)


class Files(LoopbackServer):
    """The same answers over HTTP/1.1."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests without a body until the connection ends."""
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            line, *rest = head.split("\r\n")
            fields = dict(each.lower().split(": ", 1) for each in rest if each)
            status, told, body = answer_of(line.split()[0], fields)
            lines = "".join(f"{name}: {value}\r\n" for name, value in told)
            writer.write(f"HTTP/1.1 {status} Fine\r\n{lines}\r\n".encode() + body)
            if fields.get("connection") == "close":
                return writer.close()
        return None


@pytest.mark.parametrize("coding", sorted(BODIES))
@pytest.mark.parametrize("protocol", ["http1", "h2c"])
@pytest.mark.parametrize("http2", [False, True])
async def test_it_is_left_alone(protocol: str, http2: bool, coding: str) -> None:
    """Whole, in part, by HEAD and as 304: status, fields and every byte are the service's own."""
    server = Upstream(over_http2) if protocol == "h2c" else Files()
    body = BODIES[coding]
    _, told, _ = answer_of("GET", {"accept-encoding": coding})
    tag = dict(told)["etag"]
    steps = [
        ("GET", {}),
        ("GET", {"range": "bytes=100-1099"}),
        ("GET", {"range": f"bytes={len(body) - 1}-{len(body) - 1}", "if-range": tag}),
        ("HEAD", {}),
        ("HEAD", {"range": "bytes=0-9"}),
        ("GET", {"if-none-match": tag}),
        ("HEAD", {"if-none-match": tag}),
        ("GET", {"if-none-match": '"other"'}),
    ]
    async with (
        server,
        one_data_plane(service(server.address, protocol=protocol)) as data_plane,
        httpx.AsyncClient(base_url=data_plane.url, http1=not http2, http2=http2) as client,
    ):
        for method, more in steps:
            fields = {"accept-encoding": coding, **more}
            expected = answer_of(method, fields)
            async with client.stream(method, "/page.html", headers=fields) as answer:
                got = b"".join([part async for part in answer.aiter_raw()])
            assert answer.status_code == expected[0]
            assert got == expected[2]
            kept = [(name, value) for name, value in answer.headers.multi_items() if name in dict(expected[1])]
            assert sorted(kept) == sorted(expected[1])
