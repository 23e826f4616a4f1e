"""What edge cannot put into another dialect is asked of a target that takes it as it came, wherever that one stands.

The record of the exchange names every target that was excluded by that, and why, without the client's words.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from dialect_sdks import DIALECTS
from one_data_plane import OneDataPlane, one_data_plane

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
async def asking(last: bool) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, SimProvider], OneDataPlane]]:
    """Run a provider of each dialect, and a model for each, whose own dialect stands last or first.

    The model ``foreign`` has a target of Gemini's dialect alone; ``narrow`` has two whose dialects have few words, and
    ``exact`` the same with ``strict: true``.
    """
    async with contextlib.AsyncExitStack() as stack:
        spec = {name: ProviderSpec(name=name, pace=Pace(ttft_s=0, tps=0, tokens=4)) for name in DIALECTS}
        sims = {name: await stack.enter_async_context(SimProvider(spec[name])) for name in DIALECTS}
        text = "telemetry: {sample: 100%}\nproviders:\n"
        for name, sim in sims.items():
            root = f"{sim.url}/{'v1beta' if name == 'gemini' else 'v1'}"
            more = ", capabilities: [chat, images, json, tools]" if name == "openai" else ""
            text += f"  {name}-p: {{base_url: '{root}', dialect: {name}{more}}}\n"
        text += "models:\n  foreign: {targets: [gemini-p/sim]}\n"
        for name, more in (("narrow", ""), ("exact", ", strict: true")):
            tiers = "{target: anthropic-p/sim, tier: 1}, {target: responses-p/sim, tier: 2}"
            text += f"  {name}: {{targets: [{tiers}]{more}}}\n"
        for name in DIALECTS:
            order = sorted(DIALECTS, key=lambda other: (other == name) == last)
            targets = ", ".join(f"{{target: {other}-p/sim, tier: {tier}}}" for tier, other in enumerate(order, 1))
            text += f"  {name}: {{targets: [{targets}]}}\n"
        plane = await stack.enter_async_context(one_data_plane(text))
        yield await stack.enter_async_context(httpx.AsyncClient(base_url=plane.url, timeout=20)), sims, plane


UNREADABLE = "the request has what only the client's dialect can say"


@pytest.mark.parametrize(("client", "what", "body"), ODD, ids=[f"{client}-{what}" for client, what, _ in ODD])
async def test_the_target_of_the_clients_dialect_is_asked(client: str, what: str, body: dict[str, Any]) -> None:
    """Targets of other dialects are passed over, although they stand in better tiers."""
    del what
    async with asking(last=True) as (http, sims, plane):
        answer = await http.post(PATHS[client], json=body | {"model": client})
        assert (answer.status_code, answer.headers["x-edge-target"]) == (200, f"{client}-p/sim"), answer.text
        assert [name for name, sim in sims.items() if sim.stats()["requests"]] == [client]
        excluded = (await plane.recorded(1))[0].excluded
        assert sorted(excluded) == sorted(f"{other}-p/sim: {UNREADABLE}" for other in DIALECTS if other != client)


@pytest.mark.parametrize(("client", "what", "body"), ODD, ids=[f"{client}-{what}" for client, what, _ in ODD])
async def test_an_outage_is_no_mistake_of_the_client(client: str, what: str, body: dict[str, Any]) -> None:
    """Where the one target that could take it is down, the answer is 503, and not that the request is wrong."""
    del what
    async with asking(last=False) as (http, sims, _):
        await sims[client].switch(Fault(kind="error", status=500))
        answer = await http.post(PATHS[client], json=body | {"model": client})
        assert answer.status_code == 503, answer.text
        assert f"{client}-p/sim failed" in answer.text


async def test_without_such_a_target_the_refusal_says_what_is_wrong() -> None:
    """Where all targets have other dialects, the request is refused with what cannot be read."""
    async with asking(last=True) as (http, _, _):
        body = messages({"type": "video_url", "video_url": {"url": "https://a.example/x"}}) | {"model": "foreign"}
        answer = await http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_message")
        assert "'video_url'" in answer.json()["error"]["message"]


async def test_the_record_of_a_refusal_names_each_target_and_why() -> None:
    """A 400 ``cannot_carry`` leaves a record with what the error says of each target."""
    async with asking(last=True) as (http, sims, plane):
        answer = await http.post(
            "/v1/chat/completions", json=messages({"type": "text", "text": "Hi"}) | {"model": "narrow", "n": 2}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "cannot_carry"), answer.text
        reasons = tuple(
            f"{name}-p/sim: n = 2 cannot be said in the dialect {name}" for name in ("anthropic", "responses")
        )
        assert (await plane.recorded(1))[0].excluded == reasons
        assert all(reason in answer.json()["error"]["message"] for reason in reasons)
        assert not any(sim.stats()["requests"] for sim in sims.values())


async def test_the_record_of_an_answer_names_who_could_not_be_asked() -> None:
    """Where another target can say it, its record names those that were passed over, and each exchange its own."""
    async with asking(last=True) as (http, _, plane):
        content = [{"type": "text", "text": "Hi"}]
        for more in ({"stop": ["x"]}, {}):
            body = {"model": "responses", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
            answer = await http.post("/v1/chat/completions", json=body | {"model": "narrow"} | more)
            assert answer.headers["x-edge-target"] == "anthropic-p/sim"
        body = {"model": "narrow", "max_tokens": 9, "response_format": {"type": "json_object"}}
        answer = await http.post("/v1/chat/completions", json=body | {"messages": [{"role": "user", "content": "Hi"}]})
        assert answer.headers["x-edge-target"] == "responses-p/sim", answer.text
        first, second, third = await plane.recorded(3)
        assert (first.excluded, second.excluded) == ((), ())
        assert third.excluded == (
            "anthropic-p/sim: response_format json_object without a schema cannot be said in the dialect anthropic",
        )


@pytest.mark.parametrize("endpoint", ["/v1/messages/count_tokens"])
async def test_an_operation_without_words_is_recorded_too(endpoint: str) -> None:
    """A target whose dialect has no such operation is named."""
    async with asking(last=True) as (http, _, plane):
        body = {"model": "foreign", "messages": [{"role": "user", "content": "Hi"}]}
        answer = await http.post(endpoint, json=body)
        assert answer.status_code == 400, answer.text
        reason = "gemini-p/sim: count_tokens cannot be asked in the dialect gemini"
        assert reason in answer.json()["error"]["message"]
        assert (await plane.recorded(1))[0].excluded == (reason,)


async def test_no_words_of_the_client_reach_the_record() -> None:
    """The error quotes what the client wrote, the record says it in edge's words: no record holds a prompt."""
    async with asking(last=True) as (http, _, plane):
        body = messages({"type": "text", "text": "Hi"}) | {"model": "exact", "seed": 7, "my secret: 4711": "x"}
        answer = await http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "cannot_carry"), answer.text
        assert "4711" in answer.json()["error"]["message"]
        excluded = (await plane.recorded(1))[0].excluded
        assert [reason.partition(":")[0] for reason in excluded] == ["anthropic-p/sim", "responses-p/sim"]
        assert all("seed" in reason and "a field that edge does not know" in reason for reason in excluded)
        assert "4711" not in "".join(excluded)


async def test_a_record_stays_small_whatever_is_left_out() -> None:
    """Sixteen long names make no long record."""
    async with asking(last=True) as (http, _, plane):
        many = {f"{'a' * 60}{chr(97 + index)}": index for index in range(40)}
        answer = await http.post(
            "/v1/chat/completions", json=messages({"type": "text", "text": "Hi"}) | {"model": "exact"} | many
        )
        assert answer.status_code == 400, answer.text
        excluded = (await plane.recorded(1))[0].excluded
        assert len(excluded) == 2
        assert all(len(reason) <= 400 for reason in excluded)
