"""Parsing of addresses to listen on and to call, and the list of hosts that edge never calls.

Edge calls only addresses from the configuration. Even there, a mistake must not let clients read a cloud's instance
metadata, so link-local and metadata addresses are refused in every spelling that a resolver accepts. Names are resolved
later and checked again then (``edge.upstream``).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

HIGHEST_PORT: Final = 65535
_NAME: Final = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)
# Addresses of the metadata services of AWS, Google, Alibaba, Azure and Oracle outside the link-local range; their names
# follow below.
_METADATA: Final = frozenset({"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"})
# Networks whose addresses hold an IPv4 address in their last 32 bits: NAT64 (RFC 6052, RFC 8215), IPv4-translated
# (RFC 2765), IPv4-compatible (RFC 4291 2.5.5.1).
_HOLDS_IPV4: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)
_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_PRIVATE_SUFFIXES: Final = (".internal", ".local", ".localhost", ".lan", ".home.arpa", ".svc", ".test")


class BaseUrl(Struct, frozen=True):
    """The parts of a provider's base URL. ``path`` is empty, or begins with a slash and does not end with one."""

    tls: bool
    host: str
    port: int
    path: str


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``; raise ValueError with what to write instead."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]|([^\[\]:/@\s]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > HIGHEST_PORT:
        shown = "this" if "@" in text else repr(text)
        raise ValueError(f"{shown} is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return _host(match[1] or match[2]), int(match[3])


def parse_base_url(text: str) -> BaseUrl:
    """Return the parts of ``http[s]://host[:port][/path]``.

    Raises:
        ValueError: the text says what is wrong, but never repeats the URL, because people put keys into URLs.
    """
    if re.search(r"[\x00-\x20\x7f\\]", text):
        raise ValueError("a URL cannot contain blanks, backslashes or control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(
            f"not a base URL: a bracket is missing, or the port is not a number up to {HIGHEST_PORT}"
        ) from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("a key in the URL would appear in logs; write it as api_key")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not a base URL; write https://host/path or http://host:port/path")
    if parts.query or parts.fragment:
        raise ValueError("a base URL ends before /chat/completions; remove its query or fragment")
    tls = parts.scheme == "https"
    return BaseUrl(tls, _host(parts.hostname), port or (443 if tls else 80), parts.path.rstrip("/"))


def parse_link(text: str) -> BaseUrl:
    """Return the parts of a URL that may have a query and a fragment, which are left out.

    Raises:
        ValueError: the text says what is wrong, and does not repeat the URL.
    """
    return parse_base_url(re.split(r"[?#]", text, maxsplit=1)[0])


def parse_member(text: str) -> BaseUrl:
    """Return the parts of the URL of a store's member, ``http[s]://host:port``.

    Raises:
        ValueError: the text says what to write; it does not repeat a URL with an @, which may contain a password.
    """
    scheme, _, address = text.partition("://")
    if "@" in text:
        raise ValueError("user and password are fields beside endpoints; write http[s]://host:port here")
    if scheme not in ("http", "https"):
        raise ValueError(f"{text!r} is not a member; write http://host:port or https://host:port")
    host, port = parse_address(address.removesuffix("/"))
    if not host or not port:
        raise ValueError(f"{text!r} lacks a host or a port; write http[s]://host:port")
    return BaseUrl(scheme == "https", host, port, "")


def forbidden(host: str) -> str:
    """Return why edge must never call this host, or an empty string."""
    if host.lower().rstrip(".") in _METADATA_NAMES:
        return "it is a cloud's metadata service"
    address = _ip(host)
    if address is None:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and int(address) > 1 and any(address in network for network in _HOLDS_IPV4):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return forbidden(str(inner))
    if address.is_link_local or str(address) in _METADATA:
        return "link-local and metadata addresses answer with this machine's own credentials"
    if address.is_unspecified or address.is_multicast:
        return "it is not the address of a single machine"
    return ""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host."""
    address = _ip(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Return whether the host belongs to this machine or a private network, as far as its spelling shows."""
    address = _ip(host)
    if address is not None:
        return address.is_private
    name = host.lower().rstrip(".")
    return "." not in name or name.endswith(_PRIVATE_SUFFIXES)


def is_wildcard(host: str) -> bool:
    """Return whether a listener on this host accepts connections on every address of the machine."""
    address = _ip(host)
    return host == "" if address is None else address.is_unspecified


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _host(host: str) -> str:
    """Return the host; raise ValueError if a resolver would read it as an address, like 2852039166 or 0xa9fea9fe."""
    if _ip(host) is not None or host == "":
        return host
    if not _NAME.fullmatch(host):
        raise ValueError(f"{host!r} is neither a host name nor an address")
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return host
    raise ValueError(f"the host {host!r} is an address in disguise; write {ipaddress.ip_address(packed)}")
