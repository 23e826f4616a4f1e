"""A virtual clock for tests: time moves only when the test advances it, and random numbers follow a seed."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from typing import Final

_NS: Final = 1_000_000_000
# Each turn of the loop advances a chain of awaits by one link; the longest chains in tests have about ten.
TURNS: Final = 40


class VirtualClock:
    """A clock that satisfies ``edge.clock.Clock``. It starts at ``start_s`` seconds; ``seed`` sets the randomness."""

    def __init__(self, start_s: float = 1000.0, seed: int = 1) -> None:
        self._now_ns = int(start_s * _NS)
        self._random = random.Random(seed)
        self._sleeping: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """Return the virtual time in nanoseconds."""
        return self._now_ns

    def wall(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_ns / _NS

    async def sleep(self, seconds: float) -> None:
        """Wait until the virtual time has advanced by ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self._now_ns + int(seconds * _NS), next(self._order), woken))
        await woken

    def random(self) -> float:
        """Return the seed's next number in [0, 1)."""
        return self._random.random()

    def bits(self) -> int:
        """Return the seed's next 64 bits."""
        return self._random.getrandbits(64)

    async def advance(self, seconds: float) -> None:
        """Advance the time; wake each sleeper at its own time, in order, and let every task act on it."""
        end = self._now_ns + int(seconds * _NS)
        await settle()
        while self._sleeping and self._sleeping[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleeping)
            if woken.done():
                continue
            self._now_ns = max(self._now_ns, at)
            woken.set_result(None)
            await settle()
        self._now_ns = end
        await settle()


async def settle() -> None:
    """Run the loop until every task that does not wait for time has made progress."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
