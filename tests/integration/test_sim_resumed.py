"""A simulated provider that is asked to go on with an answer does so, starts over or refuses, as it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.sim import asked
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Close, ReadMessage, Send, play_client

PACE = Pace(ttft_s=0.0, tps=0.0, tokens=12, seed=7)
USER = {"role": "user", "content": "Tell me."}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def said(begun: str, last: str = "") -> list[dict[str, Any]]:
    """Return a conversation with the beginning of an answer, and perhaps a message that asks for the rest."""
    turns = [USER, {"role": "assistant", "content": begun}]
    return [*turns, {"role": "user", "content": f"Go on from:\n{last}"}] if last else turns


async def answer(provider: SimProvider, messages: list[dict[str, Any]], *, stream: bool = False) -> bytes:
    """Return what the provider answers to a chat."""
    body = json.dumps({"model": "m", "messages": messages, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    return (await play_client(provider.port, Send(head + body), ReadMessage(), Close())).received


def text(received: bytes) -> str:
    """Return the text of a whole answer."""
    content: str = json.loads(received.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"]
    return content


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 11])
async def test_it_goes_on_where_the_answer_stopped(tokens: int) -> None:
    """Wherever its own answer was cut between tokens, the rest makes it whole again."""
    async with SimProvider(ProviderSpec(name="sim", pace=PACE, prefill="continue", turn="continue")) as provider:
        whole = text(await answer(provider, [USER]))
        words = ["Hello", " from", " sim", ":", *(f" {word}" for word in whole.split(" ")[3:])]
        begun = "".join(words[:tokens])
        assert whole == "".join(words)
        assert begun + text(await answer(provider, said(begun))) == whole
        assert begun + text(await answer(provider, said(begun, "x"))) == whole


async def test_it_repeats_starts_over_or_refuses() -> None:
    """Each manner is that of providers: some repeat the words they are asked to begin with, some know no prefill."""
    async with SimProvider(ProviderSpec(name="sim", pace=PACE)) as provider:
        whole = text(await answer(provider, [USER]))
        begun = " ".join(whole.split(" ")[:6])
        assert text(await answer(provider, said(begun))) == whole
        assert text(await answer(provider, said(begun, "last words"))) == "last words" + whole[len(begun) :]
        assert text(await answer(provider, said(whole, "and now?"))) == whole
        assert text(await answer(provider, said("Something else", "and now?"))) == whole
    async with SimProvider(ProviderSpec(name="sim", pace=PACE, prefill="refuse", turn="restart")) as provider:
        refused = await answer(provider, said(begun))
        assert refused.startswith(b"HTTP/1.1 400")
        assert b"does not support prefill" in refused
        assert text(await answer(provider, said(begun, "last words"))) == whole


@pytest.mark.parametrize("operation", PATHS)
def test_the_beginning_is_found_in_each_api(operation: str) -> None:
    """Chat, messages and responses say in their own words what was begun."""
    kind = "output_text" if operation == "responses" else "text"
    turns = [USER, {"role": "assistant", "content": [{"type": kind, "text": "Hello from"}]}, USER]
    body = {"model": "m", "max_tokens": 9, "input" if operation == "responses" else "messages": turns}
    ask = asked.read(PATHS[operation], json.dumps(body).encode(), PACE)
    assert (ask.begun, ask.begun_in) == ("Hello from", "turn")


async def test_a_corrupt_event_is_followed_by_the_rest() -> None:
    """One event is no JSON, and the stream ends as it should."""
    fault = Fault(kind="corrupt", tokens=2)
    async with SimProvider(ProviderSpec(name="sim", pace=PACE, faults=(fault,))) as provider:
        received = await answer(provider, [USER], stream=True)
        events = [line[6:] for line in received.split(b"\n") if line.startswith(b"data: {")]
        bad = [number for number, event in enumerate(events) if not event.endswith(b"}")]
        assert bad == [3]  # behind the role and two tokens
        assert b"[DONE]" in received
