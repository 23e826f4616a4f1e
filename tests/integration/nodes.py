"""Whole nodes for tests: processes by name, addresses, the log, and a reliable end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec
from soon import until
from yarl import URL

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

START_S = 90.0
KEY = "sk-integration-0123456789"
FAST = Pace(ttft_s=0.0, tps=0.0, tokens=8)


class RunningNode:
    """An ``edge run`` as a user starts it, in its own folder: ``async with RunningNode(folder, config) as node``.

    Args:
        config: edge.yaml as plain data, ``listen`` and ``admin`` on free ports unless given; None: no file.
        arguments: further arguments of ``edge run``.
        environ: added to an environment without provider keys.
        stdin: a descriptor; nothing by default.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | None,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._stdin = stdin
        self._folder = folder
        self._arguments = ["--drain-grace", "0", "--state-dir", str(folder / "state"), *arguments]
        if config is not None:
            addresses = {"listen": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}
            (folder / "edge.yaml").write_bytes(msgspec.json.encode({**addresses, **config}))  # JSON is YAML
            self._arguments += ["-c", str(folder / "edge.yaml")]
        known = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
        self._environ = {**known, "EDGE_LOG_FORMAT": "json", **(environ or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def url(self) -> str:
        """The URL of the first listener."""
        return str(self.ready["listeners"][0])

    @property
    def admin(self) -> str:
        """The URL of the admin listener."""
        return str(self.ready["admin"])

    def command(self) -> list[str]:
        """The command line of the node."""
        return [sys.executable, "-m", "edge", "run", *self._arguments, "--ready-file", str(self._folder / "ready")]

    def start(self) -> None:
        """Start the node; :meth:`up` waits for it."""
        with (self._folder / "out").open("wb") as out, (self._folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=self._stdin,
                stdout=out,
                stderr=log,
                env=self._environ,
            )

    async def up(self) -> None:
        """Wait until everything serves."""
        ready = self._folder / "ready"
        await until(lambda: ready.exists() or self.ended(), START_S)
        assert ready.exists(), self.log()
        self.ready = msgspec.json.decode(ready.read_bytes())

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await self.up()
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.ended():
            self.tell(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await until(self.ended, 40)
        self.kill()

    def ended(self) -> bool:
        """Return whether the supervisor has ended."""
        return self.process is None or self.process.poll() is not None

    async def status(self, limit_s: float = 40.0) -> int:
        """Wait for the end; return the exit status."""
        await until(self.ended, limit_s)
        assert self.process is not None
        assert self.process.returncode is not None
        return self.process.returncode

    def tell(self, number: signal.Signals, name: str | None = None) -> None:
        """Send a signal to the supervisor, or to the process of that name."""
        os.kill(self.pid if name is None else self.children()[name], number)

    def kill(self) -> None:
        """Kill all processes of the node that are left."""
        children = self.children() if not self.ended() else {}
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        for child in children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def children(self) -> dict[str, int]:
        """Return process ids by name: control, worker 0, ..., sim-a."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (OSError, ValueError):  # it has just ended
                continue
            if parent == self.pid:
                found[_name(words)] = int(folder.name)
        found.pop("", None)
        return found

    def out(self) -> str:
        """Return its output on stdout."""
        return (self._folder / "out").read_text()

    def log(self) -> str:
        """Return its log."""
        return (self._folder / "log").read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log, parsed; every line is JSON."""
        return [msgspec.json.decode(line) for line in self.log().splitlines()]

    async def get(self, path: str, **fields: str) -> tuple[int, Any]:
        """Send a GET to the admin listener; return status, and the body parsed if it is JSON."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client,
            client.get(self.admin + path, headers=fields) as answer,
        ):
            body = await answer.read()
            return answer.status, msgspec.json.decode(
                body
            ) if answer.content_type == "application/json" else body.decode()

    async def send(self, method: str, path: str, body: Any = None, **fields: str) -> tuple[int, Any]:
        """Send an operation to the admin listener; return status and body."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client,
            client.request(method, URL(self.admin + path, encoded=True), json=body, headers=fields) as answer,
        ):
            return answer.status, msgspec.json.decode(await answer.read())

    async def ask(self, headers: Mapping[str, str] | None = None, **more: Any) -> aiohttp.ClientResponse:
        """Send a chat request on a new connection and read the complete answer; ``more`` goes into the body."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client,
            client.post(f"{self.url}/v1/chat/completions", json={**CHAT, **more}, headers=headers) as answer,
        ):
            await answer.read()
            return answer

    async def target(self, name: str) -> dict[str, Any]:
        """Return a target from ``/api/targets``."""
        _, targets = await self.get("/api/targets")
        return next(target for target in targets if target["id"] == name)

    async def inflight(self, name: str, count: int) -> None:
        """Wait until a target has this many attempts in flight."""
        end = time.monotonic() + 30
        while (await self.target(name))["inflight"] != count:
            assert time.monotonic() < end, await self.target(name)
            await asyncio.sleep(0.02)

    async def ready_with(self, workers: int) -> None:
        """Wait until control answers and knows this many workers."""
        end = time.monotonic() + 30
        known = -1
        while known != workers:
            assert time.monotonic() < end, self.log()
            await asyncio.sleep(0.05)
            with contextlib.suppress(aiohttp.ClientError):
                known = (await self.get("/ready"))[1]["workers"]


def quick_provider(name: str = "p0") -> SimProvider:
    """Return a provider that answers at once, with the key of :func:`chat_config`; enter it to start it."""
    return SimProvider(ProviderSpec(name=name, pace=FAST, key=KEY))


def edge(*words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of edge, whatever its status; ``environ`` is added to the environment."""
    command = [sys.executable, "-m", "edge", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(environ or {})})


def _name(words: list[str]) -> str:
    text = " ".join(words)
    if "edge.app.control" in text:
        return "control"
    if "edge.app.worker" in text:
        return f"worker {words[words.index('--index') + 1]}"
    if "--name" in words and "sim" in words:
        return words[words.index("--name") + 1]
    return ""


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def bare_start_s() -> float:
    """Return the seconds that an interpreter needs, under the current load, to start and import the worker."""
    began = time.monotonic()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import edge.app.worker")
    assert await asyncio.wait_for(child.wait(), 60) == 0
    return time.monotonic() - began


def chat_config(*urls: str, **more: Any) -> dict[str, Any]:
    """Return a configuration of one model ``chat`` with a tier per provider, and deadlines for a busy machine."""
    names = [f"p{number}" for number, _ in enumerate(urls)]
    return {
        "providers": {name: {"base_url": f"{url}/v1", "api_key": KEY} for name, url in zip(names, urls, strict=True)},
        "models": {
            "chat": {
                "targets": [{"target": f"{name}/sim-small", "tier": tier} for tier, name in enumerate(names, 1)],
                "timeouts": {
                    "connect": "2s",
                    "first_byte": "10s",
                    "first_token": "10s",
                    "stream_idle": "5s",
                    "total": "30s",
                },
                **more,
            }
        },
    }


CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
