"""Whatever clients and upstreams do at once, every request is answered and nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import h2peer
import pytest
from bad_clients import over_http1, over_http2, sound
from bad_upstream import Upstream, bad_service
from callers import ask, keys
from one_data_plane import one_data_plane, server_tls, verified
from soon import until

from edge.native import WorkerCounter

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane
    from secure import Secure

CLIENTS = 150
TOTAL_S = 1.5


PRICES = "prices: {m: {input: 1}}"


def config(one: Upstream, two: Upstream, three: h2peer.Upstream) -> str:
    """Return a model over two tiers and a service, with limited callers and 2 MiB of buffers."""
    tls = verified().replace(", ", "\n    ", 1)
    http1 = f"{verified()}, protocol: http1" if tls else ""
    return f"""
providers:
  p0:
    {{dialect: openai, base_url: '{one.url}/v1', limits: {{requests_per_minute: 100000000}}, {PRICES}{http1}}}
  p1: {{dialect: openai, base_url: '{two.url}/v1', {PRICES}{http1}}}
models:
  chat:
    targets: [{{target: p0/m, tier: 1}}, {{target: p1/m, tier: 2}}]
    timeouts: {{connect: 300ms, first_byte: 250ms, first_token: 300ms, stream_idle: 150ms, total: {TOTAL_S}s}}
    breaker: {{consecutive_failures: 4, open_duration: 50ms}}
    retry: {{attempts: 2, budget: 50%}}
services:
  svc:
    match: {{path: /svc/}}
    protocol: http1
    targets: ['{one.address}', '{two.address}']{tls}
    timeouts: {{connect: 300ms, first_byte: 250ms, total: {TOTAL_S}s}}
  two:
    match: {{path: /two/}}
    protocol: h2c
    targets: ['{three.address}']{tls}
    timeouts: {{connect: 300ms, first_byte: 250ms, total: {TOTAL_S}s}}
  odd:
    match: {{grpc: odd.Service}}
    targets: ['{three.address}']{tls}
    timeouts: {{connect: 300ms}}
limits: {{body: 256KiB, max_buffered: 1MiB, client_idle: 1s}}
{keys(alice="concurrent: 6, requests_per_minute: 60000000", bob="tokens_per_minute: 60000000, budget: 1000000")}
"""


def left_behind(data_plane: OneDataPlane) -> dict[str, object]:
    """Return everything that still counts as running, buffered or waiting."""
    worker = data_plane.shared_state.read_worker(0)["counts"]
    left: dict[str, object] = {
        "exchanges": data_plane.data_plane.active,
        "connections": data_plane.data_plane.connections,
        "held": worker[WorkerCounter.W_BUFFERED],
    }
    for target in data_plane.snapshot.targets:
        view = data_plane.target(target.id)
        left[f"inflight of {target.id}"] = view["inflight"]
        left[f"classes of {target.id}"] = sum(view["inflight_by_priority"])
    for route in data_plane.snapshot.routes:
        left[f"inflight of {route.name}"] = data_plane.shared_state.read_route(route.slot)["inflight"]
    for key in data_plane.snapshot.keys:
        left[f"inflight of {key.name}"] = (
            data_plane.shared_state.read_allowance(key.allowance.slot)["inflight"] if key.allowance else 0
        )
    return {name: value for name, value in left.items() if value}


@pytest.mark.parametrize("seed", range(4))
async def test_everybody_is_answered(seed: int) -> None:
    """Upstreams fail and clients leave in every way: in the end nothing runs, and everything works again."""
    await misbehave(seed)


@pytest.mark.parametrize("seed", [4, 5])
async def test_everybody_is_answered_over_tls(secure: Secure, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The same with TLS from the clients and to the upstreams."""
    monkeypatch.setattr("one_data_plane.SECURE", secure)
    await misbehave(seed)


async def misbehave(seed: int) -> None:
    """Run clients and upstreams that behave badly by chance, and check what is left of them."""
    async with (
        Upstream(random.Random(seed + 1)) as one,
        Upstream(random.Random(seed + 2)) as two,
        h2peer.Upstream(bad_service(random.Random(seed + 3)), tls=server_tls("h2")) as three,
        one_data_plane(config(one, two, three)) as data_plane,
    ):
        room = asyncio.Semaphore(12)
        odd: list[object] = []

        async def client(number: int) -> int:
            wire = over_http1 if number % 2 else over_http2
            async with room:
                came = await wire(random.Random(seed * CLIENTS + number), data_plane.port, 4 * TOTAL_S + 2)
            odd.extend((number, one.status, one.whole, one.body[-60:]) for one in came if not sound(one))
            return len(came)

        answered = sum(await asyncio.gather(*(client(number) for number in range(CLIENTS))))
        assert odd == []
        assert answered > CLIENTS
        with contextlib.suppress(TimeoutError):
            await until(lambda: not left_behind(data_plane))
        assert left_behind(data_plane) == {}
        one.mischief = two.mischief = 0.0
        async with asyncio.timeout(20):  # circuits that opened often wait longer
            while b" 200 OK" not in (said := await data_plane.ask(ask("alice"), b"\r\n\r\n"))[:20]:
                assert said.startswith((b"HTTP/1.1 204 ", b"HTTP/1.1 503 ")), said
