"""Errors of the translation between dialects: whose fault it is that something cannot be said in another dialect."""

from __future__ import annotations

from typing import ClassVar

from edge.errors import EdgeError, Retry, Source


class UnreadableRequestError(EdgeError, ValueError):
    """The client's body is not a request in its dialect. The text names the field and says what is expected."""

    kind: ClassVar[str] = "bad_request_body"
    source: ClassVar[Source] = "client"


class CannotCarryError(EdgeError, ValueError):
    """The dialect of a target has no words for what the client asks, and leaving it out would change the answer.

    ``what`` is the client's field; the text says which dialect lacks it.
    """

    kind: ClassVar[str] = "cannot_carry"
    source: ClassVar[Source] = "client"
    retry: ClassVar[Retry] = "elsewhere"

    def __init__(self, what: str, dialect: str) -> None:
        self.what = what
        super().__init__(f"{what} cannot be said in the dialect {dialect}")


class UnreadableAnswerError(EdgeError, ValueError):
    """The provider's body is not an answer in its dialect."""

    kind: ClassVar[str] = "fail_malformed"
    source: ClassVar[Source] = "provider"
    retry: ClassVar[Retry] = "elsewhere"


class CannotResumeError(EdgeError, ValueError):
    """An answer that broke off is not one that another target can go on with; the text says why."""

    kind: ClassVar[str] = "cannot_resume"
    source: ClassVar[Source] = "edge"
