"""A data plane before two simulated providers that keep what they have made, each under ids of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import openai
from endpoints import PACE, Place
from one_data_plane import one_data_plane

from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODELS = """
  m: {targets: [one/sim, {target: two/sim, tier: 2}]}
  m2: {targets: [two/sim]}
"""


class Kept(Place):
    """The place of the tests; clients speak ``wire``."""

    wire = "http1"

    def client(self, base_url: str = "", key: str = "none", **fields: str) -> openai.AsyncOpenAI:
        """Return the official client, without retries of its own, that sends ``x-edge-provider`` if it is given."""
        client = openai.AsyncOpenAI(
            base_url=base_url or f"{self.plane.url}/v1",
            api_key=key,
            max_retries=0,
            default_headers={name.replace("_", "-"): value for name, value in fields.items()},
            http_client=httpx.AsyncClient(http1=self.wire == "http1", http2=self.wire == "http2", timeout=60),
        )
        self.clients.append(client)
        return client

    def at(self, name: str) -> openai.AsyncOpenAI:
        """Return a client that asks one provider directly."""
        return openai.AsyncOpenAI(base_url=getattr(self, name).base_url, api_key="none", max_retries=0)


@contextlib.asynccontextmanager
async def open_kept(wire: str = "http1", more: str = "", models: str = MODELS, **offered: str) -> AsyncIterator[Kept]:
    """Run both providers behind edge; ``offered`` are further settings of ``one`` and ``two``."""
    async with SimProvider(ProviderSpec(name="one", pace=PACE)) as one:
        async with SimProvider(ProviderSpec(name="two", pace=PACE)) as two:
            text = "".join(
                f"  {name}: {{base_url: '{sim.base_url}'{', ' if offered.get(name) else ''}{offered.get(name, '')}}}\n"
                for name, sim in (("one", one), ("two", two))
            )
            config = f"providers:\n{text}models:\n{models}\ntelemetry: {{sample: 100%}}\n{more}"
            async with one_data_plane(config) as plane:
                place = Kept(plane, one, two)
                place.wire = wire
                try:
                    yield place
                finally:
                    for client in place.clients:
                        await client.close()
