"""Errors of the translation between dialects: whose fault it is that something cannot be said in another dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final, Self

from edge.errors import EdgeError, Retry, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

# A field, or a tool of a type, of some provider's API. What does not look like one may be part of a prompt.
_NAME: Final = re.compile(r"(tools\[\d+\]\.){0,2}(type )?([a-z_A-Z]{1,40}\.){0,8}[A-Za-z_][A-Za-z0-9_]{0,39}|\d+ more")
_MOST: Final = 8  # fields that are named
_UNKNOWN: Final = "a field that edge does not know"


class UnreadableRequestError(EdgeError, ValueError):
    """The client's body is not a request in its dialect. The text names the field and says what is expected."""

    kind: ClassVar[str] = "bad_request_body"
    source: ClassVar[Source] = "client"


class CannotCarryError(EdgeError, ValueError):
    """The dialect of a target has no words for what the client asks, and leaving it out would change the answer.

    ``what`` is the client's field; the text says which dialect lacks it. ``noted`` says the same for the record of the
    exchange, which holds nothing of what the client wrote; ``plain`` is ``what`` without the client's words.
    """

    kind: ClassVar[str] = "cannot_carry"
    source: ClassVar[Source] = "client"
    retry: ClassVar[Retry] = "elsewhere"

    def __init__(self, what: str, dialect: str, *, plain: str = "") -> None:
        self.what = what
        self.noted = f"{plain or what} cannot be said in the dialect {dialect}"
        super().__init__(f"{what} cannot be said in the dialect {dialect}")

    @classmethod
    def of_fields(cls, names: Iterable[str], dialect: str) -> Self:
        """Return the error about fields, by the names that the client gave them."""
        named = tuple(names)
        if len(named) > _MOST:
            named = (*named[:_MOST], f"{len(named) - _MOST} more")
        plain = dict.fromkeys(name if _NAME.fullmatch(name) else _UNKNOWN for name in named)
        return cls(", ".join(named), dialect, plain=", ".join(plain))


class UnreadableAnswerError(EdgeError, ValueError):
    """The provider's body is not an answer in its dialect."""

    kind: ClassVar[str] = "fail_malformed"
    source: ClassVar[Source] = "provider"
    retry: ClassVar[Retry] = "elsewhere"


class CannotResumeError(EdgeError, ValueError):
    """An answer that broke off is not one that another target can go on with; the text says why."""

    kind: ClassVar[str] = "cannot_resume"
    source: ClassVar[Source] = "edge"
