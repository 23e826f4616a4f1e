"""What answers when there is no provider at all?  Two simulated ones, as children of the node.

They are real HTTP servers with faults that can be switched while they run, so that someone who has no key can see
everything that edge does. The node says loudly that its answers are simulated.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Final

from edge.app.children import Child
from edge.config import load

if TYPE_CHECKING:
    from edge.config.schema import Config

HOST: Final = "127.0.0.1"
# Asked for first, so that what people paste from the documentation mostly works as it stands.
PREFERRED: Final = (9101, 9102)


def free_port(preferred: int) -> int:
    """Return ``preferred`` if nothing listens there, else a free port. Nothing holds it: use it soon."""
    for port in (preferred, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise OSError("no port is free on the loopback address")


class Simulated:
    """The simulated providers of a start without any configuration."""

    def __init__(self) -> None:
        self.ports = tuple(free_port(port) for port in PREFERRED)
        self.names = tuple(f"sim-{letter}" for letter, _ in zip("ab", self.ports, strict=True))

    @property
    def urls(self) -> list[str]:
        """Return the root of each, for people."""
        return [f"http://{HOST}:{port}" for port in self.ports]

    def config(self) -> Config:
        """Return the configuration that uses them."""
        return load.simulated([f"{url}/v1" for url in self.urls])

    def children(self) -> list[Child]:
        """Return the processes to keep running."""
        return [self._child(name, port) for name, port in zip(self.names, self.ports, strict=True)]

    def _child(self, name: str, port: int) -> Child:
        # Nothing is lost with them: when the supervisor dies they die at once.
        die_with_parent = ["-m", "edge.app.parent_death", str(os.getpid()), str(int(signal.SIGKILL))]
        command = ["-m", "edge", "sim", "provider", "--name", name, "--port", str(port)]
        return Child(name, lambda _: [*die_with_parent, *command], speaks=True)
