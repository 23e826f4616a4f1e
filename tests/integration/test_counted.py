"""The counters of a data plane's own work: its overhead, its refusals, its refused retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from one_data_plane import HELLO, ROLE, STREAM, models, one_data_plane, patient, post, sse, whole

from edge.native import RouteCounter, WorkerCounter
from edge.sim.wire import Again, Pause, ReadMessage, ScriptedServer, Send
from edge.telemetry import catalog
from edge.telemetry.meters import NodeFacts, read

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

KEY = b"sk-upstream-4711-0815"


def own(data_plane: OneDataPlane) -> tuple[int, int]:
    """Return how many overheads the data plane recorded on its only route, and their sum in ns."""
    view = data_plane.shared_state.read_route(data_plane.snapshot.routes[0].slot)
    return view["overhead_count"], view["overhead_sum_ns"]


def worker(data_plane: OneDataPlane, counter: WorkerCounter) -> int:
    """Return a counter of the data plane's worker."""
    return data_plane.shared_state.read_worker(0)["counts"][counter]


def keyed(url: str) -> str:
    """Return a configuration of one model at one provider with a credential."""
    return models(url).replace("dialect: openai", f"dialect: openai, api_key: {KEY.decode()}", 1)


async def test_own_time_is_neither_the_clients_nor_the_targets() -> None:
    """The overhead is recorded once per exchange, without the time of answers and connects."""
    async with ScriptedServer((ReadMessage(), Pause(0.4), Send(whole()), Again())) as upstream:
        async with one_data_plane(patient(models(upstream.url))) as data_plane:
            for _ in range(3):
                await data_plane.ask(post(), b"}}")
            count, spent_ns = own(data_plane)
            assert count == 3
            assert 0 < spent_ns < 3 * 400_000_000


async def test_own_time_is_of_the_first_attempt() -> None:
    """An exchange with two attempts is recorded once, before the first answer."""
    bad = (ReadMessage(), Pause(0.4), Send(whole(b'{"error":{"message":"busy"}}', b"500 Busy")), Again())
    good = (ReadMessage(), Send(whole()), Again())
    async with ScriptedServer(bad) as first, ScriptedServer(good) as second:
        async with one_data_plane(patient(models(first.url, second.url))) as data_plane:
            assert b"x-edge-attempts: 2\r\n" in await data_plane.ask(post(), b"}}")
            count, spent_ns = own(data_plane)
            assert count == 1
            assert spent_ns < 400_000_000


async def test_what_clients_make_up_names_no_counter() -> None:
    """Unknown models, methods and paths are counted without creating new series."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane:
            facts = NodeFacts(workers=1, serving={}, restarts={})

            def series() -> set[tuple[str, tuple[str, ...]]]:
                page = read(data_plane.shared_state, data_plane.snapshot, facts, now_ns=1, wall_s=1.0)
                return {(metric.name, sample.labels) for metric, samples in page for sample in samples}

            before = series()
            for number in range(30):
                await data_plane.ask(post(b'{"model":"m-%d"}' % number), b"}}")
                await data_plane.ask(post(path=f"/v2/{number}"), b"}}")
                await data_plane.ask(b"DELETE /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", b"}}")
                await data_plane.raw(f"M{number} /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                await data_plane.ask(post(b"{%d" % number), b"}}")
            assert worker(data_plane, WorkerCounter.W_UNROUTED) == 60
            assert worker(data_plane, WorkerCounter.W_REFUSED) == 60
            assert worker(data_plane, WorkerCounter.W_MALFORMED) == 30
            assert worker(data_plane, WorkerCounter.W_REQUESTS) == 120
            assert (
                data_plane.shared_state.read_route(data_plane.snapshot.routes[0].slot)["counts"][
                    RouteCounter.R_REQUESTS
                ]
                == 0
            )
            assert series() == before
            known = {route.name for route in data_plane.snapshot.routes} | {
                target.id for target in data_plane.snapshot.targets
            }
            labelled = {labels[0] for name, labels in before if name.startswith(("edge_request", "edge_attempt"))}
            assert labelled <= known
            assert catalog.REQUESTS.labels == ("route",)


async def test_idle_connections_are_told_each_second() -> None:
    """A connection that waits for its next request is counted as idle within about a second."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane:
            await data_plane.ask(post(), b"}}")
            for _ in range(2000):
                if worker(data_plane, WorkerCounter.W_UPSTREAMS_IDLE):
                    break
                await data_plane.thread.run(_moment())
            assert worker(data_plane, WorkerCounter.W_UPSTREAMS_IDLE) == 1
            assert worker(data_plane, WorkerCounter.W_UPSTREAMS) == 1


async def _moment() -> None:
    import asyncio

    await asyncio.sleep(0.01)


@pytest.mark.parametrize("status", [b"400 Bad Request", b"413 Too Large", b"422 Unprocessable"])
async def test_a_fault_does_not_repeat_our_credential(status: bytes) -> None:
    """A provider's error that quotes the credential is relayed without it, otherwise unchanged."""
    content = b'{"error":{"message":"you sent Bearer ' + KEY + b", again " + KEY + b'","type":"bad"}}'
    answer = (
        b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\nx-debug: got " + KEY + b"\r\nx-other: kept\r\n"
        b"content-length: %d\r\n\r\n" % len(content) + content
    )
    async with ScriptedServer((ReadMessage(), Send(answer), Again())) as upstream:
        async with one_data_plane(keyed(upstream.url)) as data_plane:
            got = await data_plane.ask(post(), b"}}")
            assert got.startswith(b"HTTP/1.1 " + status[:3])
            assert KEY in upstream.peers[0].received
            assert KEY not in got
            assert got.endswith(b'{"error":{"message":"you sent Bearer ***, again ***","type":"bad"}}')
            assert b"x-debug: got ***\r\nx-other: kept\r\n" in got


async def test_an_error_in_a_stream_does_not_repeat_our_credential() -> None:
    """The same holds for the error event of a stream."""
    fault = b'data: {"error":{"message":"key ' + KEY + b' is tired"}}\n\n'
    async with ScriptedServer(
        (ReadMessage(), Send(sse(ROLE, HELLO)[:-5]), Send(sse(fault).partition(b"\r\n\r\n")[2]))
    ) as (upstream):
        async with one_data_plane(keyed(upstream.url)) as data_plane:
            got = await data_plane.ask(post(STREAM), b"is tired")
            assert b"hello" in got
            assert b"key *** is tired" in got
            assert KEY not in got
