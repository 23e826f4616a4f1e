"""The benchmark's arithmetic, load, upstream and clocks give the figures that it claims."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest
from hpack import Decoder

from bench.macro import greeter, wire
from bench.macro.compare import Cost, row_of
from bench.macro.frames import DATA, END_STREAM, HEADERS, Coder, frame
from bench.macro.h2load import parse
from bench.macro.load import Order, Ran, carry_out
from bench.macro.overhead import added
from bench.macro.processes import BenchError, cpu_ns, family, on, other_cpus, proxy_cpus
from bench.macro.proxies import Direct, Envoy, envoy_config
from bench.macro.scenarios import SCENARIOS, Scenario
from bench.macro.upstream import Connection, Streams

SAID = """
finished in 812.50ms, 12307.69 req/s, 7.05MB/s
requests: 10000 total, 10000 started, 10000 done, 9998 succeeded, 2 failed, 0 errored, 0 timeout
"""


def scenario(bar: float | None) -> Scenario:
    """Build a row of the table."""
    return Scenario("a", "says", Direct("left"), Direct("right"), unit="request", count=1, bar=bar)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    """Ratios are computed within rounds, so that a slow moment that affects both sides cancels out."""
    rounds = [(Cost(10, 5), Cost(20, 2)), (Cost(60, 1), Cost(100, 1)), (Cost(30, 2), Cost(40, 3))]
    row = row_of(scenario(0.6), rounds)
    assert (row.ratio, row.ratio_min, row.ratio_max, row.rounds) == (0.6, 0.5, 0.75, 3)
    assert (row.subject_us, row.beside_us, row.subject_per_s) == (30, 40, 2)
    assert row.reached


@pytest.mark.parametrize(("bar", "reached"), [(None, True), (0.5, True), (0.49, False)])
def test_a_bar_is_reached_when_it_is_not_exceeded(bar: float | None, reached: bool) -> None:
    """A value equal to the bar reaches it; without a bar it is always reached."""
    assert row_of(scenario(bar), [(Cost(10, 1), Cost(20, 1))]).reached is reached


def test_streams_are_counted_by_events() -> None:
    """The unit of a stream is its event, and the unit of a complete answer is the answer."""
    ran = Ran(right=2, wrong=0, seconds=1.0, p50_us=1, p99_us=1, events=400, chunks=398)
    assert {line.name: line.units(ran) for line in SCENARIOS} == {
        "json": 2,
        "keys": 2,
        "learned": 2,
        "sse": 400,
        "grpc": 2,
        "grpc-stream": 400,
        "traces-1": 2,
        "traces-1-node": 2,
        "traces-100": 2,
        "traces-100-node": 2,
    }


def test_the_table_names_each_scenario_once() -> None:
    """--only NAME and the variants are found by name."""
    names = [line.name for line in SCENARIOS]
    assert len(set(names)) == len(names)
    for line in SCENARIOS:
        assert line.subject.name != line.beside.name


def test_added_latency_is_taken_inside_rounds() -> None:
    """A proxy's added latency is its latency less that of the direct way in the same round."""
    rounds = [{"direct": (10.0, 20.0), "edge": (30.0, 60.0)}, {"direct": (50.0, 90.0), "edge": (80.0, 140.0)}]
    rows = {row.proxy: row for row in added(rounds)}
    assert (rows["edge"].added_p50_us, rows["edge"].added_p99_us) == (25.0, 45.0)
    assert (rows["direct"].added_p50_us, rows["edge"].p50_us) == (0.0, 55.0)


def test_h2load_is_read() -> None:
    """Failed requests count as wrong; text that is not h2load's is refused."""
    assert parse(SAID) == Ran(right=9998, wrong=2, seconds=0.8125, p50_us=0.0, p99_us=0.0)
    with pytest.raises(BenchError, match="unexpected output of h2load"):
        parse("h2load: command not understood")


def test_sizes_are_what_the_table_says() -> None:
    """A request has about 200 bytes, an answer about 400, and an event about 200."""
    assert (len(wire.WHOLE_BODY), len(wire.WHOLE_CONTENT), len(wire.SAID)) == (211, 400, 195)
    assert len(wire.STREAM_WRITES) == wire.EVENTS


@pytest.mark.parametrize("stream", [False, True])
async def test_the_load_checks_every_answer(stream: bool) -> None:
    """Against the fixed upstream every answer is right, and every event in its own chunk is counted."""
    loop = asyncio.get_running_loop()
    streams = Streams(loop, 2)
    server = await loop.create_server(lambda: Connection(streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ran = await carry_out(Order(port, count=9, connections=4, stream=stream, limit_s=20.0))
    server.close()
    await server.wait_closed()
    assert (ran.right, ran.wrong) == (9, 0)
    assert ran.events == (9 * wire.EVENTS if stream else 0)
    assert 0.9 * ran.events <= ran.chunks <= ran.events
    assert 0 < ran.p50_us <= ran.p99_us


@pytest.mark.parametrize("stream", [False, True])
async def test_the_load_checks_every_call(stream: bool) -> None:
    """Over gRPC every call is right too, and every message in its own DATA frame is counted."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(Streams(loop, 2)), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ran = await carry_out(Order(port, count=40, connections=2, stream=stream, streams=8, limit_s=20.0))
    server.close()
    await server.wait_closed()
    assert (ran.right, ran.wrong) == (40, 0)
    assert ran.events == ran.chunks == (40 * greeter.MESSAGES if stream else 0)
    assert 0 < ran.p50_us <= ran.p99_us


@pytest.mark.parametrize(("stream", "reply"), [(False, greeter.SAID), (False, b""), (True, greeter.SAID)])
async def test_the_load_sees_wrong_calls(stream: bool, reply: bytes) -> None:
    """Another message, no message, and a stream without one message are wrong."""
    answer = frame(HEADERS, 4, 1, b"\x88") + (frame(DATA, 0, 1, reply) if reply else b"")
    answer += frame(HEADERS, 4 | END_STREAM, 1, b"\x88")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Odd(answer, closes=False), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ran = await carry_out(Order(port, count=1, connections=1, stream=stream, streams=1, limit_s=5.0))
    server.close()
    await server.wait_closed()
    assert (ran.right, ran.wrong) == (0, 1)


def test_field_sections_stay_decodable() -> None:
    """Whatever was encoded before, a decoder that saw all of it gets the same fields back."""
    sections = {"a": ((":status", "200"), ("x-a", "1")), "b": (("x-b", "2"), ("x-a", "1"))}
    coder, decoder = Coder(sections), Decoder()
    for name in "aaabbbaab":
        assert tuple(decoder.decode(coder(name))) == sections[name]


class Odd(asyncio.Protocol):
    """Answers everything with the same bytes, and closes if told to."""

    def __init__(self, answer: bytes, closes: bool) -> None:
        self._answer, self._closes = answer, closes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer)
        if self._closes:
            self._transport.close()


async def _against(answer: bytes, *, closes: bool, stream: bool = False) -> Ran:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Odd(answer, closes), "127.0.0.1", 0)
    try:
        return await carry_out(Order(server.sockets[0].getsockname()[1], 4, 2, stream=stream, limit_s=5.0))
    finally:
        server.close()
        await server.wait_closed()


async def test_the_load_sees_wrong_answers() -> None:
    """Another status is wrong, and so is a stream without one event."""
    error = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    assert (await _against(error, closes=False)).wrong == 4
    short = b"".join(wire.STREAM_WRITES[:1] + wire.STREAM_WRITES[2:])
    assert (await _against(short, closes=False, stream=True)).wrong == 4


async def test_a_lost_connection_spoils_the_run() -> None:
    """If connections end, the run is refused, because it would measure connects."""
    with pytest.raises(ConnectionError, match="a connection ended"):
        await _against(b"HTTP/1.1 200 OK\r\n", closes=True)


def test_cpu_is_counted_for_others_too() -> None:
    """A busy process uses CPU time and a sleeping one does not; an ended process is an error."""
    busy = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        worked = cpu_ns([child.pid])
        time.sleep(0.05)
        assert cpu_ns([child.pid]) - worked < 20_000_000
        assert 200_000_000 <= worked < 2_000_000_000
        assert child.pid in family(os.getpid())
        child.communicate(b"\n")
    with pytest.raises(BenchError, match="has ended"):
        cpu_ns([child.pid])


def test_proxies_have_a_cpu_of_their_own() -> None:
    """With two CPUs the proxy has its own; with one, all share it; the affinity is restored afterwards."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        assert set(proxy_cpus()).isdisjoint(other_cpus())
    with on(proxy_cpus()):
        assert proxy_cpus() == other_cpus() == sorted(os.sched_getaffinity(0))
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("http2", [False, True])
async def test_envoy_takes_its_configuration(http2: bool) -> None:
    """Envoy relays with the plain configuration if its package is installed, and ends afterwards."""
    pytest.importorskip("envoy")
    loop = asyncio.get_running_loop()
    streams = Streams(loop, 2)
    server = await loop.create_server(lambda: Connection(streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Envoy(http2=http2).started(port) as proxy:
        used = proxy.cpu_ns()
        ran = await carry_out(Order(proxy.port, 20, 4, streams=2 if http2 else 0))
        assert ran.right == 20
        assert proxy.cpu_ns() > used
    server.close()
    await server.wait_closed()
    with pytest.raises(BenchError, match="has ended"):
        proxy.cpu_ns()


def test_envoy_is_lean() -> None:
    """Envoy's configuration has no setting that makes it slower."""
    text = str(envoy_config(1, 2))
    assert "access_log" not in text
    assert "'admin'" not in text
    assert "'generate_request_id': False" in text
