"""Targets that fall silent or think for long, at the deadlines and thresholds that edge ships with."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from processes import port_of

from edge.sim import wire
from edge.sim.asked import Pace
from edge.sim.closed_loop_load import Answered, ClosedLoopLoad
from edge.sim.faults import Fault
from edge.sim.node import EdgeProcess
from edge.sim.world import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.sim.faults import Place

pytestmark = [pytest.mark.alone, pytest.mark.prove]

QUICK = Pace(ttft_s=0.02, tps=0.0, tokens=6)
WARM = 120  # of each kind: more than the 100 samples from which on lateness is known
MESSAGES = [{"role": "user", "content": "hello"}]
WHOLE = wire.request(msgspec.json.encode({"model": "chat", "messages": MESSAGES}))
STREAM = wire.request(msgspec.json.encode({"model": "chat", "messages": MESSAGES, "stream": True}))
WHOLE_ANSWER = wire.answer(b'{"id":"c","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}]}')
STREAM_ANSWER = (
    wire.STREAM_HEAD
    + wire.chunk(b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n')
    + wire.chunk(b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    + wire.chunk(b"data: [DONE]\n\n")
    + wire.chunk(b"")
)
DEAD = Fault(kind="blackhole")
_TARGET = re.compile(rb"\r\nx-edge-target: ([^\r]+)\r\n")


def config(base_urls: Mapping[str, str], *, tiers: bool = True) -> dict[str, Any]:
    """Write edge.yaml: the model ``chat`` over all of these, each in its own tier or all in one; no other settings."""
    targets = [{"target": f"{name}/m", "tier": 1 + tiers * place} for place, name in enumerate(base_urls)]
    return {
        "providers": {name: {"base_url": url} for name, url in base_urls.items()},
        "models": {"chat": {"targets": targets}},
    }


def either(number: int) -> bytes:
    """Alternate between requests for a complete answer and for a stream."""
    return STREAM if number % 2 else WHOLE


class Witness:
    """Accepts complete answers only, and records which target gave them."""

    def __init__(self) -> None:
        self.targets: list[str] = []

    def verify(self, _: int, answer: Answered) -> str | None:
        """Return what is wrong with an answer."""
        if answer.status != 200 or b"Hello" not in answer.body:
            return f"status {answer.status}: {answer.body[:300]!r}"
        if b"data: " in answer.body and not answer.body.endswith(b"data: [DONE]\n\n"):
            return f"incomplete: {answer.body[-100:]!r}"
        target = _TARGET.search(answer.head)
        self.targets.append(target[1].decode() if target else "")
        return None


async def ask(edge: EdgeProcess, request: bytes, limit_s: float) -> tuple[str, float]:
    """Send a request; return the target that answered, and the seconds."""
    witness = Witness()
    one = ClosedLoopLoad(port_of(edge.url), request, count=1, connections=1, verify=witness.verify)
    await one.run(limit_s)
    assert one.failures == []
    return witness.targets[0], one.latency_s(1.0)


async def target(edge: EdgeProcess, name: str) -> dict[str, Any]:
    """Return a target from the admin listener."""
    return next(target for target in await edge.targets() if target["id"] == name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("rate", "seconds"), [(0.2, 100), (20.0, 60)])
async def test_a_warm_black_hole(rate: float, seconds: int) -> None:
    """A known primary falls silent: its circuit opens, and no caller waits over 5 s, even with little traffic."""
    witness = Witness()
    async with ProviderProcess("a", "b", pace=QUICK) as world, EdgeProcess(config(world.base_urls), workers=2) as edge:
        port = port_of(edge.url)
        warm = ClosedLoopLoad(port, either, count=2 * WARM, connections=8, verify=witness.verify)
        await warm.run()
        assert (warm.failures, set(witness.targets)) == ([], {"a/m"})
        witness.targets.clear()
        await world.switch("a", DEAD)
        count = int(rate * seconds)
        load = ClosedLoopLoad(port, either, count=count, connections=min(count, 128), rate=rate, verify=witness.verify)
        await load.run(seconds + 30)
        primary = await target(edge, "a/m")
    sys.stdout.write(
        f"median {load.latency_s(0.5):.2f} s, longest {load.latency_s(1.0):.2f} s, {primary['trips']} trips\n"
    )
    assert (load.failures, set(witness.targets)) == ([], {"b/m"})
    assert load.latency_s(1.0) < 5.0
    assert primary["trips"] >= 1
    assert primary["state"] == "open"


@pytest.mark.timeout(300)
async def test_a_reasoner_beside_a_quick_second_tier() -> None:
    """A first tier that thinks for 40 s before each stream answers from the fifth request on.

    Whether it sends a head before it thinks makes no difference.
    """

    async def reasoner(at: Place) -> None:
        async with (
            ProviderProcess("a", "b", pace=QUICK) as world,
            EdgeProcess(config(world.base_urls), workers=1) as edge,
        ):
            await world.switch("a", Fault(kind="latency", at=at, delay_s=40.0))
            took_s = [(await ask(edge, STREAM, 90.0))[1] for _ in range(6)]
            sys.stdout.write(f"{at}: {', '.join(f'{one:.2f}' for one in took_s)} s\n")
            first, second = await target(edge, "a/m"), await target(edge, "b/m")
        assert [round(one, -1) for one in took_s] == [10, 10, 10, 10, 40, 40]
        assert second["attempts"] == {"ok": 4}
        assert (first["state"], first["trips"]) == ("usable", 0)

    await asyncio.gather(reasoner("start"), reasoner("head"))


@pytest.mark.timeout(300)
async def test_two_of_three_are_dark() -> None:
    """Of three unknown targets two never answer: the third answers every stream within 25 s."""

    async def dark(*, tiers: bool) -> None:
        witness = Witness()
        async with (
            ProviderProcess("a", "b", "c", pace=QUICK) as world,
            EdgeProcess(config(world.base_urls, tiers=tiers), workers=2) as edge,
        ):
            await world.switch("a", DEAD)
            await world.switch("b", DEAD)
            load = ClosedLoopLoad(port_of(edge.url), STREAM, count=20, connections=20, rate=1.0, verify=witness.verify)
            await load.run(90.0)
        sys.stdout.write(f"tiers {tiers}: median {load.latency_s(0.5):.2f} s, longest {load.latency_s(1.0):.2f} s\n")
        assert load.failures == []
        assert load.latency_s(1.0) < 25.0

    await asyncio.gather(dark(tiers=True), dark(tiers=False))


@pytest.mark.timeout(300)
async def test_a_sole_target_that_thinks_for_a_minute() -> None:
    """The only target gets one request, and its answer is relayed, complete or streamed."""

    async def thinker(request: bytes, answer: bytes) -> None:
        script = (wire.ReadMessage(), wire.Pause(60.0), wire.Send(answer), wire.Again())
        async with (
            wire.ScriptedServer(script, limit_s=200.0) as provider,
            EdgeProcess(config({"a": f"{provider.url}/v1"}), workers=1) as edge,
        ):
            _, took_s = await ask(edge, request, 100.0)
            attempts = (await target(edge, "a/m"))["attempts"]
        assert took_s >= 60.0
        assert attempts == {"ok": 1}
        assert sum(b"/chat/completions" in message for peer in provider.peers for message in peer.messages) == 1

    await asyncio.gather(thinker(WHOLE, WHOLE_ANSWER), thinker(STREAM, STREAM_ANSWER))
