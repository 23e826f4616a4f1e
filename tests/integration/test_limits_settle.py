"""Charges agree with what providers have reported, for a thousand requests that end in every possible way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from typing import TYPE_CHECKING

from callers import bearer, clear, keys
from loopback import LoopbackServer
from one_data_plane import DONE, HELLO, ROLE, STOP, one_data_plane, post, sse, whole

from edge import clock
from edge.native import Allowance, AllowanceCounter, RouteCounter, TargetCounter

if TYPE_CHECKING:
    from edge.terms.snapshot import Key

PRICES = {"p0": (1.5, 6.0), "p1": (0.25, 2.0)}
"""US dollars per million tokens of prompt and answer."""


def usage(prompt: int, output: int) -> bytes:
    """Return a usage object."""
    return b'{"prompt_tokens":%d,"completion_tokens":%d}' % (prompt, output)


class Provider(LoopbackServer):
    """Treats each request as its ``user`` field says, and records what it has billed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.billed: Counter[str] = Counter()

    def _bill(self, prompt: int, output: int) -> bytes:
        self.billed.update(prompt=prompt, output=output)
        return usage(prompt, output)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while await self._answer(reader, writer):
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        way, _, number = json.loads(await reader.readexactly(size))["user"].partition(":")
        tokens = int(number)
        hello = [HELLO] * tokens
        if way == "retried" and self.name == "p0":
            writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
        elif way == "charged-and-failed" and self.name == "p0":
            # it says what the prompt cost, and fails before anything is shown
            writer.write(sse(ROLE[:-3] + b',"usage":' + self._bill(tokens, 0) + b"}\n\n", b'data: {"error":{}}\n\n'))
        elif way in {"whole", "retried", "charged-and-failed"}:
            writer.write(whole(b'{"choices":[{}],"usage":' + self._bill(7, tokens) + b"}"))
        elif way == "stream":
            last = b'data: {"choices":[],"usage":' + self._bill(11, tokens) + b"}\n\n"
            writer.write(sse(ROLE, *hello, STOP, last, DONE))
        elif way == "unsaid":
            writer.write(sse(ROLE, *hello, STOP, DONE))
        else:
            writer.write(sse(ROLE, *hello, end=False))
            await writer.drain()
            if way == "aborted":
                await reader.read()  # until edge lets go
            return False
        return True


def request(way: str, tokens: int, streamed: bool) -> bytes:
    """Return the body of such a request."""
    body = {
        "model": "chat",
        "user": f"{way}:{tokens}",
        "max_tokens": 50,
        "messages": [{"content": "x" * (tokens % 97)}],
    }
    return json.dumps({**body, "stream": True} if streamed else body).encode()


STREAMED = {"stream", "unsaid", "aborted", "broken"}
WAYS = ("whole", "stream", "unsaid", "aborted", "broken", "retried", "charged-and-failed")


async def ask(port: int, way: str, tokens: int) -> int:
    """Make one request of its kind; return the bytes of its body."""
    body = request(way, tokens, way in STREAMED)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post(body, fields=bearer("alice") + b"connection: close\r\n"))
    if way == "aborted":
        for _ in range(tokens):
            await reader.readuntil(b'"hello"')
        await reader.readuntil(b"\n\n")
    else:
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
    writer.close()
    return len(body)


def config(p0: Provider, p1: Provider, more: str = "") -> str:
    """Return two providers with prices; circuits never open, and retries are not limited."""
    providers = "\n".join(
        f"  {p.name}: {{dialect: openai, base_url: '{p.url}/v1', "
        f"prices: {{m: {{input: {PRICES[p.name][0]}, output: {PRICES[p.name][1]}}}}}{more}}}"
        for p in (p0, p1)
    )
    return f"""
providers:
{providers}
models:
  chat:
    targets: [{{target: p0/m, tier: 1}}, {{target: p1/m, tier: 2}}]
    breaker: {{consecutive_failures: 1000000, failure_ratio: 100%, min_requests: 1000000}}
    retry: {{attempts: 2, budget: 100%}}
"""


async def test_a_thousand_mixed_requests() -> None:
    """Totals agree to the token: complete, streamed, without usage, aborted, broken, retried, failed after a charge."""
    async with Provider("p0") as p0, Provider("p1") as p1:
        text = config(p0, p1, ", limits: {tokens_per_minute: 600000000}")
        text += keys(alice="tokens_per_minute: 60, tokens_burst: 10000000, budget: 1000000")
        async with one_data_plane(text) as data_plane:
            began = clock.now_ns()
            guessed: Counter[str] = Counter()
            room = asyncio.Semaphore(16)

            async def one(number: int) -> None:
                way = WAYS[number % len(WAYS)]
                tokens = 1 + number * 7919 % 40
                async with room:
                    size = await ask(data_plane.port, way, tokens)
                if way in {"unsaid", "aborted", "broken"}:
                    guessed.update(prompt=size // 4, output=(tokens * len("hello") + 3) // 4)

            await asyncio.gather(*map(one, range(1000)))
            key: Key = data_plane.snapshot.keys[0]
            assert key.allowance is not None
            for _ in range(500):  # those who left are noticed a moment later
                record = data_plane.shared_state.read_allowance(key.allowance.slot)
                if record["inflight"] == 0:
                    break
                await asyncio.sleep(0.01)
            assert record["inflight"] == 0
            prompt = p0.billed["prompt"] + p1.billed["prompt"] + guessed["prompt"]
            output = p0.billed["output"] + p1.billed["output"] + guessed["output"]
            counts = record["counts"]
            assert counts[AllowanceCounter.A_REQUESTS] == 1000
            assert (counts[AllowanceCounter.A_PROMPT_TOKENS], counts[AllowanceCounter.A_OUTPUT_TOKENS]) == (
                prompt,
                output,
            )
            left = Allowance(data_plane.shared_state, key.allowance).left(clock.now_ns())[1]
            assert left is not None
            refilled = left[0] - (10_000_000 - prompt - output)
            assert 0 <= refilled <= (clock.now_ns() - began) / 1e9 + 1
            route = data_plane.shared_state.read_route(data_plane.snapshot.routes[0].slot)["counts"]
            assert (route[RouteCounter.R_PROMPT_TOKENS], route[RouteCounter.R_OUTPUT_TOKENS]) == (prompt, output)
            targets = {name: data_plane.target(f"{name}/m")["counts"] for name in PRICES}
            assert targets["p1"][TargetCounter.T_PROMPT_TOKENS] == p1.billed["prompt"]
            assert targets["p1"][TargetCounter.T_OUTPUT_TOKENS] == p1.billed["output"]
            assert targets["p0"][TargetCounter.T_PROMPT_TOKENS] == p0.billed["prompt"] + guessed["prompt"]
            cost = 0
            for name, (price_in, price_out) in PRICES.items():
                tokens = targets[name][TargetCounter.T_PROMPT_TOKENS], targets[name][TargetCounter.T_OUTPUT_TOKENS]
                cost += round(tokens[0] * price_in * 1000 + tokens[1] * price_out * 1000)
                assert targets[name][TargetCounter.T_COST_NANO] == round(
                    tokens[0] * price_in * 1000 + tokens[1] * price_out * 1000
                )
            assert (
                record["spent_nano"] == counts[AllowanceCounter.A_COST_NANO] == route[RouteCounter.R_COST_NANO] == cost
            )
            for credential, name in zip(data_plane.snapshot.credentials, PRICES, strict=True):
                used = data_plane.shared_state.read_allowance(credential.allowance.slot)["counts"]
                assert used[AllowanceCounter.A_PROMPT_TOKENS] == targets[name][TargetCounter.T_PROMPT_TOKENS]
                assert used[AllowanceCounter.A_OUTPUT_TOKENS] == targets[name][TargetCounter.T_OUTPUT_TOKENS]


async def test_what_was_never_sent_costs_nothing() -> None:
    """If no target can be reached, request and tokens are given back."""
    text = """
providers: {p0: {dialect: openai, base_url: 'http://127.0.0.1:9/v1'}}
models: {chat: {targets: [p0/m], retry: {attempts: 1}}}
"""
    text += keys(alice="requests_per_minute: 60, requests_burst: 5, tokens_per_minute: 600, tokens_burst: 5000")
    async with one_data_plane(text) as data_plane:
        for _ in range(20):
            answer = await data_plane.ask(post(fields=bearer("alice")), b"}}")
            assert answer.startswith(b"HTTP/1.1 503")
        allowance = data_plane.snapshot.keys[0].allowance
        assert allowance is not None
        assert Allowance(data_plane.shared_state, allowance).left(clock.now_ns()) == ((5, 0), (5000, 0))
        assert clear("alice") not in repr(data_plane.snapshot)


async def test_an_answer_is_paid_before_it_is_had() -> None:
    """Who has the last byte of an answer may ask again at once: its place is free and its price is spent by then."""
    price = int((7 * 1.5 + 5 * 6.0) * 1000)
    times = 40
    async with Provider("p0") as p0, Provider("p1") as p1:
        async with one_data_plane(config(p0, p1) + keys(alice="concurrent: 1, budget: 1000000")) as data_plane:
            (key,) = data_plane.snapshot.keys
            assert key.allowance is not None
            slot = key.allowance.slot

            def look() -> tuple[int, int]:
                view = data_plane.shared_state.read_allowance(slot)
                return view["inflight"], view["spent_nano"]

            def ask_again_and_again() -> list[tuple[int, int]]:
                seen = []
                with socket.create_connection(("127.0.0.1", data_plane.port), timeout=20) as client:
                    for _ in range(times):
                        client.sendall(post(request("whole", 5, False), fields=bearer("alice")))
                        received = b""
                        while not received.endswith(b"}"):
                            received += client.recv(65536)
                        seen.append(look())
                        assert received.startswith(b"HTTP/1.1 200 ")
                return seen

            seen = await asyncio.to_thread(ask_again_and_again)
            assert seen == [(0, price * count) for count in range(1, times + 1)]
