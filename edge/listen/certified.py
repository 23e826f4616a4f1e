"""Recognition of other regions' edges by a name in their client certificate.

Only the names in ``peers.allowed_names`` count, never the issuer: the listener's authority may also certify ordinary
clients, so a certificate of it does not show that its holder is an edge. The listener has verified the certificate
before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# A name in a certificate must not be a wildcard: the certificate has to identify one edge.
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def is_named(alternatives: Iterable[tuple[str, str]], names: tuple[str, ...]) -> bool:
    """Return whether a certificate carries one of these names.

    DNS names are compared case-insensitively; a leading ``*.`` in ``names`` stands for exactly one label (RFC 9525
    6.3), and a wildcard in the certificate matches nothing. URIs are compared byte by byte (RFC 3986 6.2.1), as SPIFFE
    IDs are. The subject's common name is ignored.

    Args:
        alternatives: the certificate's subjectAltName, as the (kind, name) pairs of Python's ssl module.
        names: DNS names in lower case, and URIs.
    """
    for kind, text in alternatives:
        if kind == "URI":
            if "://" in text and text in names:
                return True
        elif kind == "DNS":
            name = text.lower()
            if _NAME.fullmatch(name) and (name in names or "*." + name.partition(".")[2] in names):
                return True
    return False
