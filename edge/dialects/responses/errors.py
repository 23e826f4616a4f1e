"""Reads and writes the errors of responses, which are those of chat completions."""

from __future__ import annotations

from edge.dialects.openai.errors import error_of, write_error

__all__ = ["error_of", "write_error"]
