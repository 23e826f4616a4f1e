"""Symptoms of estimates and reservations that users of gateways have reported, each with what is right instead."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from callers import bearer, keys, status
from one_data_plane import HELLO, ROLE, STOP, one_data_plane, post, sse, whole
from paid_provider import NANO, PaidProvider, account, config, request, settled, tokens, told

from edge.native import AllowanceCounter

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

PRICED = "{m: {input: 2.5, output: 10}}"
RICH = keys(alice="budget: 1000")
END = b"}}"


# --- 4. pictures are no text


def png(width: int, height: int, size: int) -> str:
    """Return a PNG's head with noise behind it, as base64 of about this many bytes."""
    data = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + data + struct.pack(">I", zlib.crc32(b"IHDR" + data))
    return base64.b64encode(head + random.Random(7).randbytes(size)).decode()


def picture(url: str, **more: str) -> list[dict[str, Any]]:
    """Return messages with a picture."""
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **more}}]}]


LARGE = f"data:image/png;base64,{png(1024, 1024, 400_000)}"


@pytest.mark.parametrize(
    ("provider_name", "url", "more", "expected"),
    [
        ("p0", LARGE, {}, 765),
        ("p0", LARGE, {"detail": "low"}, 85),
        ("p0", "https://example.net/cat.png", {}, 765),
        ("anthropic", LARGE, {}, 1399),
        ("gemini", LARGE, {}, 1032),
        ("gemini", f"data:image/png;base64,{png(300, 300, 9000)}", {}, 258),
    ],
)
async def test_a_picture_was_charged_by_its_bytes(
    provider_name: str, url: str, more: dict[str, str], expected: int
) -> None:
    """Without usage a picture costs what its provider's rule says of its size and detail, and text its bytes."""
    bare = len(json.dumps({"model": "chat", "messages": picture("", **more)}))
    async with PaidProvider(lambda _: whole(b'{"choices":[{"message":{"content":"hello"}}]}')) as provider:
        text = config(provider, '{"*": {input: 2.5, output: 10}}', provider_name) + RICH
        async with one_data_plane(text) as data_plane:
            await data_plane.ask(request("alice", messages=picture(url, **more)), b"hello")
            prompt = tokens(await settled(data_plane))[0]
            assert 0 <= prompt - expected - bare // 4 <= 10  # the URL's own bytes, or the prefix of the data


async def test_a_streamed_picture_of_two_megabytes() -> None:
    """A 2 MB picture in the prompt of a stream, and one in its answer, cost cents, not dollars, without any usage."""
    url = f"data:image/png;base64,{png(1024, 1024, 1_500_000)}"
    delta = json.dumps({"images": [{"type": "image_url", "image_url": {"url": url}}]}).encode()
    drawn = b'data: {"choices":[{"delta":%s}]}\n\n' % delta
    async with PaidProvider(lambda _: sse(ROLE, HELLO, drawn, STOP)) as provider:
        async with one_data_plane(config(provider, "{m: {input: 2.5, output: 2.5}}") + RICH) as data_plane:
            await data_plane.ask(request("alice", stream=True, messages=picture(url)), b'"stop"}]}\n\n')
            record = await settled(data_plane)
            assert 1000 < sum(tokens(record)) < 4000
            assert 0.001 < record["spent_nano"] / NANO < 0.02


# --- 5. many at once


async def at_once(data_plane: OneDataPlane, provider: PaidProvider, count: int, body: bytes) -> list[int]:
    """Send requests together, hold their answers until all are decided, and return the statuses."""
    provider.gate.clear()
    clients = [asyncio.create_task(data_plane.ask(body, END)) for _ in range(count)]
    async with asyncio.timeout(20):
        while len(provider.asked) + sum(client.done() for client in clients) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    provider.gate.set()
    return [status(answer) for answer in await asyncio.gather(*clients)]


@pytest.mark.parametrize(
    "members", [{"n": 100, "max_tokens": 10}, {"n": 100}, {"best_of": 100, "n": 1, "max_tokens": 10}]
)
@pytest.mark.usefixtures("both_wires")
async def test_forty_requests_for_a_hundred_answers_each(members: dict[str, int]) -> None:
    """Reservations count every answer that is asked for: together they do not pass what the bucket has."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":10,"completion_tokens":1000}')) as provider:
        text = config(provider, PRICED) + keys(alice="tokens_per_minute: 10000")
        async with one_data_plane(text) as data_plane:
            statuses = await at_once(data_plane, provider, 40, request("alice", **members))
            passed = statuses.count(200)
            assert passed + statuses.count(429) == 40
            assert 1 <= passed <= 10
            record = await settled(data_plane)
            assert sum(tokens(record)) <= 11_000
            assert record["held_tokens"] == 0


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("members", [{"max_tokens": 1000}, {}])
async def test_fifteen_requests_overspent_a_cent(members: dict[str, int]) -> None:
    """A budget is overspent by one request's worst case at most, however many come at once."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":10,"completion_tokens":1000}')) as provider:
        async with one_data_plane(config(provider, PRICED) + keys(alice="budget: 0.01")) as data_plane:
            statuses = await at_once(data_plane, provider, 15, request("alice", **members))
            assert statuses.count(200) == 1
            assert statuses.count(429) == 14
            record = await settled(data_plane)
            assert record["spent_nano"] == 10 * 2500 + 1000 * 10_000
            assert record["held_nano"] == 0


async def test_what_is_held_is_not_what_is_spent() -> None:
    """A request that is refused because others hold the rest may come again in a second, and then passes."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":10,"completion_tokens":10}')) as provider:
        async with one_data_plane(config(provider, PRICED) + keys(alice="budget: 0.01")) as data_plane:
            provider.gate.clear()
            first = asyncio.create_task(data_plane.ask(request("alice"), END))
            await provider.came.wait()
            refused = await data_plane.ask(request("alice"), END)
            assert b'"budget_reserved"' in refused
            assert b"retry-after: 1\r\n" in refused
            provider.gate.set()
            assert status(await first) == 200
            await settled(data_plane)
            assert status(await data_plane.ask(request("alice"), END)) == 200


async def test_one_after_the_other_is_not_hindered() -> None:
    """A request that comes alone passes while anything is left, whatever its worst case is."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":10,"completion_tokens":20}')) as provider:
        async with one_data_plane(config(provider, PRICED) + keys(alice="tokens_per_minute: 1200")) as data_plane:
            for _ in range(15):
                assert status(await data_plane.ask(request("alice"), END)) == 200


@pytest.mark.usefixtures("both_wires")
async def test_a_list_of_prompts_is_many_requests() -> None:
    """A completion of a list of texts has an answer for each of them."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":10,"completion_tokens":10}')) as provider:
        async with one_data_plane(config(provider, PRICED) + keys(alice="tokens_per_minute: 100000")) as data_plane:
            body = json.dumps({"model": "chat", "prompt": ["a"] * 20, "n": 2, "max_tokens": 50}).encode()
            await data_plane.ask(post(body, "/v1/completions", bearer("alice")), END)
            assert account(data_plane)["counts"][AllowanceCounter.A_RESERVED] == 20 * 2 * 50 + len(body) // 4
