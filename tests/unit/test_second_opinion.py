"""A probe tells whether a refusal was about edge's account, and only a refusal like it takes the target out."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs
from plans import snapshot

from edge import clock
from edge.control.second_opinion import FIRST_NS, SecondOpinion
from edge.native import Declined, Outcome, SharedState


async def opinion(declined: int, probed: int | None, probe_path: str | None = "/v1/models") -> tuple[int, int]:
    """Return how often a target was probed, and why it is quarantined (0: it is not)."""
    state = SharedState.create(1, 0, 1)
    target = structs.replace(snapshot().targets[0], slot=0, kind="model", probe_path=probe_path)
    asked = []

    async def ask(_: object) -> int | None:
        asked.append(1)
        return probed

    now_ns = clock.now_ns()
    if declined:
        Declined(state, 0).alike(now_ns, declined, 7, 1)
    second = SecondOpinion(state, ask)
    for at_ns in (now_ns, now_ns + FIRST_NS):
        second.tend([target], at_ns, lambda: 0.0)
        for _ in range(5):
            await asyncio.sleep(0)
    await second.stop()
    return len(asked), state.read_target(0, now_ns)["quarantine_reason"]


@pytest.mark.parametrize(("declined", "probed"), [(402, 402), (403, 403), (402, 401)])
async def test_a_probe_that_is_refused_alike_takes_the_target_out(declined: int, probed: int) -> None:
    """A refusal of the probe is one of edge itself."""
    assert await opinion(declined, probed) == (1, Outcome.REFUSED_CREDENTIAL)


@pytest.mark.parametrize(("declined", "probed"), [(402, 200), (403, 402), (402, 404), (403, 500), (402, None)])
async def test_any_other_answer_proves_nothing(declined: int, probed: int | None) -> None:
    """A probe that is answered, or that fails in another way, takes the target from nobody."""
    assert await opinion(declined, probed) == (1, 0)


@pytest.mark.parametrize(("declined", "path"), [(0, "/v1/models"), (404, "/v1/models"), (402, None)])
async def test_nobody_is_probed_without_need(declined: int, path: str | None) -> None:
    """A target is probed only after a 402 or 403, and if that costs nothing."""
    assert await opinion(declined, 402, path) == (0, 0)
