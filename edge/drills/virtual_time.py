"""A clock for asyncio code that stands still until it is told to go on; it is ``edge.clock.Clock``."""

from __future__ import annotations

import asyncio
import heapq
from random import Random

NS = 1_000_000_000
# Rounds of the event loop after each step: a write wakes a watch, whose reader takes the change and may write in turn.
ROUNDS = 12


class VirtualTime:
    """Time that passes by :meth:`pass_to`. ``seed`` is of its chance."""

    def __init__(self, seed: int) -> None:
        self._now_ns = 1_000_000 * NS
        self._chance = Random(f"{seed} clock")
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = 0

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""
        return self._now_ns

    def wall(self) -> float:
        """Return Unix time in seconds."""
        return 1_770_000_000 + self._now_ns / NS

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serial += 1
        heapq.heappush(self._sleepers, (self._now_ns + int(seconds * NS), self._serial, done))
        await done

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self._chance.random()

    def bits(self) -> int:
        """Return 64 random bits."""
        return self._chance.getrandbits(64)

    def pass_to(self, now_ns: int) -> None:
        """Let time pass, and wake who has slept long enough."""
        self._now_ns = now_ns
        while self._sleepers and self._sleepers[0][0] <= now_ns:
            _, _, done = heapq.heappop(self._sleepers)
            if not done.done():
                done.set_result(None)

    async def settle(self) -> None:
        """Let everything run that is due now."""
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
