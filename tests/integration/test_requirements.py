"""What a caller requires by ``x-edge-require`` is never relaxed: not by failover, ids, the cache or a typing error."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest
from one_data_plane import OneDataPlane, one_data_plane

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUESTION = {"model": "chat", "messages": [{"role": "user", "content": "p"}]}


@contextlib.asynccontextmanager
async def two_laws() -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, SimProvider], OneDataPlane]]:
    """Run a provider in the US, which is preferred, and one in the EU; the model ``kept`` has a cache."""
    async with contextlib.AsyncExitStack() as stack:
        text = "telemetry: {sample: 100%}\nproviders:\n"
        sims = {}
        for law, offered in (("us", "chat, files, images"), ("eu", "chat, files")):
            spec = ProviderSpec(name=law, pace=Pace(ttft_s=0, tps=0, tokens=4))
            sims[law] = await stack.enter_async_context(SimProvider(spec))
            text += f"  {law}: {{base_url: '{sims[law].url}/v1', jurisdiction: {law}, capabilities: [{offered}]}}\n"
        targets = "targets: [{target: us/sim, tier: 1}, {target: eu/sim, tier: 2}]"
        text += f"models:\n  chat: {{{targets}}}\n  kept: {{{targets}, cache: {{ttl: 1m}}}}\n"
        plane = await stack.enter_async_context(one_data_plane(text))
        yield await stack.enter_async_context(httpx.AsyncClient(base_url=plane.url, timeout=20)), sims, plane


async def ask(client: httpx.AsyncClient, *required: str, model: str = "chat") -> httpx.Response:
    """Ask with these fields."""
    fields = [("x-edge-require", value) for value in required]
    return await client.post("/v1/chat/completions", json={**QUESTION, "model": model}, headers=fields)


@pytest.mark.parametrize(
    ("required", "law"),
    [
        ((), "us"),
        (("jurisdiction=eu",), "eu"),
        (("Jurisdiction = EU",), "eu"),
        (("jurisdiction=eu,us",), "us"),
        (("jurisdiction=fr, eu",), "eu"),
        (("capabilities=images",), "us"),
        (("jurisdiction=eu; capabilities=chat",), "eu"),
        (("jurisdiction=eu,us", "jurisdiction=eu"), "eu"),
    ],
)
async def test_who_is_asked(required: tuple[str, ...], law: str) -> None:
    """Fields that come more than once all count, letters have no case, and a list names alternatives."""
    async with two_laws() as (client, sims, _):
        answer = await ask(client, *required)
        assert (answer.status_code, answer.headers["x-edge-target"]) == (200, f"{law}/sim"), answer.text
        assert {name: sim.stats()["requests"] for name, sim in sims.items()} == {
            name: int(name == law) for name in sims
        }


@pytest.mark.parametrize(
    "required", ["", "eu", "jurisdiction", "jurisdiction=", "jurisdiction=eu,", "law=eu", "jurisdiction=eu;", "a" * 600]
)
async def test_what_cannot_be_read_is_refused(required: str) -> None:
    """A typing error must not let a request go anywhere; the answer says how it is written."""
    async with two_laws() as (client, sims, _):
        answer = await ask(client, required)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_requirement"), answer.text
        assert "write jurisdiction=eu,us" in answer.json()["error"]["message"]
        assert [sim.stats()["requests"] for sim in sims.values()] == [0, 0]


async def test_nobody_meets_it() -> None:
    """The refusal and the record name each target, and why it was excluded."""
    async with two_laws() as (client, sims, plane):
        answer = await ask(client, "jurisdiction=eu; capabilities=images")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "requirement_unmet"), answer.text
        whys = ("us/sim: its jurisdiction is us", "eu/sim: its capabilities do not name images")
        assert all(why in answer.json()["error"]["message"] for why in whys)
        assert (await plane.recorded(1))[0].excluded == whys
        assert [sim.stats()["requests"] for sim in sims.values()] == [0, 0]


async def test_what_is_kept_of_many_fields_is_bounded() -> None:
    """However many fields come, the record says one short sentence of each target."""
    async with two_laws() as (client, sims, plane):
        answer = await ask(client, *(f"capabilities={letter * 480}" for letter in "abcdefghij"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "requirement_unmet"), answer.text
        excluded = (await plane.recorded(1))[0].excluded
        assert [why.partition(":")[0] for why in excluded] == ["us/sim", "eu/sim"]
        assert max(map(len, excluded)) < 200
        assert len(answer.text) < 1_000
        assert [sim.stats()["requests"] for sim in sims.values()] == [0, 0]


async def test_an_outage_does_not_relax_it() -> None:
    """While all that meet it are down, no byte reaches another, and the record names who was excluded."""
    async with two_laws() as (client, sims, plane):
        await sims["eu"].switch(Fault(kind="error", status=500))
        for _ in range(12):
            answer = await ask(client, "jurisdiction=eu")
            assert answer.status_code in {502, 503}, answer.text
        records = await plane.recorded(12)
        assert {record.excluded for record in records} == {("us/sim: its jurisdiction is us",)}
        assert sims["us"].stats()["requests"] == 0


async def test_the_cache_keeps_answers_apart() -> None:
    """An answer of one law's provider is none for a question that requires another."""
    async with two_laws() as (client, _, _plane):
        for required, law in ((), "us"), (("jurisdiction=eu",), "eu"), ((), "us"), (("jurisdiction=eu",), "eu"):
            answer = await ask(client, *required, model="kept")
            assert answer.headers["x-edge-target"] == f"{law}/sim"


async def test_files_go_where_they_are_required() -> None:
    """What a provider is to keep goes to one that meets it, or to none."""
    async with two_laws() as (client, sims, _):
        for required, code in (("jurisdiction=eu", 200), ("jurisdiction=fr", 400), ("fr", 400)):
            answer = await client.post(
                "/v1/files",
                files={"file": ("a.jsonl", b"{}\n")},
                data={"purpose": "batch"},
                headers={"x-edge-require": required},
            )
            assert answer.status_code == code, answer.text
        assert sims["us"].stats()["requests"] == 0
