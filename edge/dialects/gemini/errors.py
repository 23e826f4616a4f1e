"""Reads and writes the errors of generateContent: ``{"error": {code, message, status, details}}``."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.dialects.error_kinds import kind_of_status, of_context, text_of
from edge.terms import chat

_TYPES: Final[dict[chat.ErrorKind, tuple[int, str]]] = {
    "invalid_request": (400, "INVALID_ARGUMENT"),
    "context_length": (400, "INVALID_ARGUMENT"),
    "authentication": (401, "UNAUTHENTICATED"),
    "billing": (403, "PERMISSION_DENIED"),
    "permission": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "conflict": (409, "ABORTED"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
    "overloaded": (503, "UNAVAILABLE"),
    "internal": (500, "INTERNAL"),
}


def error_of(status: int, body: bytes) -> chat.Error:
    """Return what a provider's error body says; it is wrapped in an array at times."""
    try:
        raw: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raw = None
    if isinstance(raw, list) and raw:
        raw = raw[0]
    said = raw.get("error") if isinstance(raw, dict) else None
    if not isinstance(said, dict):
        return chat.Error(kind_of_status(status), f"The provider answered with status {status}.")
    code = said.get("code")
    kind = kind_of_status(code if isinstance(code, int) and 400 <= code < 600 else status)  # noqa: PLR2004 - HTTP
    message = text_of(said.get("message")) or f"The provider answered with status {status}."
    if kind == "invalid_request" and of_context(message):
        kind = "context_length"
    return chat.Error(kind, message)


def write_error(status: int, error: chat.Error, request_id: str) -> tuple[int, bytes]:
    """Return status and body; the dialect has no field for ``request_id``. ``status`` 0: as the kind says."""
    del request_id
    usual, word = _TYPES[error.kind]
    status = status or usual
    return status, msgspec.json.encode({"error": {"code": status, "message": error.message, "status": word}})
