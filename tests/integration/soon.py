"""How soon does something happen, on a machine that has other things to do?  The soonest of a few times says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TIMES = 8


async def soon(once: Callable[[], Awaitable[float]], bar_s: float) -> None:
    """Do it until it took less than ``bar_s`` seconds once; whatever else is to hold of it has to hold each time."""
    took_s = []
    for _ in range(TIMES):
        took_s.append(await once())
        if took_s[-1] < bar_s:
            return
    pytest.fail(f"never within {bar_s:g} s: {', '.join(f'{one:.3f}' for one in took_s)}")
