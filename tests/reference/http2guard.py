"""Counts whole HTTP/2 frames: the reference model of native/http/http2_guard."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
BUDGET = 1000
REFILL_NS = NS_PER_S // 100
WINDOW_NS = 30 * NS_PER_S
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, CONTINUATION = 0, 1, 2, 3, 4, 5, 9
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


class Guard:
    """Judges one frame after another; ``refused`` is set when a frame exceeds a limit."""

    def __init__(self, now_ns: int, block_limit: int) -> None:
        self.block_limit = block_limit
        self.budget = BUDGET
        self.refilled_ns = now_ns
        self.block = 0
        self.frames = 0
        self.block_since_ns = 0
        self.refused = False

    def frame(self, kind: int, flags: int, length: int, now_ns: int) -> bool:
        """Count a frame; return False if it must not be processed."""
        if self.refused:
            return False
        gained = max(now_ns - self.refilled_ns, 0) // REFILL_NS
        if gained >= BUDGET:
            self.refilled_ns = now_ns
        else:
            self.refilled_ns += gained * REFILL_NS
        self.budget = min(self.budget + gained, BUDGET)
        cost = self._cost(kind, flags, length)
        self.budget = min(self.budget - cost, BUDGET)
        if kind in (HEADERS, PUSH_PROMISE):
            self.block, self.frames = length, 1
            self.block_since_ns = 0 if flags & END_HEADERS else now_ns
        elif kind == CONTINUATION:
            self.block, self.frames = self.block + length, self.frames + 1
            if self.frames <= 16 and flags & END_HEADERS:
                self.block_since_ns = 0
        in_block = kind in (HEADERS, PUSH_PROMISE, CONTINUATION, RST_STREAM)
        too_large = in_block and self.block > self.block_limit
        self.refused = self.budget < 0 or (kind == CONTINUATION and self.frames > 16) or too_large
        return not self.refused

    def _cost(self, kind: int, flags: int, length: int) -> int:
        if kind == DATA:
            if flags & END_STREAM:
                return 0
            return 1 if length == 0 or (flags & PADDED and length <= 256) else -1
        if kind in (HEADERS, PUSH_PROMISE):
            return -4
        if kind == SETTINGS:
            return 1 if flags & ACK else 10
        return 0 if kind in (CONTINUATION, RST_STREAM) else 1


class Resets:
    """The budget of a client's resets, and its faults within the window that began with the first of them."""

    def __init__(self, now_ns: int) -> None:
        self.started_ns = now_ns
        self.refilled_ns = now_ns
        self.budget = 1000
        self.faults = 0

    def answered(self) -> None:
        """Count an answer that was sent to its end."""
        self.budget = min(self.budget + 10, 10_000)

    def reset(self, cost: int, now_ns: int) -> bool:
        """Count a reset; return True if there are too many."""
        gained = (now_ns - self.refilled_ns) // (NS_PER_S // 500)
        if self.budget + gained >= 1000:
            self.budget = max(self.budget, 1000)
            self.refilled_ns = now_ns
        else:
            self.budget += gained
            self.refilled_ns += gained * (NS_PER_S // 500)
        self.budget -= cost
        return self.budget < 0

    def provoked(self, cost: int, now_ns: int) -> bool:
        """Count a fault of the client; return True if there are too many."""
        if now_ns - self.started_ns >= WINDOW_NS:
            self.started_ns = now_ns
            self.faults = 0
        self.faults += 1
        return self.faults >= 250 or self.reset(cost, now_ns)
