"""HAProxy and nginx as they are compared, where they are installed: one worker, a plain route, no log."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bench.macro.certificates import HOST
from bench.macro.processes import BenchError
from bench.macro.proxies import held_port, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.macro.processes import Upstream
    from bench.macro.proxies import Proxy


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


class HAProxy(Struct, frozen=True):
    """HAProxy with one thread."""

    name: str = "haproxy"
    http2: bool = False  # on both sides
    tls_in: bool = False
    tls_out: bool = False

    @property
    def installed(self) -> bool:
        """Whether the program is on this machine."""
        return _found("haproxy") is not None

    def config(self, port: int, upstream: Upstream) -> str:
        """Return the configuration: idle connections are shared by all clients, and kept.

        Without ``http-no-delay`` it would send each event of a stream with MSG_MORE, and the kernel would keep events
        for up to 200 ms.
        """
        bind, server = ["bind", f"127.0.0.1:{port}"], ["server", "upstream"]
        server.append(f"127.0.0.1:{upstream.tls_port if self.tls_out else upstream.port}")
        if self.tls_in:
            bind += ["ssl", "crt", upstream.files.both]
        if self.tls_out:
            server += ["ssl", "verify", "required", "ca-file", upstream.files.ca, "sni", f"str({HOST})"]
        if self.http2:
            bind += ["proto", "h2"]
            server += ["proto", "h2"]
        server += ["pool-purge-delay", "1h"]
        return f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    http-reuse always
    option http-no-delay
frontend clients
    {" ".join(bind)}
    default_backend upstream
backend upstream
    {" ".join(server)}
"""

    @contextlib.asynccontextmanager
    async def started(self, upstream: Upstream) -> AsyncIterator[Proxy]:
        """Run HAProxy.

        Raises:
            BenchError: it is not installed, or does not start.
        """
        command = _found("haproxy")
        if command is None:
            raise BenchError("HAProxy is not installed")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, held_port() as port:
            place = Path(folder) / "haproxy.cfg"
            place.write_text(self.config(port, upstream))
            async with program(self.name, port, Path(folder) / "log", command, "-db", "-f", str(place)) as proxy:
                yield proxy


class Nginx(Struct, frozen=True):
    """nginx with one worker process."""

    name: str = "nginx"
    http2: bool = False  # on both sides
    tls_in: bool = False
    tls_out: bool = False

    @property
    def installed(self) -> bool:
        """Whether the program is on this machine."""
        return _found("nginx") is not None

    def config(self, port: int, upstream: Upstream, folder: str) -> str:
        """Return the configuration: bodies and events are passed on as they come, idle connections are kept."""
        listen, lines = [f"127.0.0.1:{port}", "reuseport"], []
        if self.http2:
            listen.append("http2")
        if self.tls_in:
            listen.append("ssl")
            lines += [f"ssl_certificate {upstream.files.cert};", f"ssl_certificate_key {upstream.files.key};"]
            lines += ["ssl_protocols TLSv1.2 TLSv1.3;"]
        if self.tls_out:
            lines += ["proxy_ssl_verify on;", f"proxy_ssl_trusted_certificate {upstream.files.ca};"]
            lines += [f"proxy_ssl_name {HOST};", "proxy_ssl_server_name on;", "proxy_ssl_protocols TLSv1.2 TLSv1.3;"]
        kind, scheme = ("grpc", "grpc") if self.http2 else ("proxy", "https" if self.tls_out else "http")
        if not self.http2:
            lines += ['proxy_set_header connection "";', "proxy_http_version 1.1;", "proxy_buffering off;"]
            lines += ["proxy_request_buffering off;", "proxy_read_timeout 1h;"]
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            lines.append(f"{name}_temp_path {folder}/{name};")
        own = "\n    ".join(lines)
        behind = upstream.tls_port if self.tls_out else upstream.port
        return f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile 10000;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 8000; }}
http {{
    access_log off;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    {own}
    upstream behind {{
        server 127.0.0.1:{behind};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen {" ".join(listen)};
        location / {{ {kind}_pass {scheme}://behind; }}
    }}
}}
"""

    @contextlib.asynccontextmanager
    async def started(self, upstream: Upstream) -> AsyncIterator[Proxy]:
        """Run nginx.

        Raises:
            BenchError: it is not installed, or does not start.
        """
        command = _found("nginx")
        if command is None:
            raise BenchError("nginx is not installed")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, held_port() as port:
            place = Path(folder) / "nginx.conf"
            place.write_text(self.config(port, upstream, folder))
            async with program(self.name, port, Path(folder) / "log", command, "-c", str(place)) as proxy:
                yield proxy
