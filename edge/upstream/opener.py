"""Opener of upstream connections: resolves the name, connects in the reactor, and hands the connection to its pool.

There is a task only where a name has to be looked up. Every failure ends in one call of ``pool.failed`` with a reason
that an operator can act on. A failure because this node itself lacks something (open files, local ports, memory) is
marked as such, because it says nothing about the target.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edge import clock
from edge.native import ConnectAnswer, Connector, Reactor, highest_upstream, most_descriptors
from edge.telemetry import logs
from edge.upstream.exhausted import lack, no_address
from edge.upstream.proxies import Proxy, authority, proxy_of
from edge.upstream.resolver import Address, Resolver
from edge.upstream.tls import TlsContexts, TlsError, native_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.terms.snapshot import Target
    from native.io.stream_socket import SocketEvents

Failures: TypeAlias = list[tuple[tuple[int, str] | None, OSError]]
"""What failed: ((family, address), error); None as the address = the handshake after one had answered."""

_S = 1_000_000_000
# A node without descriptors fails thousands of connections a second; the log gets one line in this time.
_SAY_EVERY_NS = 10 * _S


class ConnectionPool(Protocol):
    """The part of native.http.connection_pool.ConnectionPool that the opener needs."""

    @property
    def plan(self) -> Target:
        """The target: where to connect, and how to verify it."""

    @property
    def connect_ns(self) -> int:
        """Nanoseconds that opening one connection may take, over all addresses together."""

    def connection(self) -> SocketEvents:
        """Return the owner of a new connection, which registers itself with the pool when the connection is open."""

    def failed(self, reason: str, timed_out: bool, local: bool) -> None:  # compiled code takes these by position
        """Record that no connection was opened; ``local``: because this node lacked something, not by the target."""


class Opener:
    """Opens upstream connections of one worker.

    Args:
        loop: runs the look-ups of names.
        reactor: runs the connections.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, reactor: Reactor) -> None:
        self._loop = loop
        self._reactor = reactor
        self._resolver = Resolver()
        self._contexts = TlsContexts(native_context)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[ConnectionPool, set[Connector]] = {}
        self._stopped = False
        self._said_ns = -_SAY_EVERY_NS

    def open(self, pool: ConnectionPool) -> None:
        """Start opening one connection for the pool; ``pool.connection`` or ``pool.failed`` is called later.

        After :meth:`stop`, a call has no effect and the pool is not notified: it may call because its last connection
        was cancelled.
        """
        if self._stopped:
            return
        deadline_ns = clock.now_ns() + pool.connect_ns
        try:
            proxy = proxy_of(pool.plan, os.environ)
        except OSError as error:
            self._loop.call_soon(self._fail, pool, error)
            return
        addresses = self._resolver.known(pool.plan.host if proxy is None else proxy.host)
        if addresses:
            try:
                self._connect(pool, addresses, deadline_ns, proxy)
            except (OSError, TlsError) as error:
                self._loop.call_soon(self._fail, pool, error)
            return
        task = self._loop.create_task(self._look_up(pool, deadline_ns, proxy))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all connections that are being opened, wait for their look-ups to end, and open no more."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        running, self._running = self._running, {}
        for pool, connectors in running.items():
            for connector in connectors:
                connector.cancel()
                pool.failed("cancelled", False, False)

    async def _look_up(self, pool: ConnectionPool, deadline_ns: int, proxy: Proxy | None) -> None:
        reason, timed_out = "cancelled", False
        try:
            async with asyncio.timeout(pool.connect_ns / _S):
                addresses = await self._resolver.addresses(pool.plan.host if proxy is None else proxy.host)
            self._connect(pool, addresses, deadline_ns, proxy)
            reason = ""
        except TimeoutError:
            reason, timed_out = _no_connection(pool), True
        except (OSError, TlsError) as error:
            reason = ""
            self._fail(pool, error)
        except Exception as error:  # noqa: BLE001  # a pool that is not notified would wait forever
            logs.say_failure("unexpected error while opening a connection", error, target=pool.plan.id)
            reason = type(error).__name__
        finally:
            if reason:
                pool.failed(reason, timed_out, False)

    def _connect(
        self, pool: ConnectionPool, addresses: Sequence[Address], deadline_ns: int, proxy: Proxy | None
    ) -> None:
        """Start to connect, through a tunnel of the proxy if there is one.

        Raises:
            OSError: a file of the target's TLS settings cannot be opened for want of descriptors.
            TlsError: a file of the target's TLS settings cannot be loaded.
        """
        plan = pool.plan
        context = name = None
        if plan.tls is not None:
            context = self._contexts.get(plan.tls, plan.protocol)
            name = plan.tls.server_name.encode("idna")
        port, preface = plan.port, None
        if proxy is not None:
            port, preface = proxy.port, ConnectAnswer(authority(plan), proxy.authorization())
        running = self._running.setdefault(pool, set())

        def connected() -> SocketEvents:
            self._done(pool, connector)
            return pool.connection()

        def failed(failures: Failures, timed_out: bool) -> None:
            self._done(pool, connector)
            if timed_out:
                pool.failed(_no_connection(pool), True, False)
            else:
                self._fail(pool, _decisive(failures, port), proxy)

        connector = Connector(
            self._reactor,
            addresses,
            port,
            context,
            name,
            deadline_ns,
            highest_upstream(),
            connected,
            failed,
            preface,
        )
        running.add(connector)
        connector.start()

    def _done(self, pool: ConnectionPool, connector: Connector) -> None:
        running = self._running.get(pool)
        if running is not None:
            running.discard(connector)
            if not running:
                del self._running[pool]

    def _fail(self, pool: ConnectionPool, error: Exception, proxy: Proxy | None = None) -> None:
        lacking = lack(error)
        reason = explain(error)
        if proxy is not None and not reason.startswith("the proxy"):
            reason = f"by the proxy {proxy.host}:{proxy.port}: {reason}"
        if lacking is not None:
            self._say_exhausted(pool, lacking)
        pool.failed(lacking or reason, False, lacking is not None)

    def _say_exhausted(self, pool: ConnectionPool, reason: str) -> None:
        now_ns = clock.now_ns()
        if now_ns >= self._said_ns + _SAY_EVERY_NS:
            self._said_ns = now_ns
            logs.say(logs.WARNING, reason, target=pool.plan.id, open_files=most_descriptors())


def _no_connection(pool: ConnectionPool) -> str:
    return f"no connection within {pool.connect_ns / _S:g} s"


def _decisive(failures: Failures, port: int) -> OSError:
    """Return the failure that counts: the last one, or the first for want of something of this node's own."""
    decisive: OSError | None = None
    for address, failure in failures:
        error = failure
        if address is not None and error.errno == errno.EADDRNOTAVAIL and no_address(*address, port):
            error = OSError(f"this node has no address to reach {address[1]} from")
        if decisive is None or lack(decisive) is None:
            decisive = error
    return decisive or OSError("the name has no addresses")


def explain(error: BaseException) -> str:
    """Return the shortest text that tells an operator what is wrong with the upstream's address or certificate."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset while connecting"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
