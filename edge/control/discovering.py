"""Follows the sources of discovery that the configuration names, and hands what they say to the Snapshot.

Changes are gathered for a moment before a Snapshot is made of them, and the moment grows with what a Snapshot costs: a
source that changes two hundred times a second must neither busy control nor make workers take two hundred Snapshots.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge import clock as real
from edge.config.check_discovery import sources
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.clock import Clock
    from edge.config.schema import Config
    from edge.discovery.source import Source, SourceState
    from edge.terms.places import Endpoint

    Found = Mapping[str, tuple[Endpoint, ...]]
    Open = Callable[[str, Callable[[str, tuple[Endpoint, ...]], None], tuple[Endpoint, ...], Config], Source]

GATHER_S: Final = 0.1
# Making and taking Snapshots may use this share of the time at most.
DUTY: Final = 0.05
FIRST_S: Final = 3.0
"""How long a node that starts waits for the first answers before it says that it serves."""


class Discovering:
    """Runs one follower for each source.

    Args:
        found: called with the addresses of all sources after changes.
        known: addresses of an earlier control process or of the disk, by URL.
        open_source: returns the follower of a URL: (url, changed, known, config).
        clock: source of time.
    """

    def __init__(self, found: Callable[[Found], None], known: Found, open_source: Open, clock: Clock = real) -> None:
        self._found = found
        self._known = dict(known)
        self._open = open_source
        self._clock = clock
        self._sources: dict[str, tuple[Source, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def follow(self, config: Config) -> None:
        """Follow the sources of this configuration from now on; those that stay are not disturbed."""
        wanted = sources(config)
        for url in [url for url in self._sources if url not in wanted]:
            self._sources.pop(url)[1].cancel()
        for url in wanted:
            if url not in self._sources:
                source = self._open(url, self._take, self._known.get(url, ()), config)
                self._sources[url] = (source, asyncio.get_running_loop().create_task(source.run()))

    async def start(self, config: Config) -> None:
        """Follow the sources of a configuration; return when each has said something, or after a bounded time."""
        self.follow(config)
        end_ns = self._clock.now_ns() + int(FIRST_S * 1e9)
        while not all(source.answered for source, _ in self._sources.values()) and self._clock.now_ns() < end_ns:
            await self._clock.sleep(0.01)
        self._hand_over()
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            began_ns = self._clock.now_ns()
            self._hand_over()
            await self._clock.sleep(max(GATHER_S, (self._clock.now_ns() - began_ns) / 1e9 / DUTY))

    async def stop(self) -> None:
        """Stop all followers."""
        tasks = [task for _, task in self._sources.values()]
        tasks += [] if self._running is None else [self._running]
        self._sources, self._running = {}, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def states(self) -> tuple[SourceState, ...]:
        """Return the state of each source, in the order of the configuration."""
        return tuple(source.state() for source, _ in self._sources.values())

    def _take(self, url: str, endpoints: tuple[Endpoint, ...]) -> None:
        self._known[url] = endpoints
        self._changed.set()

    def _hand_over(self) -> None:
        if not self._changed.is_set():
            return
        self._changed.clear()
        try:
            self._found({url: self._known[url] for url in self._sources if url in self._known})
        except Exception as error:  # noqa: BLE001  # the Snapshot before stays; the next change tries again
            logs.say_failure("what was discovered cannot be used", error)
