"""Forward proxies of provider calls: which one a target is reached through, as its settings or the environment say.

The environment is read as curl reads it: ``https_proxy`` or ``HTTPS_PROXY`` for targets over TLS, ``http_proxy`` for
others (lower case only, because CGI servers set the other from a request's field), ``all_proxy`` for both, and
``no_proxy`` for what is reached directly. A tunnel (CONNECT) carries the connection in either case, and TLS runs inside
it.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from edge.config.addresses import parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.terms.snapshot import Target


class Proxy(Struct, frozen=True):
    """An HTTP proxy. ``credentials`` are ``user:password``, or empty."""

    host: str
    port: int
    credentials: str

    def authorization(self) -> bytes | None:
        """Return the value of Proxy-Authorization (RFC 7617); None = the proxy asks for none."""
        return b"Basic " + base64.b64encode(self.credentials.encode()) if self.credentials else None

    def fields(self) -> dict[str, str]:
        """Return the field with the credentials, for a library."""
        value = self.authorization()
        return {} if value is None else {"Proxy-Authorization": value.decode()}

    @property
    def url(self) -> str:
        """The proxy's URL, without credentials."""
        return f"http://{_bracketed(self.host)}:{self.port}"


def proxy_of(target: Target, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that a target is reached through; None = it is reached directly.

    Raises:
        OSError: the environment names a proxy that edge cannot use; the message does not repeat it.
    """
    if target.proxy == "":
        return None
    if target.proxy != "env":
        url = parse_base_url(target.proxy)
        return Proxy(url.host, url.port, target.proxy_credentials)
    if bypasses(_first(environ, "no_proxy", "NO_PROXY")[1], target.host, target.port):
        return None
    own = ("https_proxy", "HTTPS_PROXY") if target.tls is not None else ("http_proxy",)
    name, text = _first(environ, *own, "all_proxy", "ALL_PROXY")
    return _parse(name, text) if text else None


def authority(target: Target) -> bytes:
    """Return the target's host and port, as CONNECT names them."""
    return f"{_bracketed(target.host)}:{target.port}".encode("idna" if not target.host.isascii() else "ascii")


def bypasses(rules: str, host: str, port: int) -> bool:
    """Return whether ``no_proxy`` says that a host is reached directly.

    Rules are separated by commas or blanks: ``*``, an address, a network (10.0.0.0/8), or a name, which stands for the
    names below it too, with a dot before it or without; each but ``*`` and networks may end in a port.
    """
    name = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        address = None
    return any(_covers(rule, name, address, port) for rule in re.split(r"[,\s]+", rules.lower()))


def _covers(rule: str, name: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    where, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and (where.endswith("]") or ":" not in where):
        if int(number) != port:
            return False
        rule = where
    if rule == "*":
        return True
    rule = rule.strip("[]").removeprefix("*").lstrip(".").rstrip(".")
    if address is None:
        return bool(rule) and (name == rule or name.endswith(f".{rule}"))
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False  # a name is no rule for an address


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first of these variables that is set to something, with its value."""
    return next(((name, environ[name]) for name in names if environ.get(name)), ("", ""))


def _parse(name: str, text: str) -> Proxy:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        raise OSError(f"the variable {name} names no proxy that edge can use; write http://host:port")
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Proxy(parts.hostname, port, credentials)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
