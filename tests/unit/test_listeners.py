"""Workers share an address, keep it from other programs, and report plainly if it is taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
import trustme

from edge.app import bindings
from edge.errors import AddressTakenError, ConfigInvalidError
from edge.listen.server import bind, open_listeners
from edge.telemetry import logs
from edge.terms.snapshot import ListenTls
from tests.snapshots import listener as an_address


class Hello(asyncio.Protocol):
    """Sends hello and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send hello."""
        transport.write(b"hello")  # type: ignore[attr-defined]
        transport.close()


async def heard(port: int, **tls: object) -> bytes:
    """Connect and read until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)  # type: ignore[arg-type]
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_reserved_port_takes_nothing_and_gives_way_to_workers() -> None:
    """A reserved port refuses connections; two workers can then both listen on it."""
    with bindings.listeners((an_address("127.0.0.1", 0),)) as (listener,):
        assert listener.port > 0
        with pytest.raises(ConnectionRefusedError):
            await heard(listener.port)
        loop = asyncio.get_running_loop()
        servers = [await open_listeners(loop, [listener], Hello) for _ in range(2)]
        assert {await heard(listener.port) for _ in range(10)} == {b"hello"}
        for server in servers:
            server[0].close()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", listener.port))


def test_a_second_node_at_an_address_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Two nodes may share an address, and the second one logs that; a single node logs nothing."""
    logs.set_up("edge", form="json")
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bindings.port("127.0.0.1", port):
            assert "listens here too" not in capsys.readouterr().err
        first.listen()
        with bindings.port("127.0.0.1", port) as shared:
            assert shared == port
        assert (
            f'listens here too: connections and commands are split between the two","address":"127.0.0.1:{port}"'
            in (capsys.readouterr().err)
        )


def test_a_taken_address_is_named() -> None:
    """An address of another program, or not of this machine, is an error that names it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressTakenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            bind("127.0.0.1", port)
    with pytest.raises(AddressTakenError, match=r"cannot listen on 192\.0\.2\.1:80: "):
        bind("192.0.2.1", 80)
    with pytest.raises(AddressTakenError, match=r"cannot listen on no-such-host\.invalid:80: "):
        bind("no-such-host.invalid", 80)


async def test_all_or_none() -> None:
    """If one of several addresses is not available, none is listened on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with bindings.port("127.0.0.1", 0) as free:
            wanted = [an_address("127.0.0.1", free), an_address("127.0.0.1", other.getsockname()[1])]
            with pytest.raises(AddressTakenError):
                await open_listeners(asyncio.get_running_loop(), wanted, Hello)
            await asyncio.sleep(0.01)
            with pytest.raises(ConnectionRefusedError):
                await heard(free)


async def test_tls_listener(tmp_path: Path) -> None:
    """With a client CA, a client without a certificate is refused and a client with one is accepted."""
    import ssl

    authority = trustme.CA()
    files = {name: str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem")}
    server = authority.issue_cert("edge.test")
    server.private_key_pem.write_to_path(files["key.pem"])
    for part in server.cert_chain_pems:
        part.write_to_path(files["cert.pem"], append=True)
    authority.cert_pem.write_to_path(files["ca.pem"])
    tls = ListenTls(files["cert.pem"], files["key.pem"], files["ca.pem"])
    with bindings.listeners((an_address("127.0.0.1", 0, tls=tls),)) as (listener,):
        (running,) = await open_listeners(asyncio.get_running_loop(), [listener], Hello)
        client = ssl.create_default_context(cafile=files["ca.pem"])
        client.set_alpn_protocols(["h2", "http/1.1"])
        with contextlib.suppress(ssl.SSLError, ConnectionError):  # TLS 1.3: the client learns it at its first read
            assert await heard(listener.port, ssl=client, server_hostname="edge.test") == b""
        authority.issue_cert("caller.test").configure_cert(client)
        assert await heard(listener.port, ssl=client, server_hostname="edge.test") == b"hello"
        running.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("missing", ["cert.pem", "client_ca"])
async def test_tls_files_are_named(missing: str, tmp_path: Path) -> None:
    """A certificate file that cannot be read is named in the error."""
    authority = trustme.CA()
    one = authority.issue_cert("edge.test")
    one.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    both = str(tmp_path / "both.pem")
    gone = str(tmp_path / "gone.pem")
    tls = ListenTls(gone, both, None) if missing == "cert.pem" else ListenTls(both, both, gone)
    with pytest.raises(ConfigInvalidError, match=r"gone\.pem"):
        await open_listeners(asyncio.get_running_loop(), [an_address("127.0.0.1", 0, tls=tls)], Hello)


def test_the_control_socket_is_private_and_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this user can reach the socket, a long temporary path is no problem, and nothing is left behind."""
    import tempfile

    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with bindings.control_socket() as sock:
        folder = Path(sock.getsockname()).parent
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert list(deep.iterdir()) == []
