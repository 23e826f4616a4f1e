"""Parsing of ``discover``: the URL of a source of addresses.

dns://[SERVER[:PORT]/]NAME:PORT         A and AAAA records
dns+srv://[SERVER[:PORT]/]NAME          SRV records
k8s://NAMESPACE/SERVICE:PORT            EndpointSlices of a Kubernetes service; PORT is a name or a number
file:///PATH                            a JSON file
etcd://PREFIX                           keys that begin with PREFIX, written as in etcd
"""

from __future__ import annotations

import re
from typing import Final, Literal

from msgspec import Struct

from edge.config.addresses import parse_address

Kind = Literal["dns", "dns+srv", "k8s", "file", "etcd"]

KINDS: Final[tuple[Kind, ...]] = ("dns", "dns+srv", "k8s", "file", "etcd")
DNS_PORT: Final = 53

_LONGEST: Final = 1000
_DNS_NAME: Final = re.compile(
    r"(?=.{1,254}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?"
)
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes names its objects
_KUBERNETES_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class Source(Struct, frozen=True):
    """The parts of a URL; those that its kind does not have are empty. ``url`` is the whole, as written."""

    url: str
    kind: Kind
    name: str = ""  # the DNS name, the service, the file or the prefix
    port: str = ""  # a number, or the name of a port in Kubernetes
    namespace: str = ""
    server: tuple[str, int] | None = None  # a name server; None: those of the system


def parse_source(url: str) -> Source:
    """Return the parts of a source's URL; raise ValueError with what to write instead."""
    scheme, slashes, rest = url.partition("://")
    kind = next((kind for kind in KINDS if kind == scheme), None)
    if not slashes or kind is None:
        raise ValueError(f"{url!r} is not a source; write one of {', '.join(f'{kind}://...' for kind in KINDS)}")
    if len(url) > _LONGEST or not url.isprintable() or " " in url:
        raise ValueError(f"a source has at most {_LONGEST} printable characters without blanks")
    if kind in ("dns", "dns+srv"):
        return _dns(url, kind, rest)
    if kind == "k8s":
        return _kubernetes(url, rest)
    if kind == "file":
        if not rest.startswith("/") or rest.endswith("/"):
            raise ValueError(f"{url!r} does not name a file by its whole path; write file:///etc/edge/addresses.json")
        return Source(url, kind, rest)
    if not rest.strip("/"):
        raise ValueError("etcd:// lacks the prefix of its keys; write etcd://services/billing/, as it is in etcd")
    return Source(url, kind, rest)


def _dns(url: str, kind: Literal["dns", "dns+srv"], rest: str) -> Source:
    before, slash, last = rest.rpartition("/")
    server = _server(before) if slash and before else None
    name, colon, port = last.partition(":") if kind == "dns" else (last, "", "")
    if kind == "dns" and not (colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004
        raise ValueError(f"{url!r} lacks a port; write dns://vllm.internal:8000")
    if not _DNS_NAME.fullmatch(name):
        example = "dns://vllm.internal:8000" if kind == "dns" else "dns+srv://_http._tcp.vllm.internal"
        raise ValueError(f"{name!r} is not a name in DNS; write {example}")
    return Source(url, kind, name, port, server=server)


def _server(text: str) -> tuple[str, int]:
    """Return the address of a name server, whose port may be omitted."""
    host, port = parse_address(text if re.search(r"[^:\]]:[0-9]+$|\]:[0-9]+$", text) else f"{text}:{DNS_PORT}")
    if not re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:]+", host):
        raise ValueError(f"the name server {text!r} is not a numeric address")
    return host, port


def _kubernetes(url: str, rest: str) -> Source:
    namespace, _, service = rest.partition("/")
    name, _, port = service.partition(":")
    if not (
        _LABEL.fullmatch(namespace) and _KUBERNETES_NAME.fullmatch(name) and re.fullmatch(r"[a-z0-9-]{1,63}", port)
    ):
        raise ValueError(f"{url!r} is not a service; write k8s://namespace/service:port, the port by name or number")
    return Source(url, "k8s", name, port, namespace=namespace)
