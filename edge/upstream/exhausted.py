"""Tells whether a connection failed for want of something of this node's, rather than because of its target."""

from __future__ import annotations

import errno
import os
import socket

from edge.terms.exhaustion import SENTENCES

_FULL = frozenset((errno.EMFILE, errno.ENFILE))


def lack(error: BaseException) -> str | None:
    """Return the sentence for what this node lacked, None if the error is not of that kind."""
    return SENTENCES.get(error.errno or 0) if isinstance(error, OSError) else None


def out_of_descriptors() -> OSError | None:
    """Return the error that opening one more descriptor gives, None when it succeeds.

    Look-ups of names and OpenSSL open files by themselves, and report the lack of a descriptor as something else: a
    name server that does not answer, a certificate authority that is not known.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error if error.errno in _FULL else None
    return None


def no_address(family: int, host: str, port: int) -> bool:
    """Return whether this node has no address to reach ``host`` from, such as ``::1`` where IPv6 is switched off.

    connect() reports that by the number that also means "no free local port". A datagram socket tells the two apart: it
    sends nothing, and its local ports are others.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
    return False
