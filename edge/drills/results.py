"""What a drill counts, by minute."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct, field

from edge.sim.scores import quantile

if TYPE_CHECKING:
    from edge.drills.load import Request

NS = 1_000_000_000


class Minute(Struct):
    """Requests that began within one minute."""

    requests: int = 0
    failed: int = 0
    left: int = 0  # of the failed: the client's patience had ended
    answered: Counter[str] = field(default_factory=Counter)  # by target
    first_s: list[float] = field(default_factory=list)  # to the first content, of good answers


class Results:
    """The outcomes of one way to ask: through edge, or without it.

    Args:
        minutes: how many minutes requests come.
        blind: when the preferred provider does not understand pictures, in seconds.
    """

    def __init__(self, minutes: int, blind: tuple[float, float] | None = None) -> None:
        self._blind = blind
        self.minutes = [Minute() for _ in range(minutes)]
        self.statuses: Counter[str] = Counter()  # of failures: "503", or "left"
        self.images: Counter[str] = Counter()  # see picture()
        self.cost_usd = 0.0
        self.attempts: Counter[str] = Counter()  # by target
        self.most: dict[str, int] = {}  # by target, requests at once
        self.refused: dict[str, int] = {}  # by target, for lack of room

    def begun(self, request: Request) -> Minute:
        """Count a request that begins, and return its minute."""
        minute = self.minutes[min(request.at_ns // (60 * NS), len(self.minutes) - 1)]
        minute.requests += 1
        self.picture(request, "asked")
        return minute

    def picture(self, request: Request, what: str) -> None:
        """Count a request with a picture under ``what``, and under ``what blind`` too while pictures are declined."""
        if request.image:
            self.images[what] += 1
            if self._blind is not None and self._blind[0] <= request.at_ns / NS < self._blind[1]:
                self.images[f"{what} blind"] += 1

    def answered(self, minute: Minute, target: str, first_s: float) -> None:
        """Count a good answer."""
        minute.answered[target] += 1
        minute.first_s.append(first_s)

    def failed(self, minute: Minute, why: str) -> None:
        """Count a request that brought its client nothing; ``why``: a status, or ``left``."""
        minute.failed += 1
        minute.left += why == "left"
        self.statuses[why] += 1

    def span(self, start_s: float, end_s: float) -> Span:
        """Return the sums of the whole minutes within a time."""
        return Span(self.minutes[-int(-start_s // 60) : max(int(end_s // 60), 0)])


class Span:
    """Sums over some minutes."""

    def __init__(self, minutes: list[Minute]) -> None:
        self.requests = sum(minute.requests for minute in minutes)
        self.failed = sum(minute.failed for minute in minutes)
        self.answered: Counter[str] = Counter()
        for minute in minutes:
            self.answered.update(minute.answered)
        self._first = sorted(value for minute in minutes for value in minute.first_s)

    @property
    def availability(self) -> float:
        """The part of the requests with a good answer; 1 without requests."""
        return 1 - self.failed / self.requests if self.requests else 1.0

    def first(self, share: float) -> float:
        """Return a quantile of the seconds to the first content, of good answers."""
        return quantile(self._first, share)
