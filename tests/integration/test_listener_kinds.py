"""A listener shows the certificate that a client asks for, or sends its clients to one that has certificates."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
import trustme
from h2peer import Upstream, plain, service
from one_data_plane import OneDataPlane, one_data_plane

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (("first.test",), ("second.test", "other.test"), ("*.wild.test",))


def certificates(folder: Path, authority: trustme.CA, *, asking: bool = False) -> str:
    """Write a certificate for each of NAMES; return ``listen`` with all of them."""
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    parts = []
    for names in NAMES:
        file = folder / f"{names[0].replace('*', 'any')}.pem"
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(file))
        more = f", client_ca: {folder / 'ca.pem'}" if asking else ""
        parts.append(f"{{cert: {file}, key: {file}{more}}}")
    return f'\nlisten: [{{address: "127.0.0.1:0", hosts: [edge], tls: [{", ".join(parts)}]}}]\n'


async def shown(data_plane: OneDataPlane, client: ssl.SSLContext, name: str | None) -> set[str]:
    """Return the names in the certificate that a client is shown who asks for ``name``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port, ssl=client, server_hostname=name or "")
    found = writer.get_extra_info("ssl_object").getpeercert()
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    return {value for _, value in found["subjectAltName"]}


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("first.test", 0),
        ("second.test", 1),
        ("OTHER.test", 1),
        ("a.wild.test", 2),
        ("a.b.wild.test", 0),
        ("wild.test", 0),
        ("unknown.test", 0),
        (None, 0),
    ],
)
async def test_the_certificate_of_a_name(tmp_path: Path, asked: str | None, place: int) -> None:
    """Names are compared without case, a wildcard stands for one label, and the first certificate is for the rest."""
    authority = trustme.CA()
    listen = certificates(tmp_path, authority)
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address, extra=listen)) as data_plane:
        client = ssl.create_default_context()
        authority.configure_trust(client)
        client.check_hostname = False
        assert await shown(data_plane, client, asked) == set(NAMES[place])


async def test_no_name_evades_the_question_for_a_certificate(tmp_path: Path) -> None:
    """A client without a certificate is refused under every name; with one it is served."""
    authority = trustme.CA()
    listen = certificates(tmp_path, authority, asking=True)
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address, extra=listen)) as data_plane:
        client = ssl.create_default_context()
        authority.configure_trust(client)
        client.check_hostname = False
        for name in ("first.test", "second.test", "a.wild.test", "unknown.test"):
            with pytest.raises((ssl.SSLError, OSError, AssertionError)):
                await shown(data_plane, client, name)
        authority.issue_cert("caller.test").configure_cert(client)
        assert await shown(data_plane, client, "second.test") == set(NAMES[1])


def redirecting(to: str) -> str:
    """Return ``listen`` of a listener that sends its clients elsewhere."""
    return f'\nlisten: [{{address: "127.0.0.1:0", redirect: "{to}"}}]\n'


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize(
    ("to", "host", "place"),
    [
        ("https", "Edge.example:8080", "https://edge.example/a?b=c"),
        ("https", "[::1]:80", "https://[::1]/a?b=c"),
        ("https://other.example:8443", "edge.example", "https://other.example:8443/a?b=c"),
    ],
)
async def test_a_redirect(http2: bool, to: str, host: str, place: str) -> None:
    """Every method is sent to the same place over TLS, and nothing reaches a service."""
    async with (
        Upstream(plain()) as upstream,
        one_data_plane(service(upstream.address, extra=redirecting(to))) as data_plane,
        httpx.AsyncClient(base_url=data_plane.url, http1=not http2, http2=http2) as client,
    ):
        for method in ("GET", "POST", "OPTIONS"):
            content = b"x" if method == "POST" else None
            answer = await client.request(method, "/a?b=c", headers={"host": host}, content=content)
            assert (answer.status_code, answer.headers["location"]) == (308, place)
        assert (await client.get("/healthz")).status_code == 200
        assert upstream.calls == []


async def test_what_cannot_be_sent_elsewhere() -> None:
    """Without a host there is no place to go; a call of gRPC ends with a status, not with a page."""
    async with Upstream(plain()) as upstream:
        async with one_data_plane(service(upstream.address, extra=redirecting("https"))) as data_plane:
            answer = await data_plane.raw(b"GET /a HTTP/1.0\r\n\r\n")
            assert answer.received.startswith(b"HTTP/1.1 400 ")
            assert b"host_missing" in answer.received
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError, match="https"):
                    await channel.unary_unary("/a.B/Call")(b"")
        assert upstream.calls == []
