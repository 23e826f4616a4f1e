"""What the proxies that are compared have in common, edge, and the way without a proxy.

Each proxy has one worker in front of the same upstream. Its cost is what all its processes and threads use, including
edge's supervisor and control and Envoy's main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from bench.macro.processes import START_S, STOP_S, BenchError, child, cpu_ns, family, on, proxy_cpus
from edge.sim.node import EdgeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from bench.macro.processes import Upstream


class Proxy(Struct, frozen=True):
    """A running proxy."""

    name: str
    port: int
    pids: tuple[int, ...]
    workers: tuple[int, ...] = ()  # the processes that carry the traffic

    def cpu_ns(self, *, workers: bool = False) -> int:
        """Return the user and system nanoseconds used so far, by all processes or by the workers only."""
        return cpu_ns(self.workers if workers else self.pids)


class Variant(Protocol):
    """One way to run a proxy."""

    @property
    def name(self) -> str:
        """The name in the table; variants with the same name are the same."""

    @property
    def installed(self) -> bool:
        """Whether its program is on this machine."""

    def started(self, upstream: Upstream) -> contextlib.AbstractAsyncContextManager[Proxy]:
        """Run it in front of the upstream."""


class Direct(Struct, frozen=True):
    """No proxy: the upstream itself."""

    name: str = "direct"
    installed: bool = True

    @contextlib.asynccontextmanager
    async def started(self, upstream: Upstream) -> AsyncIterator[Proxy]:
        """Yield the upstream's port."""
        yield Proxy(self.name, upstream.port, ())


class Edge(Struct, frozen=True):
    """edge as ``edge run`` starts it.

    ``more`` replaces sections of the configuration, ``provider`` fields of its provider.
    ``sample`` is the share of requests that are traced; spans are sent to a collector that accepts everything (the
    upstream, over HTTP).
    """

    name: str = "edge"
    more: Mapping[str, Any] = {}
    provider: Mapping[str, Any] = {}
    sample: str | None = None
    tls_in: bool = False  # clients speak TLS
    tls_out: bool = False  # the provider speaks TLS, and its certificate is verified
    installed: bool = True

    def config(self, upstream: Upstream) -> dict[str, Any]:
        """Return edge.yaml as plain data, without addresses to listen at."""
        base_url = f"https://127.0.0.1:{upstream.tls_port}" if self.tls_out else f"http://127.0.0.1:{upstream.port}"
        provider: dict[str, Any] = {"dialect": "openai", "base_url": f"{base_url}/v1", "api_key": "sk-not-a-key"}
        if self.tls_out:
            provider["tls"] = {"ca": upstream.files.ca}
        target = f"127.0.0.1:{upstream.port}"
        config = {
            "providers": {"local": {**provider, **self.provider}},
            "models": {"chat": {"targets": ["local/gpt-4.1-mini"]}},
            "services": {"greeter": {"match": {"grpc": "helloworld.Greeter"}, "targets": [target]}},
            **self.more,
        }
        if self.sample is not None:
            collector = f"http://127.0.0.1:{upstream.port}"
            config["telemetry"] = {"sample": self.sample, "otlp": collector, "protocol": "http"}
        return config

    @contextlib.asynccontextmanager
    async def started(self, upstream: Upstream) -> AsyncIterator[Proxy]:
        """Run edge with one worker."""
        tls = {"cert": upstream.files.cert, "key": upstream.files.key} if self.tls_in else None
        async with contextlib.AsyncExitStack() as stack:
            with on(proxy_cpus()):
                running = await stack.enter_async_context(EdgeProcess(self.config(upstream), workers=1, tls=tls))
            port = urlsplit(running.url).port
            if port is None:
                raise BenchError(f"edge listens at {running.url}, which has no port")
            pids = family(running.pid)
            yield Proxy(self.name, port, tuple(pids), tuple(pid for pid in pids if _carries(pid)))


def _carries(pid: int) -> bool:
    """Return whether a process of edge is a worker."""
    return b"edge.app.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Reserve a port for a proxy that binds it with SO_REUSEPORT: a bound socket that does not listen holds it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.asynccontextmanager
async def program(name: str, port: int, log: Path, *command: str) -> AsyncIterator[Proxy]:
    """Run a proxy's program; its log receives what it writes.

    Raises:
        BenchError: it does not start; the end of its log says why.
    """
    async with child(*command, cpus=proxy_cpus(), log=log) as process:
        try:
            await _accepting(port, process)
        except BenchError as fault:
            raise BenchError(f"{fault}:\n{_end_of(log)}") from None
        yield Proxy(name, port, tuple(family(process.pid)))


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _accepting(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until the port accepts connections."""
    for _ in range(int(START_S / 0.05)):
        if process.returncode is not None:
            raise BenchError(f"{process} ended with status {process.returncode}")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), STOP_S)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise BenchError(f"port {port} accepts no connection after {START_S:g} s")
