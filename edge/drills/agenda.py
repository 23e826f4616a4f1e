"""What is due when, in virtual time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Events in the order of their times; those of one time in the order in which they were noted."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._serial = 0

    def note(self, at_ns: int, act: Callable[[Any], None], about: Any = None) -> None:
        """Note that ``act(about)`` is due at a time."""
        self._serial += 1
        heapq.heappush(self._due, (at_ns, self._serial, act, about))

    @property
    def next_ns(self) -> int | None:
        """When the next event is due; None: nothing is."""
        return self._due[0][0] if self._due else None

    def take(self) -> tuple[Callable[[Any], None], Any]:
        """Remove and return the next event."""
        _, _, act, about = heapq.heappop(self._due)
        return act, about
