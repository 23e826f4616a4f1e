"""On which sockets does a worker accept?  Its own, one per listener; the kernel spreads connections by SO_REUSEPORT.

Every worker binds the same addresses, so a worker that dies takes only its own connections with it, and nobody hands
sockets around. The supervisor holds a bound socket that never listens: it reserves the port between two workers'
lives, and makes port 0 mean one number for all of them.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from edge.errors import AddressTakenError
from edge.listen.tls import server_context

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from edge.terms.snapshot import Listener

# How many connections may wait to be accepted. The kernel lowers it to net.core.somaxconn (4096 by default).
BACKLOG: Final = 4096
# A TLS client that says nothing must not hold a connection for long.
TLS_HANDSHAKE_S: Final = 10.0


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
    protocol: Callable[[], asyncio.BaseProtocol],
) -> list[asyncio.AbstractServer]:
    """Accept on every listener, or on none.

    Raises:
        AddressTakenError: an address cannot be bound.
        ConfigInvalidError: a certificate cannot be used.
    """
    servers: list[asyncio.AbstractServer] = []
    try:
        for listener in listeners:
            context = server_context(listener.tls) if listener.tls is not None else None
            servers.append(
                await loop.create_server(
                    protocol,
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
