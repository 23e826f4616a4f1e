"""Real links that a test can cut: network namespaces with bridges and veth pairs, which end with their processes.

A namespace lives as long as the process that holds it; the kernel ends that with the test. Nothing has a name on the
host, and the host's own network is not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_NEWNET = 0x40000000  # linux/sched.h
_BECOME = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
_LIBC = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Return why namespaces are not available; "" = they are."""
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is not installed (iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    tried = "ip link set lo up && ip link add name try0 type bridge && ip link add name try1 type veth peer name try2"
    done = subprocess.run(["unshare", "-n", "sh", "-c", tried], capture_output=True, text=True, timeout=20, check=False)
    return f"the kernel or the container refuses: {done.stderr.strip()}" if done.returncode else ""


class Namespace:
    """One machine of the test: its processes and clients see this network only."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []
        self._holder = self._start("unshare", "-n", "sh", "-c", "ip link set lo up && echo ready && exec sleep 600")
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self._thread = ThreadPoolExecutor(2, initializer=_enter, initargs=(self._holder.pid,))

    @property
    def prefix(self) -> list[str]:
        """The prefix of a command that is to run in this namespace."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    def run(self, *command: str, log: str = os.devnull) -> None:
        """Start a process in the namespace; it ends with the namespace."""
        self._start(*self.prefix, *command, log=log)

    def ip(self, *lines: str) -> None:
        """Change the network."""
        batch = "\n".join(lines).encode()
        subprocess.run([*self.prefix, "ip", "-batch", "-"], input=batch, check=True, timeout=20)

    def join(self, other: Namespace, bridge: str, device: str, address: str) -> None:
        """Connect the namespace to a bridge of another one; the other end has this one's name."""
        other.ip(f"link add name {device} type veth peer name {device}-in netns {self._holder.pid}")
        other.ip(f"link set {device} master {bridge} up")
        self.ip(f"address add {address} dev {device}-in", f"link set {device}-in up")

    async def call(self, work: Callable[[], T]) -> T:
        """Return the result of blocking work that opens its sockets in the namespace; two at once."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()
        self._thread.shutdown(cancel_futures=True)

    def _start(self, *command: str, log: str = "") -> subprocess.Popen[bytes]:
        die_with_parent = [
            sys.executable,
            "-m",
            "edge.app.parent_death",
            str(os.getpid()),
            str(int(signal.SIGKILL)),
            "-c",
            _BECOME,
        ]
        with open(log or os.devnull, "ab") as out:  # noqa: PTH123  # a descriptor is all that is wanted
            child = subprocess.Popen(
                [*die_with_parent, *command],
                stdin=subprocess.DEVNULL,
                stdout=out if log else subprocess.PIPE,
                stderr=out,
            )
        self._children.append(child)
        return child


def _enter(pid: int) -> None:
    with open(f"/proc/{pid}/ns/net", "rb") as place:  # noqa: PTH123  # a descriptor is all that is wanted
        if _LIBC.setns(place.fileno(), _NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "setns")
