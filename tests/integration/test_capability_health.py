"""What a target does not do any more goes elsewhere, and everything else stays."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from callers import ask, field, keys, status
from one_data_plane import OneDataPlane, one_data_plane, post
from test_regions_forward import ask as ask_region
from test_regions_forward import regions

from edge.native import Capability, Outcome
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIRST, SECOND = "p0/m", "p1/m"
SPEC = ProviderSpec(name="sim", pace=Pace(ttft_s=0.0, tps=0.0, tokens=4))
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF" * 8, "format": "wav"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}}}
WORDS = "word " * 40_000
NUMBERS = itertools.count()

BREAKS: dict[str, dict[str, Any]] = {
    "fails": {"kind": "capability", "status": 500},
    "declines": {"kind": "capability", "status": 400, "code": "image_not_supported"},
    "silent": {"kind": "blackhole"},
    "resets": {"kind": "reset"},
    "broken": {"kind": "inband_error"},
}


def text(**more: Any) -> bytes:
    """Return a request that no other one is equal to."""
    said = {"role": "user", "content": f"number {next(NUMBERS)}"}
    return json.dumps({"model": "chat", "messages": [said], **more}).encode()


def parts(*held: dict[str, Any], **more: Any) -> bytes:
    """Return a request with parts beside its text."""
    said = {"role": "user", "content": [{"type": "text", "text": f"number {next(NUMBERS)}"}, *held]}
    return json.dumps({"model": "chat", "messages": [said], **more}).encode()


def image(**more: Any) -> bytes:
    """Return a request with a picture."""
    return parts({"type": "image_url", "image_url": {"url": PIXEL}}, **more)


def config(*providers: SimProvider, breaker: str = "open_duration: 300ms, slow_start: 0s", more: str = "") -> str:
    """Return configuration text: a model over these providers, each in its own tier."""
    lines = "\n".join(f"  p{n}: {{base_url: '{one.base_url}'}}" for n, one in enumerate(providers))
    targets = ", ".join(f"{{target: p{n}/m, tier: {n + 1}}}" for n in range(len(providers)))
    return f"""
providers:
{lines}
models:
  chat:
    targets: [{targets}]
    timeouts: {{connect: 2s, first_byte: 400ms, first_token: 400ms, stream_idle: 5s, total: 20s}}
    retry: {{attempts: 3, budget: 100%}}
    breaker: {{{breaker}}}
telemetry: {{sample: 100%}}
{more}
"""


@contextlib.asynccontextmanager
async def two(**given: str) -> AsyncIterator[tuple[OneDataPlane, SimProvider, SimProvider]]:
    """Run a data plane over two providers that answer everything."""
    async with SimProvider(SPEC) as first, SimProvider(SPEC) as second:
        async with one_data_plane(config(first, second, **given)) as edge:
            yield edge, first, second


async def answered(edge: OneDataPlane, body: bytes) -> tuple[str | None, int]:
    """Return which target answered a request well, and how many attempts it took."""
    answer = (await edge.raw(post(body, fields=b"connection: close\r\n"))).received
    assert status(answer) == 200, answer
    return field(answer, "x-edge-target"), int(field(answer, "x-edge-attempts") or 0)


def health(edge: OneDataPlane, capability: Capability, target: str = FIRST) -> dict[str, Any]:
    """Return the record of a capability of a target."""
    return dict(edge.target(target)["capabilities"][capability])


def is_open(edge: OneDataPlane, capability: Capability) -> bool:
    """Return whether the circuit of a capability of the first target is not closed."""
    known = edge.target(FIRST)["capabilities"].get(capability)
    return known is not None and known["state"] != "closed"


async def broken(edge: OneDataPlane, make: Any, capability: Capability, most: int = 12) -> None:
    """Send requests of a kind, and text among them, until the capability's circuit is open."""
    for _ in range(most):
        assert (await answered(edge, make()))[0] == SECOND
        assert await answered(edge, text()) == (FIRST, 1)
        if is_open(edge, capability):
            return
    pytest.fail(f"not open after {most} failures")


@pytest.mark.parametrize("fault", BREAKS)
async def test_images_go_elsewhere_and_text_stays(fault: str) -> None:
    """After the detection images are answered elsewhere at once, but for trials, and return; no text ever leaves."""
    async with two() as (edge, first, _):
        assert await answered(edge, image()) == (FIRST, 1)
        await first.switch(Fault(**BREAKS[fault], asked="image"))
        await broken(edge, image, Capability.C_VISION)
        trials = health(edge, Capability.C_VISION)["trials"]
        attempts = [(await answered(edge, image()), await answered(edge, text())) for _ in range(15)]
        assert {name for (name, _), _ in attempts} == {SECOND}
        assert {found for _, found in attempts} == {(FIRST, 1)}
        assert sum(count - 1 for (_, count), _ in attempts) <= health(edge, Capability.C_VISION)["trials"] - trials
        assert (edge.target(FIRST)["state"], edge.target(FIRST)["opened_ns"]) == ("closed", 0)
        await first.switch()

        async def returned() -> bool:
            await answered(edge, image())
            return not is_open(edge, Capability.C_VISION)

        while not await returned():
            assert await answered(edge, text()) == (FIRST, 1)
        assert [await answered(edge, image()) for _ in range(5)] == [(FIRST, 1)] * 5


@pytest.mark.parametrize(
    ("asked", "make", "capability"),
    [
        ("stream", lambda: text(stream=True), Capability.C_STREAMING),
        ("tools", lambda: text(tools=[TOOL]), Capability.C_TOOLS),
        ("structured", lambda: text(response_format=SCHEMA), Capability.C_JSON),
        ("reasoning", lambda: text(reasoning_effort="low"), Capability.C_REASONING),
        ("audio", lambda: parts(SOUND), Capability.C_AUDIO),
        ("long", lambda: parts({"type": "text", "text": WORDS}), Capability.C_LONG_CONTEXT),
    ],
)
async def test_each_capability_has_a_health_of_its_own(asked: str, make: Any, capability: Capability) -> None:
    """One broken capability opens its own circuit alone: what does not need it stays."""
    async with two(breaker="open_duration: 60s") as (edge, first, _):
        await first.switch(Fault(kind="capability", asked=asked, status=503))  # type: ignore[arg-type]
        await broken(edge, make, capability)
        assert await answered(edge, make()) == (SECOND, 1)
        assert await answered(edge, text()) == (FIRST, 1)
        others = [each for each in edge.target(FIRST)["capabilities"] if is_open(edge, Capability(each))]
        assert (others, edge.target(FIRST)["state"]) == ([capability], "closed")


async def test_one_broken_picture_is_one_callers_affair() -> None:
    """A picture that breaks a provider, sent again and again, takes pictures from nobody; a second one does."""
    async with two(breaker="open_duration: 60s") as (edge, first, _):
        await first.switch(Fault(kind="capability", asked="image", status=500))
        bad = image()
        for _ in range(8):
            assert await answered(edge, bad) == (SECOND, 2)
            assert await answered(edge, text()) == (FIRST, 1)
        assert not is_open(edge, Capability.C_VISION)
        assert await answered(edge, image()) == (SECOND, 2)
        assert is_open(edge, Capability.C_VISION)
        assert await answered(edge, bad) == (SECOND, 1)


async def test_of_several_callers_two_must_fail() -> None:
    """While two keys send pictures, one of them alone cannot take pictures from the other."""
    callers = keys(anna="models: [chat]", bert="models: [chat]")
    async with two(breaker="open_duration: 60s", more=callers) as (edge, first, _):

        async def by(name: str, body: bytes) -> tuple[str | None, int]:
            answer = (await edge.raw(ask(name, body, b"connection: close\r\n"))).received
            return field(answer, "x-edge-target"), int(field(answer, "x-edge-attempts") or 0)

        assert await by("bert", image()) == (FIRST, 1)
        await first.switch(Fault(kind="capability", asked="image", status=500))
        for _ in range(8):
            assert await by("anna", image()) == (SECOND, 2)
            assert await by("bert", text()) == (FIRST, 1)
        assert not is_open(edge, Capability.C_VISION)
        assert await by("bert", image()) == (SECOND, 2)
        assert is_open(edge, Capability.C_VISION)


async def test_when_all_fails_the_target_is_down_and_not_a_capability() -> None:
    """A total outage that pictures notice first opens the target's circuit, as fast as without them."""
    async with two(breaker="open_duration: 60s") as (edge, first, _):
        assert await answered(edge, text()) == (FIRST, 1)
        await first.switch(Fault(kind="error", status=503))
        for make in (text, image, text, image, text, image, text):
            assert (await answered(edge, make()))[0] == SECOND
        assert edge.target(FIRST)["state"] == "open"
        assert not is_open(edge, Capability.C_VISION)


async def test_a_refusal_says_which_target_lacks_what() -> None:
    """Where no target is left, the 503 names each one, what it does not do, and how long; the record does too."""
    async with SimProvider(SPEC) as only:
        async with one_data_plane(config(only, breaker="open_duration: 60s, consecutive_failures: 2")) as edge:
            assert await answered(edge, text()) == (FIRST, 1)
            await only.switch(Fault(kind="capability", asked="image", status=400))
            for _ in range(2):
                answer = (await edge.raw(post(image(), fields=b"connection: close\r\n"))).received
                assert status(answer) == 400
            answer = (await edge.raw(post(image(), fields=b"connection: close\r\n"))).received
            assert status(answer) == 503
            told = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert told["targets"][0]["state"] == "capability_down"
            assert "requests that need vision fail there, while others succeed" in told["message"]
            assert int(field(answer, "retry-after") or 0) > 1
            assert await answered(edge, text()) == (FIRST, 1)
            assert (await edge.recorded(5))[3].excluded == ("p0/m: vision_down",)


async def test_the_client_and_the_record_are_told_why() -> None:
    """x-edge-reason and the record of an image that went elsewhere name target and capability."""
    async with two(breaker="open_duration: 60s") as (edge, first, _):
        await first.switch(Fault(kind="capability", asked="image", status=400))
        await broken(edge, image, Capability.C_VISION)
        count = len(edge.records)
        answer = (await edge.raw(post(image(), fields=b"connection: close\r\n"))).received
        assert field(answer, "x-edge-reason") == "p0/m: vision_down"
        record = (await edge.recorded(count + 1))[-1]
        assert record.excluded == ("p0/m: vision_down",)
        assert [attempt.target for attempt in record.attempts] == [SECOND]
        assert edge.outcomes(FIRST)[Outcome.OK] > 0


async def test_pictures_return_slowly() -> None:
    """After a trial has succeeded, the share of the pictures grows as that of a recovered target does."""
    async with two(breaker="open_duration: 300ms, slow_start: 60s") as (edge, first, _):
        await first.switch(Fault(kind="capability", asked="image", status=400))
        await broken(edge, image, Capability.C_VISION)
        await first.switch()
        while is_open(edge, Capability.C_VISION):
            await answered(edge, image())
        found = [(await answered(edge, image()))[0] for _ in range(30)]
        assert found.count(SECOND) > 15
        assert await answered(edge, text()) == (FIRST, 1)


async def test_what_no_target_of_this_region_does_another_region_is_asked() -> None:
    """While the own provider lacks eyes, pictures cross to the other region at once and text does not."""
    async with regions("eu", "us") as world:
        edge = world.data_planes["eu"]
        await world.providers["eu"].switch(Fault(kind="capability", asked="image", status=400))
        assert [(await ask_region(edge, image()))[1]["x-edge-attempts"] for _ in range(3)] == ["2", "2", "1"]
        status_, fields, _ = await ask_region(edge, image())
        assert (status_, fields["x-edge-region"], fields["x-edge-attempts"]) == (200, "us", "1")
        assert fields["x-edge-reason"] == "own/sim-small: vision_down"
        assert (await ask_region(edge, text()))[1]["x-edge-region"] == "eu"
