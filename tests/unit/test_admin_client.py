"""A command that calls a node ends soon and with one sentence, and sends its token to nobody else."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from edge.cli import fetching
from edge.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S: Final = 10.0
TOKEN: Final = "sekret-of-the-node"


class Answerer:
    """A server that reads a request, sends a fixed answer, and closes."""

    def __init__(self, said: bytes | Callable[[socket.socket], None]) -> None:
        self._said = said
        self.heard: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_S)
        self._listening.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # of a listener that is shut down, or a client that has left
            while True:
                client, _ = self._listening.accept()
                with client, contextlib.suppress(OSError):
                    client.settimeout(LIMIT_S)
                    self.heard.append(client.recv(65536))
                    if callable(self._said):
                        self._said(client)
                    else:
                        client.sendall(self._said)


def http(status: int, body: bytes, *headers: str) -> bytes:
    """Return a response."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


COMMANDS: Final = (
    ["status"],
    ["status", "--json"],
    ["status", "--all"],
    ["top", "--once", "--every", "0"],
    ["reload"],
    ["trace"],
    ["trace", "abc"],
    ["keys", "status"],
    ["drain"],
    ["target", "drain", "p/m", "--reason", "x"],
)
OTHERS: Final = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "a cut answer": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"he',
    "a cut chunk": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{"he',
    "a page": http(200, b"<h1>hello</h1>", "Content-Type: text/html"),
    "bytes": http(200, b"\xff\xfe"),
    "a deep list": http(200, b"[" * 100_000),
    "a page that says 400": http(400, b"<h1>no</h1>"),
    "a page that says 404": http(404, b"<h1>no</h1>"),
    "a page that says 409": http(409, b"<h1>no</h1>"),
    "a page that says 503": http(503, b"<h1>no</h1>"),
    "another object": http(200, b'{"hello": 1}'),
    "another error": http(409, b'{"error": {"code": 1}}'),
    "null": http(200, b"null"),
}
LISTS: Final = {
    "of numbers": [1, 2],
    "of objects": [{"id": [], "name": {}}],
    "of half a target": [{"id": "p/m", "why": "", "routes": 3}],
}


def one_sentence(capsys: pytest.CaptureFixture[str], command: list[str]) -> str:
    """Run a command that fails; return its one line of output."""
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge: ")
    return line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_not_edge_is_said_so(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With any other server at the address, every command ends with one sentence and status 1."""
    for name, said in OTHERS.items():
        with Answerer(said) as other:
            line = one_sentence(capsys, [*command, "--admin", other.address])
            assert other.address in line, name


@pytest.mark.parametrize("command", [["status"], ["top", "--once", "--every", "0"], ["trace"]], ids=" ".join)
@pytest.mark.parametrize("said", LISTS.values(), ids=LISTS)
def test_a_list_of_something_else(command: list[str], said: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A response that only fails when it is shown in a table is reported too, with the error."""
    with Answerer(http(200, json.dumps(said).encode())) as other:
        assert "in a form that edge" in one_sentence(capsys, [*command, "--admin", other.address])


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"], ids=["head", "body"])
def test_who_drips_holds_nobody(
    head: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline covers the whole response, even if bytes keep arriving; the connection is closed then."""
    monkeypatch.setattr(fetching, "WHOLE_S", 0.2)
    left = threading.Event()

    def drip(client: socket.socket) -> None:
        end = time.monotonic() + LIMIT_S
        with contextlib.suppress(ConnectionError):
            client.sendall(head)
            client.settimeout(0.02)
            while time.monotonic() < end:
                client.sendall(b" ")
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1):
                        break
        if time.monotonic() < end:
            left.set()

    with Answerer(drip) as other:
        assert "no complete response within 0.2 s" in one_sentence(capsys, ["status", "--admin", other.address])
        assert left.wait(LIMIT_S)


def test_an_answer_without_end_is_not_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A response above the size limit is refused, with or without Content-Length."""
    monkeypatch.setattr(fetching, "MOST", 1 << 20)
    for head in (b"Content-Length: 99999999\r\n", b"Connection: close\r\n"):
        with Answerer(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + b" " * (2 << 20)) as other:
            assert "is longer than 1 MiB" in one_sentence(capsys, ["status", "--admin", other.address])


BROKEN: Final = (
    "",
    "http://",
    "http://a b",
    "http://h:99x",
    "http://h:99999",
    "http://[::1",
    "h..:1",
    "ftp://h",
    "h?x",
)


@pytest.mark.parametrize("address", [*BROKEN, "h\x1b[2J", "ü"])
def test_no_address_is_said_so(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A malformed --admin is refused with the correct form, and its control characters are escaped."""
    line = one_sentence(capsys, ["status", "--admin", address])
    assert "is not an http address; write --admin http://127.0.0.1:9901" in line
    assert line.isprintable()


def test_why_a_node_refuses_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """The node's reason for a refusal (such as a refused Host) follows the status."""
    with Answerer(http(403, b'{"error": "ask at the address\\u001b"}')) as node:
        line = one_sentence(capsys, ["status", "--admin", node.address])
        assert line.endswith("answered 403: ask at the address\ufffd")


def test_what_speaks_no_tls_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """An https address without TLS behind it is reported."""
    with Answerer(http(200, b"[]")) as other:
        assert "no response from" in one_sentence(capsys, ["status", "--admin", f"https://{other.address}"])


def test_a_password_in_the_address_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """A user and password in the address are refused, and the message does not contain them."""
    for address in ("http://me:sekret@127.0.0.1:1", "ftp://me:sekret@127.0.0.1"):
        assert "sekret" not in one_sentence(capsys, ["status", "--admin", address])


@pytest.mark.parametrize("token", ["sekret\nx", "sekret\r", "sekret\0", "sekret\x7f", "sekret\udcff"])
def test_a_token_that_no_header_carries_is_not_repeated(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that cannot be sent in a header is refused before the request, with its origin."""
    with Answerer(http(200, b"[]")) as node:
        line = one_sentence(capsys, ["status", "--admin", node.address, "--token", token])
        assert "EDGE_ADMIN_TOKEN" in line
        assert "sekret" not in line
        assert node.heard == []


def test_the_token_goes_to_the_node_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is sent neither to a proxy nor to a redirect's target; the node gets it in UTF-8."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Answerer(http(200, b"[]")) as other:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{other.address}")
        with Answerer(http(200, b"[]")) as node:
            assert main(["status", "--json", "--admin", node.address, "--token", f"{TOKEN}-ü"]) == 0
            assert capsys.readouterr().out == "[]\n"
            assert f"Authorization: Bearer {TOKEN}-ü\r\n".encode() in node.heard[0]
        for status in (301, 302, 307, 308):
            with Answerer(http(status, b"", f"Location: http://{other.address}/")) as node:
                assert f"answered {status}" in one_sentence(
                    capsys, ["status", "--admin", node.address, "--token", TOKEN]
                )
        assert other.heard == []
