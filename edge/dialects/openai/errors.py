"""Reads and writes the errors of chat completions: ``{"error": {message, type, param, code}}``."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.dialects.error_kinds import kind_of_status, of_context, text_of
from edge.terms import chat

_TYPES: Final[dict[chat.ErrorKind, tuple[int, str]]] = {
    "invalid_request": (400, "invalid_request_error"),
    "context_length": (400, "invalid_request_error"),
    "authentication": (401, "authentication_error"),
    "billing": (402, "insufficient_quota"),
    "permission": (403, "permission_error"),
    "not_found": (404, "invalid_request_error"),
    "conflict": (409, "conflict_error"),
    "too_large": (413, "invalid_request_error"),
    "rate_limit": (429, "rate_limit_error"),
    "timeout": (504, "timeout"),
    "overloaded": (503, "overloaded"),
    "internal": (500, "server_error"),
}


def error_of(status: int, body: bytes) -> chat.Error:
    """Return what a provider's error body says; vLLM puts its fields at the top."""
    try:
        raw: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raw = None
    said = raw.get("error", raw) if isinstance(raw, dict) else None
    if isinstance(said, str):
        said = {"message": said}
    if not isinstance(said, dict):
        return chat.Error(kind_of_status(status), f"The provider answered with status {status}.")
    message = text_of(said.get("message")) or f"The provider answered with status {status}."
    code = text_of(said.get("code"))
    kind = kind_of_status(status)
    if kind == "invalid_request" and of_context(message, code):
        kind, code = "context_length", "context_length_exceeded"
    return chat.Error(kind, message, text_of(said.get("param")), code)


def write_error(status: int, error: chat.Error, request_id: str) -> tuple[int, bytes]:
    """Return status and body; the dialect has no field for ``request_id``. ``status`` 0: as the kind says."""
    del request_id
    usual, word = _TYPES[error.kind]
    code = error.code or ("context_length_exceeded" if error.kind == "context_length" else "")
    said = {"message": error.message, "type": word, "param": error.param or None, "code": code or None}
    return status or usual, msgspec.json.encode({"error": said})
