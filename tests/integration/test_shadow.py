"""Shadow copies: another target gets a share of the requests, and callers notice neither its answers nor its faults."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from callers import bearer, keys
from h2peer import Call, Upstream
from loopback import LoopbackServer
from one_data_plane import STREAM, OneDataPlane, one_data_plane, post, verified, whole
from paid_provider import PaidProvider, settled, streamed, tokens, told, usage_event

from edge.native import AllowanceCounter, RouteCounter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

USAGE = '{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}'
LISTEN = '\nlisten: [{address: "127.0.0.1:0", hosts: [edge]}]\n'
RESULTS = ("agreed", "differed", "uncompared", "busy", "memory", "unusable", "unfit")


def models(own: LoopbackServer | str, shadow: LoopbackServer | str, more: str = "", extra: str = "") -> str:
    """Return configuration text: ``chat`` of one provider is copied to another one, which has another credential."""
    urls = [each if isinstance(each, str) else each.url for each in (own, shadow)]
    providers = "\n".join(
        f"  p{n}: {{dialect: openai, base_url: '{url}/v1', api_key: 'secret-{n}', "
        f"prices: {{m: {{input: 1, output: 2}}}}{verified()}}}"
        for n, url in enumerate(urls)
    )
    return f"""
providers:
{providers}
models:
  chat: {{targets: [p0/m], shadow: {{target: p1/m{more}}}, timeouts: {{connect: 2s, total: 20s}}}}
{extra}
"""


def copies(data_plane: OneDataPlane) -> dict[str, int]:
    """Return what became of the copies, by result; those that did not occur are left out."""
    snapshot = data_plane.snapshot
    found: dict[str, int] = {}
    for index in snapshot.shadows:
        counts = data_plane.shared_state.read_route(snapshot.routes[index].slot)["counts"]
        for at, name in enumerate(RESULTS, RouteCounter.R_SHADOW_AGREED):
            found[name] = found.get(name, 0) + counts[at]
    return {name: count for name, count in found.items() if count}


async def ended(data_plane: OneDataPlane, count: int = 1) -> dict[str, int]:
    """Wait until this many copies are over; return what became of them."""
    async with asyncio.timeout(20):
        while sum(copies(data_plane).values()) < count:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.005)
    return copies(data_plane)


def counter(data_plane: OneDataPlane, number: RouteCounter) -> int:
    """Return a counter of the copies of the only route that is copied."""
    snapshot = data_plane.snapshot
    (index,) = snapshot.shadows
    return int(data_plane.shared_state.read_route(snapshot.routes[index].slot)["counts"][number])


class Heads(LoopbackServer):
    """Answers each request, and keeps the heads."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        self.heads.append(head)
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_copy_asks_the_same(both_wires: str, stream: bool) -> None:
    """It has the body of the request, with its own target's model; the caller gets the answer of its own target."""
    answer = streamed(usage_event(USAGE)) if stream else told(USAGE)
    other = streamed(words=9) if stream else whole(b'{"choices":[{"message":{"content":"shadow"}}]}')
    async with PaidProvider(lambda _: answer) as own, PaidProvider(lambda _: other) as shadow:
        async with one_data_plane(models(own, shadow)) as data_plane:
            said = await data_plane.ask(post(STREAM) if stream else post(), b"[DONE]" if stream else b"hello")
            assert b"shadow" not in said
            assert await ended(data_plane) == {"agreed": 1}
            assert own.asked == shadow.asked
            assert data_plane.outcomes("p0/m")[0] == 1
            assert counter(data_plane, RouteCounter.R_SHADOW_TOTAL_US) > 0
            assert counter(data_plane, RouteCounter.R_SHADOW_COPY_TOTAL_US) > 0
            assert counter(data_plane, RouteCounter.R_SHADOW_OUTPUT_TOKENS) > 0
            assert len(data_plane.records) <= 1  # a copy leaves no record, and no line in the access log


async def test_a_copy_says_so_and_has_its_own_credential() -> None:
    """The shadow is told by a field, which its caller cannot write; and it never sees the other provider's key."""
    async with Heads(told(USAGE)) as own, Heads(told(USAGE)) as shadow:
        async with one_data_plane(models(own, shadow)) as data_plane:
            await data_plane.ask(post(fields=b"x-edge-shadow: mine\r\n"), b"hello")
            await ended(data_plane)
    assert b"\r\nx-edge-shadow: chat\r\n" in shadow.heads[0]
    assert b"secret-1" in shadow.heads[0]
    assert b"secret-0" not in shadow.heads[0]
    assert b"x-edge-shadow" not in own.heads[0]


async def test_no_key_pays_for_a_copy() -> None:
    """Requests, tokens and money of the key are those of its own request."""
    async with PaidProvider(lambda _: told(USAGE)) as own, PaidProvider(lambda _: told(USAGE)) as shadow:
        text = models(own, shadow, extra=keys(one="budget: 10, requests_per_minute: 20, tokens_per_minute: 100000"))
        async with one_data_plane(text) as data_plane:
            for _ in range(2):
                await data_plane.ask(post(fields=bearer("one")), b"hello")
            assert await ended(data_plane, 2) == {"agreed": 2}
            record = await settled(data_plane)
            assert record["counts"][AllowanceCounter.A_REQUESTS] == 2
            assert tokens(record) == (14, 10)
            assert record["counts"][AllowanceCounter.A_COST_NANO] == 2 * (7 * 1000 + 5 * 2000)
            assert counter(data_plane, RouteCounter.R_COST_NANO) == 2 * (7 * 1000 + 5 * 2000)


async def test_a_share_is_copied() -> None:
    """Of many requests, about that share has a copy; 0% copies nothing."""
    async with PaidProvider(lambda _: told(USAGE)) as own, PaidProvider(lambda _: told(USAGE)) as shadow:
        async with one_data_plane(models(own, shadow, ", share: 20%")) as data_plane:
            async with httpx.AsyncClient(base_url=data_plane.url) as client:
                for _ in range(300):
                    await client.post("/v1/chat/completions", json={"model": "chat", "messages": []})
                await asyncio.sleep(0.3)
                assert 25 <= len(shadow.asked) <= 110
                await data_plane.swap(models(own, shadow, ", share: 0%"))
                before = len(shadow.asked)
                for _ in range(50):
                    await client.post("/v1/chat/completions", json={"model": "chat", "messages": []})
                await asyncio.sleep(0.1)
                assert len(shadow.asked) == before


async def test_a_dead_shadow_costs_the_caller_nothing() -> None:
    """The circuit that opens is that of the copies; further ones are dropped; the live target is untouched."""
    async with PaidProvider(lambda _: told(USAGE)) as own:
        extra = "  direct: {targets: [p1/m]}\n"
        async with one_data_plane(models(own, "http://127.0.0.1:9", extra=extra)) as data_plane:
            for _ in range(20):
                assert b"200 OK" in await data_plane.ask(post(), b"hello")
            assert await ended(data_plane, 20) == {"unusable": 20}
            assert data_plane.target("p1/m")["state"] == "closed"
            assert sum(data_plane.outcomes("p1/m")) == 0
            assert data_plane.target("shadow:chat:p1/m")["state"] != "closed"


async def test_a_slow_shadow_is_bounded() -> None:
    """Copies in flight are limited; what is above is dropped and counted, and the caller's latency stays as it was."""
    async with PaidProvider(lambda _: told(USAGE)) as own, PaidProvider(lambda _: told(USAGE)) as shadow:
        shadow.gate.clear()
        async with one_data_plane(models(own, shadow, ", max_inflight: 3")) as data_plane:
            for _ in range(10):
                assert b"200 OK" in await data_plane.ask(post(), b"hello", limit_s=5)
            assert (await ended(data_plane, 7))["busy"] == 7
            shadow.gate.set()
            assert await ended(data_plane, 10) == {"busy": 7, "agreed": 3}


async def test_a_huge_answer_of_a_shadow_is_not_held() -> None:
    """A whole answer above the bound for copies ends the copy; the caller's own may be as long as ever."""
    huge = whole(b'{"choices":[{"message":{"content":"%s"}}]}' % (b"x" * 3_000_000))
    async with PaidProvider(lambda _: huge) as own, PaidProvider(lambda _: huge) as shadow:
        async with one_data_plane(models(own, shadow)) as data_plane:
            said = await data_plane.ask(post(), b'x"}}]}')
            assert len(said) > 3_000_000
            assert sum((await ended(data_plane)).values()) == 1
            async with asyncio.timeout(10):
                while data_plane.shared_state.read_worker(0)["counts"][18]:  # noqa: ASYNC110 - W_BUFFERED
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/v1/chat/completions", b'{"model":"chat","store":true,"messages":[]}', b""),
        ("/v1/responses", b'{"model":"chat","input":"hi"}', b""),
        ("/v1/responses", b'{"model":"chat","input":"hi","store":false,"previous_response_id":"resp_1"}', b""),
        ("/v1/images/generations", b'{"model":"chat","prompt":"hi"}', b""),
        ("/v1/chat/completions", b'{"model":"chat","messages":[]}', b"x-edge-require: jurisdiction=eu\r\n"),
    ],
)
async def test_what_may_not_be_sent_twice_or_elsewhere(path: str, body: bytes, fields: bytes) -> None:
    """What a provider stores, what names its ids, what makes pictures, and what the caller restricts: no copy."""
    async with PaidProvider(lambda _: told(USAGE)) as own, PaidProvider(lambda _: told(USAGE)) as shadow:
        async with one_data_plane(models(own, shadow)) as data_plane:
            await data_plane.ask(post(body, path, fields), b"\r\n\r\n")
            await asyncio.sleep(0.1)
            assert shadow.asked == []


def saying(name: bytes, calls: list[Call], delay_s: float = 0.0) -> Callable[[Call], Awaitable[None]]:
    """Return a service that says its name, and keeps its calls."""

    async def answer(call: Call) -> None:
        calls.append(call)
        await asyncio.sleep(delay_s)
        await call.head(200, ("content-length", str(len(name))))
        await call.data(name, end=True)

    return answer


async def test_a_service_is_copied_by_method() -> None:
    """GET is copied, POST only where the file says so, with its body."""
    mine: list[Call] = []
    copied: list[Call] = []
    async with Upstream(saying(b"own", mine)) as own, Upstream(saying(b"shadow", copied)) as shadow:

        def text(methods: str) -> str:
            return (
                f"services: {{s: {{match: {{path: /}}, protocol: h2c, targets: ['{own.address}'], "
                f"shadow: {{target: '{shadow.address}'{methods}}}}}}}{LISTEN}"
            )

        async with one_data_plane(text("")) as data_plane, httpx.AsyncClient(base_url=data_plane.url) as client:
            assert (await client.get("/a?b=c")).text == "own"
            assert await ended(data_plane) == {"agreed": 1}
            assert [(call.field(":method"), call.field(":path")) for call in copied] == [("GET", "/a?b=c")]
            assert copied[0].field("x-edge-shadow") == "s"
            assert mine[0].field("x-edge-shadow") is None
            assert (await client.post("/a", content=b"body")).text == "own"
            assert (await ended(data_plane, 2))["unfit"] == 1
            assert len(copied) == 1
        async with (
            one_data_plane(text(", methods: [POST]")) as data_plane,
            httpx.AsyncClient(base_url=data_plane.url) as client,
        ):
            assert (await client.post("/a", content=b"body")).text == "own"
            assert (await ended(data_plane)).get("agreed") == 1
            assert copied[-1].field(":method") == "POST"


async def median_s(client: httpx.AsyncClient, count: int) -> float:
    """Return the median time of a request, in seconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await client.post("/v1/chat/completions", json={"model": "chat", "messages": []})
        took.append(time.perf_counter() - began)
    return statistics.median(took)


async def test_latency() -> None:
    """With every request copied to a shadow that hangs, the caller's median is within 10% or half a millisecond."""
    async with PaidProvider(lambda _: told(USAGE)) as own, PaidProvider(lambda _: told(USAGE)) as shadow:
        shadow.gate.clear()
        off = models(own, shadow, ", share: 0%")
        on = models(own, shadow)
        async with one_data_plane(off) as data_plane, httpx.AsyncClient(base_url=data_plane.url) as client:
            await median_s(client, 100)
            without: list[float] = []
            copied: list[float] = []
            for _ in range(5):  # in turn: the machine has other work
                await data_plane.swap(off)
                without.append(await median_s(client, 60))
                await data_plane.swap(on)
                copied.append(await median_s(client, 60))
            shadow.gate.set()
            assert min(copied) <= max(min(without) * 1.1, min(without) + 0.0005)
