"""Two simulated providers, run as children of a node that has neither a configuration nor a provider's key.

They are real HTTP servers whose faults can be switched at run time, so that somebody without a key can see everything
that edge does. The banner says that responses are simulated.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Final

from edge.app.children import program
from edge.config import load

if TYPE_CHECKING:
    from edge.app.children import Child
    from edge.config.schema import Config

HOST: Final = "127.0.0.1"
# Tried first, so that commands pasted from the documentation usually work.
PREFERRED: Final = (9101, 9102)


def free_port(preferred: int) -> int:
    """Return ``preferred`` if nothing listens there, else a free port. The port is not held: bind it soon."""
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
    """The simulated providers of a node without a configuration."""

    def __init__(self) -> None:
        self.ports = tuple(free_port(port) for port in PREFERRED)
        self.names = tuple(f"sim-{letter}" for letter, _ in zip("ab", self.ports, strict=True))

    @property
    def urls(self) -> list[str]:
        """Return the root URL of each provider."""
        return [f"http://{HOST}:{port}" for port in self.ports]

    def config(self) -> Config:
        """Return a configuration that uses the providers."""
        return load.simulated([f"{url}/v1" for url in self.urls])

    def commands(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the name of each process, and the arguments of the interpreter that this process must keep running."""
        # SIGKILL: the providers hold nothing worth a clean end.
        die_with_parent = ("-m", "edge.app.parent_death", str(os.getpid()), str(int(signal.SIGKILL)))
        return tuple(
            (name, (*die_with_parent, "-m", "edge", "sim", "provider", "--name", name, "--port", str(port)))
            for name, port in zip(self.names, self.ports, strict=True)
        )

    def children(self) -> list[Child]:
        """Return the processes that the supervisor must keep running."""
        return [program(name, words) for name, words in self.commands()]
