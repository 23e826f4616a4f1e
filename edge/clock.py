"""What time is it, and what does the die say?  The only file of the Python side that touches real time or chance.

The module itself satisfies the ``Clock`` protocol, so code that must be tested against a fake takes ``clock: Clock``
and is given ``edge.clock`` in production. Native kernels take the time and the randomness as arguments instead.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance, as code that decides wants to be given them."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds: one clock for all processes of this host, unrelated to the date."""
        ...

    def wall(self) -> float:
        """Return Unix time in seconds: for people and certificates, never for deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least ``seconds`` on the running event loop."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def bits(self) -> int:
        """Return 64 random bits, as the native kernels take them."""
        ...


def now_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds, the clock of every record on the shared state."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def wall() -> float:
    """Return Unix time in seconds."""
    return time.time()


async def sleep(seconds: float) -> None:
    """Wait at least ``seconds`` on the running event loop."""
    await asyncio.sleep(seconds)


def random() -> float:
    """Return a number in [0, 1), from the system's source: forked workers never share a sequence."""
    return secrets.randbits(53) / (1 << 53)


def bits() -> int:
    """Return 64 random bits from the system's source."""
    return secrets.randbits(64)
