"""A data plane before two simulated providers that answer alike, for the tests of endpoints other than chat."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import openai
from one_data_plane import one_data_plane

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

PACE = Pace(ttft_s=0.0, tps=0.0, tokens=12)


class Place:
    """A data plane before two providers ``one`` and ``two`` of the same name, so that both answer alike."""

    def __init__(self, plane: OneDataPlane, one: SimProvider, two: SimProvider) -> None:
        self.plane = plane
        self.one = one
        self.two = two
        self.clients: list[openai.AsyncOpenAI] = []

    def client(self, base_url: str = "", key: str = "none") -> openai.AsyncOpenAI:
        """Return the official client, without retries of its own."""
        client = openai.AsyncOpenAI(base_url=base_url or f"{self.plane.url}/v1", api_key=key, max_retries=0)
        self.clients.append(client)
        return client


@contextlib.asynccontextmanager
async def open_place(models: str, more: str = "", providers: str = "", **offered: str) -> AsyncIterator[Place]:
    """Run both providers behind edge; ``offered`` are further settings of ``one`` and ``two``."""
    specs = [ProviderSpec(name="sim", pace=PACE) for _ in range(2)]
    async with SimProvider(specs[0]) as one, SimProvider(specs[1]) as two:
        text = "".join(
            f"  {name}: {{base_url: '{sim.base_url}'{', ' if offered.get(name) else ''}{offered.get(name, '')}}}\n"
            for name, sim in (("one", one), ("two", two))
        )
        config = f"providers:\n{text}{providers}models:\n{models}\ntelemetry: {{sample: 100%}}\n{more}"
        async with one_data_plane(config) as plane:
            place = Place(plane, one, two)
            try:
                yield place
            finally:
                for client in place.clients:
                    await client.close()


BOTH = "  m: {targets: [one/sim, {target: two/sim, tier: 2}]}"
