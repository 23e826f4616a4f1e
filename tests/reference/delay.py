"""Compares first tokens with their floor, on plain numbers: the reference model of native/balance/delay.pyx."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MS = 1_000_000


def float32(value: float) -> float:
    """Round as a cell of the shared state does."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


@dataclass
class Delay:
    """The current window, the last complete one and the floor. Times in milliseconds; None = not yet."""

    floor: float | None = None
    window_ms: int | None = None
    seen: float | None = None
    seen_ms: int = 0
    total_us: int = 0
    count: int = 0
    slow: int = 0  # slow windows in a row

    def observe(self, now_ns: int, first_us: int) -> bool:
        """Add a first token; return whether that ended a window."""
        now_ms = now_ns // MS
        if self.window_ms is None:
            self.window_ms, self.floor = now_ms, 0.0
            return False
        if first_us // 1000 > now_ms - self.window_ms:
            return False
        self.total_us += first_us
        self.count += 1
        if self.count < 10 or now_ms - self.window_ms < self.window_length():
            return False
        seen, floor = self.total_us / self.count / 1000.0, self.floor or 0.0
        floor = floor + (seen - floor) * (0.05 if seen < floor else 0.005) if floor > 0 else seen
        self.floor, self.window_ms = float32(floor), now_ms
        self.total_us = self.count = 0
        self.seen, self.seen_ms = float32(seen), now_ms
        self.slow = self.slow + 1 if self.above(1.5) else 0
        return True

    def window_length(self) -> int:
        """Return the minimum duration of the current window in ms."""
        return int(min(max(2.0 * (self.floor or 0.0), 1000), 10_000))

    def above(self, times: float) -> bool:
        """Return whether the last window exceeds the floor by this factor, and by more than noise."""
        if self.seen is None or not self.floor:
            return False
        return self.seen > times * self.floor and self.seen > self.floor + 50

    def exceeds(self, now_ns: int, times: float) -> bool:
        """Return the same if the last window is recent."""
        return now_ns // MS - self.seen_ms <= 10_000 and self.above(times)
