"""The provider gets a request byte for byte as sent, except for the model's name and the credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sdk import HELLO, KEY, ODD, received

if TYPE_CHECKING:
    from sdk import Sdk

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ+/=="
PARTS = [
    {"type": "text", "text": 'What is this? \u2028 \U0001f680 \\u0041 "quoted" \x07 tab\t'},
    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png?x=1&y=%20"}},
]
SCHEMA = {"type": "object", "properties": {"größe": {"type": "number"}}, "required": ["größe"]}
TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": SCHEMA}}

CHATS: dict[str, dict[str, Any]] = {
    "plain": {"messages": HELLO},
    "image-parts": {"messages": [{"role": "system", "content": "é"}, {"role": "user", "content": PARTS}]},
    "tools": {"messages": HELLO, "tools": [TOOL, TOOL], "parallel_tool_calls": False},
    "response-format": {
        "messages": HELLO,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": SCHEMA}},
    },
    "numbers": {"messages": HELLO, "temperature": 0.1, "logit_bias": {"50256": -100}, "seed": 2**62, "top_p": 1e-9},
    "vendor-fields": {
        "messages": HELLO,
        "extra_body": {
            "top_k": 40,
            "chat_template_kwargs": {"enable_thinking": False, "model": "not-this-one"},
            "x": [None, [], {}, "", 1e300, -0.0, "model"],
            "größe": {"深": ["\ud83d\ude80".encode("utf-16", "surrogatepass").decode("utf-16"), "\x7f"]},
            "big": 123456789012345678901234567890,
        },
    },
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["echo", ODD, "main/sim-echo"])
@pytest.mark.parametrize("chat", CHATS)
async def test_chat(sdk: Sdk, chat: str, model: str, stream: bool) -> None:
    """In a chat's body only the model's name changes, wherever else the word occurs."""
    asked = {"model": model, **CHATS[chat]}
    if stream:
        chunks = await sdk.drain("chat.completions.create", **asked, stream_options={"include_usage": True})
        echo = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    else:
        echo = (await sdk.call("chat.completions.create", **asked)).choices[0].message.content
    said = received(echo)
    assert said["path"] == "/v1/chat/completions"
    assert said["body"] == renamed(sdk.sent[0], model)
    assert said["headers"]["content-length"] == str(len(said["body"]))


def renamed(body: bytes, model: str) -> bytes:
    """Return the body that the upstream must get: the first ``"model":`` has the upstream's name."""
    before, mark, after = body.partition(b'"model":')
    name = sdk_spelling(model)
    assert after.startswith(name)
    return before + mark + b'"sim-echo"' + after.removeprefix(name)


def sdk_spelling(text: str) -> bytes:
    """Return a JSON string as the SDK writes it: escapes where required, UTF-8 elsewhere."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return ('"' + "".join(escapes.get(letter, letter) for letter in text) + '"').encode()


async def test_other_paths(sdk: Sdk) -> None:
    """The same holds for completions, responses and embeddings, each on its own path."""
    more = {"extra_body": {"vendor": {"größe": [1, 2.50]}}}
    whole = await sdk.call("completions.create", model="echo", prompt="é", **more)
    answer = await sdk.call("responses.create", model="echo", input=[{"role": "user", "content": "é"}], **more)
    vectors = await sdk.call("embeddings.create", model="echo", input=["é"], **more)
    echoes = [whole.choices[0].text, answer.output_text, vectors.sim_echo]
    paths = ["/v1/completions", "/v1/responses", "/v1/embeddings"]
    for echo, path, sent in zip(echoes, paths, sdk.sent, strict=True):
        said = received(echo)
        assert said["path"] == path
        assert said["body"] == renamed(sent, "echo")


async def test_what_goes_on_of_query_and_fields(sdk: Sdk) -> None:
    """The provider gets its own key, never the client's, and only api-version of the query."""
    answer = await sdk.call(
        "chat.completions.create",
        model="echo",
        messages=HELLO,
        extra_query={"key": "of-the-client", "api-version": "2026-01-01-preview", "beta": "true"},
        extra_headers={
            "openai-beta": "assistants=v2",
            "x-api-key": "of-the-client",
            "cookie": "a=b",
            "connection": "keep-alive, x-hop",
            "x-hop": "1",
        },
    )
    said = received(answer.choices[0].message.content)
    fields = said["headers"]
    assert said["path"] == "/v1/chat/completions?api-version=2026-01-01-preview"
    assert fields["authorization"] == f"Bearer {KEY}"
    assert fields["openai-beta"] == "assistants=v2"
    assert fields["user-agent"].startswith(("OpenAI/", "AsyncOpenAI/"))
    assert not {"x-api-key", "cookie", "x-hop"} & set(fields)
    assert "of-the-client" not in repr(said)
