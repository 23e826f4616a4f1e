"""Every connect ends either in a connection or in a reason that an operator can act on."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import pytest
import trustme
from msgspec import structs
from plans import snapshot

from edge.terms.exhaustion import SENTENCES
from edge.upstream.exhausted import no_address
from edge.upstream.opener import Opener, connect_socket
from edge.upstream.resolver import Address
from tests.snapshots import tls as verified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge.terms.snapshot import Target, UpstreamTls


class Taken(asyncio.Protocol):
    """Registers itself with its pool, as the native protocol does."""

    def __init__(self, pool: FakePool) -> None:
        self.pool = pool

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it."""
        self.pool.made.append(cast("asyncio.Transport", transport))  # uvloop's is one without saying so
        self.pool.ended.set()


class FakePool:
    """The parts of a pool that the opener uses, and a record of the results."""

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", tls: UpstreamTls | None = None, limit_s: float = 5
    ) -> None:
        template = snapshot().targets[0]
        self.plan: Target = structs.replace(template, host=host, port=port, tls=tls)
        self.connect_ns = int(limit_s * 1e9)
        self.made: list[asyncio.Transport] = []
        self.failures: list[tuple[str, bool]] = []
        self.local = False
        self.ended = asyncio.Event()

    def protocol(self) -> asyncio.Protocol:
        """Return a protocol object."""
        return Taken(self)

    def failed(self, reason: str, timed_out: bool, local: bool) -> None:
        """Record the failure."""
        self.failures.append((reason, timed_out))
        self.local = local
        self.ended.set()


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    """Make an opener, and check that nothing of it is left."""
    one = Opener(asyncio.get_running_loop())
    yield one
    await one.stop()


async def outcome(opener: Opener, pool: FakePool) -> None:
    """Open once and wait for the result, which must come once."""
    opener.open(pool)
    await asyncio.wait_for(pool.ended.wait(), 60)
    for transport in pool.made:
        transport.close()
    await asyncio.sleep(0.02)
    assert len(pool.made) + len(pool.failures) == 1


class Server:
    """Accepts on a free port, with TLS or without, and sends nothing."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(
            lambda _, writer: self.writers.append(writer), "127.0.0.1", 0, ssl=self.context
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make a certificate authority."""
    return trustme.CA()


def server_side(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Make a server's context with a certificate of that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_plain(opener: Opener) -> None:
    """A successful connection is handed over."""
    async with Server() as server:
        pool = FakePool(server.port)
        await outcome(opener, pool)
        assert pool.made


async def test_refused(opener: Opener) -> None:
    """A closed port is reported as such."""
    async with Server() as server:
        port = server.port
    pool = FakePool(port)
    await outcome(opener, pool)
    assert pool.failures == [("connection refused", False)]
    assert not pool.local


async def test_a_numeric_address_is_not_looked_up(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to a numeric address needs no look-up, which would occupy a thread of a small pool."""

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("looked up")

    async with Server() as server:
        monkeypatch.setattr(opener._loop, "getaddrinfo", refuse)
        monkeypatch.setattr(opener._loop, "sock_connect", refuse)
        pool = FakePool(server.port)
        await outcome(opener, pool)
        assert pool.made


async def test_unknown_name(opener: Opener) -> None:
    """An unknown name fails with the resolver's message."""
    pool = FakePool(1, host="does-not-exist.invalid")
    await outcome(opener, pool)
    assert pool.failures[0][1] is False
    assert pool.failures[0][0]


async def test_tls_is_verified_and_speaks_http1(opener: Opener, authority: trustme.CA, tmp_path: Path) -> None:
    """With the right CA and name it connects, sends the name, and negotiates HTTP/1.1."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Server(server_side(authority, "model.test")) as server:
        pool = FakePool(server.port, tls=verified("model.test", ca=str(tmp_path / "ca.pem")))
        opener.open(pool)
        await asyncio.wait_for(pool.ended.wait(), 60)
        assert pool.failures == []
        spoken = pool.made[0].get_extra_info("ssl_object")
        assert spoken.selected_alpn_protocol() == "http/1.1"
        assert spoken.server_hostname == "model.test"
        pool.made[0].close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_tls_of_someone_else(opener: Opener, authority: trustme.CA, tmp_path: Path, wrong: str) -> None:
    """A certificate of another name or another CA is refused with the reason."""
    (trustme.CA() if wrong == "authority" else authority).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Server(server_side(authority, "other.test" if wrong == "name" else "model.test")) as server:
        pool = FakePool(server.port, tls=verified("model.test", ca=str(tmp_path / "ca.pem")))
        await outcome(opener, pool)
    assert pool.failures[0][0].startswith("certificate refused: ")


async def test_tls_files_are_named(opener: Opener, tmp_path: Path) -> None:
    """A missing certificate file is named in the reason."""
    pool = FakePool(1, tls=verified("model.test", ca=str(tmp_path / "gone.pem")))
    await outcome(opener, pool)
    assert "gone.pem" in pool.failures[0][0]


@pytest.mark.parametrize("limit_s", [0.2, 0.2004, 0.2009])  # loops count in milliseconds and fire to both sides
async def test_the_deadline_holds_for_a_silent_handshake(opener: Opener, limit_s: float) -> None:
    """A server that accepts and sends nothing is given up at the connect timeout."""
    async with Server() as silent:
        pool = FakePool(silent.port, tls=verified("model.test", verify=False), limit_s=limit_s)
        began = time.monotonic()
        await outcome(opener, pool)
        assert 0.15 < time.monotonic() - began < 30
        assert pool.failures == [(f"no connection within {limit_s:g} s", True)]


async def test_a_connection_lost_as_it_is_made_closes_nobody_elses(opener: Opener) -> None:
    """If a transport is lost before the handover, its socket's number is not closed twice."""

    class Lost(FakePool):
        def protocol(self) -> asyncio.Protocol:
            class Leaves(Taken):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    super().connection_made(transport)
                    cast("asyncio.Transport", transport).abort()

            return Leaves(self)

    async with Server() as server:
        pool = Lost(server.port)
        await outcome(opener, pool)
        await opener.stop()
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]  # one of them has its number now
        try:
            gc.collect()
            assert all(os.fstat(other) for other in others)
        finally:
            for other in others:
                os.close(other)


async def test_a_black_holed_address_leaves_time_for_the_next(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first address drops packets, the second one still gets its share of the timeout."""
    async with Server() as server:
        pool = FakePool(server.port, host="two.test", limit_s=3.0)

        async def both(host: str) -> list[Address]:
            return [Address(2, "192.0.2.1"), Address(2, "127.0.0.1")]  # type: ignore[arg-type]

        async def connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int) -> None:
            if host == "192.0.2.1":
                await asyncio.sleep(60)
            await connect_socket(loop, sock, host, port)

        monkeypatch.setattr(opener._resolver, "addresses", both)
        monkeypatch.setattr("edge.upstream.opener.connect_socket", connect)
        began = time.monotonic()
        await outcome(opener, pool)
        assert pool.made  # within the deadline, or it would have failed
        assert time.monotonic() - began > 1.4


async def test_stop_tells_every_pool(opener: Opener) -> None:
    """Connects in progress are reported as failed when the worker stops."""
    async with Server() as silent:
        pool = FakePool(silent.port, tls=verified("model.test", verify=False))
        opener.open(pool)
        await asyncio.sleep(0.05)
        await opener.stop()
        assert pool.failures == [("cancelled", False)]


async def test_nothing_is_opened_after_the_end(opener: Opener) -> None:
    """A pool that opens after the end gets no connection, and nothing is left running."""

    class Asks(FakePool):
        def failed(self, reason: str, timed_out: bool, local: bool) -> None:
            super().failed(reason, timed_out, local)
            opener.open(self)

    async with Server() as silent:
        before = asyncio.all_tasks()
        pool = Asks(silent.port, tls=verified("model.test", verify=False))
        opener.open(pool)
        await asyncio.sleep(0.05)  # in its handshake, or before: both are given up
        await opener.stop()
        assert asyncio.all_tasks() == before
        assert pool.failures == [("cancelled", False)]
        assert pool.made == []


# --- what this node itself lacks --------------------------------------------------------------------------------------


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_last_descriptors_are_kept(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that would use one of the last descriptors is closed, and the failure is local."""
    async with Server() as server:
        pool = FakePool(server.port)
        before = descriptors()
        monkeypatch.setattr("edge.upstream.opener.highest_upstream", lambda: 3)
        await outcome(opener, pool)
        assert descriptors() == before
    assert pool.failures == [(SENTENCES[errno.EMFILE], False)]
    assert pool.local


@pytest.mark.parametrize("number", sorted(SENTENCES))
async def test_what_this_node_lacks_is_its_own_fault(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Without descriptors, local ports or memory, the pool is told that the target is not to blame."""

    async def connect(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("edge.upstream.opener.connect_socket", connect)
    pool = FakePool(1)
    await outcome(opener, pool)
    assert pool.failures == [(SENTENCES[number], False)]
    assert pool.local


async def test_an_address_that_this_node_cannot_have_is_no_lack_of_ports(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without IPv6, ::1 fails with the errno of missing ports; the refusal of the other address counts."""

    async def both(host: str) -> list[Address]:
        return [Address(socket.AF_INET6, "::1"), Address(socket.AF_INET, "127.0.0.1")]

    async def connect(loop: object, sock: object, host: str, port: int) -> None:
        raise OSError(errno.EADDRNOTAVAIL if host == "::1" else errno.ECONNREFUSED, "no")

    monkeypatch.setattr(opener._resolver, "addresses", both)
    monkeypatch.setattr("edge.upstream.opener.connect_socket", connect)
    monkeypatch.setattr("edge.upstream.opener.no_address", lambda family, host, port: host == "::1")
    pool = FakePool(1, host="two.test")
    await outcome(opener, pool)
    assert not pool.local


async def test_a_lack_is_not_hidden_by_a_refusal(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one address lacks a local port and another refuses, the failure is local: the first might have answered."""

    async def both(host: str) -> list[Address]:
        return [Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET, "127.0.0.2")]

    async def connect(loop: object, sock: object, host: str, port: int) -> None:
        raise OSError(errno.EADDRNOTAVAIL if host == "127.0.0.1" else errno.ECONNREFUSED, "no")

    monkeypatch.setattr(opener._resolver, "addresses", both)
    monkeypatch.setattr("edge.upstream.opener.connect_socket", connect)
    pool = FakePool(1, host="two.test")
    await outcome(opener, pool)
    assert pool.failures == [(SENTENCES[errno.EADDRNOTAVAIL], False)]
    assert pool.local


def test_a_datagram_socket_tells_whether_there_is_an_address() -> None:
    """Loopback can be reached from a local address, so a failure there would be missing ports."""
    assert not no_address(socket.AF_INET, "127.0.0.1", 9)


async def test_lacks_of_look_ups_and_files_are_found(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups and CA files that fail for want of a descriptor are local failures."""
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    monkeypatch.setattr("edge.upstream.resolver.out_of_descriptors", lambda: full)
    monkeypatch.setattr("edge.upstream.tls.out_of_descriptors", lambda: full)
    for pool in (FakePool(1, host="does-not-exist.invalid"), FakePool(1, tls=verified("model.test"))):
        await outcome(opener, pool)
        assert pool.failures == [(SENTENCES[errno.EMFILE], False)]
        assert pool.local


async def test_a_lack_is_logged_once(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node without descriptors fails thousands of connections, but logs one line in ten seconds."""
    monkeypatch.setattr("edge.upstream.opener.highest_upstream", lambda: 3)
    for _ in range(5):
        await outcome(opener, FakePool(1))
    assert len([record for record in caplog.records if record.message == SENTENCES[errno.EMFILE]]) == 1
