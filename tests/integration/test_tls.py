"""TLS on both sides: upstream certificates are verified, client certificates if required, ALPN is http/1.1."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from one_data_plane import OneDataPlane, models, one_data_plane, post, whole

from edge.native import Outcome

if TYPE_CHECKING:
    from pathlib import Path


async def https_upstream(context: ssl.SSLContext, seen: list[ssl.SSLObject]) -> asyncio.Server:
    """A TLS server that answers each request and records the negotiated protocol."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole().replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)


async def request(data_plane: OneDataPlane, context: ssl.SSLContext, data: bytes) -> tuple[bytes, str | None]:
    """Send a request over TLS; return the complete answer and the negotiated protocol."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", data_plane.port, ssl=context, server_hostname="edge.test"
    )
    agreed = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.write(data)
    try:
        received = await asyncio.wait_for(reader.readuntil(b"}"), 60)
    finally:
        writer.close()
    return received, agreed


@pytest.fixture
def authority() -> trustme.CA:
    """Return a test CA."""
    return trustme.CA()


@pytest.mark.parametrize("trusted", [True, False])
async def test_upstream(authority: trustme.CA, tmp_path: Path, trusted: bool) -> None:
    """An upstream with a certificate of the configured CA is used; any other is a connect failure."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority if trusted else trustme.CA()).issue_cert("provider.test").configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    seen: list[ssl.SSLObject] = []
    server = await https_upstream(context, seen)
    port = server.sockets[0].getsockname()[1]
    text = models(f"https://127.0.0.1:{port}").replace(
        "/v1'}", f"/v1', tls: {{ca: {tmp_path / 'ca.pem'}, server_name: provider.test}}}}"
    )
    async with server, one_data_plane(text) as data_plane:
        answer = await data_plane.ask(post(), b"}")
        if trusted:
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert seen[0].selected_alpn_protocol() == "http/1.1"
        else:
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_CONNECT] >= 1
            assert seen == []


async def test_upstream_name(authority: trustme.CA, tmp_path: Path) -> None:
    """A valid certificate for another name is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.test").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = await https_upstream(context, [])
    port = server.sockets[0].getsockname()[1]
    text = models(f"https://127.0.0.1:{port}").replace(
        "/v1'}", f"/v1', tls: {{ca: {tmp_path / 'ca.pem'}, server_name: provider.test}}}}"
    )
    async with server, one_data_plane(text) as data_plane:
        assert (await data_plane.ask(post(), b"}")).startswith(b"HTTP/1.1 503 ")


def listening(authority: trustme.CA, folder: Path, *, client_ca: bool = False) -> str:
    """Return a configuration of a TLS listener with a certificate for edge.test."""
    issued = authority.issue_cert("edge.test")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    asked = f", client_ca: {folder / 'ca.pem'}" if client_ca else ""
    return (
        f"listen: [{{address: '127.0.0.1:0', tls: {{cert: {folder / 'cert.pem'}, key: {folder / 'key.pem'}{asked}}}}}]"
    )


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return a client context that trusts the CA."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def test_listener(authority: trustme.CA, tmp_path: Path) -> None:
    """Clients reach edge over TLS; forwarded requests say https."""
    seen: list[ssl.SSLObject] = []
    upstream_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("provider.test").configure_cert(upstream_context)
    server = await https_upstream(upstream_context, seen)
    port = server.sockets[0].getsockname()[1]
    listen = listening(authority, tmp_path)
    text = models(f"https://127.0.0.1:{port}", extra=listen).replace(
        "/v1'}", f"/v1', tls: {{ca: {tmp_path / 'ca.pem'}, server_name: provider.test}}}}"
    )
    async with server, one_data_plane(text) as data_plane:
        received, agreed = await request(data_plane, trusting(authority), post())
        assert received.startswith(b"HTTP/1.1 200 ")
        assert agreed == "http/1.1"
        # plain HTTP on a TLS listener gets nothing
        peer = await data_plane.raw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b"200" not in peer.received


async def test_client_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    """With client_ca, a client without a certificate of that CA is not served."""
    text = models("http://127.0.0.1:9", extra=listening(authority, tmp_path, client_ca=True))
    health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    async with one_data_plane(text) as data_plane:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await request(data_plane, trusting(authority), health)
        stranger = trusting(authority)
        trustme.CA().issue_cert("client.test").configure_cert(stranger)
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await request(data_plane, stranger, health)
        known = trusting(authority)
        authority.issue_cert("client.test").configure_cert(known)
        received, _ = await request(data_plane, known, health)
        assert received.startswith(b"HTTP/1.1 200 ")
