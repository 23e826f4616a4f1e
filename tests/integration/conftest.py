"""Runs tests twice: with ``both_wires`` over HTTP/1.1 and HTTP/2, with ``with_tls_too`` without TLS and with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import one_data_plane
import pytest
from nodes import quick_provider
from secure import Secure

from edge.sim.wire import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge.sim.provider import SimProvider


@pytest.fixture(params=["http1", "http2"])
def both_wires(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: ``OneDataPlane.ask`` and ``OneDataPlane.raw`` use HTTP/1.1, then HTTP/2."""
    wire = str(request.param)
    monkeypatch.setattr(one_data_plane, "WIRE", wire)
    return wire


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Secure:
    """Return the certificates of both sides."""
    return Secure(tmp_path_factory.mktemp("secure"))


@pytest.fixture(params=["plain", "tls"])
def with_tls_too(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: without TLS, then with TLS from the client and to the upstream.

    Scripted upstreams then speak TLS, unless the test names a context itself. A client that the test connects itself
    takes :func:`one_data_plane.client_tls` or :func:`one_data_plane.client_side`.
    """
    if request.param == "tls":
        secure = request.getfixturevalue("secure")
        monkeypatch.setattr(one_data_plane, "SECURE", secure)
        monkeypatch.setitem(ScriptedServer.__init__.__kwdefaults__, "tls", secure.upstream())
    return str(request.param)


@pytest.fixture
async def provider() -> AsyncIterator[SimProvider]:
    """A provider ``p0`` that answers at once."""
    async with quick_provider() as running:
        yield running
