"""Each official SDK gets a whole answer where a stream breaks off at a target of one dialect and goes on at another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dialect_sdks import DIALECTS, Asked, Sdk
from one_data_plane import one_data_plane

from edge.native import Outcome
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODEL = "sim-small"
PACE = Pace(ttft_s=0.0, tps=2000.0, tokens=40, seed=7)
PATHS = {"openai": "/v1", "responses": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}


class Place:
    """A data plane before a provider whose streams break off, and one that goes on with them."""

    def __init__(self, plane: OneDataPlane, broken: SimProvider) -> None:
        self.plane = plane
        self.broken = broken


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Run both providers, and a model for each pair of their dialects."""
    fault = Fault(kind="cut", tokens=15)
    async with (
        SimProvider(ProviderSpec(name="sim", pace=PACE, faults=(fault,))) as broken,
        SimProvider(ProviderSpec(name="sim", pace=PACE, prefill="continue")) as other,
    ):
        providers = "\n".join(
            f"  {front}-{name}: {{dialect: {name}, base_url: '{one.url}{path}',"
            f" capabilities: [chat, tools{', prefill' if front == 'other' and name != 'responses' else ''}]}}"
            for name, path in PATHS.items()
            for front, one in (("broken", broken), ("other", other))
        )
        models = "\n".join(
            f"  {first}-{second}: {{rescue: text, breaker: {{consecutive_failures: 1000}},"
            f" targets: [broken-{first}/{MODEL}, {{target: other-{second}/{MODEL}, tier: 2}}]}}"
            for first in DIALECTS
            for second in DIALECTS
        )
        async with one_data_plane(
            f"providers:\n{providers}\nmodels:\n{models}\ntelemetry: {{sample: 100%}}\n"
        ) as plane:
            yield Place(plane, broken)


@pytest.mark.parametrize("client", DIALECTS)
async def test_an_sdk_gets_the_whole_answer(place: Place, client: str) -> None:
    """Text, reason and shape are those of an answer that did not break off; the tokens are those of both parts."""
    sdk = Sdk(client, place.plane.url)
    direct = Sdk(client, place.broken.url)
    try:
        await place.broken.switch()
        whole = await direct.ask(MODEL, Asked(), stream=True)
        await place.broken.switch(Fault(kind="cut", tokens=15))
        for first in DIALECTS:
            for second in DIALECTS:
                if client == first == "responses":
                    with pytest.raises(Exception, match="broke off"):
                        await sdk.ask(f"{first}-{second}", Asked(), stream=True)
                    continue
                told = await sdk.ask(f"{first}-{second}", Asked(), stream=True)
                assert (first, second, told._replace(tokens=(0, 0))) == (first, second, whole._replace(tokens=(0, 0)))
                assert told.tokens[0] > whole.tokens[0]
                assert told.tokens[1] > 25
    finally:
        await sdk.close()
        await direct.close()
    records = [record for record in await place.plane.recorded(16) if record.rescues]
    assert len(records) == (12 if client == "responses" else 16)
    assert {attempt.outcome for record in records for attempt in record.attempts} == {"fail_truncated", "ok"}
    assert sum(place.plane.outcomes(f"other-{name}/{MODEL}")[Outcome.OK] for name in DIALECTS) == len(records)


@pytest.mark.parametrize("client", DIALECTS)
async def test_an_sdk_is_told_of_a_tool_call_that_broke_off(place: Place, client: str) -> None:
    """A half-sent call is an error for each SDK, whatever the dialect of the target."""
    await place.broken.switch(Fault(kind="cut", tokens=2))
    sdk = Sdk(client, place.plane.url)
    try:
        for first in ("openai", "anthropic"):
            with pytest.raises(Exception, match=r"broke off|incomplete|closed|JSON|[Pp]ayload"):
                await sdk.ask(f"{first}-openai", Asked(tools=True), stream=True)
    finally:
        await sdk.close()
    assert [record.rescues for record in await place.plane.recorded(2)] == [0, 0]
