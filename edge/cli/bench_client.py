"""The client of ``edge bench``: few requests, one after the other, each timed from before its first byte.

Both ways are asked in turn on a connection each that stays open, so that what differs between them is edge and not the
hour. No request is repeated, no redirect followed, and no proxy of the environment used.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from msgspec import Struct, field

from edge import clock
from edge.sim.scores import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN: Final = "edge's own answer"
THROUGH: Final = "through edge"
DIRECT: Final = "straight to the provider"
ANSWER_S: Final = 60.0
"""How long one answer may take."""
MOST_IN_A_ROW: Final = 3
"""After so many failures in a row a way is given up: it would only cost."""
_LONGEST_LINE: Final = 1024 * 1024
_LONGEST_REASON: Final = 160
_LEAST_PAIRS: Final = 5
_OK: Final = 200


class Plan(Struct, frozen=True):
    """What to measure. ``direct`` "": the provider is not asked; ``paid`` False: no model is."""

    url: str
    key: str
    model: str
    direct: str
    direct_key: str
    direct_model: str
    paid: bool
    requests: int
    seconds: float
    tokens: int


class Way(Struct):
    """What came of one way to ask. Times are seconds, of good answers."""

    name: str
    asked: int = 0
    answered: int = 0
    failed_in_a_row: int = 0  # at the end
    failures: dict[str, int] = field(default_factory=dict)
    first_s: list[float] = field(default_factory=list)  # to the first content
    whole_s: list[float] = field(default_factory=list)
    gap_s: list[float] = field(default_factory=list)  # between two chunks with content
    chunks: int = 0
    prompt: int = 0  # tokens, as far as the answers say
    output: int = 0
    targets: dict[str, int] = field(default_factory=dict)  # who answered, as edge says


class Bench(Struct, frozen=True):
    """The result. ``added_s``: what edge adds to the first token, as quartiles of pairs; None: too few pairs."""

    ways: tuple[Way, ...]
    added_s: tuple[float, float, float] | None
    seconds: float
    notes: tuple[str, ...]


class _Answer(Struct):
    first_s: float = 0.0
    whole_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    chunks: int = 0
    prompt: int = 0
    output: int = 0
    target: str = ""


class _FailedError(Exception):
    """One request failed; the text says how, in a few words."""


async def measure(plan: Plan) -> Bench:
    """Measure what the plan says, and return what came of it; failures are counted, never raised."""
    began_ns = clock.now_ns()
    timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=10)
    ways = [Way(OWN)]
    pairs: list[tuple[float, float]] = []
    notes: list[str] = []
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, read_bufsize=_LONGEST_LINE) as client:
        try:
            async with asyncio.timeout(plan.seconds):
                await _ask_edge_itself(client, plan, ways[0])
                if plan.paid:
                    ways.append(Way(THROUGH))
                    ways += [Way(DIRECT)] if plan.direct else []
                    await _ask_models(client, plan, ways[1:], pairs)
        except TimeoutError:
            notes.append(f"It ended after the {plan.seconds:g} s that --seconds allows.")
    given_up = [way.name for way in ways if way.failed_in_a_row >= MOST_IN_A_ROW]
    notes += [f"{name}: given up after {MOST_IN_A_ROW} failures in a row." for name in given_up]
    added = _quartiles([one - other for one, other in pairs]) if len(pairs) >= _LEAST_PAIRS else None
    notes += _added(added, len(pairs)) if plan.direct and plan.paid else []
    others = [name for way in ways for name in way.targets]
    if len(others) > 1:
        notes.append(
            f"Through edge several targets answered: {', '.join(others)}. Compare with --model PROVIDER/MODEL."
        )
    return Bench(tuple(ways), added, round((clock.now_ns() - began_ns) / 1e9, 3), tuple(notes))


def _added(added: tuple[float, float, float] | None, pairs: int) -> Iterator[str]:
    if added is None:
        yield f"{pairs} pairs of good answers are too few to say what edge adds."
        return
    low, middle, high = (each * 1000 for each in added)
    spread = f"middle half of {pairs} pairs {low:+.1f} to {high:+.1f} ms"
    yield f"Edge adds to the first token: median {middle:+.1f} ms, {spread}."
    if low < 0 < high:
        yield "That is less than what the provider's own times differ by, so its sign means nothing."


async def _ask_edge_itself(client: aiohttp.ClientSession, plan: Plan, way: Way) -> None:
    """Read the list of models, which edge answers without asking anybody: network and edge, and no provider."""
    headers = {"Authorization": f"Bearer {plan.key}"} if plan.key else {}
    for _ in range(plan.requests):
        way.asked += 1
        began_ns = clock.now_ns()
        try:
            async with client.get(f"{plan.url}/v1/models", headers=headers, allow_redirects=False) as answer:
                body = await answer.content.read(_LONGEST_LINE)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _note(way, type(error).__name__)
        else:
            if answer.status == _OK:
                way.answered += 1
                way.failed_in_a_row = 0
                way.whole_s.append((clock.now_ns() - began_ns) / 1e9)
            else:
                _note(way, _reason(answer.status, body))
        if way.failed_in_a_row >= MOST_IN_A_ROW:
            return


async def _ask_models(
    client: aiohttp.ClientSession, plan: Plan, ways: list[Way], pairs: list[tuple[float, float]]
) -> None:
    """Ask both ways in turn, the other one first in every second round."""
    for number in range(plan.requests):
        firsts: dict[str, float] = {}
        for way in ways if number % 2 == 0 else reversed(ways):
            if way.failed_in_a_row >= MOST_IN_A_ROW:
                continue
            way.asked += 1
            try:
                found = await _ask(client, plan, direct=way.name == DIRECT)
            except (_FailedError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _note(way, str(error) if isinstance(error, _FailedError) else type(error).__name__)
                continue
            way.answered += 1
            way.failed_in_a_row = 0
            firsts[way.name] = found.first_s
            way.first_s.append(found.first_s)
            way.whole_s.append(found.whole_s)
            way.gap_s += found.gaps_s
            way.chunks += found.chunks
            way.prompt += found.prompt
            way.output += found.output
            if found.target:
                way.targets[found.target] = way.targets.get(found.target, 0) + 1
        if len(firsts) == len(ways) > 1:
            pairs.append((firsts[THROUGH], firsts[DIRECT]))


def _note(way: Way, why: str) -> None:
    """Count a failure."""
    way.failures[why] = way.failures.get(why, 0) + 1
    way.failed_in_a_row += 1


async def _ask(client: aiohttp.ClientSession, plan: Plan, *, direct: bool) -> _Answer:
    """Ask for one streamed answer, and time it.

    Raises:
        _FailedError: there was no good answer.
        aiohttp.ClientError, TimeoutError: there was none at all.
    """
    base, key, model = (
        (plan.direct, plan.direct_key, plan.direct_model) if direct else (f"{plan.url}/v1", plan.key, plan.model)
    )
    # A text that nobody has sent before is in no cache, whoever has one.
    text = f"Write the numbers from one to two hundred in words. ({clock.bits():016x})"
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": plan.tokens,
        "messages": [{"role": "user", "content": text}],
    }
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    found = _Answer()
    began_ns = last_ns = clock.now_ns()
    async with client.post(f"{base}/chat/completions", json=body, headers=headers, allow_redirects=False) as answer:
        if answer.status != _OK:
            raise _FailedError(_reason(answer.status, await answer.content.read(_LONGEST_LINE)))
        found.target = answer.headers.get("x-edge-target", "")[:_LONGEST_REASON]
        done = False
        async for line in answer.content:
            now_ns = clock.now_ns()
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                done = True
                break
            if _take(data, found):
                found.chunks += 1
                if found.chunks == 1:
                    found.first_s = (now_ns - began_ns) / 1e9
                else:
                    found.gaps_s.append((now_ns - last_ns) / 1e9)
                last_ns = now_ns
    if not done or not found.chunks:
        raise _FailedError("the stream ended before its end")
    found.whole_s = (clock.now_ns() - began_ns) / 1e9
    return found


def _take(data: bytes, found: _Answer) -> bool:
    """Take one event; return whether it has content.

    Raises:
        _FailedError: it is an error, or no event of a chat completion.
    """
    try:
        event: Any = msgspec.json.decode(data)
        if "error" in event:
            raise _FailedError("an error within the stream")
        usage = event.get("usage") or {}
        found.prompt = int(usage.get("prompt_tokens") or found.prompt)
        found.output = int(usage.get("completion_tokens") or found.output)
        return any((choice.get("delta") or {}).get("content") for choice in event.get("choices") or ())
    except (msgspec.MsgspecError, AttributeError, TypeError, ValueError) as error:
        raise _FailedError("an event that is none of a chat completion") from error


def _reason(status: int, body: bytes) -> str:
    """Return a status and the words of an error body, short and printable."""
    try:
        error: Any = msgspec.json.decode(body)
        words = error["error"]["message"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        words = ""
    text = "".join(each if each.isprintable() else " " for each in str(words))[:_LONGEST_REASON]
    return f"status {status}{f': {text}' if text else ''}"


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    return quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)
