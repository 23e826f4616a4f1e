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
    bound: float | None = None  # the binding limit
    bound_fell_ms: int = 0
    firsts: int = 0
    inflight_sum: int = 0
    best: tuple[float, int] = (0.0, 0)  # first tokens per second, requests in flight
    fallen: int = 0
    delay: Delay = field(default_factory=Delay)
    spill: Spill = field(init=False)

    def __post_init__(self) -> None:
        self.spill = Spill(self.delay)

    def limit(self, now_ns: int, inflight: int) -> float:
        """Return the limit of concurrent requests, 0 = no limit; an old limit that is not in use is dropped."""
        if self.value is not None and self.is_old(now_ns) and 2 * inflight < self.value:
            self.value = None
        return 0.0 if self.value is None else max(self.value, self.least)

    def binding(self, now_ns: int, inflight: int) -> float:
        """Return the binding limit, 0 = none; an old one that is not in use is dropped."""
        if self.bound is not None and now_ns // MS - self.bound_fell_ms >= OLD_MS and 2 * inflight < self.bound:
            self.bound = None
        return 0.0 if self.bound is None else max(self.bound, self.least)

    def is_old(self, now_ns: int) -> bool:
        """Return whether the limit has not fallen for a minute."""
        return now_ns // MS - self.fell_ms >= OLD_MS

    def first(self, now_ns: int, first_us: int, inflight: int, *, measured: bool = True) -> None:
        """Record a first token."""
        if self.block_ms is not None and now_ns // MS - self.block_ms < BLOCK_MS:
            self.answers = min(self.answers + 1, 0xFFFF)
        self.spill.first(now_ns, inflight)
        if self.value is not None and not self.delay.exceeds(now_ns, 1.5):
            self.value = self._grown(self.value, inflight, old=self.is_old(now_ns))
        if self.bound is not None:
            old = now_ns // MS - self.bound_fell_ms >= OLD_MS and not self.delay.exceeds(now_ns, 1.5)
            self.bound = self._grown(self.bound, inflight, old=old)
        self.firsts += 1
        self.inflight_sum += inflight
        window_ms = now_ns // MS - (self.delay.window_ms or 0)
        if measured and self.delay.observe(now_ns, first_us):
            self._end_window(now_ns, inflight)
            self._note_rate(now_ns, window_ms)

    def _grown(self, value: float, inflight: int, *, old: bool) -> float:
        limit = max(value, self.least)
        if inflight < (0.5 if old else 0.8) * limit:
            return value
        return float32(limit + max(1.0 if old else 1.0 / limit, limit * 1.2e-7))

    def _end_window(self, now_ns: int, inflight: int) -> None:
        seen, floor, slow = self.delay.seen or 0.0, self.delay.floor or 0.0, self.delay.slow
        if not slow:
            self.value, self.bound = (
                None if old is None else self._grown_window(old, inflight) for old in (self.value, self.bound)
            )
        elif self.value is None:
            if slow >= 3 and inflight >= 32 and inflight >= 0.5 * self.spill.highest.recent(now_ns):
                self._fall(now_ns, inflight)
        elif inflight >= 0.5 * max(self.value, self.least):
            self._fall(now_ns, max(self.value, self.least) * max(1.5 * floor / seen, 0.5))

    def _grown_window(self, value: float, inflight: int) -> float:
        limit = max(value, self.least)
        return float32(limit + math.sqrt(limit)) if inflight >= 0.8 * limit else value

    def _note_rate(self, now_ns: int, window_ms: int) -> None:
        inflight = self.inflight_sum // self.firsts
        rate, (best, best_inflight) = 1000.0 * self.firsts / max(window_ms, 1), self.best
        self.firsts = self.inflight_sum = 0
        better = not self.delay.slow and rate >= best
        self.best = (float32(rate), inflight) if better else (float32(best * 0.99), best_inflight)
        collapsed = self.delay.slow and inflight >= max(32, 1.25 * best_inflight) and rate <= 0.7 * best
        self.fallen = self.fallen + 1 if collapsed else 0
        if self.fallen >= 3 and (self.bound is None or self.bound > best_inflight):
            self.bound, self.bound_fell_ms = float32(max(best_inflight, self.least)), now_ns // MS

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
        self.bound = float32(max(0.9 * (inflight if self.bound is None else max(self.bound, self.least)), self.least))
        self.bound_fell_ms = now_ns // MS
        self.block_ms = None

    def _fall(self, now_ns: int, value: float) -> None:
        self.value = float32(max(value, self.least))
        self.fell_ms = now_ns // MS
