"""Lists the processes of an edge, and those of them that accept connections, from /proc."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge import clock

if TYPE_CHECKING:
    from edge.sim.node import EdgeProcess

_LISTEN = "0A"  # include/net/tcp_states.h


def processes(edge: EdgeProcess) -> dict[str, int]:
    """Return the running process ids by name: "supervisor", "control", "worker 0" and so on."""
    child = edge._child
    assert child is not None
    found = {"supervisor": child.pid}
    for number in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split():
        words = _words(int(number))
        if "edge.app.control" in words:
            found["control"] = int(number)
        elif "edge.app.worker" in words:
            found[f"worker {words[words.index('--index') + 1]}"] = int(number)
    return found


def port_of(url: str) -> int:
    """Return the port of a URL that names one."""
    port = urlsplit(url).port
    assert port is not None
    return port


def listens(pid: int, port: int) -> bool:
    """Return whether a process has a listening TCP/IPv4 socket on a port."""
    wanted = {
        f"socket:[{fields[9]}]"
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }
    try:
        return any(_target(place) in wanted for place in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # it has ended
        return False


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except FileNotFoundError:
        return []


def _target(place: Path) -> str:
    try:
        return str(place.readlink())
    except OSError:  # closed while we looked
        return ""


def kill(pid: int) -> None:
    """End a process as the kernel's out-of-memory killer would."""
    os.kill(pid, 9)


async def bare_start_s() -> float:
    """Return the seconds that an interpreter needs, under the current load, to start and import the worker."""
    started_ns = clock.now_ns()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import edge.app.worker")
    assert await asyncio.wait_for(child.wait(), 30) == 0
    return (clock.now_ns() - started_ns) / 1e9
