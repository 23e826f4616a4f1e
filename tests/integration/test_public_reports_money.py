"""Symptoms that users of gateways have reported about tokens and money, each with what is right instead."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from callers import ask, keys, status
from one_data_plane import HELLO, ROLE, STOP, one_data_plane, sse, whole
from paid_provider import PaidProvider, config, request, say, settled, streamed, tokens, told, usage_event

PRICED = "{m: {input: 2.5, output: 10}}"
RICH = keys(alice="budget: 1000")
END = b"}}"


# --- 1. what has no price


@pytest.mark.parametrize(
    ("model", "nano"), [("dear", 100 * 10_000 + 20 * 40_000), ("dear-2025-04-14", 1_800_000), ("cheap", 120_000)]
)
@pytest.mark.usefixtures("both_wires")
async def test_a_model_that_a_client_names_itself_was_free(model: str, nano: int) -> None:
    """``provider/model`` costs what the model that is asked costs, not what the provider's ``*`` does."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":100,"completion_tokens":20}')) as provider:
        prices = "{dear: {input: 10, output: 40}, cheap: {input: 1, output: 1}, m: {input: 5, output: 5}}"
        async with one_data_plane(config(provider, prices) + RICH) as data_plane:
            await data_plane.ask(request("alice", model=f"p0/{model}"), END)
            assert provider.asked[0]["model"] == model
            assert (await settled(data_plane))["spent_nano"] == nano


@pytest.mark.usefixtures("both_wires")
async def test_a_budget_was_not_charged_for_a_model_without_a_price() -> None:
    """Such a model is refused to a key with a budget, with words that help; other keys may use it."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":1,"completion_tokens":1}')) as provider:
        text = config(provider, PRICED) + keys(alice="budget: 1000", bob="")
        async with one_data_plane(text) as data_plane:
            answer = await data_plane.ask(request("alice", model="p0/new"), END)
            assert status(answer) == 403
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert (error["code"], error["param"]) == ("model_not_priced", "model")
            assert "'p0/new'" in error["message"]
            assert provider.asked == []
            assert status(await data_plane.ask(request("bob", model="p0/new"), END)) == 200


@pytest.mark.usefixtures("both_wires")
async def test_a_local_model_could_not_be_declared_free() -> None:
    """A written price of 0 is a price: the model may be used, and costs nothing."""
    async with PaidProvider(lambda _: told('{"prompt_tokens":9,"completion_tokens":9}')) as provider:
        async with one_data_plane(config(provider, '{"*": {input: 0, output: 0}}') + RICH) as data_plane:
            assert status(await data_plane.ask(request("alice", model="p0/any"), END)) == 200
            assert (await settled(data_plane))["spent_nano"] == 0


# --- 2. streams without usage


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}, "absent"])
@pytest.mark.usefixtures("both_wires")
async def test_a_stream_was_charged_by_a_guess(options: Any) -> None:
    """A bounded key's stream asks for usage, is charged by it, and does not show it to a client that did not ask."""
    usage = '{"prompt_tokens":1000,"completion_tokens":500}'
    async with PaidProvider(lambda _: streamed(usage_event(usage))) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            members = {} if options == "absent" else {"stream_options": options}
            answer = await data_plane.ask(request("alice", stream=True, **members), b"[DONE]")
            kept = {"include_obfuscation": False} if options == {"include_obfuscation": False} else {}
            assert provider.asked[0]["stream_options"] == {"include_usage": True, **kept}
            assert answer.count(b"hello") == 3
            assert b"usage" not in answer
            record = await settled(data_plane)
            assert tokens(record) == (1000, 500)
            assert record["spent_nano"] == 1000 * 2500 + 500 * 10_000


@pytest.mark.usefixtures("both_wires")
async def test_who_asks_for_usage_gets_it() -> None:
    """The usage that a client asks for is relayed as it comes."""
    last = usage_event('{"prompt_tokens":1000,"completion_tokens":500}')
    async with PaidProvider(lambda _: streamed(last)) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            body = request("alice", stream=True, stream_options={"include_usage": True})
            assert last in await data_plane.ask(body, b"[DONE]")


@pytest.mark.usefixtures("both_wires")
async def test_usage_beside_content_is_hidden_too() -> None:
    """Of an event with choices only the usage goes: its content and its finish reason stay."""
    event = b'data: {"choices":[{"delta":{"content":"last"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}\n\n'
    async with PaidProvider(lambda _: streamed(event)) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            answer = await data_plane.ask(request("alice", stream=True), b"[DONE]")
            assert event.replace(b'{"prompt_tokens":3}', b"null") in answer


async def test_a_body_without_bounds_is_not_touched() -> None:
    """The stream of a key without token or money bounds is asked as the client wrote it, and relayed as it comes."""
    last = usage_event('{"prompt_tokens":1,"completion_tokens":1}')
    body = b'{ "stream" : true,"model":"m" , "messages":[] }'
    async with PaidProvider(lambda _: streamed(last)) as provider:
        text = config(provider, PRICED) + "  m: {targets: [p0/m]}\n" + keys(alice="budget: 9", bob="concurrent: 9")
        async with one_data_plane(text) as data_plane:
            assert last in await data_plane.ask(ask("bob", body), b"[DONE]")
            assert provider.raw == [body]


@pytest.mark.parametrize("words", [b"Unknown parameter: stream_options", b"extra fields are not permitted"])
@pytest.mark.usefixtures("both_wires")
async def test_a_provider_that_knows_no_stream_options_failed_every_stream(words: bytes) -> None:
    """It is asked again without them, at once and unnoticed, and from then on without them."""

    def answer(body: dict[str, Any]) -> bytes:
        return say(b'{"error":{"message":"%s"}}' % words) if "stream_options" in body else streamed()

    async with PaidProvider(answer) as provider, one_data_plane(config(provider, PRICED) + RICH) as data_plane:
        for count in (2, 3):
            reply = await data_plane.ask(request("alice", stream=True), b"[DONE]")
            assert status(reply) == 200
            assert b"x-edge-attempts: 1\r\n" in reply
            assert len(provider.asked) == count
        assert "stream_options" not in provider.asked[2]
        assert tokens(await settled(data_plane))[1] == 2 * 4  # 15 bytes each


async def test_a_caller_at_fault_is_not_asked_twice_for_ever() -> None:
    """A refusal of something else is relayed as it is, and doubles nothing once the target has taken a stream."""
    answers = [say(b'{"error":{"message":"first"}}'), say(b'{"error":{"message":"no such tool"}}'), streamed()]
    answers.append(say(b'{"error":{"message":"no such tool"}}'))
    async with PaidProvider(lambda _: answers[len(provider.asked) - 1]) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            waits = (END, b"[DONE]", END)
            replies = [await data_plane.ask(request("alice", stream=True), wait_for) for wait_for in waits]
            assert [status(reply) for reply in replies] == [400, 200, 400]
            assert b"no such tool" in replies[0]
            assert b"no such tool" in replies[2]
            assert ["stream_options" in body for body in provider.asked] == [True, False, True, True]


@pytest.mark.usefixtures("both_wires")
async def test_an_answer_in_large_pieces_cost_a_token_each() -> None:
    """Without any usage the output is at least a quarter of the bytes that were streamed, tools and reasoning too."""
    pieces = (
        {"content": "x" * 4000},
        {"reasoning_content": "y" * 400},
        {"tool_calls": [{"index": 0, "id": "i" * 90, "type": "function", "function": {"arguments": "z" * 80}}]},
    )
    events = [f'data: {{"choices":[{{"delta":{json.dumps(piece)}}}]}}\n\n'.encode() for piece in pieces]
    async with PaidProvider(lambda _: sse(ROLE, *events, STOP)) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            body = request("alice", stream=True)
            await data_plane.ask(body, b'"stop"}]}\n\n')
            size = len(body.partition(b"\r\n\r\n")[2])
            assert tokens(await settled(data_plane)) == (size // 4, 1000 + 100 + 20)


@pytest.mark.parametrize("words", [0, 12])
@pytest.mark.usefixtures("both_wires")
async def test_a_client_that_left_paid_nothing(words: int) -> None:
    """It pays for the prompt once that was sent, and for what was generated until then."""
    last = HELLO.replace(b"hello", b"world")
    begun = b"" if words == 0 else sse(ROLE, *[HELLO] * (words - 1), last, end=False)
    async with PaidProvider(lambda _: begun) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            body = request("alice", stream=True, max_tokens=2000)
            client = asyncio.create_task(data_plane.ask(body, b"world"))
            if words == 0:
                await provider.came.wait()
                client.cancel()
            await asyncio.gather(client, return_exceptions=True)
            await provider.left.wait()
            record = await settled(data_plane)
            size = len(body.partition(b"\r\n\r\n")[2])
            assert tokens(record) == (size // 4, (5 * words + 3) // 4)


# --- 3. usage in every shape

REASONED = '"completion_tokens_details":{"reasoning_tokens":200}}'
REPORTED = [
    # xAI: reasoning beside completion_tokens
    ('{"prompt_tokens":10,"completion_tokens":5,"total_tokens":215,' + REASONED, 10, 205),
    ('{"prompt_tokens":10,"completion_tokens":5,' + REASONED, 10, 205),
    # OpenAI: reasoning within
    ('{"prompt_tokens":10,"completion_tokens":205,"total_tokens":215,' + REASONED, 10, 205),
    # Gemini's shim: the thoughts stand in the total alone
    ('{"prompt_tokens":10,"completion_tokens":5,"total_tokens":100}', 10, 90),
    # counts as floats
    ('{"prompt_tokens":10.0,"completion_tokens":4.2}', 10, 5),
    ('{"prompt_tokens":1e1,"completion_tokens":5}', 10, 5),
    # Anthropic: the cache beside the prompt
    ('{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":7,"output_tokens":5}', 117, 5),
    # absurd counts are bounded by what was asked for
    ('{"prompt_tokens":10,"completion_tokens":900000}', 10, 300),
    ('{"prompt_tokens":10,"completion_tokens":5,"total_tokens":90000000}', 10, 5),
    ('{"prompt_tokens":10,"completion_tokens":9007199254740993.0}', 10, 300),
]


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize(("usage", "prompt", "output"), REPORTED)
async def test_tokens_were_lost_in_a_usage_of_another_shape(usage: str, prompt: int, output: int) -> None:
    """The counts of every provider mean the same, whole and streamed, in the usage or in Groq's own place for it."""
    groq = b'data: {"choices":[],"x_groq":{"usage":%s}}\n\n' % usage.encode()
    answers = [
        told(usage),
        streamed(usage_event(usage)),
        streamed(groq),
        whole(b'{"choices":[{"message":{"content":"hello"}}],"x_groq":{"usage":%s}}' % usage.encode()),
    ]
    async with PaidProvider(lambda _: answers[len(provider.asked) - 1]) as provider:
        async with one_data_plane(config(provider, PRICED) + RICH) as data_plane:
            for number in range(len(answers)):
                streams = number in (1, 2)
                body = request("alice", stream=streams, max_tokens=300)
                await data_plane.ask(body, b"[DONE]" if streams else b"hello")
                assert tokens(await settled(data_plane)) == (prompt * (number + 1), output * (number + 1))


@pytest.mark.usefixtures("both_wires")
async def test_an_absurd_count_without_max_tokens() -> None:
    """The limit of the model's output bounds it; what was visible does not, because reasoning is not."""
    answers = [
        told('{"prompt_tokens":10,"completion_tokens":16000}'),
        told('{"prompt_tokens":10,"completion_tokens":99999}'),
    ]
    async with PaidProvider(lambda _: answers[len(provider.asked) - 1]) as provider:
        async with one_data_plane(config(provider, "{}", "openai", "gpt-4o") + RICH) as data_plane:
            await data_plane.ask(request("alice"), b"hello")
            assert tokens(await settled(data_plane)) == (10, 16_000)
            await data_plane.ask(request("alice"), b"hello")
            assert tokens(await settled(data_plane)) == (20, 16_000 + 16_384)


async def test_a_cached_prompt_was_charged_in_full() -> None:
    """Cached, spoken and reasoned tokens have their own prices where these are written, else those of their kind."""
    usage = (
        '{"prompt_tokens":1000,"completion_tokens":500,"prompt_tokens_details":{"cached_tokens":600,"audio_tokens":100},'
        '"completion_tokens_details":{"reasoning_tokens":200,"audio_tokens":50}}'
    )
    prices = "{m: {input: 10, output: 40, cached_input: 1, audio: 100, reasoning: 20}, n: {input: 10, output: 40}}"
    async with PaidProvider(lambda _: told(usage)) as provider:
        async with one_data_plane(config(provider, prices) + RICH) as data_plane:
            await data_plane.ask(request("alice", model="p0/m"), b"hello")
            first = (await settled(data_plane))["spent_nano"]
            assert first == 1000 * (300 * 10 + 600 * 1 + 100 * 100 + 250 * 40 + 200 * 20 + 50 * 100)
            await data_plane.ask(request("alice", model="p0/n"), b"hello")
            assert (await settled(data_plane))["spent_nano"] - first == 1000 * (1000 * 10 + 500 * 40)
