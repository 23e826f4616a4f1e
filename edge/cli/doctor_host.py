"""What ``edge doctor`` checks on this machine: ports, limits, memory, certificates and the state folder."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import resource
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.cli.doctor_finding import Finding, fault, ok, warning
from edge.config.addresses import parse_address
from edge.config.units import format_size
from edge.control.state import default_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.schema import Config

FEW_FILES: Final = 4096
"""Below this a node can serve little: a stream needs two descriptors."""

SOON_S: Final = 14 * 86400.0
"""A certificate that ends within this should have been renewed by now."""

LITTLE_SPACE: Final = 64 * 1024 * 1024
PER_WORKER: Final = 100 * 1024 * 1024
"""What a worker takes beside its buffers (docs/operating.md)."""

_BIND: Final = {
    errno.EADDRINUSE: ("another program listens there", "stop it, choose another port, or pass --running"),
    errno.EACCES: ("this user may not bind it", "use a port from 1024 on, or grant CAP_NET_BIND_SERVICE"),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "write an address of this machine, or 0.0.0.0"),
}


def of_host(config: Config, *, running: bool) -> list[Finding]:
    """Return what was found on this machine.

    Args:
        config: the configuration as far as it can be read.
        running: the node runs, so that its ports are in use.
    """
    found: list[Finding] = []
    if not running:
        found += [_port(f"listen {listen.address}", listen.address) for listen in config.listen]
        found.append(_port(f"admin {config.admin.address}", config.admin.address))
    found.append(_files())
    found.append(_memory(config))
    for file in dict.fromkeys(_certificates(config)):
        found.append(certificate(file, clock.wall()))
    found += _state(config)
    return found


def _port(subject: str, address: str) -> Finding:
    try:
        host, port = parse_address(address)
    except ValueError as error:
        return fault(subject, str(error), "write host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lets the bind fail for listening sockets only
        try:
            sock.bind((host or "0.0.0.0", port))
        except OSError as error:
            sentence, remedy = _BIND.get(error.errno or 0, (error.strerror or str(error), "choose another address"))
            return fault(subject, sentence, remedy)
    return ok(subject, "free")


def _files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    subject = "open files"
    if hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        sentence = f"at most {hard}: a node serves at most {hard // 2} streams"
        return fault(subject, sentence, "raise the hard limit: ulimit -Hn, LimitNOFILE= or --ulimit nofile=")
    return ok(subject, "unlimited" if hard == resource.RLIM_INFINITY else f"up to {hard}")


def _memory(config: Config) -> Finding:
    workers = max(config.node.workers, 1)
    needed = workers * (config.limits.max_buffered + PER_WORKER)
    has = _available()
    said = f"{workers} workers may take {format_size(needed // 1024**2 * 1024**2)}"
    if has is not None and needed > has:
        remedy = "lower limits.max_buffered or node.workers, or give the node more memory"
        return warning("memory", f"{said}, and {has // 1024**2} MiB are there", remedy)
    return ok("memory", said)


def _available() -> int | None:
    """Return the bytes that this process may take: the control group's limit, else the machine's memory."""
    limits = []
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # not this version of cgroups, or "max"
            continue
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _certificates(config: Config) -> Iterator[str]:
    for listen in config.listen:
        for tls in listen.tls:
            yield tls.cert
    for provider in config.providers.values():
        if provider.tls.cert:
            yield provider.tls.cert
    if config.peers is not None and config.peers.tls is not None and config.peers.tls.cert:
        yield config.peers.tls.cert
    if config.cluster.etcd is not None and config.cluster.etcd.cert:
        yield config.cluster.etcd.cert


def certificate(file: str, now: float) -> Finding:
    """Return what is to be said of the dates of a certificate.

    Args:
        file: a PEM file.
        now: Unix time.
    """
    import ssl  # noqa: PLC0415  # 20 ms, for configurations with certificates

    subject = f"certificate {file}"
    try:
        # The only function of the standard library that decodes a certificate from a file. It is not public, and
        # has been there since Python 2.6; the tests of the library itself use it.
        told = ssl._ssl._test_decode_cert(file)  # type: ignore[attr-defined]  # noqa: SLF001
        begins, ends = (ssl.cert_time_to_seconds(told[name]) for name in ("notBefore", "notAfter"))
    except (OSError, ValueError, KeyError) as error:  # ssl.SSLError is an OSError
        return fault(subject, f"cannot be read: {error}", "write a PEM file with the certificate first")
    day = dt.datetime.fromtimestamp(ends, dt.UTC).strftime("%Y-%m-%d")
    if now > ends:
        return fault(subject, f"expired on {day}: every client refuses it", "renew it; edge takes it at its reload")
    if now < begins:
        return fault(subject, "is not valid yet", "set the clock of this machine, or of the one that made it")
    if ends - now < SOON_S:
        return warning(subject, f"expires on {day}", "renew it; edge takes it at its reload")
    return ok(subject, f"valid until {day}")


def _state(config: Config) -> Iterator[Finding]:
    written = config.node.state_dir
    if written == "":
        return
    folder = default_folder(os.environ) if written is None else Path(written)
    subject = "state folder"
    if folder is None:
        remedy = "write node.state_dir, so that the node can start without its file"
        yield warning(subject, "there is none that this user may write", remedy)
        return
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield fault(subject, f"{folder} cannot be written by this user", "give it to the user that runs edge")
    elif shutil.disk_usage(there).free < LITTLE_SPACE:
        yield fault(subject, f"the disk of {folder} is full", "make space; the last good configuration goes there")
    else:
        yield ok(subject, str(folder))
