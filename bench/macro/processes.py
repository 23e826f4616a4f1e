"""Processes of a benchmark: how they are run, on which CPUs, and how much CPU time they use.

With two or more CPUs, the proxies have the first one to themselves, and the upstream and the load share the others, so
that they cost a proxy neither cache nor migrations. Every process ends with its ``async with`` block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from bench.macro.certificates import Files, issue
from bench.macro.load import Order, Ran

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

START_S = 20.0
STOP_S = 10.0


class BenchError(Exception):
    """A part of the benchmark does not work, so nothing can be measured."""


def proxy_cpus() -> list[int]:
    """Return the CPU for proxies: the first one that this process may use."""
    return sorted(os.sched_getaffinity(0))[:1]


def other_cpus() -> list[int]:
    """Return the CPUs for everything else: all but the first one, if there are more."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[1:] or cpus


def cpu_ns(pids: Iterable[int]) -> int:
    """Return the user and system nanoseconds that these processes have used, with all their threads.

    Raises:
        BenchError: one of them has ended.
    """
    try:
        # clock_getcpuclockid(3): the id of a process's CPU clock, which unlike /proc does not round to ticks.
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)
    except OSError as fault:
        raise BenchError(f"a measured process has ended: {fault}") from fault


def family(pid: int) -> list[int]:
    """Return this process and all its descendants."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(place.name))
    found = [pid]
    for member in found:
        found.extend(children.get(member, ()))
    return found


@contextlib.contextmanager
def on(cpus: Iterable[int]) -> Iterator[None]:
    """Run what is started within the block on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.asynccontextmanager
async def child(
    *command: str, cpus: Iterable[int], log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command; stdin and stdout are pipes, unless ``log`` receives its output."""
    with on(cpus), (log or Path(os.devnull)).open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=out if log else asyncio.subprocess.PIPE,
            stderr=out if log else None,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


class Upstream(Struct, frozen=True):
    """The running upstream: its ports, and the files of its certificate, which proxies show to clients too."""

    port: int
    tls_port: int
    files: Files


@contextlib.asynccontextmanager
async def upstream(turn_ms: int = 4) -> AsyncIterator[Upstream]:
    """Run the upstream."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = issue(Path(folder))
        command = (sys.executable, "-m", "bench.macro.upstream", "--turn-ms", str(turn_ms))
        async with child(*command, "--cert", files.cert, "--key", files.key, cpus=other_cpus()) as process:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), START_S)
            if not line:
                raise BenchError("the upstream did not start")
            port, tls_port = (int(port) for port in line.split())
            yield Upstream(port, tls_port, files)


class Load:
    """The load process, as a load generator."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, order: Order) -> Ran:
        """Send the requests of an Order.

        Raises:
            BenchError: a response was wrong or missing.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), order.limit_s + STOP_S)
        said = msgspec.json.decode(line) if line else {"fault": "the load process ended"}
        if "fault" in said:
            raise BenchError(f"the load failed: {said['fault']}")
        ran = msgspec.convert(said, Ran)
        if ran.wrong or ran.right != order.count:
            raise BenchError(f"{ran.wrong} of {order.count} responses were wrong; the first ends with {ran.said!r}")
        return ran


@contextlib.asynccontextmanager
async def load() -> AsyncIterator[Load]:
    """Run the load process."""
    async with child(sys.executable, "-m", "bench.macro.load", cpus=other_cpus()) as process:
        yield Load(process)
