"""Every connect ends either in a connection or in a reason that an operator can act on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import trustme
from msgspec import structs
from plans import snapshot

from edge.native import ConnectionPool, Reactor
from edge.sim.ports import free_port
from edge.terms.exhaustion import SENTENCES
from edge.upstream.exhausted import no_address
from edge.upstream.opener import Failures, Opener
from edge.upstream.resolver import Address
from native.http.http1_client import Http1Client
from tests.snapshots import tls as verified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from edge.terms.snapshot import UpstreamTls
    from native.io.stream_socket import SocketEvents


class WatchedPool(ConnectionPool):
    """A pool that records the results of the connects that it starts."""

    made: int
    failures: list[tuple[str, bool]]
    local: bool
    ended: asyncio.Event

    def connection(self) -> SocketEvents:
        """Record and take the connection."""
        self.made += 1
        self.ended.set()
        return super().connection()

    def failed(self, reason: str, timed_out: bool = False, local: bool = False) -> None:
        """Record the failure."""
        self.failures.append((reason, timed_out))
        self.local = local
        self.ended.set()


def a_pool(
    opener: Opener,
    port: int,
    *,
    host: str = "127.0.0.1",
    tls: UpstreamTls | None = None,
    limit_s: float = 5,
    kind: type[WatchedPool] = WatchedPool,
) -> WatchedPool:
    """Return a pool of connections to one address."""
    plan = structs.replace(snapshot().targets[0], host=host, port=port, tls=tls)
    pool = kind("test", plan, opener, lambda home: Http1Client(home, 16384, 100), bytes(600), ())
    pool.connect_ns = int(limit_s * 1e9)
    pool.made, pool.failures, pool.local, pool.ended = 0, [], False, asyncio.Event()
    return pool


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    """Make an opener, and check that nothing of it is left."""
    loop = asyncio.get_running_loop()
    reactor = Reactor(loop)
    one = Opener(loop, reactor)
    yield one
    await one.stop()
    reactor.close()
    assert reactor.watched == 0


async def outcome(opener: Opener, pool: WatchedPool) -> None:
    """Open once and wait for the result, which must come once."""
    opener.open(pool)
    assert pool.made + len(pool.failures) == 0  # never at once: the pool is in the middle of something
    await asyncio.wait_for(pool.ended.wait(), 60)
    await asyncio.sleep(0.02)
    assert pool.made + len(pool.failures) == 1
    assert pool.live == pool.made


def descriptors() -> int:
    """Return how many this process has open, without those that only garbage of other tests holds."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


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
        pool = a_pool(opener, server.port)
        await outcome(opener, pool)
        assert pool.made


async def test_refused(opener: Opener) -> None:
    """A closed port is reported as such."""
    async with Server() as server:
        port = server.port
    pool = a_pool(opener, port)
    await outcome(opener, pool)
    assert pool.failures == [("connection refused", False)]
    assert not pool.local


async def test_a_numeric_address_is_not_looked_up(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to a numeric address needs no look-up, which would occupy a thread of a small pool."""

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("looked up")

    async with Server() as server:
        monkeypatch.setattr(opener._loop, "getaddrinfo", refuse)
        pool = a_pool(opener, server.port)
        tasks = asyncio.all_tasks()
        await outcome(opener, pool)
        assert pool.made
        assert asyncio.all_tasks() == tasks


async def test_unknown_name(opener: Opener) -> None:
    """An unknown name fails with the resolver's message."""
    pool = a_pool(opener, 1, host="does-not-exist.invalid")
    await outcome(opener, pool)
    assert pool.failures[0][1] is False
    assert pool.failures[0][0]


async def test_tls_is_verified_and_speaks_http1(opener: Opener, authority: trustme.CA, tmp_path: Path) -> None:
    """With the right CA and name it connects, sends the name, and negotiates HTTP/1.1."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = server_side(authority, "model.test")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with Server(context) as server:
        pool = a_pool(opener, server.port, tls=verified("model.test", ca=str(tmp_path / "ca.pem")))
        await outcome(opener, pool)
        assert pool.failures == []
        async with asyncio.timeout(20):
            while not server.writers:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        spoken = server.writers[0].get_extra_info("ssl_object")
        assert spoken.selected_alpn_protocol() == "http/1.1"
        assert names == ["model.test"]


async def test_an_address_as_name_is_verified_without_sni(
    opener: Opener, authority: trustme.CA, tmp_path: Path
) -> None:
    """A provider with a numeric address needs a certificate for it; SNI carries names only (RFC 6066 3)."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for subject, reason in (("127.0.0.1", ""), ("127.0.0.2", "certificate refused: IP address mismatch")):
        context = server_side(authority, subject)
        names: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context, names=names: names.append(name)  # type: ignore[misc]
        async with Server(context) as server:
            pool = a_pool(opener, server.port, tls=verified("127.0.0.1", ca=str(tmp_path / "ca.pem")))
            await outcome(opener, pool)
            assert [failure.startswith(reason) for failure, _ in pool.failures] == ([True] if reason else [])
            assert names == [None]


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_tls_of_someone_else(opener: Opener, authority: trustme.CA, tmp_path: Path, wrong: str) -> None:
    """A certificate of another name or another CA is refused with the reason."""
    (trustme.CA() if wrong == "authority" else authority).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Server(server_side(authority, "other.test" if wrong == "name" else "model.test")) as server:
        pool = a_pool(opener, server.port, tls=verified("model.test", ca=str(tmp_path / "ca.pem")))
        await outcome(opener, pool)
    assert pool.failures[0][0].startswith("certificate refused: ")


async def test_tls_files_are_named(opener: Opener, tmp_path: Path) -> None:
    """A missing certificate file is named in the reason."""
    pool = a_pool(opener, 1, tls=verified("model.test", ca=str(tmp_path / "gone.pem")))
    await outcome(opener, pool)
    assert "gone.pem" in pool.failures[0][0]


@pytest.mark.parametrize("limit_s", [0.2, 0.2004, 0.2009])  # loops count in milliseconds and fire to both sides
async def test_the_deadline_holds_for_a_silent_handshake(opener: Opener, limit_s: float) -> None:
    """A server that accepts and sends nothing is given up at the connect timeout."""
    async with Server() as silent:
        pool = a_pool(opener, silent.port, tls=verified("model.test", verify=False), limit_s=limit_s)
        began = time.monotonic()
        await outcome(opener, pool)
        assert 0.15 < time.monotonic() - began < 30
        assert pool.failures == [(f"no connection within {limit_s:g} s", True)]


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """Yield an address that answers no SYN: a listener with a full backlog."""
    with contextlib.ExitStack() as held:
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.2", free_port()))  # free at 127.0.0.1, too: a test listens there
        full.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()


async def test_a_black_holed_address_delays_the_next_by_a_quarter_second(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, black_hole: tuple[str, int]
) -> None:
    """If the first address is silent, the second is tried beside it (RFC 8305), and the first is given up."""
    host, port = black_hole
    before = descriptors()
    with socket.socket() as good:
        good.bind(("127.0.0.1", port))
        good.listen()
        pool = a_pool(opener, port, host="two.test", limit_s=30.0)
        monkeypatch.setattr(opener._resolver, "known", lambda _: [Address(2, host), Address(2, "127.0.0.1")])  # type: ignore[arg-type]
        began = time.monotonic()
        await outcome(opener, pool)
        assert pool.made
        assert 0.24 < time.monotonic() - began < 10
        assert descriptors() <= before + 2  # the listener and the connection


async def test_a_refused_address_is_left_at_once(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal the next address is tried in the same turn."""
    async with Server() as server:
        pool = a_pool(opener, server.port, host="two.test", limit_s=30.0)
        refusing = [f"127.0.0.{number}" for number in range(2, 14)]  # a quarter second each would be 3 s
        addresses = [Address(socket.AF_INET, host) for host in (*refusing, "127.0.0.1")]
        monkeypatch.setattr(opener._resolver, "known", lambda _: addresses)
        began = time.monotonic()
        await outcome(opener, pool)
        assert pool.made
        assert time.monotonic() - began < 3


async def test_only_black_holes_end_at_the_deadline(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, black_hole: tuple[str, int]
) -> None:
    """If no address answers, the connect ends at the timeout, and no socket is left."""
    host, port = black_hole
    before = descriptors()
    monkeypatch.setattr(opener._resolver, "known", lambda _: [Address(2, host), Address(2, host)])  # type: ignore[arg-type]
    pool = a_pool(opener, port, host="two.test", limit_s=0.4)
    await outcome(opener, pool)
    assert pool.failures == [("no connection within 0.4 s", True)]
    assert descriptors() <= before


async def test_stop_tells_every_pool(opener: Opener) -> None:
    """Connects in progress are reported as failed when the worker stops."""
    async with Server() as silent:
        pool = a_pool(opener, silent.port, tls=verified("model.test", verify=False))
        opener.open(pool)
        await asyncio.sleep(0.05)
        await opener.stop()
        assert pool.failures == [("cancelled", False)]


async def test_nothing_is_opened_after_the_end(opener: Opener) -> None:
    """A pool that opens after the end gets no connection, and nothing is left running."""

    class Asks(WatchedPool):
        def failed(self, reason: str, timed_out: bool = False, local: bool = False) -> None:
            super().failed(reason, timed_out, local)
            opener.open(self)

    async with Server() as silent:
        before = asyncio.all_tasks()
        pool = a_pool(opener, silent.port, tls=verified("model.test", verify=False), kind=Asks)
        opener.open(pool)
        await asyncio.sleep(0.05)  # in its handshake, or before: both are given up
        await opener.stop()
        assert asyncio.all_tasks() == before
        assert pool.failures == [("cancelled", False)]
        assert pool.made == 0


# --- what this node itself lacks --------------------------------------------------------------------------------------


async def test_the_last_descriptors_are_kept(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that would use one of the last descriptors is closed, and the failure is local."""
    async with Server() as server:
        pool = a_pool(opener, server.port)
        before = descriptors()
        monkeypatch.setattr("edge.upstream.opener.highest_upstream", lambda: 3)
        await outcome(opener, pool)
        assert descriptors() <= before
    assert pool.failures == [(SENTENCES[errno.EMFILE], False)]
    assert pool.local


def failing(failures: Failures) -> type:
    """Return a stand-in for the connector, in which all addresses fail."""

    class FailingConnector:
        def __init__(self, *given: Any) -> None:
            *_, self._on_failed, _preface = given

        def start(self) -> None:
            """Report the failures, later."""
            asyncio.get_running_loop().call_soon(self._on_failed, failures, False)

        def cancel(self) -> None:
            """Do nothing: nothing is open."""

    return FailingConnector


@pytest.mark.parametrize("number", sorted(SENTENCES))
async def test_what_this_node_lacks_is_its_own_fault(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Without descriptors, local ports or memory, the pool is told that the target is not to blame."""
    failure = OSError(number, os.strerror(number))
    monkeypatch.setattr("edge.upstream.opener.Connector", failing([((2, "127.0.0.1"), failure)]))
    pool = a_pool(opener, 1)
    await outcome(opener, pool)
    assert pool.failures == [(SENTENCES[number], False)]
    assert pool.local


async def test_an_address_that_this_node_cannot_have_is_no_lack_of_ports(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without IPv6, ::1 fails with the errno of missing ports; the refusal of the other address counts."""
    failures: Failures = [
        ((socket.AF_INET6, "::1"), OSError(errno.EADDRNOTAVAIL, "no")),
        ((socket.AF_INET, "127.0.0.1"), ConnectionRefusedError(errno.ECONNREFUSED, "no")),
    ]
    monkeypatch.setattr("edge.upstream.opener.Connector", failing(failures))
    monkeypatch.setattr("edge.upstream.opener.no_address", lambda family, host, port: host == "::1")
    pool = a_pool(opener, 1)
    await outcome(opener, pool)
    assert pool.failures == [("connection refused", False)]
    assert not pool.local


async def test_a_lack_is_not_hidden_by_a_refusal(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one address lacks a local port and another refuses, the failure is local: the first might have answered."""
    failures: Failures = [
        ((socket.AF_INET, "127.0.0.1"), OSError(errno.EADDRNOTAVAIL, "no")),
        ((socket.AF_INET, "127.0.0.2"), ConnectionRefusedError(errno.ECONNREFUSED, "no")),
    ]
    monkeypatch.setattr("edge.upstream.opener.Connector", failing(failures))
    pool = a_pool(opener, 1)
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
    for pool in (a_pool(opener, 1, host="does-not-exist.invalid"), a_pool(opener, 1, tls=verified("model.test"))):
        await outcome(opener, pool)
        assert pool.failures == [(SENTENCES[errno.EMFILE], False)]
        assert pool.local


async def test_a_lack_is_logged_once(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node without descriptors fails thousands of connections, but logs one line in ten seconds."""
    monkeypatch.setattr("edge.upstream.opener.highest_upstream", lambda: 3)
    for _ in range(5):
        await outcome(opener, a_pool(opener, 1))
    assert len([record for record in caplog.records if record.message == SENTENCES[errno.EMFILE]]) == 1
