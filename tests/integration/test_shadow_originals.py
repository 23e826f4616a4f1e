"""Shadow copies and their originals: one copy of what is tried again, in the same trace, and none of a file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from h2peer import Call, Upstream, plain
from one_data_plane import one_data_plane, post
from paid_provider import PaidProvider, told
from test_shadow import LISTEN, USAGE, copies, ended, models, saying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TRACE = "0af7651916cd43dd8448eb211c80319c"


def service(own: str, shadow: str) -> str:
    """Return configuration text of a service whose GET and POST are copied."""
    return (
        f"services: {{s: {{match: {{path: /}}, protocol: h2c, targets: ['{own}'], "
        f"shadow: {{target: '{shadow}', methods: [GET, POST]}}}}}}\n"
        f"telemetry: {{sample: 0%, forced_samples_per_second: 4}}{LISTEN}"
    )


def leaving_once(calls: list[Call]) -> Callable[[Call], Awaitable[None]]:
    """Return a service that ends its first connection before it begins the second call, and answers on the next."""

    async def answer(call: Call) -> None:
        calls.append(call)
        if len(calls) == 2:
            await call.wire.say_goodbye(calls[0].stream)
        else:
            await plain(b"own")(call)

    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_moves_to_another_connection_has_one_copy(method: str) -> None:
    """A call that its upstream has not begun is asked again, and its copy is not."""
    mine: list[Call] = []
    copied: list[Call] = []
    async with Upstream(leaving_once(mine)) as own, Upstream(saying(b"shadow", copied)) as shadow:
        async with one_data_plane(service(own.address, shadow.address)) as data_plane:
            async with httpx.AsyncClient(base_url=data_plane.url) as client:
                body = b"body" if method == "POST" else b""
                for number in (1, 2):
                    assert (await client.request(method, "/a", content=body)).text == "own"
                    await ended(data_plane, number)
                await asyncio.sleep(0.1)
    assert len(mine) == 3
    assert len(copied) == 2


async def test_a_copy_spends_no_sample_and_has_no_deadline_of_its_own() -> None:
    """Callers have the samples that they may ask for; a copy has the caller's trace, and what its original has."""
    mine: list[Call] = []
    copied: list[Call] = []
    async with Upstream(saying(b"own", mine)) as own, Upstream(saying(b"shadow", copied)) as shadow:
        async with one_data_plane(service(own.address, shadow.address)) as data_plane:
            async with httpx.AsyncClient(base_url=data_plane.url) as client:
                for number in range(1, 5):
                    fields = {"traceparent": f"00-{TRACE}-b7ad6b716920333{number}-01"}
                    assert (await client.get("/a", headers=fields)).text == "own"
                    await ended(data_plane, number)
                await client.get("/a", headers={"x-request-timeout": "5"})
                await ended(data_plane, 5)
    assert [(call.field("traceparent") or "")[-3:] for call in mine[:4]] == ["-01"] * 4
    assert all((call.field("traceparent") or "").startswith(f"00-{TRACE}-") for call in copied[:4])
    assert [call.field("x-request-timeout") for call in copied[:4]] == [None] * 4
    assert copied[4].field("x-request-timeout") is not None


@pytest.mark.parametrize(
    "part", [b'{"type":"input_file","file_id":"file-1"}', b'{"fileData":{"fileUri":"https://x/files/1"}}']
)
async def test_what_names_a_file_of_a_provider_is_not_copied(part: bytes) -> None:
    """Another provider has no such file, also where edge has not seen it made."""
    body = b'{"model":"chat","store":false,"input":[{"role":"user","content":[%s]}]}' % part
    async with PaidProvider(lambda _: told(USAGE)) as own, PaidProvider(lambda _: told(USAGE)) as shadow:
        async with one_data_plane(models(own, shadow)) as data_plane:
            await data_plane.ask(post(body, "/v1/responses"), b"\r\n\r\n")
            await asyncio.sleep(0.1)
            assert copies(data_plane) == {"unfit": 1}
            assert shadow.asked == []
