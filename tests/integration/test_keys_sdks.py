"""The official SDKs work with a key of edge, raise the expected errors without one, and wait as told."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from aiohttp import web
from one_data_plane import one_data_plane

from edge.admission.keys import new_key, sha256_of
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from one_data_plane import OneDataPlane

PROVIDER_KEY = "sk-of-the-provider"
HELLO: Any = [{"role": "user", "content": "hello"}]
KEYS = {
    name: new_key() for name in ("all", "mini", "slow", "wordy", "single", "broke", "billing")
}  # made anew in each run
BOUNDS = {
    "all": "",
    "mini": "models: [mini]",
    "slow": "requests_per_minute: 60, requests_burst: 1",
    "wordy": "tokens_per_minute: 60, tokens_burst: 60",
    "single": "concurrent: 1",
    "broke": "budget: 0.000001",
    "billing": 'models: ["service:billing"]',
}


class Messages:
    """A service in Anthropic's dialect that keeps the header fields it has received."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request as ``POST /v1/messages``."""
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-haiku-4-5",
                "content": [{"type": "text", "text": "hello"}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )


class Place:
    """A data plane with keys in front of a simulated provider and a service."""

    def __init__(self, data_plane: OneDataPlane, provider: SimProvider, messages: Messages) -> None:
        self.data_plane = data_plane
        self.provider = provider
        self.messages = messages
        self.sent = 0

    def openai(self, key: str, **settings: Any) -> openai.AsyncOpenAI:
        """Make a client; without retries unless they are asked for."""
        wire = openai.DefaultAsyncHttpxClient(event_hooks={"request": [self._count]}, timeout=10.0)
        given = {"max_retries": 0, **settings}
        return openai.AsyncOpenAI(base_url=self.data_plane.url + "/v1", api_key=key, http_client=wire, **given)

    def anthropic(self, key: str, **settings: Any) -> anthropic.AsyncAnthropic:
        """Make a client, as above."""
        wire = anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [self._count]}, timeout=10.0)
        given = {"max_retries": 0, **settings}
        return anthropic.AsyncAnthropic(base_url=self.data_plane.url, api_key=key, http_client=wire, **given)

    async def _count(self, _request: httpx.Request) -> None:
        self.sent += 1

    def allowance(self, name: str) -> dict[str, Any]:
        """Return a key's record in the shared state."""
        slot = next(key.slot for key in self.data_plane.snapshot.keys if key.name == name)
        return dict(self.data_plane.shared_state.read_allowance(slot))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Run one."""
    messages = Messages()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", messages.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    pace = Pace(ttft_s=0.0, tps=0.0, tokens=8)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        provider = await stack.enter_async_context(SimProvider(ProviderSpec(pace=pace, key=PROVIDER_KEY)))
        keys = "\n".join(
            f'  - {{name: {name}, sha256: "{sha256_of(key)}"{", " * bool(BOUNDS[name])}{BOUNDS[name]}}}'
            for name, key in KEYS.items()
        )
        text = f"""
providers:
  p:
    base_url: "{provider.base_url}"
    api_key: "{PROVIDER_KEY}"
    prices: {{"*": {{input: 1, output: 2}}}}
models: {{chat: {{targets: [p/sim-small]}}, mini: {{targets: [p/sim-small]}}}}
services: {{billing: {{match: {{host: 127.0.0.1, path: /v1/messages}}, targets: ["127.0.0.1:{port}"]}}}}
keys:
{keys}
"""
        data_plane = await stack.enter_async_context(one_data_plane(text))
        yield Place(data_plane, provider, messages)


async def test_openai_passes_with_a_key_of_the_edge(place: Place) -> None:
    """Complete and streamed answers arrive; the provider gets its own key, and models are listed."""
    async with place.openai(KEYS["all"]) as client:
        answered = await client.chat.completions.create(model="chat", messages=HELLO)
        assert answered.choices[0].message.content
        stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        assert [chunk async for chunk in stream]
        assert {model.id async for model in client.models.list()} >= {"chat", "mini", "p/sim-small"}
    async with place.openai(KEYS["mini"]) as client:
        assert [model.id async for model in client.models.list()] == ["mini"]


async def test_openai_without_a_key_or_with_a_strange_one_is_an_authentication_error(place: Place) -> None:
    """401 with the matching code; nothing reaches the provider, and the answer reveals no keys."""
    without: Any = {"Authorization": openai.Omit()}
    async with place.openai("x") as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            await client.chat.completions.create(model="chat", messages=HELLO, extra_headers=without)
        assert raised.value.code == "missing_api_key"
        assert raised.value.response.headers["www-authenticate"] == "Bearer"
    for key in (new_key(), PROVIDER_KEY, KEYS["all"] + "x", KEYS["all"].upper()):
        async with place.openai(key) as client:
            with pytest.raises(openai.AuthenticationError) as raised:
                await client.chat.completions.create(model="chat", messages=HELLO)
            assert raised.value.code == "invalid_api_key"
            assert key not in raised.value.message
    assert place.provider.stats()["requests"] == 0


async def test_openai_may_not_ask_for_what_the_key_may_not(place: Place) -> None:
    """403 for existing and for unknown models, so that names cannot be guessed; permitted models answer."""
    async with place.openai(KEYS["mini"]) as client:
        for model in ("chat", "p/sim-small", "no-such-model"):
            with pytest.raises(openai.PermissionDeniedError) as raised:
                await client.chat.completions.create(model=model, messages=HELLO)
            assert (raised.value.code, raised.value.param) == ("model_not_allowed", "model")
        assert await client.chat.completions.create(model="mini", messages=HELLO)
    assert place.provider.stats()["requests"] == 1


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("slow", "rate_limit_exceeded", "requests"),
        ("wordy", "rate_limit_exceeded", "tokens"),
        ("broke", "insufficient_quota", "insufficient_quota"),
    ],
)
async def test_openai_over_a_bound_is_a_rate_limit_error(place: Place, name: str, code: str, kind: str) -> None:
    """429 with the limit and the time to retry, in whole seconds of at least one."""
    async with place.openai(KEYS[name]) as client:
        for _ in range(4 if name == "wordy" else 1):
            await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=8)
        with pytest.raises(openai.RateLimitError) as raised:
            await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=50)
    assert (raised.value.code, raised.value.type) == (code, kind)
    wait = int(raised.value.response.headers["retry-after"])
    assert 1 <= wait <= (31 * 86400 if name == "broke" else 60)
    assert str(wait) in raised.value.message


async def test_openai_over_its_requests_at_once_is_a_rate_limit_error(place: Place) -> None:
    """While one stream runs, the next request is refused; afterwards it passes."""
    async with place.openai(KEYS["single"]) as client:
        stream = await client.chat.completions.create(
            model="chat", messages=HELLO, stream=True, extra_body={"sim": {"tps": 20, "tokens": 80}}
        )
        first = await anext(aiter(stream))
        assert first.id
        assert place.allowance("single")["inflight"] == 1
        with pytest.raises(openai.RateLimitError, match="concurrent requests"):
            await client.chat.completions.create(model="chat", messages=HELLO)
        async for _ in stream:
            pass
        assert await client.chat.completions.create(model="chat", messages=HELLO)


async def test_openai_waits_as_long_as_it_is_told(place: Place) -> None:
    """The SDK's own retry honours Retry-After: its second try comes a second later, and passes."""
    async with place.openai(KEYS["slow"], max_retries=1) as client:
        await client.chat.completions.create(model="chat", messages=HELLO)
        began = time.monotonic()
        await client.chat.completions.create(model="chat", messages=HELLO)
        assert time.monotonic() - began >= 0.9
    assert place.sent == 3


async def test_openai_does_not_try_a_spent_budget_again(place: Place) -> None:
    """The 429 of a budget has ``x-should-retry: false``, because a retry is useless until the month ends."""
    async with place.openai(KEYS["broke"], max_retries=5) as client:
        await client.chat.completions.create(model="chat", messages=HELLO)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="chat", messages=HELLO)
    assert place.sent == 2


async def test_anthropic_passes_with_a_key_of_the_edge(place: Place) -> None:
    """``x-api-key`` is accepted too, and the caller's key does not reach the service."""
    async with place.anthropic(KEYS["billing"]) as client:
        answered = await client.messages.create(model="claude-haiku-4-5", max_tokens=8, messages=HELLO)
    assert answered.content[0].type == "text"
    (seen,) = place.messages.seen
    assert KEYS["billing"] not in str(seen)


async def test_anthropic_raises_what_its_users_expect(place: Place) -> None:
    """Unknown keys, forbidden models and exceeded limits raise the SDK's own exception classes."""
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 8, "messages": HELLO}
    async with place.anthropic(new_key()) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**asked)
    async with place.anthropic(KEYS["mini"]) as client:
        with pytest.raises(anthropic.PermissionDeniedError):
            await client.messages.create(**asked)
    async with place.anthropic(KEYS["slow"]) as client:
        await client.messages.create(**asked)
        with pytest.raises(anthropic.RateLimitError) as raised:
            await client.messages.create(**asked)
    assert raised.value.response.headers["retry-after"] == "1"
    assert len(place.messages.seen) == 1


async def test_anthropic_waits_as_long_as_it_is_told(place: Place) -> None:
    """The SDK's own retry honours Retry-After and passes."""
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 8, "messages": HELLO}
    async with place.anthropic(KEYS["slow"], max_retries=1) as client:
        await client.messages.create(**asked)
        began = time.monotonic()
        await client.messages.create(**asked)
        assert time.monotonic() - began >= 0.9
    assert place.sent == 3
