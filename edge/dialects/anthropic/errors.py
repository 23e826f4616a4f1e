"""Reads and writes the errors of messages: ``{"type": "error", "error": {type, message}, "request_id"}``."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.dialects.error_kinds import kind_of_status, of_context, text_of
from edge.terms import chat

_TYPES: Final[dict[chat.ErrorKind, tuple[int, str]]] = {
    "invalid_request": (400, "invalid_request_error"),
    "context_length": (400, "invalid_request_error"),
    "authentication": (401, "authentication_error"),
    "billing": (402, "billing_error"),
    "permission": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "conflict": (409, "conflict_error"),
    "too_large": (413, "request_too_large"),
    "rate_limit": (429, "rate_limit_error"),
    "timeout": (504, "timeout_error"),
    "overloaded": (529, "overloaded_error"),
    "internal": (500, "api_error"),
}
_KINDS: Final = {word: kind for kind, (_, word) in reversed(_TYPES.items())}


def error_of(status: int, body: bytes) -> chat.Error:
    """Return what a provider's error body says."""
    try:
        raw: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raw = None
    said = raw.get("error") if isinstance(raw, dict) else None
    if not isinstance(said, dict):
        return chat.Error(kind_of_status(status), f"The provider answered with status {status}.")
    kind = _KINDS.get(text_of(said.get("type")), kind_of_status(status))
    message = text_of(said.get("message")) or f"The provider answered with status {status}."
    if kind == "invalid_request" and of_context(message):
        kind = "context_length"
    return chat.Error(kind, message)


def write_error(status: int, error: chat.Error, request_id: str) -> tuple[int, bytes]:
    """Return status and body. ``status`` 0: as the kind says."""
    usual, word = _TYPES[error.kind]
    said: dict[str, Any] = {"type": "error", "error": {"type": word, "message": error.message}}
    if request_id:
        said["request_id"] = request_id
    return status or usual, msgspec.json.encode(said)
