"""Errors of the translation: one for a bad request of the client, one for a bad response of the provider."""

from __future__ import annotations

from typing import ClassVar

from edge.errors import EdgeError, Retry, Source


class RequestUnreadableError(EdgeError, ValueError):
    """The client's message cannot be translated. The text names the field and says what to send instead."""

    kind: ClassVar[str] = "bad_message"
    source: ClassVar[Source] = "client"


class AnswerUnreadableError(EdgeError, ValueError):
    """The provider's response is not a chat completion."""

    kind: ClassVar[str] = "fail_malformed"
    source: ClassVar[Source] = "provider"
    retry: ClassVar[Retry] = "elsewhere"
