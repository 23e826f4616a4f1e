"""What this node itself may lack when it opens a connection to a target: the error numbers, sentences and error codes.

A connection that fails for such a reason says nothing about its target, so no target is blamed for it. The client gets
503 with the code; the opener of connections maps the error number to the sentence.
"""

from __future__ import annotations

import errno
from typing import Final

_DESCRIPTORS: Final = "this node may not open another connection: its limit of open files is reached"
_PORTS: Final = "this node has no free local port for another connection to this address"
_MEMORY: Final = "this node has no kernel memory for another connection"

SENTENCES: Final[dict[int, str]] = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
    errno.EADDRNOTAVAIL: _PORTS,
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
}
"""Sentences by the error number of socket() or connect()."""

CODES: Final[dict[str, str]] = {
    _DESCRIPTORS: "descriptors_exhausted",
    _PORTS: "ports_exhausted",
    _MEMORY: "memory_exhausted",
}
"""The ``code`` of the error that the client gets, by sentence."""
