"""Access control of the admin listener: a bearer token, or without one, only programs on this machine.

Without a token only the loopback address protects a node, and a web page can reach that address through the browser of
any user of the machine: as a page of another origin, or under a name whose owner lets it resolve to 127.0.0.1 (DNS
rebinding), which makes the request same-origin. The browser reveals both in headers that a page cannot change: Origin
(RFC 6454, section 7.3) and Host.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Final

from edge.admin.answers import problem

if TYPE_CHECKING:
    from aiohttp import web

_OPEN: Final = frozenset({"/live", "/ready"})
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]*))(?::[0-9]*)?")


def refusal(request: web.Request, token: bytes) -> web.Response | None:
    """Return the response that refuses a request; None: the request is allowed.

    Args:
        request: any request; ``/live`` and ``/ready`` are always allowed to read.
        token: admin.token; empty = there is none, and the listener is on a loopback address.
    """
    if request.path not in _OPEN:
        if token and not _is_shell(request.path) and not _carries_token(request, token):
            sentence = "this needs the header Authorization: Bearer TOKEN, with the token from admin.token"
            return problem(401, sentence, challenge=True)
        if not token and _is_by_another_name(request):
            sentence = (
                "without admin.token, Host must be an IP address or localhost: a web page can make any other name "
                "resolve to this node. Use the address, or set admin.token"
            )
            return problem(403, sentence)
    if request.method not in ("GET", "HEAD") and _is_from_a_page(request):
        return problem(403, "refused: the request comes from a web page of another origin, which may not change a node")
    return None


def _is_shell(path: str) -> bool:
    """Return whether a path is a file of the page, which holds nothing of the node (``edge.admin.page``)."""
    return path in ("/", "/favicon.ico") or path.startswith("/page/")


def _carries_token(request: web.Request, token: bytes) -> bool:
    """Return whether the request has ``Authorization: Bearer`` with this token; compares in constant time."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    presented = given.strip().encode(errors="surrogateescape")  # aiohttp decodes bytes that are not UTF-8 this way
    return scheme.lower() == "bearer" and hmac.compare_digest(presented, token)


def _is_by_another_name(request: web.Request) -> bool:
    """Return whether Host is anything but an IP address or localhost, the only names that such a node listens under.

    A request without the header comes from a program, since browsers always send it, and is allowed.
    """
    host = request.headers.get("Host")
    if host is None:
        return False
    match = _HOST.fullmatch(host.strip())
    if match is None:
        return True
    name = match[1] or match[2]
    if name.lower().removesuffix(".") == "localhost":
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


def _is_from_a_page(request: web.Request) -> bool:
    """Return whether a browser sends this request for a page of another origin; browsers name it in Origin."""
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != request.host
