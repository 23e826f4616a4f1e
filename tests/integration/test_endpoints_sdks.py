"""Moderations, rerank, images and speech reach targets that offer them, as the official OpenAI SDK asks for them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from callers import clear, keys
from endpoints import BOTH, PACE, open_place

from edge.native import Outcome
from edge.sim.faults import Fault
from edge.sim.media_answers import BAD_WORD, PICTURE_TOKENS, SPEECH_BYTES

CASES: dict[str, dict[str, Any]] = {
    "moderation": {"input": ["fine", f"bad {BAD_WORD}"]},
    "rerank": {"query": "old boats", "documents": ["stone bridges", "old stone boats", "an old river"]},
    "image": {"prompt": "a calm river", "n": 2},
    "speech": {"input": "someone counts slowly", "voice": "alloy"},
}
PATHS = {
    "moderation": "/v1/moderations",
    "rerank": "/v1/rerank",
    "image": "/v1/images/generations",
    "speech": "/v1/audio/speech",
}


async def call(client: openai.AsyncOpenAI, operation: str, **more: Any) -> Any:
    """Make the call of an operation; return what the SDK makes of the answer, sound as bytes."""
    asked = {**CASES[operation], "model": "m", **more}
    if operation == "moderation":
        return (await client.moderations.create(**asked)).model_dump(exclude={"id"})
    if operation == "image":
        return (await client.images.generate(**asked)).model_dump(exclude={"created"})
    if operation == "speech":
        return await (await client.audio.speech.create(**asked)).aread()
    asked = {name: value for name, value in asked.items() if value is not openai.omit}
    answer: Any = await client.post("/rerank", body=asked, cast_to=object)
    return {name: value for name, value in answer.items() if name != "id"}


@pytest.mark.parametrize("operation", CASES)
async def test_an_sdk_gets_what_the_provider_says(operation: str) -> None:
    """The answer is that of the provider itself, and the provider is asked on its own path for its own model."""
    async with open_place(BOTH) as place:
        direct = await call(place.client(place.one.base_url), operation, model="sim")
        assert await call(place.client(), operation) == direct
        assert place.one.stats()["by_path"] == {PATHS[operation]: 2}
        (record,) = await place.plane.recorded(1)
    assert (record.operation, record.status, record.attempts[0].target) == (operation, 200, "one/sim")


@pytest.mark.parametrize("operation", CASES)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="error", status=503),
        Fault(kind="reset"),
        Fault(kind="cut", at="head"),
        Fault(kind="garbage", shape="json"),
    ],
    ids=["503", "reset", "cut", "garbage"],
)
async def test_another_target_answers(operation: str, fault: Fault) -> None:
    """Before its first byte an answer that fails is asked of another target; a JSON answer that is none fails too."""
    async with open_place(BOTH) as place:
        direct = await call(place.client(place.two.base_url), operation, model="sim")
        await place.one.switch(fault)
        assert await call(place.client(), operation) == direct
        (record,) = await place.plane.recorded(1)
    assert [attempt.target for attempt in record.attempts] == ["one/sim", "two/sim"]


async def test_speech_is_relayed_as_it_comes() -> None:
    """The first sound reaches the client while the rest is still to come; what breaks off then is an error."""
    async with open_place(BOTH) as place:
        await place.one.switch(Fault(kind="stall", at="middle"))
        heard = 0
        async with place.client().audio.speech.with_streaming_response.create(
            model="m", input="one two", voice="alloy"
        ) as answer:
            assert answer.headers["content-type"] == "audio/mpeg"
            async for sound in answer.iter_bytes():
                heard += len(sound)
                if heard == PACE.tokens * SPEECH_BYTES // 2:
                    break
        await place.one.switch(Fault(kind="cut"))
        with pytest.raises(openai.APIError):
            await call(place.client(), "speech")
    assert place.two.stats()["requests"] == 0


@pytest.mark.parametrize("streamed", ["image", "speech"])
async def test_events_of_pictures_and_sound_are_complete_with_their_last(streamed: str) -> None:
    """A stream of pictures or sound ends with its own last event, whose usage is counted; without it, it has failed."""
    async with open_place(BOTH) as place:
        client = place.client()
        if streamed == "image":
            events: list[Any] = [
                event
                async for event in await client.images.generate(model="m", prompt="p", stream=True, partial_images=2)
            ]
            kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
            output = PICTURE_TOKENS
        else:
            raw = await client.audio.speech.create(model="m", input="p", voice="alloy", stream_format="sse")
            body = (await raw.aread()).decode()
            events = [line for line in body.split("\n\n") if line]
            kinds = ["speech.audio.delta"] * PACE.tokens + ["speech.audio.done"]
            output = PACE.tokens
        assert [kind for kind, event in zip(kinds, events, strict=True) if kind not in str(event)] == []
        (record,) = await place.plane.recorded(1)
    assert (record.status, record.attempts[0].outcome, record.output_tokens) == (200, "ok", output)


@pytest.mark.parametrize("operation", CASES)
async def test_a_target_without_the_capability_is_not_asked(operation: str) -> None:
    """Of two targets the one is asked that declares the capability; the refusal names what excluded each."""
    three = "  three: {base_url: 'http://127.0.0.1:9/v1', dialect: anthropic}\n"
    many = ", ".join(f"one/{number}" for number in range(20))
    models = f"{BOTH}\n  none: {{targets: [{many}, one/sim, three/sim]}}"
    offered = {"one": "capabilities: [chat]", "two": f"capabilities: [chat, {operation}]"}
    async with open_place(models, providers=three, **offered) as place:
        client = place.client()
        await call(client, operation)
        assert place.one.stats()["requests"] == 0
        with pytest.raises(openai.BadRequestError) as refused:
            await call(client, operation, model="none")
    assert refused.value.code == "not_offered"
    assert (
        f"one/sim: its capabilities do not name {operation}; three/sim: the dialect anthropic has no {operation}"
        in (refused.value.message)
    )


@pytest.mark.parametrize("operation", ["moderation", "image"])
async def test_a_request_without_a_model_asks_the_only_one_that_declares_it(operation: str) -> None:
    """OpenAI's moderations and images need no model: exactly one that requires the capability is asked."""
    models = BOTH + f"\n  q\u00fc: {{targets: [two/mine], require: {{capabilities: [{operation}]}}}}"
    offered = f"capabilities: [{operation}]"
    async with open_place(models, one=offered, two=offered) as place:
        answer = await call(place.client(), operation, model=openai.omit)
        if operation == "moderation":
            assert answer["model"] == "mine"
        (record,) = await place.plane.recorded(1)
    assert (record.route, record.attempts[0].target) == ("q\u00fc", "two/mine")


@pytest.mark.parametrize(
    ("operation", "required", "said"),
    [("image", "", "require: {capabilities: [image]}"), ("image", "image", "require:"), ("rerank", "", "'model'")],
)
async def test_a_request_without_a_model_is_refused_where_none_is_meant(
    operation: str, required: str, said: str
) -> None:
    """With no such model, or with two, the refusal says what to write; other operations need a model anyway."""
    models = "\n".join(
        f"  {name}: {{targets: [one/sim], require: {{capabilities: [{required}]}}}}" for name in ("a", "b")
    )
    async with open_place(models, one="capabilities: [image, rerank]") as place:
        with pytest.raises(openai.BadRequestError) as refused:
            await call(place.client(), operation, model=openai.omit)
    assert (refused.value.code, said in refused.value.message) == ("model_missing", True)


@pytest.mark.parametrize(
    ("operation", "model", "output"),
    [
        ("moderation", "m", 0),
        ("rerank", "m", 0),
        ("image", "m", 2 * PICTURE_TOKENS),
        ("image", "old", 2 * 1290),
    ],
)
async def test_usage_is_counted_or_estimated(operation: str, model: str, output: int) -> None:
    """What the answer counts holds; without counts a moderation has no output, and a picture the usual."""
    models = BOTH + "\n  old: {targets: [one/dall-e-3]}"
    async with open_place(models) as place:
        await call(place.client(), operation, model=model)
        (record,) = await place.plane.recorded(1)
    assert record.output_tokens == output
    assert record.prompt_tokens > 0


async def test_a_key_with_a_budget_needs_a_price() -> None:
    """Without a price of every target the request is refused; with one the key is charged."""
    priced = "prices: {sim: {input: 5, output: 40}}"
    async with open_place(BOTH, keys(a="budget: 1"), one=priced, two=priced) as place:
        client = place.client(key=clear("a"))
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await call(client, "image", model="one/other")
        assert refused.value.code == "model_not_priced"
        await call(client, "image")
        record = (await place.plane.recorded(2))[-1]
    assert record.cost_nano == (record.prompt_tokens * 5 + 2 * PICTURE_TOKENS * 40) * 1000


async def test_embeddings_stay_with_one_model() -> None:
    """Embeddings fail over to the same upstream model only, because vectors of two models cannot be compared."""
    models = """\
  e: {targets: [one/small, {target: one/large, tier: 2}, {target: two/small, tier: 3}]}
  alone: {targets: [one/small, {target: two/large, tier: 2}], retry: {attempts: 3}}
"""
    async with open_place(models) as place:
        client = place.client()
        await place.one.switch(Fault(kind="error", status=503))
        assert (await client.embeddings.create(model="e", input="a")).model == "small"
        with pytest.raises(openai.InternalServerError) as failure:
            await client.embeddings.create(model="alone", input="a")
        served, failed = await place.plane.recorded(2)
    assert [attempt.target for attempt in served.attempts] == ["one/small", "two/small"]
    assert {attempt.target for attempt in failed.attempts} == {"one/small"}
    assert "Never asked: two/large: its model is large, and vectors of two models cannot be compared." in str(
        failure.value
    )


@pytest.mark.parametrize("operation", ["rerank", "speech"])
async def test_a_kept_answer_is_the_same_again(operation: str) -> None:
    """With a cache a repeated request is answered without a target: JSON and sound alike, with its type."""
    async with open_place("  m: {targets: [one/sim], cache: {ttl: 60s}}") as place:
        client = place.client()
        first = await call(client, operation)
        assert await call(client, operation) == first
        if operation == "speech":
            again = await client.audio.speech.with_raw_response.create(model="m", **CASES["speech"])
            assert again.headers["content-type"] == "audio/mpeg"
        assert place.one.stats()["requests"] == 1


async def test_a_path_that_a_target_lacks_says_nothing_about_its_health() -> None:
    """A target that declares no capabilities may lack a path: its 404 leads to another target, and harms nothing."""
    async with open_place(BOTH) as place:
        await place.one.switch(Fault(kind="capability", path="/v1/rerank", status=404))
        client = place.client()
        for number in range(12):
            await call(client, "rerank", query=f"question {number * 7919}")
        await call(client, "moderation")
        records = await place.plane.recorded(13)
        outcomes = place.plane.outcomes("one/sim")
    assert [attempt.target for attempt in records[11].attempts] == ["one/sim", "two/sim"]
    assert records[12].attempts[0].target == "one/sim"
    assert (outcomes[Outcome.MISCONFIGURED], outcomes[Outcome.CLIENT_FAULT]) == (0, 12)
