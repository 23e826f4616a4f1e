"""Who may call the admin address; a malformed request costs nothing but its own answer."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import TYPE_CHECKING, Final

import pytest
from test_admin import TOKEN, Running
from test_operations import Steered

from edge.admin.server import AdminServer
from edge.control.node import Node
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S: Final = 10.0


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Collect every log line, debug included, as control would write it."""
    root, own = logging.getLogger(), logging.getLogger("edge")
    before = root.handlers[:], root.level, own.level
    stream = io.StringIO()
    logs.set_up("control", level="debug", form="json", stream=stream)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


async def raw(admin: Running, request: bytes) -> bytes:
    """Send malformed bytes; return the complete answer."""
    host, _, port = admin.url.removeprefix("http://").rpartition(":")
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize(
    "host", ["evil.example:9901", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[x", ""]
)
async def test_no_other_name_leads_here_without_a_token(host: str) -> None:
    """A page whose name resolves to this machine (DNS rebinding) can neither read nor steer."""
    async with Running("") as admin:
        headers = {"Host": host, "Origin": f"http://{host}"}
        for method, path in (("GET", "/api/targets"), ("GET", "/metrics"), ("POST", "/api/reload")):
            status, body, _ = await admin.get(path, method, **headers)
            assert (status, "admin.token" in body["error"]) == (403, True)
        assert (await admin.get("/live", **headers))[0] == 200, "an orchestrator may ask by any name"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "LOCALHOST:1", "localhost.", "10.1.2.3:80"]
)
async def test_addresses_and_localhost_lead_here(host: str) -> None:
    """Requests by an IP address or localhost need no token, including those of the node's own page."""
    async with Running("") as admin:
        assert (await admin.get("/api/targets", Host=host))[0] == 200
        assert (await admin.get("/api/nowhere", "POST", Host=host, Origin=f"http://{host}"))[0] == 404
        assert (await admin.get("/api/nowhere", "POST", Host=host, Origin="http://127.0.0.1:8000"))[0] == 403


async def test_with_a_token_any_name_will_do() -> None:
    """With a token any Host is accepted, because a foreign page does not know the token."""
    async with Running(TOKEN) as admin:
        named = {"Host": "edge.internal:9901", "Authorization": f"Bearer {TOKEN}"}
        assert (await admin.get("/api/targets", **named))[0] == 200
    async with Running("") as admin:
        assert b" 200 OK" in (await raw(admin, b"GET /api/targets HTTP/1.0\r\n\r\n")).splitlines()[0]


async def test_a_token_of_any_bytes_is_compared(log: io.StringIO) -> None:
    """A token that is not UTF-8 is wrong, and a token in UTF-8 is compared correctly."""
    async with Running("tök-0123456789") as admin:
        request = b"GET /api/targets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %b\r\n\r\n"
        for given, status in ((b"\xff\xfe", b" 401 "), ("tök-0123456789".encode(), b" 200 ")):
            assert status in (await raw(admin, request % given)).splitlines()[0]
    assert log.getvalue() == ""


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_what_is_no_http_is_not_quoted_in_the_log(log: io.StringIO, token: str) -> None:
    """Malformed requests may contain a token: the log has a debug line without their content."""
    async with Running(token) as admin:
        answer = await raw(admin, b"GET /live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sekret-of-mine\x01\r\n\r\n")
        assert b" 400 " in answer.splitlines()[0]
    (line,) = log.getvalue().splitlines()
    assert '"level":"debug"' in line
    assert "sekret" not in line


async def test_numbers_of_any_length_are_read(log: io.StringIO) -> None:
    """A number too long for Python is refused as not from 1 to 1000, and causes no failure."""
    async with Running("") as admin:
        for last in ("9" * 5000, "0", "1001", "-1", "x"):
            status, body, _ = await admin.get(f"/api/traces?last={last}")
            assert (status, "from 1 to 1000" in body["error"]) == (400, True)
        assert (await admin.get("/api/traces?last=0050"))[0] == 200
    assert log.getvalue() == ""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_cannot_be_unpacked_is_refused(log: io.StringIO, tmp_path: Path, encoding: str) -> None:
    """The response is 400 with the reason, no operation is done, and the log has no traceback."""
    with Steered(tmp_path, "p/a") as node:
        admin = Running("")
        admin.server = AdminServer(Node(node.shared_state, node.publisher, 1, dict, operations=node.operations), "")
        async with admin:
            head = f"PUT /api/targets/p/a/drain HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: {encoding}\r\n"
            answer = await raw(admin, f"{head}Connection: close\r\nContent-Length: 5\r\n\r\nxxxxx".encode())
        assert b" 400 " in answer.splitlines()[0]
        assert b"not encoded as its headers say" in answer
        assert node.shared_state.read_target(node.slot("p/a"), 1)["manual"] == 0
    assert "traceback" not in log.getvalue()
