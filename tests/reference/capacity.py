"""The rules of a learned limit on plain numbers: the reference model of native/balance/capacity.pyx."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tests.reference.delay import MS, Delay, float32
from tests.reference.spill import Spill

OLD_MS = 60_000
BLOCK_MS = 5_000


@dataclass
class Capacity:
    """One target's limit. ``value`` None = no limit."""

    least: float
    value: float | None = None
    fell_ms: int = 0
    block_ms: int | None = None
    refusals: int = 0
    answers: int = 0
    delay: Delay = field(default_factory=Delay)
    spill: Spill = field(init=False)

    def __post_init__(self) -> None:
        self.spill = Spill(self.delay)

    def limit(self, now_ns: int, inflight: int) -> float:
        """Return the limit of concurrent requests, 0 = no limit; an old limit that is not in use is dropped."""
        if self.value is not None and self.is_old(now_ns) and 2 * inflight < self.value:
            self.value = None
        return 0.0 if self.value is None else max(self.value, self.least)

    def is_old(self, now_ns: int) -> bool:
        """Return whether the limit has not fallen for a minute."""
        return now_ns // MS - self.fell_ms >= OLD_MS

    def first(self, now_ns: int, first_us: int, inflight: int, *, measured: bool = True) -> None:
        """Record a first token."""
        if self.block_ms is not None and now_ns // MS - self.block_ms < BLOCK_MS:
            self.answers = min(self.answers + 1, 0xFFFF)
        self.spill.first(now_ns, inflight)
        self._grow(now_ns, inflight)
        if measured and self.delay.observe(now_ns, first_us):
            self._end_window(now_ns, inflight)

    def _grow(self, now_ns: int, inflight: int) -> None:
        if self.value is None or self.delay.exceeds(now_ns, 1.5):
            return
        limit = max(self.value, self.least)
        if inflight >= (0.5 if self.is_old(now_ns) else 0.8) * limit:
            more = 1.0 if self.is_old(now_ns) else 1.0 / limit
            self.value = float32(limit + max(more, limit * 1.2e-7))

    def _end_window(self, now_ns: int, inflight: int) -> None:
        seen, floor, slow = self.delay.seen or 0.0, self.delay.floor or 0.0, self.delay.slow
        if self.value is None:
            if slow >= 3 and inflight >= 32 and inflight >= 0.5 * self.spill.highest.recent(now_ns):
                self._fall(now_ns, inflight)
            return
        limit = max(self.value, self.least)
        if slow:
            if inflight >= 0.5 * limit:
                self._fall(now_ns, limit * max(1.5 * floor / seen, 0.5))
        elif inflight >= 0.8 * limit:
            self.value = float32(limit + math.sqrt(limit))

    def refused(self, now_ns: int, inflight: int) -> None:
        """Record a refusal."""
        now_ms = now_ns // MS
        if self.value is not None and now_ms - self.fell_ms < 100:
            return
        if self.block_ms is None or now_ms - self.block_ms >= BLOCK_MS:
            self.block_ms, self.refusals, self.answers = now_ms, 0, 0
        self.refusals = min(self.refusals + 1, 0xFFFF)
        if not self.answers or self.refusals < 3 or self.refusals / (self.refusals + self.answers) < 0.1:
            return
        self._fall(now_ns, 0.9 * (inflight if self.value is None else max(self.value, self.least)))
        self.block_ms = None

    def _fall(self, now_ns: int, value: float) -> None:
        self.value = float32(max(value, self.least))
        self.fell_ms = now_ns // MS
