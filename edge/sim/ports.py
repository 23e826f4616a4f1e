"""Which port is still free when the one that it is for starts, and when it starts again?

One outside the range from which the kernel gives ports to those who name none: there nobody takes it by chance, as
happens to the port of a server that is killed and revived while others connect and listen.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 15_000
_LOWEST = 20_000  # where the kernel's own range begins lower than this there is too little room before it
_TRIES = 200


def free_port() -> int:
    """Return a loopback port that was free a moment ago, and that the kernel gives to nobody.

    Raises:
        OSError: none was found.
    """
    given = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    for _ in range(_TRIES if given >= _LOWEST else 0):
        port = random.randrange(_FIRST, given)  # nothing secret about it
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> tuple[int, ...]:
    """Return so many different ones.

    Raises:
        OSError: there were not enough.
    """
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return tuple(found)
