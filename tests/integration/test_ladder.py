"""A model goes down its ladder rung by rung, and up again; each rung is what operators are shown and callers get."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
from callers import field, status
from one_data_plane import OneDataPlane, one_data_plane, post
from test_cache import Counting
from witness import set_manual

from edge import clock
from edge.balance.ladder import ladder
from edge.cli.ladder import ladder_lines
from edge.control.state_watch import read_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGETS = ("a/m", "b/m", "c/m", "d/other")
BODY = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'


def configured(urls: Sequence[str]) -> str:
    """Return two providers of the first tier, one of the second with the same model, and one with another."""
    providers = "\n".join(
        f"  {name[0]}: {{dialect: openai, base_url: '{url}/v1', api_key: sk-x, max_inflight: 1,"
        " concurrency: {adaptive: false}}"
        for name, url in zip(TARGETS, urls, strict=True)
    )
    tiers = "\n".join(f"      - {{target: {name}, tier: {max(1, place)}}}" for place, name in enumerate(TARGETS))
    return (
        f"providers:\n{providers}\nmodels:\n  chat:\n    targets:\n{tiers}\n"
        "    cache: {ttl: 1ms, stale_if_error: 1h}\n    queue: {wait: 15s}\n"
        "    retry: {attempts: 1}\n    affinity: none\n"
    )


def stands(plane: OneDataPlane) -> dict[str, Any]:
    """Return where the model stands, as the admin API says it."""
    reports = read_targets(plane.shared_state, plane.snapshot, clock.now_ns())
    (standing,) = ladder(plane.shared_state, plane.snapshot, reports)
    said: dict[str, Any] = json.loads(msgspec.json.encode(standing))
    return said


async def asks(plane: OneDataPlane, body: bytes = BODY) -> tuple[int, str, str]:
    """Ask once; return the status, the target that answered, and what the cache did."""
    answer = await plane.ask(post(body), b"}}")
    return status(answer), (field(answer, "x-edge-target") or ""), (field(answer, "x-edge-cache") or "")


async def test_a_model_goes_down_its_ladder_and_up_again() -> None:
    """First choice, other target, other tier, other model, old answers, 503: what is shown is what callers get."""
    async with Counting() as a, Counting() as b, Counting() as c, Counting() as d:
        async with one_data_plane(configured([each.url for each in (a, b, c, d)])) as plane:
            left = ["other_tier", "other_model", "stale_cache", "unavailable"]
            down = [
                (None, "first_choice", ["a/m", "b/m"], [], left),
                ("a/m", "other_target", ["b/m"], ["a/m"], left),
                ("b/m", "other_tier", ["c/m"], ["a/m", "b/m"], left[1:]),
                ("c/m", "other_model", ["d/other"], ["a/m", "b/m", "c/m"], left[2:]),
                ("d/other", "stale_cache", [], list(TARGETS), left[3:]),
            ]
            for gone, rung, targets, out, below in down:
                if gone:
                    set_manual(plane, gone, 2)
                now = stands(plane)
                assert (now["rung"], now["targets"], now["out"], now["below"]) == (rung, targets, out, below)
                await asyncio.sleep(0.01)  # so that the last answer is past its time to live
                answered = await asks(plane)
                assert answered == (200, answered[1], "stale") if not targets else answered[1] in targets
            new = BODY.replace(b"hi", b"ho")
            assert (await asks(plane, new))[0] == 503
            now = stands(plane)
            assert (now["stale"], now["unavailable"]) == (1, 1)
            assert ladder_lines([now]) == [
                "chat: old answers from the cache, else 503; not a/m, b/m, c/m, d/other; then 503"
            ]
            for back, rung, targets, *_ in [(down[place + 1][0], *down[place][1:]) for place in (3, 2, 1, 0)]:
                set_manual(plane, str(back), 0)
                assert (stands(plane)["rung"], stands(plane)["targets"]) == (rung, targets)
                assert (await asks(plane, new))[0] == 200
            assert ladder_lines([stands(plane)]) == []


async def test_those_who_wait_for_a_place_are_shown() -> None:
    """With every place taken, requests wait; the line says how many, and that there is a bound."""
    async with Counting() as a, Counting() as b, Counting() as c, Counting() as d:
        async with one_data_plane(configured([each.url for each in (a, b, c, d)])) as plane:
            for each in (a, b, c, d):
                each.go.clear()
            bodies = [BODY.replace(b"hi", b"q%d" % number) for number in range(6)]
            asking = [asyncio.create_task(asks(plane, body)) for body in bodies]
            async with asyncio.timeout(20):
                while stands(plane)["waiting"] < 2:  # noqa: ASYNC110 - counted in shared memory
                    await asyncio.sleep(0.005)
            now = stands(plane)
            (line,) = ladder_lines([now])
            assert f"2 wait for a place, of at most {now['queue']} per worker" in line
            for each in (a, b, c, d):
                each.go.set()
            assert {answered[0] for answered in await asyncio.gather(*asking)} == {200}
            assert ladder_lines([stands(plane)]) == []


async def test_without_an_old_answer_the_last_rung_is_the_503() -> None:
    """A model without stale_if_error has no rung between its targets and edge's own error."""
    async with Counting() as a:
        text = f"providers:\n  a: {{dialect: openai, base_url: '{a.url}/v1', api_key: sk-x}}\nmodels:\n  chat: [a/m]\n"
        async with one_data_plane(text.replace("[a/m]", "{targets: [a/m]}")) as plane:
            assert stands(plane)["below"] == ["unavailable"]
            set_manual(plane, "a/m", 1)
            assert (stands(plane)["rung"], stands(plane)["below"]) == ("unavailable", [])
            assert (await asks(plane))[0] == 503
