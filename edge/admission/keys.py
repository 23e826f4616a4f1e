"""The format of edge's API keys, and the hash that the configuration stores instead of a key.

A key is ``edge-`` and 43 characters of URL-safe base64. It carries 256 random bits: it cannot be guessed, and it cannot
be recovered from its SHA-256, so a fast hash per request is enough. The fixed prefix and length let secret scanners
find leaked keys by ``edge-[A-Za-z0-9_-]{43}``.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

PREFIX: Final = "edge-"
PATTERN: Final = r"edge-[A-Za-z0-9_-]{43}"
"""The expression for secret scanners."""

_RANDOM_BYTES: Final = 32


def new_key() -> str:
    """Return a new key from the operating system's random source."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def sha256_of(key: str) -> str:
    """Return the SHA-256 of a key in hex, as the configuration stores it."""
    return hashlib.sha256(key.encode()).hexdigest()
