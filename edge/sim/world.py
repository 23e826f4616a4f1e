"""Simulated providers for tests and demos, and their lifetime.

``SimulatedProviders`` runs them on the caller's event loop. ``ProviderProcess`` runs them in a child process, so that
they take no time from the caller's loop and survive its failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any, Self

import msgspec

from edge.sim import remote
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from edge.sim.faults import Fault

START_S = 60.0
STOP_S = 20.0


def specs_of(*providers: str | ProviderSpec, pace: Pace | None = None) -> tuple[ProviderSpec, ...]:
    """Return a spec with this pace for each name; specs are returned unchanged."""
    pace = pace or Pace()
    return tuple(
        ProviderSpec(name=provider, pace=pace) if isinstance(provider, str) else provider for provider in providers
    )


class SimulatedProviders:
    """Providers on the running loop: ``async with SimulatedProviders("a", "b") as world: world["a"].base_url``."""

    def __init__(self, *providers: str | ProviderSpec, pace: Pace | None = None) -> None:
        self._specs = specs_of(*providers, pace=pace)
        self._stack = contextlib.AsyncExitStack()
        self.providers: dict[str, SimProvider] = {}

    def __getitem__(self, name: str) -> SimProvider:
        return self.providers[name]

    @property
    def base_urls(self) -> dict[str, str]:
        """The ``base_url`` for an SDK, by name."""
        return {name: provider.base_url for name, provider in self.providers.items()}

    async def __aenter__(self) -> Self:
        async with self._stack as starting:  # if one cannot start, those that have started are stopped
            for spec in self._specs:
                self.providers[spec.name] = await starting.enter_async_context(SimProvider(spec))
            self._stack = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


class ProviderProcess:
    """Providers in a child process, controlled over HTTP: ``await world.switch("a", Fault(kind="blackhole"))``."""

    def __init__(self, *providers: str | ProviderSpec, pace: Pace | None = None) -> None:
        self._specs = specs_of(*providers, pace=pace)
        self._child: asyncio.subprocess.Process | None = None
        self.urls: dict[str, str] = {}

    @property
    def base_urls(self) -> dict[str, str]:
        """The ``base_url`` for an SDK, by name."""
        return {name: url + "/v1" for name, url in self.urls.items()}

    async def switch(self, name: str, *faults: Fault) -> None:
        """Replace the faults of one provider; none heals it.

        Raises:
            SimUnreachableError: the provider does not answer.
        """
        await remote.switch(self.urls[name], *faults)

    async def stats(self, name: str) -> dict[str, Any]:
        """Return the counts of one provider.

        Raises:
            SimUnreachableError: the provider does not answer.
        """
        return await remote.stats(self.urls[name])

    async def __aenter__(self) -> Self:
        specs = msgspec.json.encode(self._specs).decode()
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge.sim.serve",
            specs,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(START_S):
                await self._learn_urls(self._child)
        except BaseException:
            await self._stop()
            raise
        return self

    async def _learn_urls(self, child: asyncio.subprocess.Process) -> None:
        while len(self.urls) < len(self._specs):
            line = await child.stdout.readline() if child.stdout else b""
            if not line:
                raise remote.SimUnreachableError("the simulated providers ended at their start; the reason is above")
            said = msgspec.json.decode(line)
            self.urls[said["name"]] = said["url"]

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), STOP_S)
        except TimeoutError:
            child.kill()
            await child.wait()
