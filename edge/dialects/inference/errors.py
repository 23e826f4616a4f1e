"""Whose mistake is it that something cannot be told in the other language?"""

from __future__ import annotations

from typing import ClassVar

from edge.errors import EdgeError, Retry, Source


class RequestUnreadableError(EdgeError, ValueError):
    """The caller's: a sentence that names the field and says what to send instead."""

    kind: ClassVar[str] = "bad_message"
    source: ClassVar[Source] = "client"


class AnswerUnreadableError(EdgeError, ValueError):
    """The provider's: its answer is no chat completion."""

    kind: ClassVar[str] = "fail_malformed"
    source: ClassVar[Source] = "provider"
    retry: ClassVar[Retry] = "elsewhere"
