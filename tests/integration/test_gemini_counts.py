"""Vectors and counts of tokens for clients of Gemini, as the google-genai SDK asks for them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from callers import clear, keys
from google import genai
from google.genai import errors, types
from one_data_plane import one_data_plane, post

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

# Of google-genai: it derives from a class of aiohttp.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODELS = """\
  vectors: {targets: [one/small, {target: one/large, tier: 2}, {target: two/small, tier: 3}]}
  alone: {targets: [one/small, {target: two/large, tier: 2}]}
  counted: {targets: [one/small, {target: two/large, tier: 2}]}
  elsewhere: {targets: [openai/small]}
"""


class Place:
    """A data plane before two providers of Gemini's dialect and one of OpenAI's."""

    def __init__(self, plane: OneDataPlane, one: SimProvider, two: SimProvider) -> None:
        self.plane = plane
        self.one = one
        self.two = two

    def client(self, url: str = "", key: str = "none") -> Any:
        """Return the official client."""
        options = types.HttpOptions(base_url=url or self.plane.url, timeout=30_000)
        return genai.Client(api_key=key, vertexai=False, http_options=options).aio


@contextlib.asynccontextmanager
async def open_place(more: str = "", settings: str = "", models: str = MODELS) -> AsyncIterator[Place]:
    """Run both providers behind edge; ``settings`` are further ones of each provider."""
    spec = ProviderSpec(name="sim", pace=Pace(ttft_s=0, tps=0))
    async with SimProvider(spec) as one, SimProvider(spec) as two:
        config = f"""\
providers:
  one: {{dialect: gemini, base_url: '{one.url}/v1beta'{settings}}}
  two: {{dialect: gemini, base_url: '{two.url}/v1beta'{settings}}}
  openai: {{base_url: '{two.url}/v1'{settings}}}
models:
{models}telemetry: {{sample: 100%}}
{more}"""
        async with one_data_plane(config) as plane:
            yield Place(plane, one, two)


async def test_an_sdk_gets_the_vectors_and_counts_of_the_provider() -> None:
    """One text or several, with a size or without, and a count; asked under the alias as under the provider's name."""
    async with open_place() as place:
        direct, through = place.client(place.one.url), place.client()
        for asked in (
            {"contents": "a"},
            {"contents": ["a", "some more text"], "config": {"output_dimensionality": 3}},
        ):
            own = await direct.models.embed_content(model="small", **asked)
            told = await through.models.embed_content(model="vectors", **asked)
            assert [one.values for one in told.embeddings] == [one.values for one in own.embeddings]
        assert len(told.embeddings) == 2
        assert len(told.embeddings[0].values) == 3
        own = await direct.models.count_tokens(model="small", contents="Hello there")
        told = await through.models.count_tokens(model="counted", contents="Hello there")
        assert told.total_tokens == own.total_tokens > 0
        records = await place.plane.recorded(3)
    assert [record.operation for record in records] == ["embeddings", "embeddings", "chat"]
    assert {record.attempts[0].target for record in records} == {"one/small"}
    assert records[0].prompt_tokens > 0
    assert records[0].output_tokens == 0


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("vectors:embedContent", b'{"model":"models/vectors","content":{"parts":[{"text":"a"}]}}', b'"embedding"'),
        ("vectors:embedContent", b'{"content":{"parts":[{"text":"a"}]}}', b'"embedding"'),
        (
            "counted:countTokens",
            b'{"generateContentRequest":{"model":"models/counted","contents":[{"parts":[{"text":"a"}]}]}}',
            b'"totalTokens"',
        ),
        (
            "counted:countTokens/",
            b'{"generate_content_request":{"model":"models/x","contents":[{"parts":[{"text":"a"}]}]}}',
            b'"totalTokens"',
        ),
    ],
)
async def test_a_model_in_the_body_is_that_of_the_path(path: str, body: bytes, answer: bytes) -> None:
    """The provider refuses another name in the body than in the path; it gets its own in both places."""
    async with open_place() as place:
        said = await place.plane.ask(post(body, f"/v1beta/models/{path}"), answer)
        assert said.startswith(b"HTTP/1.1 200"), said


async def test_vectors_fail_over_within_one_model_and_counts_to_any() -> None:
    """Another target is asked for vectors only if its model has the same name; a count may come from any target."""
    async with open_place() as place:
        await place.one.switch(Fault(kind="error", status=503))
        client = place.client()
        await client.models.embed_content(model="vectors", contents="a")
        await client.models.count_tokens(model="counted", contents="a")
        with pytest.raises(errors.ServerError, match="vectors of two models cannot be compared") as failure:
            await client.models.embed_content(model="alone", contents="a")
        assert failure.value.code == 503
        embedded, counted, failed = await place.plane.recorded(3)
    assert [attempt.target for attempt in embedded.attempts] == ["one/small", "two/small"]
    assert [attempt.target for attempt in counted.attempts] == ["one/small", "two/large"]
    assert {attempt.target for attempt in failed.attempts} == {"one/small"}


async def test_a_target_of_openai_s_dialect_gives_vectors_and_no_counts() -> None:
    """Vectors are those of the target in OpenAI's own words; a count is refused in Gemini's shape."""
    async with open_place() as place:
        client = place.client()
        for texts, config in (["a"], None), (["a", "b"], {"output_dimensionality": 5, "task_type": "RETRIEVAL_QUERY"}):
            told = await client.models.embed_content(model="elsewhere", contents=texts, config=config)
            assert len(told.embeddings) == len(texts)
            assert {len(one.values) for one in told.embeddings} == {5 if config else 64}
        one = await place.plane.ask(
            post(b'{"content":{"parts":[{"text":"a"}]}}', "/v1beta/models/elsewhere:embedContent"), b"}}"
        )
        assert b'{"embedding":{"values":[' in one
        with pytest.raises(errors.ClientError, match="countTokens cannot be asked in the dialect openai") as refused:
            await client.models.count_tokens(model="elsewhere", contents="a")
        assert refused.value.code == 400
        records = await place.plane.recorded(4)
        assert place.two.stats()["by_path"] == {"/v1/embeddings": 3}
    assert records[1].prompt_tokens > 0


async def test_errors_have_gemini_s_shape() -> None:
    """An unknown model, and what a target of another dialect refuses."""
    async with open_place() as place:
        client = place.client()
        for call in (client.models.embed_content, client.models.count_tokens):
            with pytest.raises(errors.ClientError, match="nowhere") as unknown:
                await call(model="nowhere", contents="a")
            assert (unknown.value.code, unknown.value.status) == (404, "NOT_FOUND")
        assert place.two.stats()["requests"] == 0
        await place.two.switch(Fault(kind="error", status=400))
        with pytest.raises(errors.ClientError) as refused:
            await client.models.embed_content(model="elsewhere", contents="a")
        assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")


async def test_vectors_are_charged_and_counts_are_free() -> None:
    """A key pays for the tokens that were embedded, and not for a count."""
    prices = ", prices: {'*': {input: 5, output: 40}}"
    async with open_place(keys(a="budget: 1"), prices) as place:
        client = place.client(key=clear("a"))
        await client.models.embed_content(model="vectors", contents="some text")
        await client.models.count_tokens(model="counted", contents="some text")
        embedded, counted = await place.plane.recorded(2)
    assert embedded.cost_nano == embedded.prompt_tokens * 5000 > 0
    assert counted.cost_nano == 0


async def test_a_target_that_offers_no_vectors_is_not_blamed() -> None:
    """A 404 for vectors from a target that does not declare them leads on, and its circuit stays closed."""
    async with open_place(settings=", capabilities: [chat]") as place:
        await place.one.switch(Fault(kind="capability", path="/v1beta/models/small:batchEmbedContents", status=404))
        client = place.client()
        for _ in range(12):
            await client.models.embed_content(model="vectors", contents="a")
        await client.models.count_tokens(model="counted", contents="a")
        last = (await place.plane.recorded(13))[-1]
    assert [attempt.target for attempt in last.attempts] == ["one/small"]
