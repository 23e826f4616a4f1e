"""Each official SDK is told by a target of each dialect what its own provider would tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from dialect_sdks import DIALECTS, Asked, Sdk
from google.genai import errors as genai_errors
from one_data_plane import one_data_plane

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

# Of google-genai: it derives from a class of aiohttp, and leaves a connection behind when a stream fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODEL = "sim-small@seed=7,tokens=6,ttft=0s,tps=0"
CASES = {
    "text": Asked(),
    "tools": Asked(tools=True),
    "schema": Asked(schema=True),
    "image": Asked(image=True),
    "thinking": Asked(thinking=True),
}
ERRORS: dict[str, Any] = {
    "openai": openai.APIStatusError,
    "responses": openai.APIStatusError,
    "anthropic": anthropic.APIStatusError,
    "gemini": genai_errors.APIError,
}


class Place:
    """A data plane in front of one simulated provider, with a model for each dialect that it speaks."""

    def __init__(self, plane: OneDataPlane, provider: SimProvider) -> None:
        self.plane = plane
        self.provider = provider


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Run a provider that speaks each dialect, and edge before it."""
    async with SimProvider(
        ProviderSpec(name="sim-a", key="sk-of-the-provider", pace=Pace(ttft_s=0, tps=0))
    ) as provider:
        paths = {"openai": "/v1", "responses": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
        providers = "\n".join(
            f"  {name}: {{dialect: {name}, base_url: '{provider.url}{path}', api_key: sk-of-the-provider,"
            f" capabilities: [chat, images, json, tools]}}"
            for name, path in paths.items()
        )
        models = "\n".join(
            f"  to-{name}: {{targets: ['{name}/{MODEL}'], breaker: {{consecutive_failures: 1000}}}}"
            for name in DIALECTS
        )
        text = (
            f"providers:\n{providers}\nmodels:\n{models}\n"
            f"  both: {{targets: ['openai/{MODEL}', {{target: 'anthropic/{MODEL}', tier: 2}}]}}\n"
            f"  strict: {{targets: ['anthropic/{MODEL}'], strict: true}}\n"
        )
        async with one_data_plane(text) as plane:
            yield Place(plane, provider)


@pytest.mark.parametrize("client", DIALECTS)
async def test_an_sdk_is_told_what_its_own_provider_would_tell(place: Place, client: str) -> None:
    """Text, calls, structured output, images and thoughts; whole and streamed; from a target of each dialect."""
    direct = Sdk(client, place.provider.url, "sk-of-the-provider")
    through = Sdk(client, place.plane.url)
    try:
        for name, asked in CASES.items():
            for stream in (False, True):
                expected = await direct.ask(MODEL, asked, stream=stream)
                for target in DIALECTS:
                    told = await through.ask(f"to-{target}", asked, stream=stream)
                    own = expected
                    if name == "thinking" and "responses" in {client, target}:  # it shows none
                        told, own = told._replace(thoughts=""), own._replace(thoughts="")
                    assert (name, stream, target, told) == (name, stream, target, own)
    finally:
        await direct.close()
        await through.close()


@pytest.mark.parametrize("client", DIALECTS)
async def test_an_sdk_raises_its_own_errors(place: Place, client: str) -> None:
    """A target's refusal has the client's shape and the target's status; so has an unknown model of edge's own."""
    through = Sdk(client, place.plane.url)
    try:
        for target in DIALECTS:
            with pytest.raises(ERRORS[client], match="positive integer") as refused:
                await through.ask(f"to-{target}", Asked(max_tokens=0))
            assert _status(refused.value) == 400
        with pytest.raises(ERRORS[client], match="nowhere") as unknown:
            await through.ask("nowhere", Asked())
        assert _status(unknown.value) == 404
    finally:
        await through.close()


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_that_fails_is_never_complete(place: Place, client: str) -> None:
    """The provider gives up in the middle, or its connection is cut: the SDK does not get a finished answer."""
    through = Sdk(client, place.plane.url)
    try:
        for fault in (
            Fault(kind="inband_error", at="middle", tokens=3),
            Fault(kind="cut", at="middle", tokens=3),
        ):
            await place.provider.switch(fault)
            for target in DIALECTS:
                with pytest.raises(Exception, match=r".*"):
                    await through.ask(f"to-{target}", Asked(), stream=True)
    finally:
        await through.close()


async def test_failover_crosses_dialects(place: Place) -> None:
    """The first target speaks OpenAI's dialect and fails, the second Anthropic's: the client sees one answer."""
    await place.provider.switch(Fault(kind="error", status=500, path="/v1/chat/completions"))
    sdk = Sdk("openai", place.plane.url)
    try:
        for stream in (False, True):
            said: Any = await sdk.openai.chat.completions.with_raw_response.create(
                model="both", messages=[{"role": "user", "content": "Hi"}], seed=1, user="u", stream=stream
            )
            assert said.headers["x-edge-target"] == f"anthropic/{MODEL}"
            assert said.headers["x-edge-dropped"] == "seed"
            assert said.headers["x-edge-attempts"] == "2"
            if stream:
                chunks = [chunk async for chunk in said.parse()]
                assert chunks[-1].choices[0].finish_reason == "stop"
    finally:
        await sdk.close()


async def test_strict_refuses_what_would_be_dropped(place: Place) -> None:
    """With strict: true a hint that no target can carry is a 400 that names it, before anything is asked."""
    sdk = Sdk("openai", place.plane.url)
    try:
        with pytest.raises(openai.BadRequestError, match="seed"):
            await sdk.openai.chat.completions.create(
                model="strict", messages=[{"role": "user", "content": "Hi"}], seed=1
            )
    finally:
        await sdk.close()
    assert place.provider.stats()["requests"] == 0


async def test_tokens_are_counted_where_the_dialect_has_it(place: Place) -> None:
    """count_tokens reaches Anthropic, and is refused where no target has it."""
    sdk = Sdk("anthropic", place.plane.url)
    try:
        counted = await sdk.anthropic.messages.count_tokens(
            model="to-anthropic", messages=[{"role": "user", "content": "Hello there"}]
        )
        assert counted.input_tokens > 0
        with pytest.raises(anthropic.BadRequestError, match="count_tokens"):
            await sdk.anthropic.messages.count_tokens(
                model="to-openai", messages=[{"role": "user", "content": "Hello there"}]
            )
    finally:
        await sdk.close()


def _status(error: Any) -> int:
    status = getattr(error, "status_code", None)
    return int(error.code if status is None else status)
