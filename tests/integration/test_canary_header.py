"""A caller asks for a canary, or refuses it, by x-edge-canary; which the upstream never sees."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest
from h2peer import Call, Upstream
from one_data_plane import one_data_plane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LISTEN = '\nlisten: [{address: "127.0.0.1:0", hosts: [edge]}]\n'


def saying(name: bytes, seen: list[str | None]) -> Callable[[Call], Awaitable[None]]:
    """Return a service that says its name, and notes the field."""

    async def answer(call: Call) -> None:
        seen.append(call.field("x-edge-canary"))
        await asyncio.sleep(0.05)  # requests overlap, so that the balancer has a reason to use both
        await call.head(200, ("content-length", str(len(name))))
        await call.data(name, end=True)

    return answer


async def test_by_the_header() -> None:
    """Always reaches canaries alone, never the others alone; anything else leaves it to the weights."""
    seen: list[str | None] = []
    async with Upstream(saying(b"old", seen)) as old, Upstream(saying(b"new", seen)) as new:
        targets = f"'{old.address}', {{target: '{new.address}', canary: {{}}}}"
        text = f"services: {{s: {{match: {{path: /}}, protocol: h2c, targets: [{targets}]}}}}{LISTEN}"
        async with one_data_plane(text) as data_plane, httpx.AsyncClient(base_url=data_plane.url) as client:
            found: dict[str, Counter[str]] = {}
            for wish in ("always", "never", "maybe"):
                # at once: the balancer would give requests one by one to whichever was quicker
                answers = await asyncio.gather(*[client.get("/a", headers={"x-edge-canary": wish}) for _ in range(30)])
                assert {answer.status_code for answer in answers} == {200}
                found[wish] = Counter(answer.text for answer in answers)
    assert found["always"] == {"new": 30}
    assert found["never"] == {"old": 30}
    assert set(found["maybe"]) == {"old", "new"}
    assert set(seen) == {None}


@pytest.mark.parametrize("wish", ["always", "never"])
async def test_a_route_without_canaries_takes_no_notice(wish: str) -> None:
    """The field chooses among versions; where there is one, everybody gets it."""
    async with Upstream(saying(b"only", [])) as only:
        text = f"services: {{s: {{match: {{path: /}}, protocol: h2c, targets: ['{only.address}']}}}}{LISTEN}"
        async with one_data_plane(text) as data_plane, httpx.AsyncClient(base_url=data_plane.url) as client:
            assert (await client.get("/a", headers={"x-edge-canary": wish})).text == "only"


async def test_a_canary_that_is_down_is_not_replaced() -> None:
    """A caller that asked for the canary alone gets 503 rather than the old version."""
    async with Upstream(saying(b"old", [])) as old:
        targets = f"'{old.address}', {{target: '127.0.0.1:9', canary: {{}}}}"
        text = f"services: {{s: {{match: {{path: /}}, protocol: h2c, targets: [{targets}]}}}}{LISTEN}"
        async with one_data_plane(text) as data_plane, httpx.AsyncClient(base_url=data_plane.url) as client:
            assert (await client.get("/a", headers={"x-edge-canary": "always"})).status_code in (502, 503)
            assert (await client.get("/a", headers={"x-edge-canary": "never"})).text == "old"


async def test_the_record_names_whom_the_header_excludes() -> None:
    """The record says which targets a caller's field has excluded."""
    async with Upstream(saying(b"old", [])) as old, Upstream(saying(b"new", [])) as new:
        targets = f"'{old.address}', {{target: '{new.address}', canary: {{}}}}"
        services = f"services: {{s: {{match: {{path: /}}, protocol: h2c, targets: [{targets}]}}}}"
        text = f"telemetry: {{sample: 100%}}\n{services}{LISTEN}"
        async with one_data_plane(text) as data_plane, httpx.AsyncClient(base_url=data_plane.url) as client:
            for wish in ("always", "never", "maybe"):
                await client.get("/a", headers={"x-edge-canary": wish})
            records = await data_plane.recorded(3)
    why = "x-edge-canary of the request excludes it"
    assert [len(record.excluded) for record in records] == [1, 1, 0]
    assert old.address in records[0].excluded[0]
    assert new.address in records[1].excluded[0]
    assert why in records[0].excluded[0]
