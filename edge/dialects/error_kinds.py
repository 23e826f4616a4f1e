"""Tells the kind of a provider's error from its status and words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from edge.terms.chat import ErrorKind

_BY_STATUS: Final[dict[int, ErrorKind]] = {
    401: "authentication",
    402: "billing",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# OpenAI's code, Anthropic's and Gemini's sentences.
_CONTEXT: Final = (
    "context_length_exceeded",
    "prompt is too long",
    "exceeds the maximum number of tokens",
    "context window",
)
_LONGEST: Final = 4096


def kind_of_status(status: int) -> ErrorKind:
    """Return the kind of an HTTP status that reports an error."""
    return _BY_STATUS.get(status, "invalid_request" if status < 500 else "internal")  # noqa: PLR2004 - server errors


def of_context(message: str, code: str = "") -> bool:
    """Return whether an error says that the prompt is longer than the model's context."""
    return any(word in message or word in code for word in _CONTEXT)


def text_of(value: Any) -> str:
    """Return a text of an error, bounded; other values become text too, None the empty one."""
    return "" if value is None or isinstance(value, dict | list) else str(value)[:_LONGEST]
