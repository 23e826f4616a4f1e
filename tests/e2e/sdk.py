"""Calls the official OpenAI SDK in its synchronous and its asynchronous form from the same test.

``Sdk.call`` and ``Sdk.drain`` take the name of a method, so that a test runs the same calls with the synchronous and
the asynchronous client. The bytes on the wire are kept.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 10.0
KEY = "sk-of-the-provider"
ODD = 'chat "ü" \\ 数据 🚀'  # an alias
UPSTREAM = "org/odd:model{1}"  # a provider's own name
HELLO = [{"role": "user", "content": "hello"}]
CHAT: dict[str, Any] = {"model": "chat", "messages": HELLO}


class Sdk:
    """A client without retries of its own: ``await sdk.call("chat.completions.create", model=...)``."""

    def __init__(self, client: OpenAI | AsyncOpenAI, sent: list[bytes]) -> None:
        self.client = client
        self.sent = sent  # the body of every request, as it left

    async def call(self, method: str, /, *args: Any, **asked: Any) -> Any:
        """Call a method; return its result."""
        function = attrgetter(method)(self.client)
        if isinstance(self.client, OpenAI):
            return await asyncio.to_thread(function, *args, **asked)
        return await function(*args, **asked)

    async def drain(self, method: str, /, into: list[Any] | None = None, **asked: Any) -> list[Any]:
        """Call a streaming method; return every event. ``into`` keeps the events before an exception."""
        events: list[Any] = [] if into is None else into
        stream = await self.call(method, stream=True, **asked)
        if isinstance(self.client, OpenAI):
            with stream:
                await asyncio.to_thread(lambda: events.extend(stream))
        else:
            async with stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 (those before an exception are wanted)
        return events


@contextlib.asynccontextmanager
async def open_sdk(base_url: str, *, form: str) -> AsyncIterator[Sdk]:
    """Open a client of the ``form`` "sync" or "async"."""
    sent: list[bytes] = []

    def keep(request: Any) -> None:
        sent.append(request.content)

    async def keep_async(request: Any) -> None:
        keep(request)

    settings: dict[str, Any] = {"base_url": base_url, "api_key": "sk-of-the-client", "max_retries": 0}
    if form == "sync":
        wire = DefaultHttpxClient(event_hooks={"request": [keep]}, timeout=PATIENCE_S)
        with OpenAI(http_client=wire, **settings) as client:
            yield Sdk(client, sent)
    else:
        wire_async = DefaultAsyncHttpxClient(event_hooks={"request": [keep_async]}, timeout=PATIENCE_S)
        async with AsyncOpenAI(http_client=wire_async, **settings) as client_async:
            yield Sdk(client_async, sent)


def received(echo: str) -> dict[str, Any]:
    """Return what the simulated model ``sim-echo`` has received; ``body`` is bytes, ``headers`` a mapping."""
    said = json.loads(echo)
    fields = {name.lower(): value for name, value in said["headers"]}
    return {**said, "headers": fields, "body": base64.b64decode(said["body"])}
