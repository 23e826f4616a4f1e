"""Steady load on a service through the official SDK, as an application creates it.

Requests start on a schedule (an open loop: slow responses do not slow the load down, so an outage cannot hide). Their
number, duration and concurrency are bounded. Every request is recorded as a ``Shot``. The SDK's own retries are off,
because they would hide failures.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from edge import clock
from edge.errors import EdgeError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NS_PER_S = 1e9
PROMPT = "Say something calm."


class SdkMissingError(EdgeError):
    """The official SDK, an optional dependency, is not installed."""

    kind = "sdk_missing"


class Shot(Struct, frozen=True):
    """One request. Times are seconds, ``at_s`` since the start of the load; ``target`` answered, as far as known."""

    at_s: float
    ok: bool
    stream: bool
    latency_s: float
    ttft_s: float | None
    target: str
    reason: str = ""  # why it failed
    region: str = ""  # the region of the edge that answered, as far as known

    @property
    def provider(self) -> str:
        """The provider in ``target``."""
        return self.target.partition("/")[0]


class Steady(ABC):
    """A steady load of the requests that :meth:`ask` makes.

    Args:
        rate: requests started per second.
        concurrency: maximum number of concurrent requests; beyond it, a start waits for an end.
        timeout_s: timeout of the application.
    """

    def __init__(self, *, rate: float, concurrency: int, timeout_s: float) -> None:
        self._rate = rate
        self._free = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._began_s = 0.0
        self.started = 0
        self.shots: list[Shot] = []

    @abstractmethod
    async def ask(self, number: int, seen: Seen) -> None:
        """Make request ``number``; any exception counts as a failure."""

    def streams(self, number: int) -> bool:  # noqa: ARG002
        """Return whether request ``number`` streams."""
        return False

    @property
    def failed(self) -> int:
        """Number of failed requests."""
        return sum(not shot.ok for shot in self.shots)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of failures by reason."""
        return dict(Counter(shot.reason for shot in self.shots if not shot.ok))

    @property
    def answered_by(self) -> dict[str, int]:
        """Number of successful responses by provider."""
        return dict(Counter(shot.provider for shot in self.shots if shot.ok))

    async def run(self, seconds: float) -> None:
        """Start requests for ``seconds``, then wait for the last ones (at most their timeout plus one second)."""
        under_way: set[asyncio.Task[None]] = set()
        self._began_s = _now_s()
        try:
            for number in range(int(seconds * self._rate)):
                await clock.sleep(max(0.0, self._began_s + number / self._rate - _now_s()))
                await self._free.acquire()
                task = asyncio.create_task(self._one(number))
                self.started += 1
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            if under_way:
                await asyncio.wait(under_way, timeout=self._timeout_s + 1.0)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, number: int) -> None:
        began_s = _now_s()
        seen = Seen(began_s)
        reason = ""
        try:
            async with asyncio.timeout(self._timeout_s):  # the SDK's timeout may apply to a single read
                await self.ask(number, seen)
        except Exception as fault:  # noqa: BLE001 (any exception that an application sees counts as a failure)
            reason = f"{type(fault).__name__}: {fault}".splitlines()[0].removesuffix(": ")[:160]
        finally:
            self._free.release()
        took_s = _now_s() - began_s
        at_s = began_s - self._began_s
        self.shots.append(
            Shot(at_s, not reason, self.streams(number), took_s, seen.ttft_s, seen.target, reason, seen.region)
        )


class Load(Steady):
    """A steady load on one ``base_url``; ``async with Load(...) as load: await load.run(40)``.

    Args:
        base_url: the root of the API, as the SDK expects it.
        model: the model to request.
        rate: requests started per second.
        concurrency: maximum number of concurrent requests; beyond it, a start waits for an end.
        stream_share: share of requests that stream, spread evenly.
        tokens: maximum number of tokens to request.
        timeout_s: timeout of the application.
        api_key: sent as bearer token.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        rate: float = 20.0,
        concurrency: int = 64,
        stream_share: float = 0.5,
        tokens: int = 8,
        timeout_s: float = 10.0,
        api_key: str = "none",
    ) -> None:
        super().__init__(rate=rate, concurrency=concurrency, timeout_s=timeout_s)
        self._model = model
        self._stream_share = stream_share
        self._tokens = tokens
        self._client = sdk()(base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def streams(self, number: int) -> bool:
        """Return whether request ``number`` streams; streams are spread evenly."""
        return int((number + 1) * self._stream_share) > int(number * self._stream_share)

    async def ask(self, number: int, seen: Seen) -> None:
        """Make a request with the SDK, and check that the response is complete."""
        await (self._stream(seen) if self.streams(number) else self._whole(seen))

    def _asked(self) -> dict[str, Any]:
        messages = [{"role": "user", "content": PROMPT}]
        return {"model": self._model, "messages": messages, "max_tokens": self._tokens}

    async def _whole(self, seen: Seen) -> None:
        raw = await self._client.chat.completions.with_raw_response.create(**self._asked())
        answer = raw.parse()
        seen.headers(raw.headers)
        if not answer.choices or not answer.choices[0].message.content:
            raise IncompleteAnswerError("a response without content")

    async def _stream(self, seen: Seen) -> None:
        raw = await self._client.chat.completions.with_raw_response.create(**self._asked(), stream=True)
        seen.headers(raw.headers)
        finish = None
        stream = raw.parse()
        async with contextlib.aclosing(stream.response):
            async for chunk in stream:
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
                    if choice.delta.content:
                        seen.content()
        if finish is None or seen.ttft_s is None:
            raise IncompleteAnswerError("a stream ended without finish_reason")


class IncompleteAnswerError(Exception):
    """A response ended properly but is incomplete; the SDK does not complain, so the application must check."""


class Seen:
    """What is known about a request so far."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self.ttft_s: float | None = None
        self.target = "unknown"
        self.region = ""

    def headers(self, fields: Any) -> None:
        """Record who answers; both edge and a simulated provider say so in a header."""
        self.target = fields.get("x-edge-target") or fields.get("x-sim-provider") or "unknown"
        self.region = fields.get("x-edge-region") or ""

    def content(self) -> None:
        """Record the time of the first content."""
        if self.ttft_s is None:
            self.ttft_s = _now_s() - self._began_s


def sdk() -> type[AsyncOpenAI]:
    """Return the client class of the official SDK.

    Raises:
        SdkMissingError: the SDK is not installed; the text names the command.
    """
    try:
        from openai import AsyncOpenAI  # noqa: PLC0415 (optional, and slow to import)
    except ModuleNotFoundError as fault:
        raise SdkMissingError("the load needs the official OpenAI SDK: pip install 'edge-lb[sim]'") from fault
    return AsyncOpenAI


def _now_s() -> float:
    return clock.now_ns() / NS_PER_S
