"""Who may ask at the admin address?  Whoever has the token; where none is asked for, programs of this machine.

Without a token only the address guards a node, and a web page can reach it through the browser of whoever looks at it:
as a page of another origin, or by a name that its owner lets resolve to 127.0.0.1 (DNS rebinding), which makes it one
of the same origin. The browser says both in headers that a page cannot change: Origin (RFC 6454 7.3) and Host.
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
    """Return what to answer instead of doing what is asked; None: it may be done.

    Args:
        request: of anyone; for ``/live`` and ``/ready`` nothing is asked.
        token: of admin.token; empty = there is none, and so the address is of this machine alone.
    """
    if request.path not in _OPEN:
        if token and not _carries_token(request, token):
            sentence = "this needs the header Authorization: Bearer TOKEN, with the token of admin.token"
            return problem(401, sentence, challenge=True)
        if not token and _is_by_another_name(request):
            sentence = (
                "without admin.token a node answers only where Host is an IP address or localhost: a web page could "
                "have made any other name lead here. Ask at the address, or set admin.token"
            )
            return problem(403, sentence)
    if request.method not in ("GET", "HEAD") and _is_from_a_page(request):
        return problem(403, "a web page of another place asks this; it is refused, because no page may steer a node")
    return None


def _carries_token(request: web.Request, token: bytes) -> bool:
    """Tell whether the request has ``Authorization: Bearer`` with this token, byte by byte."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    said = given.strip().encode(errors="surrogateescape")  # bytes that are no UTF-8 were decoded so
    return scheme.lower() == "bearer" and hmac.compare_digest(said, token)


def _is_by_another_name(request: web.Request) -> bool:
    """Tell whether Host names something else than an IP address or localhost, which is all that is listened on.

    Only a program does without the header; it is let through.
    """
    said = request.headers.get("Host")
    if said is None:
        return False
    match = _HOST.fullmatch(said.strip())
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
    """Tell whether a browser sends this for a page that is not ours: it names the page's origin, always."""
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != request.host
