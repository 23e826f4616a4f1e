"""What clients may know of outages: control writes it, workers answer ``/edge/status`` with it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Condition = Literal["operational", "degraded", "down"]


class AliasStatus(Struct, frozen=True):
    """One alias. Times are Unix seconds, 0: unknown, or nothing is wrong.

    ``degraded``: a preferred target does not answer, and others do. ``down``: none does.
    """

    name: str
    status: Condition
    since: float = 0.0
    expected: float = 0.0  # when it may be tried again


class PastOutage(Struct, frozen=True):
    """The last outage that is over. Times are Unix seconds."""

    aliases: tuple[str, ...]
    began: float
    ended: float


class PublicStatus(Struct, frozen=True):
    """The status as of ``updated``; ``last`` None: no outage is known."""

    updated: float
    aliases: tuple[AliasStatus, ...]
    last: PastOutage | None = None
