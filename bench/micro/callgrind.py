"""Counts the instructions of a process with ``valgrind --tool=callgrind``, between two moments and by object file.

Instructions hardly depend on what else the machine does, so that one run tells a change of a few percent. They are not
time: the kernel's are not counted, and a cache miss costs as much as a hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Final

from bench.macro.processes import BenchError, child, proxy_cpus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

_NAMED: Final = re.compile(r"(c?ob)=\((\d+)\)(?: (.*))?")
LIMIT_S: Final = 120.0


def missing() -> str | None:
    """Return what is missing on this machine, in a sentence; None: nothing."""
    lacking = [tool for tool in ("valgrind", "callgrind_control") if shutil.which(tool) is None]
    return f"{lacking[0]} is not installed (Debian, Ubuntu: valgrind)" if lacking else None


def by_object(lines: Iterable[str]) -> Counter[str]:
    """Return the instructions of a dump by the file of the code that ran them, calls excluded.

    The format is that of Valgrind's manual, "Callgrind Format Specification": lines with a name set where the costs
    that follow belong to; a number in parentheses stands for a name given before; the line after ``calls=`` is the cost
    of the callee.
    """
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    here, skip = "", False
    for line in lines:
        if line and line[0] in "0123456789+-*":
            _, *costs = line.split()  # a cost that is missing is 0
            if costs and not skip:
                found[here] += int(costs[0])
            skip = False
        elif line.startswith("calls="):
            skip = True
        elif (named := _NAMED.match(line)) is not None:
            kind, number, name = named.groups()
            if name is not None:
                names[number] = name
            if kind == "ob":
                here = names[number]
    return found


class Counted:
    """A process under callgrind, which counts from the first :meth:`take` on."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path) -> None:
        self.process = process
        self._out = out
        self._dumps = 0

    async def say(self, line: str) -> str:
        """Write a line to its standard input and return the line that it answers.

        Raises:
            BenchError: it has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        answer = await asyncio.wait_for(self.process.stdout.readline(), LIMIT_S)
        if not answer:
            raise BenchError("the process under callgrind has ended")
        return answer.decode().strip()

    async def begin(self) -> None:
        """Count from now on."""
        await self._control("--instr=on")

    async def take(self) -> Counter[str]:
        """Return the instructions since the last call, by object file."""
        await self._control("--dump")
        self._dumps += 1
        place = self._out.with_name(f"{self._out.name}.{self._dumps}")
        text = await asyncio.to_thread(place.read_text, errors="replace")
        return by_object(text.splitlines())

    async def _control(self, command: str) -> None:
        control = await asyncio.create_subprocess_exec(
            "callgrind_control",
            command,
            str(self.process.pid),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(control.communicate(), LIMIT_S)
        if control.returncode or b"OK" not in said:
            raise BenchError(f"callgrind_control {command} failed: {said.decode(errors='replace')[-500:]}")


@contextlib.asynccontextmanager
async def counted(folder: Path, *command: str) -> AsyncIterator[Counted]:
    """Run a command under callgrind.

    Raises:
        BenchError: valgrind is not installed.
    """
    if (lacking := missing()) is not None:
        raise BenchError(lacking)
    out = folder / "callgrind"
    options = ("--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", "--quiet")
    async with child("valgrind", *options, *command, cpus=proxy_cpus()) as process:
        yield Counted(process, out)
