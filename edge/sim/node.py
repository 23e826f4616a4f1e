"""A complete edge as a child process with its own configuration, for tests and demos."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from edge import clock
from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Mapping

START_S = 60.0
STOP_S = 30.0
ASK_S = 10.0
_POLL_S = 0.02
_LAST_LINES = 15


class EdgeStartError(EdgeError):
    """The edge did not start; the text has its last log lines."""

    kind = "edge_start"


class EdgeProcess:
    """An ``edge run`` on free loopback ports: ``async with EdgeProcess(config) as edge: edge.base_url``.

    Args:
        config: edge.yaml as plain data, without ``listen`` and ``admin``, which are set here.
        workers: number of worker processes; 0 runs everything in one process.
        tls: files of the listener, as in ``listen[].tls``; without them it has no TLS.
    """

    def __init__(self, config: Mapping[str, Any], *, workers: int = 1, tls: Mapping[str, str] | None = None) -> None:
        listener: dict[str, Any] = {"address": "127.0.0.1:0"} | ({"tls": dict(tls)} if tls else {})
        self._config = {**config, "listen": [listener], "admin": {"address": "127.0.0.1:0"}}
        self._workers = workers
        self._place = tempfile.TemporaryDirectory(prefix="edge-")
        self._child: asyncio.subprocess.Process | None = None
        self._client: aiohttp.ClientSession | None = None
        self.url = ""
        self.admin = ""

    @property
    def base_url(self) -> str:
        """The ``base_url`` for an SDK."""
        return self.url + "/v1"

    @property
    def pid(self) -> int:
        """The node's first process, the ancestor of the others; raises EdgeStartError if it is not running."""
        if self._child is None:
            raise EdgeStartError("edge is not running")
        return self._child.pid

    def last_lines(self) -> str:
        """Return the end of its log."""
        log = self._path("log")
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(f"  | {line}" for line in lines[-_LAST_LINES:]) or "  | (it wrote nothing)"

    async def targets(self) -> list[dict[str, Any]]:
        """Return the targets from the admin listener; an empty list while it does not answer."""
        found = await self._ask("/api/targets")
        return found if isinstance(found, list) else []

    async def verdicts(self) -> dict[str, Any]:
        """Return the verdicts from the admin listener, by target; an empty dict while it does not answer."""
        found = await self._ask("/api/regions")
        return found.get("verdicts", {}) if isinstance(found, dict) else {}

    async def post_mortems(self) -> list[str]:
        """Return every incident as Markdown, the first one first; an empty list while the admin listener is silent."""
        found = await self._ask("/api/incidents")
        names = [each["id"] for each in found] if isinstance(found, list) else []
        texts = [await self._read(f"/api/incidents/{quote(name)}?format=markdown") for name in reversed(names)]
        return [text.decode() for text in texts if text is not None]

    async def _ask(self, path: str) -> object:
        body = await self._read(path)
        try:
            return None if body is None else msgspec.json.decode(body)
        except msgspec.MsgspecError:
            return None

    async def _read(self, path: str) -> bytes | None:
        if self._client is None:
            return None
        try:
            async with self._client.get(self.admin + path) as response:
                return await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S))
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def _path(self, name: str) -> Path:
        return Path(self._place.name) / name

    def _options(self) -> list[str]:
        """Return options for a node behind no load balancer, so that none has to notice that it drains."""
        return ["--drain-grace", "0", "--state-dir", str(self._path("state"))]

    async def _start(self) -> None:
        self._path("edge.yaml").write_bytes(msgspec.json.encode(self._config))  # JSON is YAML
        command = ["-m", "edge", "run", "-c", str(self._path("edge.yaml")), "--workers", str(self._workers)]
        with self._path("log").open("wb") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                *self._options(),
                "--ready-file",
                str(self._path("ready")),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        started_ns = clock.now_ns()
        while not self._path("ready").exists():
            if self._child.returncode is not None:
                raise EdgeStartError(f"edge exited with status {self._child.returncode}:\n{self.last_lines()}")
            if clock.now_ns() - started_ns > START_S * 1e9:
                raise EdgeStartError(f"edge was not ready after {START_S:g} s:\n{self.last_lines()}")
            await clock.sleep(_POLL_S)
        ready = msgspec.json.decode(self._path("ready").read_bytes())
        self.url, self.admin = ready["listeners"][0], ready["admin"]

    async def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), STOP_S)
            except TimeoutError:
                child.kill()
                await child.wait()
        if self._client is not None:
            await self._client.close()
        self._place.cleanup()
