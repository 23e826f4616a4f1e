"""What a status page says, in words that do not depend on who runs the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

from msgspec import Struct

State = Literal["operational", "maintenance", "degraded", "partial_outage", "full_outage", "unknown"]

ORDER: Final[tuple[State, ...]] = ("unknown", "operational", "maintenance", "degraded", "partial_outage", "full_outage")
TROUBLE: Final = frozenset({"degraded", "partial_outage", "full_outage"})
"""States in which a page speaks of trouble. ``unknown`` is none: a page that cannot be read proves nothing."""

OUTAGE: Final = frozenset({"partial_outage", "full_outage"})
"""States that shorten the fuse of the provider's circuits."""

WORDS: Final[dict[str, State]] = {
    "operational": "operational",
    "none": "operational",
    "degraded": "degraded",
    "degraded_performance": "degraded",
    "minor": "degraded",
    "partial_outage": "partial_outage",
    "partial": "partial_outage",
    "major": "partial_outage",
    "major_outage": "full_outage",
    "full_outage": "full_outage",
    "full": "full_outage",
    "critical": "full_outage",
    "under_maintenance": "maintenance",
    "maintenance": "maintenance",
}
"""The words of Statuspage, incident.io and Flashduty for components and for the whole."""

LONGEST_TEXT: Final = 300
MOST_NAMES: Final = 8
MOST_ENTRIES: Final = 2000
"""Components or incidents that are looked at; no page has as many."""


class PageView(Struct, frozen=True):
    """What a page says now. ``since`` is Unix time, 0: the page does not say."""

    state: State
    text: str = ""
    since: float = 0.0


class NotAPage(ValueError):  # noqa: N818  # a finding about a document, which the caller turns into "unknown"
    """The document is not a status page of a known kind."""


def worst(states: list[State]) -> State:
    """Return the worst of several states; without any, ``operational``."""
    return max(states, key=ORDER.index, default="operational")


def line(*parts: object) -> str:
    """Return texts of a page as one printable line of bounded length."""
    text = ": ".join(str(part) for part in parts if part)
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_TEXT])
    return " ".join(plain.split())[:LONGEST_TEXT]


def names(found: list[str]) -> str:
    """Return some names as a list in words."""
    shown = ", ".join(found[:MOST_NAMES])
    return f"{shown} and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else shown


def moment(value: Any) -> float:
    """Return an ISO time or seconds as Unix time; 0 if it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:  # noqa: PLR2004  # year 5138
        return float(value)
    if not isinstance(value, str):
        return 0.0
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return 0.0
    return max((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp(), 0.0)


def dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a JSON list; what is no list has none."""
    return [each for each in value[:MOST_ENTRIES] if isinstance(each, dict)] if isinstance(value, list) else []


def word(value: Any) -> State:
    """Return the state that a page's word stands for; ``unknown`` for any other."""
    return WORDS.get(value, "unknown") if isinstance(value, str) else "unknown"
