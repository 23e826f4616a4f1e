"""Who acts on a node and why: the reason of a manual override, the operator's name, and what they must look like."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Literal
from urllib.parse import unquote

from edge.errors import EdgeError

Action = Literal["drain", "eject", "restore"]

LONGEST_REASON: Final = 500
LONGEST_NAME: Final = 64
OPERATOR: ContextVar[str] = ContextVar("operator", default="")
"""Who has sent the request that is served now, as they call themselves; "" = unknown, or nobody."""


class NoReasonError(EdgeError):
    """A manual override has no valid reason."""

    kind = "no_reason"
    source = "client"


def checked_reason(action: Action, reason: str) -> str:
    """Return the reason without surrounding whitespace.

    Raises:
        NoReasonError: the reason is missing or not one line of text.
    """
    reason = reason.strip()
    if (action != "restore" and not reason) or len(reason) > LONGEST_REASON or not (reason or " ").isprintable():
        raise NoReasonError(f"give a reason: one line of 1 to {LONGEST_REASON} characters, which status shows")
    return reason


def operator_of(header: str) -> str:
    """Return the name in ``x-edge-operator``, which is percent-encoded UTF-8; "" if it is none that can be shown.

    Nothing proves the name. It is for those who read the history, and decides nothing.
    """
    name = unquote(header, errors="replace").strip()
    return name if len(name) <= LONGEST_NAME and name.isprintable() else ""
