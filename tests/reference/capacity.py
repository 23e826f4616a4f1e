"""The rules of a learned limit on plain numbers: the twin of native/balance/capacity.pyx."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

MS = 1_000_000


def float32(value: float) -> float:
    """Round as a cell of the shared state does."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


@dataclass
class Capacity:
    """One target's limit, floor and ramp. Times in milliseconds are None while the thing has not happened."""

    initial: float
    least: float
    most: float
    value: float | None = None
    fell_ms: int | None = None
    answered: bool = True  # a first token has come since the limit fell
    floor: float | None = None
    window_ms: int | None = None
    seen: float | None = None
    seen_ms: int = 0
    total_us: int = 0
    count: int = 0
    ramp: float | None = None
    ramp_ms: int = 0

    def limit(self) -> float:
        """Return requests at once."""
        value = self.initial if self.value is None else self.value
        return min(max(value, self.least), self.most)

    def strained(self, now_ms: int, times: float) -> bool:
        """Tell whether the last window was slower than so many times the floor, if it is recent."""
        if self.seen is None or not self.floor or now_ms - self.seen_ms > 10_000:
            return False
        return self.seen > times * self.floor

    def first(self, now_ns: int, first_us: int, inflight: int, *, measured: bool = True) -> None:
        """Take in one first token."""
        now_ms, limit, more = now_ns // MS, self.limit(), 0.0
        if limit < self.most and not self.strained(now_ms, 1.5):
            if self.fell_ms is None:
                more = 1.0 if inflight >= 0.5 * limit else 0.0
            elif inflight >= 0.8 * limit:
                more = max(1.0 / limit, limit * 1.2e-7)
        if more or not self.answered:
            self.value = float32(min(limit + more, self.most))
            self.answered = True
        if not measured:
            return
        if self.window_ms is None:
            self.window_ms, self.floor = now_ms, 0.0
            return
        if first_us // 1000 > now_ms - self.window_ms:
            return
        self.total_us += first_us
        self.count += 1
        if self.count >= 10 and now_ms - self.window_ms >= self.window_length():
            self._end_window(now_ms, inflight)

    def window_length(self) -> int:
        """Return how many ms the window now open lasts at least."""
        return int(min(max(2.0 * (self.floor or 0.0), 1000), 10_000))

    def _end_window(self, now_ms: int, inflight: int) -> None:
        seen, floor = self.total_us / self.count / 1000.0, self.floor or 0.0
        floor = floor + (seen - floor) * (0.05 if seen < floor else 0.005) if floor > 0 else seen
        self.floor, self.window_ms = float32(floor), now_ms
        self.total_us = self.count = 0
        self.seen, self.seen_ms = float32(seen), now_ms
        limit = self.limit()
        if seen > 1.5 * floor:
            if inflight >= 0.5 * limit:
                self.value = float32(max(limit * max(1.5 * floor / seen, 0.5), self.least))
                self.fell_ms, self.answered = now_ms - now_ms % 2, True
        elif self.fell_ms is not None and inflight >= 0.8 * limit:
            self.value = float32(min(limit + math.sqrt(limit), self.most))

    def refused(self, now_ns: int) -> None:
        """Take in one refusal."""
        now_ms = now_ns // MS
        if self.fell_ms is None:
            if self.window_ms is None:
                return
        elif not self.answered or now_ms - self.fell_ms < 100:
            return
        self.value = float32(max(self.limit() * 0.9, self.least))
        self.fell_ms, self.answered = now_ms - now_ms % 2, False

    def spill(self, now_ns: int, low: int, limit: float = 0.0) -> float:
        """Return how many of the lowest class may be here at once."""
        limit = limit or self.limit()
        now_ms, start = now_ns // MS, low + max(0.1 * limit, 4.0)
        age = now_ms - self.ramp_ms
        if self.ramp is None or age >= 30_000:
            return start
        known = self.seen is not None and now_ms - self.seen_ms <= 10_000
        if known and self.seen_ms > self.ramp_ms and age >= 1000 and self.strained(now_ms, 1.5):
            return max(min(self.ramp, low) * 0.75, 4.0)
        if age >= 5000 and 2 * low >= self.ramp:
            stale = known and self.seen_ms - self.window_length() < self.ramp_ms
            if not stale and not self.strained(now_ms, 1.15):
                return min(self.ramp * 1.5, max(limit, self.ramp))
        return self.ramp

    def spilled(self, now_ns: int, low: int, limit: float = 0.0) -> None:
        """Take in one more of them."""
        value, now_ms = self.spill(now_ns, low, limit), now_ns // MS
        known = self.ramp or 0.0
        if float32(value) != known or now_ms - self.ramp_ms >= 15_000:
            self.ramp, self.ramp_ms = float32(value), now_ms
