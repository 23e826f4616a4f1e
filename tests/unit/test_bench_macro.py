"""The benchmark's arithmetic and clocks give the figures that it claims."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from bench.macro import wire
from bench.macro.busbar import Busbar
from bench.macro.certificates import issue
from bench.macro.h2load import parse
from bench.macro.load import Ran
from bench.macro.overhead import added
from bench.macro.processes import BenchError, Upstream, cpu_ns, family, on, other_cpus, proxy_cpus
from bench.macro.proxies import Direct
from bench.macro.rows import Cost, less, row_of, table_of
from bench.macro.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from pathlib import Path

SAID = """
finished in 812.50ms, 12307.69 req/s, 7.05MB/s
requests: 10000 total, 10000 started, 10000 done, 9998 succeeded, 2 failed, 0 errored, 0 timeout
"""


def scenario(bar: float | None, **more: Any) -> Scenario:
    """Build a row of the table."""
    return Scenario("a", "says", Direct("left"), Direct("right"), unit="request", count=1, bar=bar, **more)


def named(rounds: list[tuple[Cost, Cost]]) -> list[dict[str, Cost]]:
    """Return rounds by the names of the scenario's proxies."""
    return [{"left": left, "right": right} for left, right in rounds]


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    """Ratios are computed within rounds, so that a slow moment that affects both sides cancels out."""
    rounds = [(Cost(10, 5), Cost(20, 2)), (Cost(60, 1), Cost(100, 1)), (Cost(30, 2), Cost(40, 3))]
    row = row_of(scenario(0.6), named(rounds))
    assert (row.ratio, row.ratio_min, row.ratio_max, row.rounds) == (0.6, 0.5, 0.75, 3)
    assert (row.subject_us, row.beside_us, row.subject_per_s) == (30, 40, 2)
    assert row.reached


@pytest.mark.parametrize(("bar", "reached"), [(None, True), (0.5, True), (0.49, False)])
def test_a_bar_is_reached_when_it_is_not_exceeded(bar: float | None, reached: bool) -> None:
    """A value equal to the bar reaches it; without a bar it is always reached."""
    assert row_of(scenario(bar), named([(Cost(10, 1), Cost(20, 1))])).reached is reached


@pytest.mark.parametrize(("over_bar", "reached"), [(None, True), (45.0, True), (44.9, False)])
def test_what_a_subject_may_use_over_another_is_bounded(over_bar: float | None, reached: bool) -> None:
    """The bound is one of microseconds: the median of the differences within each round."""
    rounds = [(Cost(60, 1), Cost(20, 1)), (Cost(70, 1), Cost(25, 1)), (Cost(90, 1), Cost(30, 1))]
    row = row_of(scenario(None, over_bar=over_bar), named(rounds))
    assert (row.over_us, row.reached) == (45, reached)
    out = io.StringIO()
    Console(file=out, width=160).print(table_of([row]))
    assert ("45.0" in out.getvalue()) is (over_bar is not None)


async def test_busbar_is_compared_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUSBAR names its program, which gets its configuration in a file; without it nothing is started."""
    monkeypatch.setenv("BUSBAR", str(tmp_path / "none"))
    assert not Busbar().installed
    program = tmp_path / "busbar"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, socket, time, yaml\n"
        "config = yaml.safe_load(open(os.environ['BUSBAR_CONFIG']))\n"
        "assert config['advanced']['worker_threads'] == 1 and os.environ['BUSBAR_UPSTREAM_KEY']\n"
        "place = os.path.join(os.path.dirname(os.environ['BUSBAR_CONFIG']), config['providers_file'])\n"
        "assert yaml.safe_load(open(place))['local']['base_url'] == 'http://127.0.0.1:9'\n"
        "host, _, port = config['listen'].partition(':')\n"
        "made = socket.socket()\n"
        "made.bind((host, int(port)))\nmade.listen()\ntime.sleep(60)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("BUSBAR", str(program))
    assert Busbar().installed
    upstream = Upstream(9, 9, issue(tmp_path))
    async with Busbar(protocol="anthropic").started(upstream) as proxy:
        assert proxy.pids


@pytest.mark.parametrize(
    ("us", "haproxy_us", "allowed", "reached"),
    [(50, 40, 0.5, True), (51, 40, 0.5, False), (66, 60, 0.66, True), (67, 60, 0.66, False), (50, None, 0.5, True)],
)
def test_a_bar_under_haproxy_is_haproxys(us: int, haproxy_us: int | None, allowed: float, reached: bool) -> None:
    """Where HAProxy itself is above the bar, 1.1 times its figure is enough; absent, it changes nothing."""
    costs = {"left": Cost(us, 1), "right": Cost(100, 1)} | ({"haproxy": Cost(haproxy_us, 1)} if haproxy_us else {})
    row = row_of(scenario(0.5, others=(Direct("haproxy"),)), [costs])
    assert row.allowed == pytest.approx(allowed)
    assert row.reached is reached
    assert row.others[0].ratio == (haproxy_us / 100 if haproxy_us else None)


def test_a_missed_tail_is_missed() -> None:
    """A scenario with two bars needs both."""
    costs = {"left": Cost(10, 1, tail_us=21), "right": Cost(20, 1, tail_us=10)}
    assert row_of(scenario(0.5, tail="first byte", tail_bar=2.1), [costs]).reached
    assert not row_of(scenario(0.5, tail="first byte", tail_bar=2.0), [costs]).reached


def test_added_latencies_are_compared_by_their_medians() -> None:
    """A round in which a proxy adds next to nothing must not decide: the ratio is that of the medians."""
    rounds = named([(Cost(10, 1), Cost(20, 1)), (Cost(10, 1), Cost(0.001, 1)), (Cost(10, 1), Cost(30, 1))])
    assert row_of(scenario(0.5, rate=200), rounds).ratio == 0.5
    assert less(Cost(30, 5, tail_us=90), Cost(10, 4, tail_us=20)) == Cost(20, 5, tail_us=70)


def test_the_table_says_what_is_missing() -> None:
    """The table has a line for each proxy, and says which are not installed."""
    shown = Console(width=120, file=io.StringIO(), record=True)
    costs = {"left": Cost(10, 1, tail_us=1), "right": Cost(20, 1, tail_us=2), "nginx": Cost(5, 1)}
    row = row_of(scenario(0.4, others=(Direct("nginx"), Direct("haproxy")), tail="tail"), [costs])
    shown.print(table_of([row]))
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.export_text().splitlines()]
    assert "a request left 10.0 1 0.50 0.50..0.50 0.4 MISSED" in lines
    assert "nginx 5.0 1 0.25" in lines
    assert "haproxy not installed" in lines


def test_streams_are_counted_by_events() -> None:
    """The unit of a stream is its event, and the unit of a complete answer is the answer."""
    ran = Ran(right=2, wrong=0, seconds=1.0, p50_us=1, p99_us=1, events=400, chunks=398)
    streams = {"sse", "sse-full", "paced", "grpc-stream", "translate-sse"}
    assert {line.name for line in SCENARIOS if line.units(ran) == 400} == streams
    assert {line.units(ran) for line in SCENARIOS if line.name not in streams} == {2}


def test_the_table_names_each_scenario_once() -> None:
    """--only NAME and the variants are found by name."""
    names = [line.name for line in SCENARIOS]
    assert len(set(names)) == len(names)
    for line in SCENARIOS:
        variants = [line.subject, line.beside, *line.others]
        assert len({variant.name for variant in variants}) == len(variants)


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
    assert (len(wire.LONG_PROMPT), len(wire.PACED_WRITES)) == (64 * 1024, wire.PACED_EVENTS)
    assert len(wire.STREAM_WRITES) == wire.EVENTS


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
