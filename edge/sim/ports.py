"""Free ports for servers that tests start, kill and start again.

The ports are outside the range from which the kernel assigns ports itself. Otherwise another socket could get the port
of a killed server by chance before the server is started again.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 15_000
_LOWEST = 20_000  # if the kernel's range begins below this, there is too little room before it
_TRIES = 200


def free_port() -> int:
    """Return a loopback port that is free now, outside the kernel's own range if there is room.

    Raises:
        OSError: no free port was found.
    """
    given = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    for _ in range(_TRIES if given >= _LOWEST else 0):
        port = random.randrange(_FIRST, given)  # need not be unpredictable
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
    """Return ``count`` different free ports.

    Raises:
        OSError: too few free ports were found.
    """
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return tuple(found)
