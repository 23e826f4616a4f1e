"""Busbar as it is compared, where it is installed: one worker thread, one provider, no client keys, no exports.

``BUSBAR`` names the program; without it, ``busbar`` on PATH is taken. The configuration is written for version 1.5.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml
from msgspec import Struct

from bench.macro.processes import BenchError
from bench.macro.proxies import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.macro.processes import Upstream
    from bench.macro.proxies import Proxy

_TOKEN: Final = "BUSBAR_ADMIN_TOKEN"
_KEY: Final = "BUSBAR_UPSTREAM_KEY"
_MANY: Final = 100_000  # requests at once: none of them is to wait for a place


def _found() -> str | None:
    return shutil.which(os.environ.get("BUSBAR") or "busbar")


def _free_port() -> int:
    """Return a port that is free now: Busbar does not share one that is held for it."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


class Busbar(Struct, frozen=True):
    """Busbar with one worker thread; ``protocol`` is that of its provider, its clients ask in OpenAI's."""

    name: str = "busbar"
    protocol: Literal["openai", "anthropic"] = "openai"

    @property
    def installed(self) -> bool:
        """Whether the program is on this machine."""
        return _found() is not None

    def config(self, port: int, admin_port: int) -> dict[str, Any]:
        """Return config.yaml."""
        return {
            "listen": f"127.0.0.1:{port}",
            "admin_listen": f"127.0.0.1:{admin_port}",
            "providers_file": "providers.yaml",
            "identity-providers": {"admin-tokens": {"module": "admin-tokens", "token": {"env": _TOKEN}}},
            "auth": {"chain": [], "admin_auth": ["admin-tokens"]},
            "providers": {"local": {"api_key": {"env": _KEY}}},
            "models": {"m": {"provider": "local", "upstream_model": "gpt-4.1-mini", "max_concurrent": _MANY}},
            "pools": {"chat": {"members": [{"model": "m"}]}},
            "advanced": {"worker_threads": 1, "upstream_http1_only": True},
        }

    def catalogue(self, upstream: Upstream) -> dict[str, Any]:
        """Return providers.yaml."""
        base_url = f"http://127.0.0.1:{upstream.port}"
        return {"local": {"protocol": self.protocol, "base_url": base_url, "error_map": {}}}

    @contextlib.asynccontextmanager
    async def started(self, upstream: Upstream) -> AsyncIterator[Proxy]:
        """Run Busbar.

        Raises:
            BenchError: it is not installed, or does not start.
        """
        command = _found()
        if command is None:
            raise BenchError("Busbar is not installed: name its program in BUSBAR")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            place, port, admin_port = Path(folder), _free_port(), _free_port()
            (place / "config.yaml").write_text(yaml.safe_dump(self.config(port, admin_port)))
            (place / "providers.yaml").write_text(yaml.safe_dump(self.catalogue(upstream)))
            env = shutil.which("env") or "/usr/bin/env"
            given = (f"BUSBAR_CONFIG={place / 'config.yaml'}", f"{_TOKEN}=not-used", f"{_KEY}=sk-not-a-key")
            async with program(self.name, port, place / "log", env, *given, "RUST_LOG=error", command) as proxy:
                yield proxy
