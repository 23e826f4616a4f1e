"""Followers of sources for tests: started, with what they told, and ended."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from edge import clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge.discovery.source import Source
    from edge.terms.places import Endpoint

LIMIT_S = 30.0


class Heard(Struct):
    """What a source has told: every set of addresses, the newest last."""

    source: Source
    sets: list[tuple[Endpoint, ...]]

    @property
    def now(self) -> set[str]:
        """The addresses in use."""
        return {endpoint.address for endpoint in self.source.endpoints}

    async def until(self, met: Callable[[], object]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(LIMIT_S):
            while not met():
                await clock.sleep(0.01)


@asynccontextmanager
async def following(
    make: Callable[[Callable[[str, tuple[Endpoint, ...]], None]], Source],
) -> AsyncIterator[Heard]:
    """Run the source that ``make`` returns for a callback."""
    sets: list[tuple[Endpoint, ...]] = []
    source = make(lambda _, endpoints: sets.append(endpoints))
    task = asyncio.create_task(source.run())
    try:
        yield Heard(source, sets)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
