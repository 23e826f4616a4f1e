"""What the suites need: tools that are found or built once, processes with a bounded life, and a running edge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nodes import RunningNode

from tests.interop.report import MissingToolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
BUILT: Final = ROOT / "build" / "interop"
"""Where tools are built and packages installed; `make clean` removes it."""
BUILD_S: Final = 1800.0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (None: it was stopped after its time), and what it wrote."""

    status: int | None
    out: str
    err: str

    @property
    def said(self) -> str:
        """The end of what it wrote, as one line."""
        return " ".join((self.err.strip() or self.out.strip()).split())[-300:]


async def run(
    command: Sequence[str | Path],
    *,
    limit_s: float = 60.0,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> Ended:
    """Run a command to its end, or for ``limit_s`` seconds; what it started ends with it."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, env={**os.environ, **(environ or {})}, start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(given), limit_s)
        status = process.returncode
    except TimeoutError:
        out, err, status = b"", f"not ended after {limit_s:.0f} s".encode(), None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return Ended(status, out.decode(errors="replace"), err.decode(errors="replace"))


@contextlib.asynccontextmanager
async def running(command: Sequence[str | Path], port: int, *, cwd: Path | None = None) -> AsyncIterator[None]:
    """Run a server until the block ends; it must accept connections at the port within 20 s."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if process.returncode is not None:
                    raise MissingToolError(f"{command[0]} ended with {process.returncode} instead of serving")
                await asyncio.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def free_port() -> int:
    """Return a port of the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need(name: str, where: str) -> str:
    """Return the path of a program; raise MissingToolError, which says where to get it."""
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not on PATH; {where}")
    return found


async def go_tool(name: str, package: str, module: str, version: str) -> Path:
    """Return a program that Go has built from a package of a published module, in the version that is named.

    It is built as a dependency, because `go install` refuses modules that replace or exclude others.
    """
    path = BUILT / "go" / f"{name}-{version}" / name
    if not path.exists():
        go = need("go", "install Go 1.24 or newer")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "go.mod").write_text("module interop\n\ngo 1.24\n")
        fetched = [[go, "get", f"{module}@{version}"], [go, "get", f"{package}@{version}"]]
        for command in (*fetched, [go, "build", "-o", str(path), package]):
            done = await run(command, limit_s=BUILD_S, cwd=path.parent, environ={"GOFLAGS": "-mod=mod -buildvcs=false"})
            if done.status != 0:
                raise MissingToolError(f"go {command[1]} of {package}@{version} failed: {done.said}")
    return path


async def npm_folder(name: str) -> Path:
    """Return a copy of ``node/NAME`` beside whose package.json the packages are installed."""
    need("node", "install Node.js 20 or newer")
    npm = need("npm", "install Node.js 20 or newer")
    source, folder = HERE / "node" / name, BUILT / "node" / name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (source / "package.json").read_bytes()
    stamp = folder / "installed.json"
    for file in source.iterdir():
        shutil.copy(file, folder / file.name)
    if not stamp.exists() or stamp.read_bytes() != wanted:
        done = await run(
            [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"],
            limit_s=BUILD_S, cwd=folder,
        )  # fmt: skip
        if done.status != 0:
            raise MissingToolError(f"npm install of {source.name} failed: {done.said}")
        stamp.write_bytes(wanted)
    return folder


async def python_with(name: str, *packages: str) -> Path:
    """Return the Python of a virtual environment of its own that has these packages."""
    folder = BUILT / "python" / name
    stamp, wanted = folder / "installed.txt", "\n".join(packages)
    python = folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        await asyncio.to_thread(venv.create, folder, with_pip=True, clear=True)
        done = await run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], limit_s=BUILD_S
        )
        if done.status != 0:
            raise MissingToolError(f"pip install {' '.join(packages)} failed: {done.said}")
        stamp.write_text(wanted)
    return python


@contextlib.asynccontextmanager
async def provider(*options: str) -> AsyncIterator[str]:
    """Run a simulated provider; yield its host and port."""
    port = free_port()
    async with running(
        [sys.executable, "-m", "edge", "sim", "provider", "--port", str(port), *options], port, cwd=ROOT
    ):
        yield f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def node(folder: Path, config: Mapping[str, Any]) -> AsyncIterator[RunningNode]:
    """Run ``edge run`` with one worker and this configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    async with RunningNode(folder, config, "--workers", "1") as started:
        yield started
