"""HTTP/2 over TLS on both sides is used only if ALPN has selected it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme
from h2peer import Upstream, plain, service
from one_data_plane import one_data_plane

from edge.native import Outcome

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority() -> trustme.CA:
    """Return a test CA."""
    return trustme.CA()


def listening(authority: trustme.CA, folder: Path) -> str:
    """Return configuration text of a TLS listener with a certificate for edge.test."""
    cert = authority.issue_cert("127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(str(folder / "edge.pem"))
    pem = folder / "edge.pem"
    return f'\nlisten: [{{address: "127.0.0.1:0", tls: {{cert: {pem}, key: {pem}}}}}]\n'


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return a client context that trusts the CA."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize(("offer", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
async def test_clients(authority: trustme.CA, tmp_path: Path, offer: bool, version: str) -> None:
    """A client that offers h2 gets HTTP/2, another client HTTP/1.1, on one port."""
    async with Upstream(plain()) as upstream:
        async with one_data_plane(service(upstream.address) + listening(authority, tmp_path)) as data_plane:
            url = data_plane.url.replace("http:", "https:")
            async with httpx.AsyncClient(http2=offer, verify=trusting(authority), base_url=url) as client:
                for n in range(3):
                    answer = await client.post("/a", content=b"x" * 50_000 * n)
                    assert (answer.status_code, answer.http_version, answer.content) == (200, version, b"hello")
        assert upstream.calls[0].field("x-forwarded-proto") == "https"


async def test_a_preface_without_alpn(authority: trustme.CA, tmp_path: Path) -> None:
    """Over TLS only ALPN counts: a preface after http/1.1 is not a request."""
    async with one_data_plane(service("127.0.0.1:1") + listening(authority, tmp_path)) as data_plane:
        context = trusting(authority)
        context.set_alpn_protocols(["http/1.1"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", data_plane.port, ssl=context, server_hostname="127.0.0.1"
        )
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        assert received.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(("offer", "status"), [(["h2"], 200), (["http/1.1"], 503), ([], 503)])
async def test_upstreams(authority: trustme.CA, tmp_path: Path, offer: list[str], status: int) -> None:
    """HTTP/2 is used only if the upstream selects it; otherwise there is no connection, and the error says why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("service.test").configure_cert(context)
    if offer:
        context.set_alpn_protocols(offer)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = f"    tls: {{ca: {tmp_path / 'ca.pem'}, server_name: service.test}}"
    async with (
        Upstream(plain(), tls=context) as upstream,
        one_data_plane(service(upstream.address, extra=tls)) as data_plane,
    ):
        async with httpx.AsyncClient(base_url=data_plane.url) as client:
            answer = await client.get("/a")
            assert answer.status_code == status
        if status == 200:
            assert upstream.calls[0].field(":scheme") == "https"
        else:
            assert "does not offer HTTP/2" in answer.text
            assert data_plane.outcomes(f"echo/{upstream.address}")[Outcome.FAIL_CONNECT] >= 1
