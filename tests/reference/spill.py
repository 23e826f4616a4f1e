"""The limits of a target in a later tier, on plain numbers: the reference model of native/balance/spill, inflight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.reference.delay import MS, float32

if TYPE_CHECKING:
    from tests.reference.delay import Delay

EPOCH_MS = 60_000
IDLE_MS = 30_000


@dataclass
class Highest:
    """The highest number in flight, by minute."""

    by_minute: dict[int, int] = field(default_factory=dict)

    def note(self, now_ns: int, inflight: int) -> None:
        """Record the current number in flight."""
        minute = now_ns // MS // EPOCH_MS
        self.by_minute[minute] = max(self.by_minute.get(minute, 0), inflight)

    def recent(self, now_ns: int) -> int:
        """Return the highest number of this minute and the one before."""
        minute = now_ns // MS // EPOCH_MS
        return max(self.by_minute.get(minute, 0), self.by_minute.get(minute - 1, 0))


@dataclass
class Spill:
    """The allowance of all classes, and the ramp of the low class. None = not in use."""

    delay: Delay
    highest: Highest = field(default_factory=Highest)
    allowed: float | None = None
    used_ms: int = 0
    ramp: float | None = None
    ramp_ms: int = 0

    def allowance(self, now_ns: int) -> float:
        """Return how many concurrent requests of all classes are allowed."""
        if self.allowed is None or now_ns // MS - self.used_ms >= IDLE_MS:
            return max(2.0 * self.highest.recent(now_ns), 64.0)
        return self.allowed

    def used(self, now_ns: int) -> None:
        """Record another request."""
        now_ms = now_ns // MS
        if self.allowed is None or now_ms - self.used_ms >= IDLE_MS // 2:
            self.allowed, self.used_ms = float32(self.allowance(now_ns)), now_ms

    def first(self, now_ns: int, inflight: int) -> None:
        """Record a first token."""
        if self.allowed is None or now_ns // MS - self.used_ms >= IDLE_MS or self.delay.exceeds(now_ns, 1.5):
            return
        if inflight >= 0.5 * self.allowed:
            self.allowed = float32(self.allowed + 1.0)

    def low(self, now_ns: int, limit: float, low: int) -> float:
        """Return how many concurrent requests of the low class are allowed."""
        now_ms, start = now_ns // MS, low + max(0.1 * limit, 4.0)
        age = now_ms - self.ramp_ms
        if self.ramp is None or age >= IDLE_MS:
            return start
        delay = self.delay
        known = delay.seen is not None and now_ms - delay.seen_ms <= 10_000
        if known and delay.seen_ms > self.ramp_ms and age >= 1000 and delay.exceeds(now_ns, 1.5):
            return max(min(self.ramp, low) * 0.75, 4.0)
        if age >= 5000 and 2 * low >= self.ramp:
            stale = known and delay.seen_ms - delay.window_length() < self.ramp_ms
            if not stale and not delay.exceeds(now_ns, 1.15):
                return min(self.ramp * 1.5, max(limit, self.ramp))
        return self.ramp

    def low_used(self, now_ns: int, limit: float, low: int) -> None:
        """Record another request of the low class."""
        value, now_ms = self.low(now_ns, limit, low), now_ns // MS
        if float32(value) != (self.ramp or 0.0) or now_ms - self.ramp_ms >= IDLE_MS // 2:
            self.ramp, self.ramp_ms = float32(value), now_ms
