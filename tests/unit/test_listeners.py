"""Workers share an address, keep it from other programs, and report plainly if it is taken."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge.app import bindings
from edge.errors import AddressTakenError
from edge.listen.server import bind
from edge.telemetry import logs


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
