"""Time and randomness: the only module of the Python side that reads the real clock or a random source.

The module itself satisfies the ``Clock`` protocol: code that tests run against a fake clock takes ``clock: Clock``, and
production passes ``edge.clock``. Native kernels take the time and the randomness as arguments instead.
"""

from __future__ import annotations

import os
import time
from typing import Protocol


class Clock(Protocol):
    """The time and the randomness that code takes as a parameter."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds, comparable between all processes of this host and unrelated to the date."""
        ...

    def wall(self) -> float:
        """Return Unix time in seconds, for display and certificates, never for deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for at least ``seconds`` on the running event loop."""
        ...

    def random(self) -> float:
        """Return a random number in [0, 1)."""
        ...

    def bits(self) -> int:
        """Return 64 random bits, as the native kernels take them."""
        ...


def now_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds, the clock of every record in the shared state."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def wall() -> float:
    """Return Unix time in seconds."""
    return time.time()


async def sleep(seconds: float) -> None:
    """Wait for at least ``seconds`` on the running event loop."""
    import asyncio  # noqa: PLC0415  # it takes 3 MiB and 50 ms, and the supervisor runs no event loop

    await asyncio.sleep(seconds)


def random() -> float:
    """Return a random number in [0, 1) from the system's source, so that forked workers never share a sequence."""
    return (int.from_bytes(os.urandom(7)) >> 3) / (1 << 53)


def bits() -> int:
    """Return 64 random bits from the system's source."""
    return int.from_bytes(os.urandom(8))
