"""A retry budget in exact fractions: the reference model of native/state/retry_budget.pyx."""

from __future__ import annotations

RESERVE, CEILING, PER_MS, MEMORY_MS = 100_000, 4_000_000, 10, 20_000


class Budget:
    """Thousandths of a retry, rounded at each call like the shared word."""

    def __init__(self) -> None:
        self.tokens = RESERVE
        self.at_ms: int | None = None

    def _settle(self, now_ms: int) -> None:
        gap = 0 if self.at_ms is None else max(0, now_ms - self.at_ms)
        if self.tokens > RESERVE:
            over = self.tokens - RESERVE
            self.tokens = RESERVE if gap >= MEMORY_MS else self.tokens - over * gap // MEMORY_MS
        else:
            self.tokens = min(RESERVE, self.tokens + gap * PER_MS)
        self.at_ms = now_ms if self.at_ms is None else max(self.at_ms, now_ms)

    def deposit(self, now_ms: int, share: float) -> None:
        """Count a request."""
        self._settle(now_ms)
        self.tokens = min(CEILING, self.tokens + int(share * 1000))

    def withdraw(self, now_ms: int) -> bool:
        """Take a retry if there is one."""
        before = self.tokens, self.at_ms
        self._settle(now_ms)
        if self.tokens < 1000:
            self.tokens, self.at_ms = before
            return False
        self.tokens = max(1, self.tokens - 1000)
        return True
