"""Demand for an allowance at this node: monotonic counters become a rate that is steady but follows shifts quickly."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from edge.native import AllowanceCounter

if TYPE_CHECKING:
    from edge.native import AllowanceView

_S: Final = 1_000_000_000
# The mean over MEAN_S hardly varies where demand is steady. When the last LOOK_S or less differ from it by more than
# chance explains (SIGMAS standard deviations of random arrivals), the mean starts over with those seconds.
MEAN_S: Final = 10.0
LOOK_S: Final = 3.0
CROWD_S: Final = 5.0
SIGMAS: Final = 3.0
# Demand at one node fluctuates about its mean; a small margin avoids refusals by chance.
ROOM: Final = 1.02
PER_MINUTE: Final = 60 * 1000  # from one per second to thousandths per minute


def offered(view: AllowanceView, passed_over: int = 0) -> tuple[float, float]:
    """Return the requests and tokens demanded so far, whether granted or not.

    Args:
        view: the allowance's record. A request that was refused for lack of tokens counts with as many tokens as an
            average granted request reserves.
        passed_over: attempts that were not made because the allowance (of a credential) was used up.
    """
    counts = view["counts"]
    granted = counts[AllowanceCounter.A_REQUESTS]
    refused = counts[AllowanceCounter.A_REFUSED_REQUESTS] + counts[AllowanceCounter.A_REFUSED_TOKENS] + passed_over
    tokens = float(counts[AllowanceCounter.A_RESERVED] - counts[AllowanceCounter.A_RETURNED])
    each = tokens / granted if granted else 0.0
    return float(granted + refused), tokens + each * refused


class Demand:
    """The demand for one allowance, in thousandths per minute."""

    def __init__(self) -> None:
        self._last: tuple[int, tuple[float, float]] | None = None
        self._requests = Rate()
        self._tokens = Rate()

    def want(self, total: tuple[float, float], now_ns: int) -> tuple[int, int]:
        """Update the demand with the totals so far; return the requests and tokens to claim from the other nodes."""
        if self._last is None:
            self._last = (now_ns, total)
        then_ns, before = self._last
        if now_ns > then_ns:
            seconds = (now_ns - then_ns) / _S
            requests, tokens = max(total[0] - before[0], 0.0), max(total[1] - before[1], 0.0)
            self._requests.add(requests, seconds, 1.0)
            # tokens arrive per request, so chance makes them vary in portions of that size
            self._tokens.add(tokens, seconds, max(tokens / requests, 1.0) if requests else 1.0)
            self._last = (now_ns, total)
        return int(self._requests.mean * ROOM * PER_MINUTE), int(self._tokens.mean * ROOM * PER_MINUTE)


class Places:
    """The demand for concurrent requests: the most that ran or were refused at once within the last CROWD_S."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()  # time, count
        self._refused: int | None = None

    def want(self, running: int, refused: int, now_ns: int) -> int:
        """Update with the running requests and the total refused so far; return the number of places to claim."""
        more = refused - (refused if self._refused is None else self._refused)
        self._refused = refused
        self._seen.append((now_ns, running + max(more, 0)))
        while self._seen[0][0] < now_ns - int(CROWD_S * _S):
            self._seen.popleft()
        return max(count for _, count in self._seen)


class Rate:
    """A rate per second that smooths chance and follows shifts quickly."""

    def __init__(self) -> None:
        self.mean = 0.0
        self._age_s = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # seconds, units

    def add(self, units: float, seconds: float, portion: float) -> None:
        """Add ``units`` that arrived within the last ``seconds``, in portions of about ``portion`` units."""
        self._recent.appendleft((seconds, units))
        looked_s = came = worst = 0.0
        shift: tuple[float, float] | None = None
        since = 0
        for place, (lasted_s, some) in enumerate(self._recent, 1):
            looked_s, came = looked_s + lasted_s, came + some
            expected = self.mean * looked_s
            strange = (came - expected) ** 2 / (portion * (expected + portion))
            if strange > max(worst, SIGMAS**2):
                worst, shift, since = strange, (looked_s, came), place
        if shift is not None:  # what came before the shift no longer counts
            self._recent = deque(tuple(self._recent)[:since])
            self._age_s, self.mean = shift[0], shift[1] / shift[0]
            return
        while looked_s - self._recent[-1][0] >= LOOK_S:
            looked_s -= self._recent.pop()[0]
        self._age_s = min(self._age_s + seconds, MEAN_S)
        self.mean += (units / seconds - self.mean) * min(seconds / self._age_s, 1.0)
