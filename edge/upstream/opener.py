"""Opener of upstream connections: on a pool's request, a task connects and hands the transport over to the pool.

There is one task per connection, none per request. Every failure ends in one call of ``pool.failed`` with a reason that
an operator can act on; exceptions of third parties go no further. A failure because this node itself lacks something
(open files, local ports, memory) is marked as such, because it says nothing about the target.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Protocol

from edge import clock
from edge.native import highest_upstream, most_descriptors
from edge.telemetry import logs
from edge.upstream.exhausted import lack, no_address
from edge.upstream.resolver import Address, Resolver
from edge.upstream.tls import TlsContexts, TlsError

if TYPE_CHECKING:
    from edge.terms.snapshot import Target

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

    def protocol(self) -> asyncio.BaseProtocol:
        """Return a protocol that registers itself with the pool when it is connected."""

    def failed(self, reason: str, timed_out: bool, local: bool) -> None:  # compiled code takes these by position
        """Record that no connection was opened; ``local``: because this node lacked something, not by the target."""


class Opener:
    """Opens upstream connections of one worker on the running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resolver = Resolver()
        self._contexts = TlsContexts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._said_ns = -_SAY_EVERY_NS

    def open(self, pool: ConnectionPool) -> None:
        """Start opening one connection for the pool; the task ends with ``connection_made`` or ``pool.failed``.

        After :meth:`stop`, a call has no effect and the pool is not notified: it may call because its last connection
        was cancelled.
        """
        if self._stopped:
            return
        task = self._loop.create_task(self._open(pool))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all connections that are being opened, wait for their tasks to end, and open no more."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self, pool: ConnectionPool) -> None:
        deadline_ns = clock.now_ns() + pool.connect_ns
        reason, timed_out, local = "cancelled", False, False
        try:
            await self._try_addresses(pool, deadline_ns)
            reason = ""
        except TimeoutError:
            reason, timed_out = f"no connection within {pool.connect_ns / _S:g} s", True
        except (OSError, TlsError) as error:
            lacking = lack(error)
            reason, local = lacking or explain(error), lacking is not None
            if local:
                self._say_exhausted(pool, reason)
        except Exception as error:  # noqa: BLE001  # a pool that is not notified would wait forever
            logs.say_failure("unexpected error while opening a connection", error, target=pool.plan.id)
            reason = type(error).__name__
        finally:
            if reason:
                pool.failed(reason, timed_out, local)

    def _say_exhausted(self, pool: ConnectionPool, reason: str) -> None:
        now_ns = clock.now_ns()
        if now_ns >= self._said_ns + _SAY_EVERY_NS:
            self._said_ns = now_ns
            logs.say(logs.WARNING, reason, target=pool.plan.id, open_files=most_descriptors())

    async def _try_addresses(self, pool: ConnectionPool, deadline_ns: int) -> None:
        """Connect to the first address that accepts.

        Raises:
            OSError: the last address's failure, or the first failure for want of something of this node's own.
            TlsError: a file of the target's TLS settings cannot be loaded.
            TimeoutError: the deadline passed.
        """
        plan = pool.plan
        context = self._contexts.get(plan.tls, plan.protocol) if plan.tls is not None else None
        async with asyncio.timeout(pool.connect_ns / _S):
            addresses = await self._resolver.addresses(plan.host)
        failure: OSError | None = None
        for index, address in enumerate(addresses):
            left_ns = deadline_ns - clock.now_ns()
            if left_ns <= 0:
                raise TimeoutError
            try:
                # A black-holed address must leave time for the others, so each gets an equal share of what is left.
                async with asyncio.timeout(left_ns / (len(addresses) - index) / _S):
                    sock = await self._connect(address, plan.port)
            except TimeoutError:
                if index == len(addresses) - 1:
                    raise
                error = OSError(f"{address.host} did not answer")
            except OSError as refused:
                error = refused
                if refused.errno == errno.EADDRNOTAVAIL and no_address(address.family, address.host, plan.port):
                    error = OSError(f"this node has no address to reach {address.host} from")
            else:
                await self._hand_over(pool, sock, context, deadline_ns)
                return
            if failure is None or lack(failure) is None:
                failure = error
        if failure is not None:
            raise failure

    async def _connect(self, address: Address, port: int) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            _check_reserve(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await connect_socket(self._loop, sock, address.host, port)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _hand_over(
        self, pool: ConnectionPool, sock: socket.socket, context: ssl.SSLContext | None, deadline_ns: int
    ) -> None:
        """Hand the connected socket to the pool's protocol, after the TLS handshake if there is one.

        No asyncio timeout wraps this call: a cancellation between ``connection_made`` and the return would report one
        connection as both made and failed. The handshake has its own timeout and precedes ``connection_made``.
        """
        left_s = (deadline_ns - clock.now_ns()) / _S
        if left_s <= 0:
            sock.close()
            raise TimeoutError
        inode = os.fstat(sock.fileno()).st_ino
        try:
            if context is None or pool.plan.tls is None:
                await self._loop.create_connection(pool.protocol, sock=sock)
            else:
                await self._loop.create_connection(
                    pool.protocol,
                    sock=sock,
                    ssl=context,
                    server_hostname=pool.plan.tls.server_name,
                    ssl_handshake_timeout=left_s,
                )
        except ConnectionAbortedError as error:
            # Event loops report a handshake timeout without an errno; the kernel's ECONNABORTED has one. The clock
            # cannot tell them apart: a loop counts in milliseconds and may fire one too early.
            if error.errno is None:
                raise TimeoutError from error
            raise
        finally:
            _disown(sock, inode)


async def connect_socket(loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int) -> None:
    """Connect a non-blocking socket to a numeric address.

    uvloop's ``sock_connect`` looks numeric addresses up too, each in a thread of a small pool, which holds back
    thousands of connections that are opened at once.

    Raises:
        OSError: the connection failed.
    """
    code = sock.connect_ex((host, port))
    if code == errno.EINPROGRESS:
        writable = loop.create_future()
        loop.add_writer(sock, _resolve, writable)
        try:
            await writable
        finally:
            loop.remove_writer(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check_reserve(sock: socket.socket) -> None:
    """Raise OSError if the socket has one of the last descriptors, which are kept for other uses."""
    if sock.fileno() >= highest_upstream():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _disown(sock: socket.socket, inode: int) -> None:
    """Detach a socket object whose descriptor the transport has already closed.

    uvloop closes the descriptor itself when a connection is lost in the same loop iteration in which it was made. The
    socket object would close that number again when it is collected, and by then it may be another connection.
    """
    number = sock.fileno()
    if number < 0:
        return
    try:
        ours = os.fstat(number).st_ino == inode
    except OSError:
        ours = False
    if not ours:
        sock.detach()


def explain(error: BaseException) -> str:
    """Return the shortest text that tells an operator what is wrong with the upstream's address or certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset while connecting"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
