"""Workers share an address, and a listener is open with its certificates or not at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from one_data_plane import OneDataPlane, models, one_data_plane

from edge.app import bindings
from edge.errors import AddressTakenError, ConfigInvalidError
from edge.listen.server import open_listeners
from edge.native import WorkerCounter
from edge.terms.snapshot import ListenTls
from tests.snapshots import listener as an_address

if TYPE_CHECKING:
    from pathlib import Path

    from edge.native import Listener
    from edge.terms.snapshot import Listener as Address

CONFIG = models("http://127.0.0.1:9")
ASK = b"GET /v1/models HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n"


async def heard(port: int, **tls: Any) -> bytes:
    """Connect, send a request and read until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)
    try:
        writer.write(ASK)
        return await reader.read()
    finally:
        writer.close()


async def opened(served: OneDataPlane, addresses: list[Address]) -> list[Listener]:
    """Open listeners on the data plane's own loop."""

    async def begin() -> list[Listener]:
        return open_listeners(addresses, served.data_plane)

    return await served.thread.run(begin())


async def closed(served: OneDataPlane, listeners: list[Listener]) -> None:
    """Close listeners on the data plane's own loop."""

    async def end() -> None:
        for listener in listeners:
            listener.close()
            listener.close()  # a second time changes nothing

    await served.thread.run(end())


async def test_a_reserved_port_takes_nothing_and_gives_way_to_workers() -> None:
    """A reserved port refuses connections; two workers can then both listen on it."""
    async with one_data_plane(CONFIG) as one, one_data_plane(CONFIG) as two:
        with bindings.listeners((an_address("127.0.0.1", 0),)) as (listener,):
            assert listener.port > 0
            with pytest.raises(ConnectionRefusedError):
                await heard(listener.port)
            listening = [(served, await opened(served, [listener])) for served in (one, two)]
            answers = [await heard(listener.port) for _ in range(40)]
            assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}
            assert [
                served.shared_state.read_worker(0)["counts"][WorkerCounter.W_ACCEPTED] > 0 for served in (one, two)
            ] == [True, True]
            for served, listeners in listening:
                await closed(served, listeners)
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", listener.port))


async def test_all_or_none() -> None:
    """If one of several addresses is not available, none is listened on."""
    async with one_data_plane(CONFIG) as served:
        with socket.socket() as other, bindings.port("127.0.0.1", 0) as free:
            other.bind(("127.0.0.1", 0))
            other.listen()
            wanted = [an_address("127.0.0.1", free), an_address("127.0.0.1", other.getsockname()[1])]
            with pytest.raises(AddressTakenError):
                await opened(served, wanted)
            with pytest.raises(ConnectionRefusedError):
                await heard(free)


async def test_tls_listener(tmp_path: Path) -> None:
    """With a client CA, a client without a certificate is refused and a client with one is accepted."""
    authority = trustme.CA()
    files = {name: str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem")}
    server = authority.issue_cert("edge.test")
    server.private_key_pem.write_to_path(files["key.pem"])
    for part in server.cert_chain_pems:
        part.write_to_path(files["cert.pem"], append=True)
    authority.cert_pem.write_to_path(files["ca.pem"])
    tls = ListenTls(files["cert.pem"], files["key.pem"], files["ca.pem"])
    async with one_data_plane(CONFIG) as served:
        with bindings.listeners((an_address("127.0.0.1", 0, tls=(tls,)),)) as (listener,):
            running = await opened(served, [listener])
            client = ssl.create_default_context(cafile=files["ca.pem"])
            client.set_alpn_protocols(["http/1.1"])
            with pytest.raises((ssl.SSLError, ConnectionError)):  # TLS 1.3: the client learns it at its first read
                await heard(listener.port, ssl=client, server_hostname="edge.test")
            authority.issue_cert("caller.test").configure_cert(client)
            answer = await heard(listener.port, ssl=client, server_hostname="edge.test")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            await closed(served, running)


@pytest.mark.parametrize("missing", ["cert.pem", "client_ca"])
async def test_tls_files_are_named(missing: str, tmp_path: Path) -> None:
    """A certificate file that cannot be read is named in the error."""
    authority = trustme.CA()
    one = authority.issue_cert("edge.test")
    one.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    both = str(tmp_path / "both.pem")
    gone = str(tmp_path / "gone.pem")
    tls = ListenTls(gone, both, None) if missing == "cert.pem" else ListenTls(both, both, gone)
    async with one_data_plane(CONFIG) as served:
        with pytest.raises(ConfigInvalidError, match=r"gone\.pem"):
            await opened(served, [an_address("127.0.0.1", 0, tls=(tls,))])
