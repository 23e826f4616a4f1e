"""On which sockets does a worker accept?  Its own, one per listener; the kernel spreads connections by SO_REUSEPORT.

Every worker binds the same addresses, so a worker that dies takes only its own connections with it, and nobody hands
sockets around. The supervisor holds a bound socket that never listens: it reserves the port between two workers'
lives, and makes port 0 mean one number for all of them.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING, Final

from edge.errors import AddressTakenError
from edge.listen.tls import server_context
from edge.telemetry import logs

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from edge.terms.snapshot import Listener

# How many connections may wait to be accepted. The kernel lowers it to net.core.somaxconn (4096 by default).
BACKLOG: Final = 4096
# A TLS client that says nothing must not hold a connection for long.
TLS_HANDSHAKE_S: Final = 10.0
# linux/asm-generic/socket.h; Python has no name for it.
_SO_ATTACH_FILTER: Final = 26
# A classic BPF program over a TCP header: drop what begins a connection (SYN without ACK), let everything else in.
_NO_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # A = the byte of the flags
        (0x54, 0, 0, 0x12),  # A &= SYN | ACK
        (0x15, 0, 1, 0x02),  # if A == SYN
        (0x06, 0, 0, 0),  # then drop
        (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
    )
)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``host:port``, shared with others of this user, that does not listen yet.

    ``host`` may be a name: its first address is taken; empty means every address. Port 0 takes a free one. An IPv6
    wildcard takes IPv4 too.

    Raises:
        AddressTakenError: the address is taken, is not of this host, or may not be bound.
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


async def open_listeners(
    loop: asyncio.AbstractEventLoop,
    listeners: Iterable[Listener],
    protocol: Callable[..., asyncio.BaseProtocol],
) -> list[asyncio.Server]:
    """Accept on every listener, or on none.

    ``protocol`` makes the protocol object of a connection; of a listener that asks for no key it is told True.

    Raises:
        AddressTakenError: an address cannot be bound.
        ConfigInvalidError: a certificate cannot be used.
    """
    servers: list[asyncio.Server] = []
    try:
        for listener in listeners:
            context = server_context(listener.tls) if listener.tls is not None else None
            servers.append(
                await loop.create_server(
                    partial(protocol, True) if listener.open else protocol,
                    sock=bind(listener.host, listener.port),
                    backlog=BACKLOG,
                    ssl=context,
                    ssl_handshake_timeout=TLS_HANDSHAKE_S if context is not None else None,
                )
            )
    except BaseException:
        for server in servers:
            server.close()
        raise
    return servers


def turn_away(servers: Sequence[asyncio.Server]) -> None:
    """Let no new connection begin on these, while those that have begun are still accepted. Close them soon after.

    A listening socket that is closed resets every connection in its queue, also those that came between the last
    accept and the close; with several workers each loses its own. So the kernel is told to drop SYNs first: the queue
    then only empties, and a client that came too late tries again by itself, a second later, and finds another
    listener of the address, or none. (The idea is that of dropping SYNs around a reload of HAProxy; a socket filter
    needs no privilege.) Where the kernel refuses the filter, this does nothing.
    """
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    # struct sock_fprog {unsigned short len; struct sock_filter *filter;}
    option = struct.pack("@HP", len(_NO_SYN) // 8, ctypes.addressof(program))
    for server in servers:
        for sock in server.sockets:
            with socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
                try:
                    same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
                except OSError as error:
                    logs.say(logs.DEBUG, "new connections cannot be held off before the close", error=str(error))
