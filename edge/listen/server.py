"""The listening sockets of a worker: one per listener, shared between workers by SO_REUSEPORT.

Every worker binds the same addresses itself, and the kernel distributes connections among them. A worker that dies
takes only its own connections with it, and no socket is passed between processes. The supervisor also binds each
address without listening: this reserves the port while no worker is alive, and lets port 0 mean the same port for all
workers.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from edge.errors import AddressTakenError, ConfigInvalidError
from edge.listen.tls import server_context
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.native import DataPlane, Listener
    from edge.terms.snapshot import Listener as Address

# Connections that may wait to be accepted. The kernel caps this at net.core.somaxconn (4096 by default).
BACKLOG: Final = 4096
# From linux/asm-generic/socket.h; Python's socket module does not define it.
_SO_ATTACH_FILTER: Final = 26
# A classic BPF program over the TCP header: drop segments that open a connection (SYN without ACK), accept all others.
_NO_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # A = the flags byte
        (0x54, 0, 0, 0x12),  # A &= SYN | ACK
        (0x15, 0, 1, 0x02),  # if A == SYN
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # accept the whole packet
    )
)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to ``host:port`` with SO_REUSEPORT and does not listen yet.

    Args:
        host: an address, or a name whose first address is used; empty binds every address. An IPv6 wildcard accepts
            IPv4 connections too.
        port: the port; 0 lets the kernel choose a free one.

    Raises:
        AddressTakenError: the address is in use, does not belong to this host, or may not be bound.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise AddressTakenError(f"cannot listen on {where}: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise AddressTakenError(f"cannot listen on {where}: {error.strerror or error}") from error
    return sock


def open_listeners(
    listeners: Iterable[Address], data_plane: DataPlane, ticket_secret: bytes | None = None
) -> list[Listener]:
    """Accept connections on every listener, or on none if one fails.

    Args:
        listeners: the listeners of a Snapshot.
        data_plane: serves them; it is started.
        ticket_secret: what session tickets are sealed with, the same in every worker of the node; None = a secret of
            this process alone.

    Raises:
        AddressTakenError: an address cannot be bound.
        ConfigInvalidError: a certificate cannot be loaded.
    """
    opened: list[Listener] = []
    secret = ticket_secret or os.urandom(32)
    try:
        for listener in listeners:
            context = server_context(listener.tls, secret) if listener.tls else None
            sock = bind(listener.host, listener.port)
            try:
                opened.append(data_plane.listen(sock, BACKLOG, listener, context))
            except OSError as error:
                sock.close()
                where = f"{listener.host}:{listener.port}"
                raise AddressTakenError(f"cannot listen on {where}: {error.strerror or error}") from error
    except BaseException:
        for one in opened:
            one.close()
        raise
    return opened


def renew_certificates(
    listening: Sequence[Listener], before: Sequence[Address], after: Sequence[Address], ticket_secret: bytes
) -> None:
    """Use the present content of TLS files for new connections, where it has changed.

    A listener whose files cannot be used keeps what it has, and the log says so.

    Args:
        listening: what :func:`open_listeners` returned.
        before: the listeners of the former Snapshot, in the same order.
        after: those of the new one, with the same addresses.
        ticket_secret: as for :func:`open_listeners`.
    """
    for listener, former, now in zip(listening, before, after, strict=False):
        if not now.tls or now.tls == former.tls:
            continue
        try:
            listener.use_tls(server_context(now.tls, ticket_secret))
        except (ConfigInvalidError, OSError) as error:
            logs.say(logs.ERROR, f"the certificate from before stays in use: {error}")
        else:
            logs.say(logs.INFO, "new connections get the new certificate", address=f"{now.host}:{now.port}")


def turn_away(listening: Iterable[int]) -> None:
    """Reject new connections on these sockets while those already established are still accepted; close them soon.

    Args:
        listening: descriptors of listening sockets.

    Closing a listening socket resets every connection in its accept queue, including those that arrive between the last
    accept and the close; with several workers, each loses its own queue. So the kernel is told to drop SYNs first. The
    queue then only drains, and a client that arrives too late retransmits its SYN after a second and reaches another
    listener of the address, if there is one. (Dropping SYNs around a reload is a known technique for HAProxy; a socket
    filter needs no privilege.) If the kernel refuses the filter, this function has no effect.
    """
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    # struct sock_fprog {unsigned short len; struct sock_filter *filter;}
    option = struct.pack("@HP", len(_NO_SYN) // 8, ctypes.addressof(program))
    for fd in listening:
        with socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM) as same:
            try:
                same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
            except OSError as error:
                logs.say(logs.DEBUG, "cannot attach the filter that rejects new connections", error=str(error))
