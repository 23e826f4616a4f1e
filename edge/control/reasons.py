"""The reason that operators give for a manual override, and what it must look like."""

from __future__ import annotations

from typing import Final, Literal

from edge.errors import EdgeError

Action = Literal["drain", "eject", "restore"]

LONGEST_REASON: Final = 500


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
