"""Waits that end as soon as their condition holds, for busy machines."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TIMES = 8
LIMIT_S = 30.0


async def until(met: Callable[[], object], limit_s: float = LIMIT_S) -> float:
    """Check every few milliseconds until ``met`` holds; return the seconds that it took.

    Raises:
        TimeoutError: it did not hold within ``limit_s`` seconds.
    """
    began = time.monotonic()
    while not met():
        if time.monotonic() - began > limit_s:
            raise TimeoutError
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def handed_over() -> None:
    """Let a connection that a closed server of asyncio has just accepted reach its handler, which can then be ended.

    Until then, four turns of the loop later, nobody knows of it, and nothing would close it.
    """
    for _ in range(6):
        await asyncio.sleep(0)


async def soon(once: Callable[[], Awaitable[float]], bar_s: float) -> None:
    """Repeat until it took less than ``bar_s`` seconds once; its other assertions must hold each time."""
    took_s = []
    for _ in range(TIMES):
        took_s.append(await once())
        if took_s[-1] < bar_s:
            return
    pytest.fail(f"never within {bar_s:g} s: {', '.join(f'{one:.3f}' for one in took_s)}")
