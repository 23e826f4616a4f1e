"""A provider for tests about money: records what it is asked, and answers as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from callers import bearer
from loopback import LoopbackServer
from one_data_plane import DONE, HELLO, ROLE, STOP, post, sse, verified, whole

from edge.native import AllowanceCounter

if TYPE_CHECKING:
    from collections.abc import Callable

    from one_data_plane import OneDataPlane

    Answer = Callable[[dict[str, Any]], bytes]

NANO = 1_000_000_000


class PaidProvider(LoopbackServer):
    """Answers each request with ``answer(body)``; ``asked`` are the bodies so far, ``raw`` their bytes.

    An answer that ends with an open chunked body stays open until the client of the provider leaves, which sets
    ``left``. While ``gate`` is not set, answers wait.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.left = asyncio.Event()
        self.came = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                self.raw.append(body)
                self.asked.append(json.loads(body))
                self.came.set()
                await self.gate.wait()
                answer = self.answer(self.asked[-1])
                writer.write(answer)
                await writer.drain()
                if not answer or (b"chunked" in answer and not answer.endswith(b"0\r\n\r\n")):
                    await reader.read()
                    self.left.set()
                    return


def usage_event(usage: str) -> bytes:
    """Return OpenAI's last chunk: no choices, and the usage."""
    return f'data: {{"id":"a","choices":[],"usage":{usage}}}\n\n'.encode()


def streamed(*more: bytes, words: int = 3) -> bytes:
    """Return a stream of some words, and what follows them."""
    return sse(ROLE, *[HELLO] * words, STOP, *more, DONE)


def told(usage: str) -> bytes:
    """Return a whole answer with this usage."""
    return whole(b'{"choices":[{"message":{"content":"hello"}}],"usage":%s}' % usage.encode())


def say(data: bytes) -> bytes:
    """Return an answer of status 400."""
    return whole(data, b"400 Bad Request")


def config(provider: LoopbackServer, prices: str, name: str = "p0", model: str = "m") -> str:
    """Return configuration text: ``chat`` is that model of one provider with these prices."""
    return f"""
providers:
  {name}: {{dialect: openai, base_url: '{provider.url}/v1', prices: {prices}{verified()}}}
models:
  chat: {{targets: ['{name}/{model}'], retry: {{attempts: 1}}}}
"""


def request(caller: str, **members: Any) -> bytes:
    """Return a chat request of a caller."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **members}
    return post(json.dumps(body).encode(), fields=bearer(caller))


def account(data_plane: OneDataPlane, number: int = 0) -> Any:
    """Return the allowance record of a key."""
    allowance = data_plane.snapshot.keys[number].allowance
    assert allowance is not None
    return data_plane.shared_state.read_allowance(allowance.slot)


def tokens(record: Any) -> tuple[int, int]:
    """Return the tokens of prompts and answers that a key was charged."""
    return record["counts"][AllowanceCounter.A_PROMPT_TOKENS], record["counts"][AllowanceCounter.A_OUTPUT_TOKENS]


async def settled(data_plane: OneDataPlane, number: int = 0) -> Any:
    """Wait until a key has no request in flight; return its record."""
    async with asyncio.timeout(20):
        while (record := account(data_plane, number))["inflight"]:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.005)
    return record
