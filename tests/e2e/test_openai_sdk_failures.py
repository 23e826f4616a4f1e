"""The official SDK raises the expected exception whenever edge or its providers cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from sdk import CHAT, HELLO

if TYPE_CHECKING:
    from sdk import Sdk


@pytest.mark.parametrize("model", ["no-such-model", "no-such-provider/model", 'größe\\"', "/", "main/"])
async def test_unknown_model(sdk: Sdk, model: str) -> None:
    """A model without a route is NotFoundError with OpenAI's code, the name and the remedy."""
    with pytest.raises(openai.NotFoundError) as raised:
        await sdk.call("chat.completions.create", model=model, messages=HELLO)
    assert (raised.value.code, raised.value.param, raised.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert repr(model) in raised.value.message
    assert "/v1/models" in raised.value.message
    with pytest.raises(openai.NotFoundError):
        await sdk.call("models.retrieve", model)


@pytest.mark.parametrize(
    ("extra", "code"),
    [({"model": 7}, "malformed_json"), ({"stream": "yes"}, "malformed_json"), ({"model": None}, "malformed_json")],
)
async def test_malformed(sdk: Sdk, extra: dict[str, Any], code: str) -> None:
    """A body that edge cannot route is BadRequestError with the error."""
    with pytest.raises(openai.BadRequestError) as raised:
        await sdk.call("chat.completions.create", **CHAT, extra_body=extra)
    assert raised.value.code == code
    assert "must be a string" in raised.value.message


async def test_the_providers_refusal_is_the_callers_to_see(sdk: Sdk) -> None:
    """A request that the provider refuses is BadRequestError in the provider's own words."""
    with pytest.raises(openai.BadRequestError) as raised:
        await sdk.call("chat.completions.create", model="chat", messages=[])
    assert raised.value.code == "missing_required_parameter"
    assert raised.value.response.headers["x-edge-target"] == "main/sim-small"
    assert raised.value.response.headers["x-edge-attempts"] == "1"


@pytest.mark.parametrize("size", [65 * 1024, 8 * 1024 * 1024], ids=["65KiB", "8MiB"])
async def test_body_too_large(sdk: Sdk, size: int) -> None:
    """A body over the limit is APIStatusError 413 with the limit, at any point of the upload."""
    with pytest.raises(openai.APIStatusError) as raised:
        await sdk.call("chat.completions.create", model="chat", messages=[{"role": "user", "content": "a" * size}])
    assert raised.value.status_code == 413
    assert raised.value.code == "body_too_large"
    assert "65536" in raised.value.message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_everything_down(sdk: Sdk, stream: bool) -> None:
    """With every target down it is APIStatusError 503 with Retry-After, and the body lists the targets."""
    with pytest.raises(openai.APIStatusError) as raised:
        await sdk.call("chat.completions.create", model="gone", messages=HELLO, stream=stream)
    assert isinstance(raised.value, openai.InternalServerError)
    assert raised.value.status_code == 503
    assert raised.value.code == "no_usable_target"
    error: Any = raised.value.body
    waits = {item["target"]: item["retry_after_s"] for item in error["targets"]}
    assert set(waits) == {"dark/gone", "dark/gone-too"}
    assert abs(int(raised.value.response.headers["retry-after"]) - max(1.0, min(waits.values()))) <= 1
    assert all(name in raised.value.message for name in waits)


BREAKS: dict[str, dict[str, Any]] = {
    "cut": {"kind": "cut"},
    "cut-with-a-proper-end": {"kind": "cut", "clean": True},
    "reset": {"kind": "reset", "at": "middle"},
    "stall": {"kind": "stall", "at": "middle"},
    "in-band-error": {"kind": "inband_error", "at": "middle"},
}


@pytest.mark.parametrize("method", ["chat", "completions", "responses"])
@pytest.mark.parametrize("fault", BREAKS)
async def test_broken_stream(sdk: Sdk, fault: str, method: str) -> None:
    """A stream that breaks after its first content raises or says so, so that a part is never taken for the whole."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "chat": ("chat.completions.create", {"messages": HELLO}),
        "completions": ("completions.create", {"prompt": "hello"}),
        "responses": ("responses.create", {"input": "hello"}),
    }
    name, asked = calls[method]
    events: list[Any] = []
    extra = {"sim": {"fault": {**BREAKS[fault], "tokens": 3}}}
    if (fault, method) == ("in-band-error", "responses"):
        # the provider's own event passes as it is, and official SDKs hand it out
        await sdk.drain(name, into=events, model="breaks", **asked, extra_body=extra)
        assert [event.type for event in events if "error" in event.type or "completed" in event.type] == ["error"]
    else:
        with pytest.raises(openai.APIError):
            await sdk.drain(name, into=events, model="breaks", **asked, extra_body=extra)
    assert said(events) == "Hello from main"


def said(events: list[Any]) -> str:
    """Join the text, in any of the three APIs."""
    parts: list[str] = []
    for event in events:
        if hasattr(event, "choices"):
            parts += [
                choice.text if hasattr(choice, "text") else choice.delta.content or "" for choice in event.choices
            ]
        elif event.type == "response.output_text.delta":
            parts.append(event.delta)
    return "".join(parts)


BROKEN = {"cut": {"kind": "cut"}, "garbage": {"kind": "garbage"}, "in-band-error": {"kind": "inband_error"}}


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken_whole_answer(sdk: Sdk, fault: str) -> None:
    """A truncated or invalid answer, or an error under a 200, never reaches the application as an answer."""
    with pytest.raises(openai.InternalServerError) as raised:
        await sdk.call(
            "chat.completions.create", model="breaks", messages=HELLO, extra_body={"sim": {"fault": BROKEN[fault]}}
        )
    assert raised.value.status_code == 503
    assert "main/breaks failed" in raised.value.message
