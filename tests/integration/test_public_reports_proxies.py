"""Providers behind a forward proxy, as a list of reports: tunnels, credentials, TLS inside, failures."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING

import pytest
from callers import status
from loopback import LoopbackServer
from one_data_plane import models, one_data_plane, post, whole

from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

if TYPE_CHECKING:
    from secure import Secure

GOOD = (ReadMessage(), Send(whole()), Again())
CREDENTIALS = "user:secret-of-the-proxy"


class ForwardProxy(LoopbackServer):
    """An HTTP proxy that asks for credentials and opens tunnels; ``asked`` has the heads that it got."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer CONNECT, in two parts, and carry bytes both ways."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        expected = b"Proxy-Authorization: Basic " + base64.b64encode(CREDENTIALS.encode())
        if expected not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            writer.close()
            return
        host, _, port = head.split(b" ", 2)[1].decode().rpartition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection est")
        await writer.drain()
        writer.write(b"ablished\r\nvia: proxy\r\n\r\n")
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until the end."""
    with contextlib.suppress(ConnectionError), contextlib.closing(writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def behind(text: str, proxy: str, more: str = "") -> str:
    """Return the configuration with a proxy for its provider."""
    return text.replace("dialect: openai", f"dialect: openai, proxy: '{proxy}'{more}", 1)


WITH = f", proxy_credentials: '{CREDENTIALS}'"


@pytest.mark.usefixtures("both_wires")
async def test_a_provider_is_reachable_only_through_the_proxy() -> None:
    """The proxy is asked for a tunnel with its credentials, which the provider does not get; the tunnel is reused."""
    async with ForwardProxy() as proxy, ScriptedServer(GOOD) as upstream:
        async with one_data_plane(behind(models(upstream.url), proxy.url, WITH)) as data_plane:
            for _ in range(2):
                assert status(await data_plane.ask(post(), b"}")) == 200
        assert len(proxy.asked) == 1
        assert proxy.asked[0].startswith(b"CONNECT " + upstream.address.encode() + b" HTTP/1.1\r\n")
        assert b"proxy-auth" not in upstream.peers[0].received.lower()


async def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch, secure: Secure) -> None:
    """HTTPS_PROXY with credentials is used for a target over TLS, whose certificate is verified inside the tunnel."""
    async with ForwardProxy() as proxy, ScriptedServer(GOOD, tls=secure.upstream()) as upstream:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{CREDENTIALS}@"))
        monkeypatch.setenv("NO_PROXY", "example.com, 10.0.0.0/8")
        text = models(upstream.url.replace("http:", "https:"))
        for server_name, expected in ((None, 200), ("other.example", 503)):
            verified = (
                secure.verified if server_name is None else f"tls: {{ca: {secure.ca}, server_name: {server_name}}}"
            )
            async with one_data_plane(behind(text, "env", f", {verified}")) as data_plane:
                assert status(await data_plane.ask(post(), b"}")) == expected
        before = len(proxy.asked)
        assert before >= 2
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with one_data_plane(behind(text, "env", f", {secure.verified}")) as data_plane:
            assert status(await data_plane.ask(post(), b"}")) == 200
        assert len(proxy.asked) == before


@pytest.mark.parametrize(
    ("credentials", "told"),
    [("", b"the proxy answered CONNECT with 407: it wants other credentials"), (WITH, b"by the proxy 127.0.0.1:1")],
)
async def test_a_failure_of_the_proxy_looks_like_one_of_the_provider(credentials: str, told: bytes) -> None:
    """The error says that the proxy failed, and why, without its credentials."""
    async with ForwardProxy() as proxy, ScriptedServer(GOOD) as upstream:
        url = "http://127.0.0.1:1" if credentials else proxy.url
        async with one_data_plane(behind(models(upstream.url), url, credentials)) as data_plane:
            answer = await data_plane.ask(post(), b"]}}")
            assert status(answer) == 503
            assert told in answer
            assert b"secret-of" not in answer
            assert upstream.peers == []
