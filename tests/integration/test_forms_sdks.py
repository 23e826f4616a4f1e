"""Transcriptions, translations, edits and variations are forms, which the official OpenAI SDK sends through edge."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from callers import status
from endpoints import BOTH, PACE, open_place
from one_data_plane import post

from edge.sim.faults import Fault
from edge.sim.media_answers import PICTURE_TOKENS

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
SOUND = ("talk.wav", b"RIFF" + bytes(200_000), "audio/wav")
PICTURE = ("p.png", b"\x89PNG" + bytes(5000), "image/png")
PATHS = {
    "transcription": "/v1/audio/transcriptions",
    "translation": "/v1/audio/translations",
    "image_edit": "/v1/images/edits",
    "image_variation": "/v1/images/variations",
}


async def call(client: openai.AsyncOpenAI, operation: str, **more: Any) -> Any:
    """Make the call of an operation; return what the SDK makes of the answer."""
    asked: dict[str, Any] = {"model": "m", **more}
    if operation == "transcription":
        return await client.audio.transcriptions.create(file=SOUND, **asked)
    if operation == "translation":
        return await client.audio.translations.create(file=SOUND, **asked)
    if operation == "image_edit":
        answer: Any = await client.images.edit(image=[PICTURE, PICTURE], prompt="calmer", **asked)
    else:
        answer = await client.images.create_variation(image=PICTURE, n=2, **asked)
    return answer.model_dump(exclude={"created"})


@pytest.mark.parametrize("operation", PATHS)
async def test_an_sdk_gets_what_the_provider_says(operation: str) -> None:
    """The answer is that of the provider itself, which reads its own model and the whole file from the form."""
    async with open_place(BOTH) as place:
        direct = await call(place.client(place.one.base_url), operation, model="sim")
        assert await call(place.client(), operation) == direct
        assert place.one.stats()["by_path"] == {PATHS[operation]: 2}
        (record,) = await place.plane.recorded(1)
    assert (record.operation, record.status, record.attempts[0].target) == (operation, 200, "one/sim")


@pytest.mark.parametrize("operation", PATHS)
@pytest.mark.parametrize("fault", [Fault(kind="error", status=503), Fault(kind="reset"), Fault(kind="garbage")])
async def test_another_target_answers(operation: str, fault: Fault) -> None:
    """Before its first byte an answer that fails is asked of another target, with the whole form again."""
    async with open_place(BOTH) as place:
        direct = await call(place.client(place.two.base_url), operation, model="sim")
        await place.one.switch(fault)
        assert await call(place.client(), operation) == direct
        (record,) = await place.plane.recorded(1)
    assert [attempt.target for attempt in record.attempts] == ["one/sim", "two/sim"]


async def test_a_transcript_comes_as_text_or_in_events() -> None:
    """Bare text is relayed as it comes; events end with the whole text, whose usage is counted."""
    async with open_place(BOTH) as place:
        client = place.client()
        text = await call(client, "transcription", response_format="text")
        assert str(text).endswith(f"({len(SOUND[1])} bytes of talk.wav)\n")
        events = [event async for event in await call(client, "transcription", stream=True)]
        assert [event.type for event in events] == ["transcript.text.delta"] * PACE.tokens + ["transcript.text.done"]
        record = (await place.plane.recorded(2))[-1]
        await place.one.switch(Fault(kind="cut", tokens=3, clean=True))
        with pytest.raises(openai.APIError, match="incomplete"):
            [event async for event in await call(client, "transcription", stream=True)]
    assert (record.attempts[0].outcome, record.output_tokens) == ("ok", PACE.tokens)


@pytest.mark.parametrize(
    ("operation", "model", "prompt", "output"),
    [
        ("transcription", "whisper", (40, 60), (12, 30)),
        ("image_edit", "m", (1, 20), (PICTURE_TOKENS, PICTURE_TOKENS)),
        ("image_variation", "dall-e-2", (700, 1100), (2580, 2580)),
    ],
)
async def test_usage_is_counted_or_estimated(
    operation: str, model: str, prompt: tuple[int, int], output: tuple[int, int]
) -> None:
    """What the answer counts holds; else a file is estimated as sound or as a picture, and never as text."""
    models = BOTH + "\n  whisper: {targets: [one/whisper-1]}\n  dall-e-2: {targets: [one/dall-e-2]}"
    async with open_place(models) as place:
        await call(place.client(), operation, model=model)
        (record,) = await place.plane.recorded(1)
    assert prompt[0] <= record.prompt_tokens <= prompt[1]
    assert output[0] <= record.output_tokens <= output[1]


async def test_an_edit_without_a_model_asks_the_only_one_that_declares_it() -> None:
    """The part that names the model is put in front, with the target's name."""
    models = BOTH + "\n  pictures: {targets: [two/mine], require: {capabilities: [image]}}"
    async with open_place(models, one="capabilities: [image]", two="capabilities: [image]") as place:
        await call(place.client(), "image_variation", model=openai.omit)
        (record,) = await place.plane.recorded(1)
    assert (record.route, record.attempts[0].target) == ("pictures", "two/mine")
    assert place.two.stats()["by_status"] == {"200": 1}


async def test_a_target_without_the_capability_is_not_asked() -> None:
    """The refusal of a form names what excluded each target."""
    async with open_place(BOTH, one="capabilities: [chat]", two="capabilities: [translation]") as place:
        client = place.client()
        await call(client, "translation")
        assert place.one.stats()["requests"] == 0
        with pytest.raises(openai.BadRequestError, match="two/sim: its capabilities do not name transcription"):
            await call(client, "transcription")


@pytest.mark.parametrize(
    ("content_type", "body", "code", "said"),
    [
        (b"application/json", b'{"model":"m"}', 415, b"form_expected"),
        (b"multipart/form-data", b"--a--", 415, b"boundary of 1 to 70"),
        (b"multipart/form-data; boundary=a", b"--b--\r\n", 400, b"malformed_form"),
        (
            b"multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--a--\r\n',
            400,
            b"model_missing",
        ),
    ],
)
async def test_a_form_that_is_none_is_refused(content_type: bytes, body: bytes, code: int, said: bytes) -> None:
    """The refusal says what is wrong; no target is asked."""
    async with open_place(BOTH) as place:
        request = post(body, "/v1/audio/transcriptions").replace(b"application/json", content_type)
        answer = await place.plane.ask(request, b"}}")
        assert place.one.stats()["requests"] == 0
    assert (status(answer), said in answer) == (code, True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/audio/transcriptions", b"multipart/form-data; boundary=b"), ("/v1/chat/completions", b"application/json")],
)
async def test_a_request_with_two_types_is_refused(path: str, kind: bytes) -> None:
    """The provider could read the body by the type that edge does not take, and find another model in it."""
    body = b'{"model":"m","messages":[]}'
    if kind.startswith(b"multipart"):
        body = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
    async with open_place(BOTH) as place:
        request = post(body, path, b"Content-Type: " + kind + b"\r\n")
        answer = await place.plane.ask(request, b"}}")
        assert place.one.stats()["requests"] == 0
    assert (status(answer), b"more than one Content-Type" in answer) == (400, True)


async def test_a_form_over_the_limit_is_refused() -> None:
    """A form counts against limits.body like any other body."""
    async with open_place(BOTH, "limits: {body: 64KiB}\n") as place:
        with pytest.raises(openai.APIStatusError) as refused:
            await call(place.client(), "transcription")
    assert refused.value.status_code == 413


async def test_a_form_is_never_kept() -> None:
    """The boundary of a form is made anew each time, and its file is not compared: a cache keeps no answer to it."""
    async with open_place("  m: {targets: [one/sim], cache: {ttl: 60s}}") as place:
        client = place.client()
        assert await call(client, "transcription") == await call(client, "transcription")
        assert place.one.stats()["requests"] == 2
