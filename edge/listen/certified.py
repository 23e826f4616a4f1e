"""Is who shows this certificate another region's edge?  By a name that ``peers.names`` has, never by its authority.

The authority of a listener may certify ordinary clients too, so that a certificate of it is nobody's proof of being an
edge. The listener has verified the certificate before anybody asks here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# A name as it may stand in a certificate: no wildcard, for a certificate is to say which edge it is.
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def is_named(alternatives: Iterable[tuple[str, str]], names: tuple[str, ...]) -> bool:
    """Return whether a certificate is made out to one of these names.

    DNS names are compared whatever their case; ``*.`` at the beginning of one of ``names`` stands for exactly one label
    (RFC 9525 6.3), and a wildcard in the certificate for nothing. URIs are compared byte by byte (RFC 3986 6.2.1), as
    SPIFFE IDs are. The subject's common name counts for nothing.

    Args:
        alternatives: its subjectAltName, (kind, name) as Python's ssl tells them.
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
