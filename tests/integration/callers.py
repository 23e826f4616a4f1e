"""Callers in tests of keys and limits: keys as configuration text, and requests that carry them."""

from __future__ import annotations

from hashlib import sha256

from one_data_plane import post


def clear(name: str) -> str:
    """Return the clear key of a caller."""
    return f"edge-{name}-{'k' * 32}"


def keys(**bounds: str) -> str:
    """Return configuration text: a key per name, each with these further lines of YAML (flow style)."""
    rows = [
        f"  - {{name: {name}, sha256: {sha256(clear(name).encode()).hexdigest()}{', ' if more else ''}{more}}}"
        for name, more in bounds.items()
    ]
    return "\n".join(["keys:", *rows, ""])


def bearer(name: str) -> bytes:
    """Return the header field with a caller's key."""
    return f"authorization: Bearer {clear(name)}\r\n".encode()


def ask(name: str, body: bytes = b'{"model":"chat","messages":[]}', fields: bytes = b"") -> bytes:
    """Return a chat request of a caller."""
    return post(body, fields=bearer(name) + fields)


def get(path: str, fields: bytes = b"") -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: edge\r\n".encode() + fields + b"\r\n"


def status(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])


def field(answer: bytes, name: str) -> str | None:
    """Return a header field of an answer."""
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.decode().lower() == name:
            return value.strip().decode()
    return None
