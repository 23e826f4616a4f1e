"""Azure's paths are understood from clients, and written for targets, as the official SDKs send them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from endpoints import PACE
from one_data_plane import one_data_plane

from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

SAID: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def sim() -> AsyncIterator[SimProvider]:
    """A provider with a key."""
    async with SimProvider(ProviderSpec(name="sim", key="sk-azure-0123456789", pace=PACE)) as running:
        yield running


def config(sim: SimProvider, more: str = "") -> str:
    """Return a configuration whose provider ``az`` is of kind azure-openai."""
    provider = f"{{kind: azure-openai, base_url: '{sim.url}', api_key: sk-azure-0123456789{more}}}"
    return f"providers:\n  az: {provider}\nmodels:\n  gpt: {{targets: [az/my-gpt]}}\ntelemetry: {{sample: 100%}}\n"


async def call_all(client: openai.AsyncOpenAI) -> None:
    """Make a call of each kind."""
    await client.chat.completions.create(model="gpt", messages=SAID)
    await client.embeddings.create(model="gpt", input="x")
    await client.audio.transcriptions.create(model="gpt", file=("a.wav", b"RIFF"))
    made = await client.responses.create(model="gpt", input="x")
    assert (await client.responses.retrieve(made.id)).id == made.id
    assert (await client.files.create(file=("a", b"x"), purpose="batch")).id


async def test_a_target_with_a_version_is_asked_for_its_deployments(sim: SimProvider) -> None:
    """With api_version the model is the deployment in the path; files and responses belong to the resource."""
    async with one_data_plane(config(sim, ", api_version: '2024-10-21'")) as plane:
        async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
            await call_all(client)
    version = "?api-version=2024-10-21"
    assert list(sim.stats()["by_target"]) == [
        f"/openai/deployments/my-gpt/chat/completions{version}",
        f"/openai/deployments/my-gpt/embeddings{version}",
        f"/openai/deployments/my-gpt/audio/transcriptions{version}",
        f"/openai/responses{version}",
        f"/openai/responses/resp_sim-4{version}",
        f"/openai/files{version}",
    ]


async def test_a_target_without_a_version_is_asked_below_openai_v1(sim: SimProvider) -> None:
    """Without api_version the API is /openai/v1, and the deployment stands in the body; a path of one's own stays."""
    async with one_data_plane(config(sim)) as plane:
        async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
            await call_all(client)
    assert list(sim.stats()["by_target"])[:2] == ["/openai/v1/chat/completions", "/openai/v1/embeddings"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_clients_of_azure_are_answered(sim: SimProvider, *, streamed: bool) -> None:
    """The SDK for Azure reaches the alias by its deployment, with ``api-key``, streamed or not, and for forms."""
    text = config(sim).replace("kind: azure-openai, ", "").replace(sim.url, sim.base_url)
    async with one_data_plane(text) as plane:
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=plane.url, api_key="x", api_version="2024-10-21", max_retries=0
        ) as client:
            if streamed:
                chunks = [
                    chunk
                    async for chunk in await client.chat.completions.create(model="gpt", messages=SAID, stream=True)
                ]
                assert len(chunks) > PACE.tokens
            else:
                await call_all(client)
    assert next(iter(sim.stats()["by_target"])).startswith("/v1/chat/completions")


async def ask(plane: OneDataPlane, path: str, body: bytes) -> int:
    """Send a body to a path; return the status."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    answer = await plane.raw(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return int(answer.received.split(b" ", 2)[1])


async def test_the_deployment_of_the_path_is_the_model(sim: SimProvider) -> None:
    """The path decides, whether the body names a model or not; an unknown deployment is an unknown model."""
    async with one_data_plane(config(sim)) as plane:
        body = b'{"messages":[{"role":"user","content":"hello"}]}'
        named = body.replace(b"{", b'{"model":"other",', 1)
        path = "/openai/deployments/gpt/chat/completions?api-version=1"
        assert [await ask(plane, path, each) for each in (body, named)] == [200, 200]
        assert await ask(plane, path.replace("gpt", "none"), named) == 404
        assert await ask(plane, path.replace("gpt", "g%22pt"), body) == 404
        routes = [record.route for record in await plane.recorded(4)]
    assert routes[:2] == ["gpt", "gpt"]


async def test_vertex_is_asked_with_a_bearer_token() -> None:
    """Kind vertex speaks Gemini's dialect below the path of its project, and sends its key as a bearer token."""
    async with SimProvider(ProviderSpec(name="sim", pace=PACE)) as sim:
        root = f"{sim.url}/v1/projects/p/locations/eu/publishers/google"
        text = f"providers:\n  vx: {{kind: vertex, base_url: '{root}', api_key: ya29.token}}\nmodels:\n"
        async with one_data_plane(f"{text}  m: {{targets: [vx/gemini-2.5-flash]}}\n") as plane:
            target = next(target for target in plane.snapshot.targets if target.model)
            async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
                await client.chat.completions.create(model="m", messages=SAID)
        asked = list(sim.stats()["by_target"])
    assert asked == ["/v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-flash:generateContent"]
    assert (dict(target.fields)["authorization"], target.dialect) == ("Bearer ya29.token", "gemini")
    assert target.price is not None
    assert target.price.known
