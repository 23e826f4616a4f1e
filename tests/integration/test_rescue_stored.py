"""A stored response that breaks off is continued by nobody else, and the client is told where its provider keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import openai
import pytest
from one_data_plane import one_data_plane, post

from edge.sim.wire import Again, Close, ReadMessage, ScriptedServer, Send, chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.sim.wire import Step

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PATH = "/v1/responses"


def event(kind: str, number: int, **more: object) -> bytes:
    """Return an event of a response as one chunk."""
    body = json.dumps({"type": kind, "sequence_number": number, **more})
    return chunk(f"event: {kind}\ndata: {body}\n\n".encode())


def begun(name: str = "resp_1") -> bytes:
    """Return the first events of a streamed response, and two words of its text."""
    response = {"id": name, "object": "response", "status": "in_progress", "model": "m", "output": []}
    part = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return (
        HEAD
        + event("response.created", 0, response=response)
        + event("response.output_text.delta", 1, delta="Once ", **part)
        + event("response.output_text.delta", 2, delta="upon a time", **part)
    )


def rest() -> bytes:
    """Return what a provider sends to one who asks for the events after the second."""
    response = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": []}
    return HEAD + event("response.completed", 3, response=response) + b"0\r\n\r\n"


BREAKS: Sequence[Step] = (ReadMessage(), Send(begun()), Close())
GOES_ON: Sequence[Step] = (ReadMessage(), Send(rest()), Again())


def text(*urls: str) -> str:
    """Return a model of two targets with the same upstream model, by whom any text may be continued."""
    providers = "\n".join(
        f"  p{n}: {{dialect: openai, base_url: '{url}/v1', capabilities: [chat, responses, prefill]}}"
        for n, url in enumerate(urls)
    )
    targets = ", ".join(f"{{target: p{n}/m, tier: {n + 1}}}" for n in range(len(urls)))
    return f"providers:\n{providers}\nmodels:\n  chat: {{targets: [{targets}], rescue: text}}\n"


@pytest.mark.parametrize("more", [{}, {"store": True}, {"background": True}])
async def test_the_error_names_what_is_kept(more: dict[str, bool]) -> None:
    """The stream ends with an error that names the id; nobody else is asked, and the id leads to its provider."""
    async with ScriptedServer(BREAKS, GOES_ON) as first, ScriptedServer(GOES_ON) as second:
        async with one_data_plane(text(first.url, second.url)) as data_plane:
            body = json.dumps({"model": "chat", "input": "Tell me.", "stream": True, **more}).encode()
            received = (await data_plane.raw(post(body, PATH, b"connection: close\r\n"), limit_s=20.0)).received
            assert b"stream_broken" in received
            assert b"what its provider has stored of it is resp_1" in received
            assert b"response.completed" not in received
            client = httpx.AsyncClient(base_url=data_plane.url, timeout=20)
            answer = await client.get(f"{PATH}/resp_1", params={"stream": "true", "starting_after": "2"})
            await client.aclose()
            assert answer.status_code == 200, answer.text
            assert "response.completed" in answer.text
            asked = first.peers[1].messages[0].partition(b"\r\n")[0]
            assert asked == b"GET /v1/responses/resp_1?stream=true&starting_after=2 HTTP/1.1"
            assert second.peers == []


async def test_the_official_client_raises_with_the_id() -> None:
    """An application that streams by OpenAI's SDK gets an exception, whose message has the id."""
    said = ""

    async def listen(client: openai.AsyncOpenAI) -> None:
        nonlocal said
        async for each in await client.responses.create(model="chat", input="Tell me.", stream=True):
            said += each.delta if each.type == "response.output_text.delta" else ""

    async with ScriptedServer(BREAKS) as first, one_data_plane(text(first.url)) as data_plane:
        client = openai.AsyncOpenAI(base_url=f"{data_plane.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.APIError, match="resp_1"):
            await listen(client)
        await client.close()
        assert said == "Once upon a time"


async def test_what_is_not_kept_is_not_named() -> None:
    """Without storing there is nothing to look for, and an id that no provider writes is not repeated."""
    huge: Sequence[Step] = (ReadMessage(), Send(begun("r" * 4000)), Close())
    for script, more in ((BREAKS, {"store": False}), (huge, {})):
        async with ScriptedServer(script) as first, one_data_plane(text(first.url)) as data_plane:
            body = json.dumps({"model": "chat", "input": "Tell me.", "stream": True, **more}).encode()
            received = (await data_plane.raw(post(body, PATH, b"connection: close\r\n"), limit_s=20.0)).received
            assert b"stream_broken" in received
            assert b"has stored" not in received
