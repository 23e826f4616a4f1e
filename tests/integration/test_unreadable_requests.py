"""What edge cannot put into another dialect is asked of a target that takes it as it came, wherever that one stands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from dialect_sdks import DIALECTS
from one_data_plane import one_data_plane

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def messages(*content: Any) -> dict[str, Any]:
    """Return a request of Anthropic's or OpenAI's with this content."""
    return {"max_tokens": 9, "messages": [{"role": "user", "content": list(content)}]}


ODD: list[tuple[str, str, dict[str, Any]]] = [
    ("anthropic", "search_result", messages({"type": "search_result", "source": "x", "title": "t", "content": []})),
    ("anthropic", "file", messages({"type": "document", "source": {"type": "file", "file_id": "file_x"}})),
    ("openai", "file", messages({"type": "file", "file": {"file_id": "file-x"}})),
    ("openai", "video_url", messages({"type": "video_url", "video_url": {"url": "https://a.example/x"}})),
    ("responses", "item_reference", {"input": [{"type": "item_reference", "id": "x"}]}),
    ("responses", "tool_choice", {"input": "Hi", "tool_choice": {"type": "web_search"}}),
    ("gemini", "gs", {"contents": [{"parts": [{"fileData": {"fileUri": "gs://a/b", "mimeType": "image/png"}}]}]}),
    ("gemini", "enum", {"contents": "Hi", "generationConfig": {"responseMimeType": "text/x.enum"}}),
]
PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini:generateContent",
}


@contextlib.asynccontextmanager
async def asking(last: bool) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, SimProvider]]]:
    """Run a provider of each dialect, and a model for each, whose own dialect stands last or first."""
    async with contextlib.AsyncExitStack() as stack:
        spec = {name: ProviderSpec(name=name, pace=Pace(ttft_s=0, tps=0, tokens=4)) for name in DIALECTS}
        sims = {name: await stack.enter_async_context(SimProvider(spec[name])) for name in DIALECTS}
        text = "providers:\n"
        for name, sim in sims.items():
            root = f"{sim.url}/{'v1beta' if name == 'gemini' else 'v1'}"
            more = ", capabilities: [chat, images, json, tools]" if name == "openai" else ""
            text += f"  {name}-p: {{base_url: '{root}', dialect: {name}{more}}}\n"
        text += "models:\n  foreign: {targets: [gemini-p/sim]}\n"
        for name in DIALECTS:
            order = sorted(DIALECTS, key=lambda other: (other == name) == last)
            targets = ", ".join(f"{{target: {other}-p/sim, tier: {tier}}}" for tier, other in enumerate(order, 1))
            text += f"  {name}: {{targets: [{targets}]}}\n"
        plane = await stack.enter_async_context(one_data_plane(text))
        yield await stack.enter_async_context(httpx.AsyncClient(base_url=plane.url, timeout=20)), sims


@pytest.mark.parametrize(("client", "what", "body"), ODD, ids=[f"{client}-{what}" for client, what, _ in ODD])
async def test_the_target_of_the_clients_dialect_is_asked(client: str, what: str, body: dict[str, Any]) -> None:
    """Targets of other dialects are passed over, although they stand in better tiers."""
    del what
    async with asking(last=True) as (http, sims):
        answer = await http.post(PATHS[client], json=body | {"model": client})
        assert (answer.status_code, answer.headers["x-edge-target"]) == (200, f"{client}-p/sim"), answer.text
        assert [name for name, sim in sims.items() if sim.stats()["requests"]] == [client]


@pytest.mark.parametrize(("client", "what", "body"), ODD, ids=[f"{client}-{what}" for client, what, _ in ODD])
async def test_an_outage_is_no_mistake_of_the_client(client: str, what: str, body: dict[str, Any]) -> None:
    """Where the one target that could take it is down, the answer is 503, and not that the request is wrong."""
    del what
    async with asking(last=False) as (http, sims):
        await sims[client].switch(Fault(kind="error", status=500))
        answer = await http.post(PATHS[client], json=body | {"model": client})
        assert answer.status_code == 503, answer.text
        assert f"{client}-p/sim failed" in answer.text


async def test_without_such_a_target_the_refusal_says_what_is_wrong() -> None:
    """Where all targets have other dialects, the request is refused with what cannot be read."""
    async with asking(last=True) as (http, _):
        body = messages({"type": "video_url", "video_url": {"url": "https://a.example/x"}}) | {"model": "foreign"}
        answer = await http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_message")
        assert "'video_url'" in answer.json()["error"]["message"]
