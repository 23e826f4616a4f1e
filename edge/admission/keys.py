"""What does a key of this edge look like, and what is kept of it?  Nothing but its hash.

A key is ``edge-`` and 43 characters of URL-safe base64: 256 random bits, so that neither guessing it nor finding it
from its SHA-256 is possible, and no slow hash is needed per request. The prefix and the fixed length are there for
secret scanners: ``edge-[A-Za-z0-9_-]{43}``.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

PREFIX: Final = "edge-"
PATTERN: Final = r"edge-[A-Za-z0-9_-]{43}"
"""What secret scanners look for."""

_RANDOM_BYTES: Final = 32


def new_key() -> str:
    """Return a new key, from the system's source of randomness."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def sha256_of(key: str) -> str:
    """Return what stands in the configuration for a key: its SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()
