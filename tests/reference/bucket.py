"""A token bucket as a level that rises with time: the reference model of native/state/token_bucket.pyx."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Bucket:
    """The level is kept as the nanoseconds that it took to fill, a whole number, so that nothing is rounded."""

    interval_ns: int
    burst: int
    level_ns: int = 0
    at_ns: int | None = None

    def _rise(self, now_ns: int) -> int:
        room = self.burst * self.interval_ns
        risen = room if self.at_ns is None else min(room, self.level_ns + now_ns - self.at_ns)
        self.level_ns, self.at_ns = risen, now_ns
        return room

    def wait(self, now_ns: int, cost: int = 1) -> int:
        """Return the time until this cost, or a full bucket, is available."""
        room = self._rise(now_ns)
        return max(0, min(cost * self.interval_ns, room) - self.level_ns)

    def take(self, now_ns: int, cost: int = 1) -> int:
        """Take the cost if it is available."""
        wait = self.wait(now_ns, cost)
        if not wait:
            self.level_ns -= cost * self.interval_ns
        return wait

    def settle(self, now_ns: int, units: int) -> None:
        """Charge more, or give back as much as fits."""
        room = self._rise(now_ns)
        self.level_ns = min(room, self.level_ns - units * self.interval_ns)

    def lower(self, now_ns: int, remaining: int, wait_ns: int = 0) -> bool:
        """Lower the level to what its real owner reports."""
        room = self._rise(now_ns)
        most = min(room, remaining * self.interval_ns)
        if remaining == 0:
            most = min(0, self.interval_ns - wait_ns)
        before, self.level_ns = self.level_ns, min(self.level_ns, most)
        return self.level_ns < before

    def remaining(self, now_ns: int) -> int:
        """Return the whole units that are available."""
        self._rise(now_ns)
        return max(0, self.level_ns // self.interval_ns)

    def reset_ns(self, now_ns: int) -> int:
        """Return the time until the bucket is full."""
        return self._rise(now_ns) - self.level_ns
