"""How does an hour pass in a test?  A clock whose time moves only when it is told to, and whose dice are loaded."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from typing import Final

_NS: Final = 1_000_000_000
# A turn of the loop lets one link of a chain of awaits move; the longest chains here have some ten.
TURNS: Final = 40


class VirtualClock:
    """Satisfies ``edge.clock.Clock``. It begins at ``start_s`` seconds; the same ``seed``, the same chance."""

    def __init__(self, start_s: float = 1000.0, seed: int = 1) -> None:
        self._now_ns = int(start_s * _NS)
        self._random = random.Random(seed)
        self._sleeping: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """Return the virtual time."""
        return self._now_ns

    def wall(self) -> float:
        """Return the virtual time as seconds."""
        return self._now_ns / _NS

    async def sleep(self, seconds: float) -> None:
        """Wait until the virtual time has moved that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self._now_ns + int(seconds * _NS), next(self._order), woken))
        await woken

    def random(self) -> float:
        """Return the next number in [0, 1) of this seed."""
        return self._random.random()

    def bits(self) -> int:
        """Return the next 64 bits of this seed."""
        return self._random.getrandbits(64)

    async def advance(self, seconds: float) -> None:
        """Move the time on; whoever sleeps is woken at its own moment, in order, and everybody gets to act on it."""
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
    """Let every task that can move without time move."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
