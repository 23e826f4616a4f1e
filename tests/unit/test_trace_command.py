"""A request can be followed without a collector: in memory, over the admin address, and in any terminal."""

from __future__ import annotations

import argparse
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from plans import shared_state_for, snapshot
from records import BEGAN_NS, MS, attempt, record
from rich.console import Console

from edge.admin.server import AdminServer
from edge.admin.views import trace_view
from edge.cli import main, trace, waterfall
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.control.recent_traces import RecentTraces
from edge.listen.server import bind
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge.terms.trace import ExchangeRecord


def failover() -> ExchangeRecord:
    """A request of 100 ms: 40 ms at a target that failed, then 60 ms at one that answered."""
    first = attempt(
        target="near/model",
        outcome="fail_first_byte",
        detail="no answer within the first-byte deadline",
        started_ns=0,
        connected_ns=10 * MS,
        asked_ns=10 * MS,
        head_ns=-1,
        content_ns=-1,
        ended_ns=40 * MS,
        status=0,
        tripped=True,
    )
    second = attempt(
        target="far/model",
        started_ns=40 * MS,
        connected_ns=-1,
        head_ns=60 * MS,
        content_ns=80 * MS,
        ended_ns=100 * MS,
    )
    return record(duration_ns=100 * MS, first_ns=80 * MS, attempts=(first, second), request_id="f" * 20)


def test_failures_are_not_pushed_out() -> None:
    """Successful requests do not displace failures; both lists are bounded, with the newest first."""
    recent_traces = RecentTraces(10)
    recent_traces.take([failover()])
    recent_traces.take([record(request_id=f"{n:020}", started_ns=BEGAN_NS + n) for n in range(1, 100)])
    assert len(recent_traces.last(1000)) == 11
    assert [kept.request_id for kept in recent_traces.last(2)] == [f"{99:020}", f"{98:020}"]
    assert [kept.request_id for kept in recent_traces.last(5, wrong=True)] == ["f" * 20]
    assert recent_traces.find("f" * 20) == failover()
    assert recent_traces.find(f"{1:020}") is None
    found = recent_traces.find("1" * 32)
    assert found is not None
    assert found.trace_id == "1" * 32
    assert recent_traces.last(5, route="other") == []


@pytest.mark.parametrize(
    ("more", "wrong"),
    [({}, False), ({"status": 503}, True), ({"status": 0}, True), ({"kept": "slow"}, True), ({"status": -1}, False)],
)
def test_what_goes_wrong(more: dict[str, Any], wrong: bool) -> None:
    """Failed, broken, slow and retried requests are kept as wrong; successes and client departures are not."""
    recent_traces = RecentTraces()
    recent_traces.take([record(**more)])
    assert bool(recent_traces.last(5, wrong=True)) == wrong


def shown(one: ExchangeRecord, width: int, *, unicode: bool = True, color: bool = False) -> str:
    """Return the terminal's output."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None)
    for line in waterfall.waterfall(trace_view(one), width, unicode=unicode):
        console.print(line)
    return out.getvalue()


def test_waterfall() -> None:
    """Bars show the time and the phases of each attempt, with its reason."""
    text = shown(failover(), 100)
    lines = text.splitlines()
    assert "POST /v1/chat/completions  200  100 ms" in lines[0]
    first = lines.index(next(line for line in lines if "near/model" in line))
    assert "fail_first_byte: no answer within the first-byte deadline" in lines[first]
    assert "opened its circuit" in text
    assert lines[first + 1] == "░" * 10 + "▒" * 30 + "!"
    second = lines.index(next(line for line in lines if "far/model" in line))
    assert "first content after 40 ms" in lines[second]
    assert lines[second + 1] == " " * 40 + "▒" * 20 + "▓" * 20 + "█" * 20
    assert "\x1b[" not in text


def test_a_hedge_is_marked() -> None:
    """The line of a hedge says what it is, and that of the other attempt does not."""
    lost = attempt(target="a/m", outcome="cancelled", status=0, head_ns=-1, content_ns=-1)
    lines = shown(record(attempts=(lost, attempt(target="b/m", hedge=True))), 100).splitlines()
    told = {name: next(line for line in lines if name in line) for name in ("a/m", "b/m")}
    assert "a hedge" in told["b/m"]
    assert "hedge" not in told["a/m"]


@pytest.mark.parametrize("width", [20, 37, 80, 200])
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("color", [True, False])
def test_any_terminal(width: int, unicode: bool, color: bool) -> None:
    """No line is wider than the terminal, and without Unicode everything is ASCII."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown(failover(), width, unicode=unicode, color=color))
    assert max(len(line) for line in text.splitlines()) <= width
    assert unicode or text.isascii()
    assert "near/model" in text


@pytest.mark.parametrize(
    "odd",
    [
        {"attempts": ()},
        {"duration_ns": 0},
        {"queue_ns": 5 * MS},
        {"status": 0},
        {"status": -1},
        {"grpc": True, "grpc_status": 14},
        {"attempts": (attempt(outcome="", started_ns=20 * MS, ended_ns=-1, connected_ns=-1, head_ns=-1),)},
    ],
)
def test_odd_records(odd: dict[str, Any]) -> None:
    """Records with missing facts are shown."""
    assert "0123456789ab00000001" in shown(record(**odd), 60)


@pytest.fixture
async def node() -> AsyncIterator[tuple[RecentTraces, str]]:
    """Return the recent traces of an admin listener, and its URL."""
    plan, recent_traces = snapshot(), RecentTraces()
    server = AdminServer(Node(shared_state_for(plan), Publisher(plan), 1, dict, recent_traces=recent_traces), "")
    sock = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    await server.start(sock)
    yield recent_traces, url
    await server.stop()


async def edge(url: str, *arguments: str) -> int:
    """Run a command line against a node, while the loop answers it."""
    import asyncio

    return await asyncio.to_thread(main.main, ["trace", "--admin", url, *arguments])


async def test_command(node: tuple[RecentTraces, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The list, one request by either id, JSON, and a message for an unknown id."""
    recent_traces, url = node
    assert await edge(url) == 0
    assert "no request is recorded yet" in capsys.readouterr().out
    recent_traces.take([failover(), record()])
    assert await edge(url, "--wrong", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["request_id"] == "f" * 20
    assert listed["attempts"][0]["outcome"] == "fail_first_byte"
    assert listed["reason"] == "fail_first_byte: no answer within the first-byte deadline"
    assert await edge(url) == 0
    assert "0123456789ab" in capsys.readouterr().out
    assert await edge(url, "f" * 20) == 0
    assert "near/model" in capsys.readouterr().out
    assert await edge(url, "unknown") == 1
    assert "there is no record of such a request" in capsys.readouterr().err
    assert await edge(url, "--last", "0") == 1
    assert "last must be a number from 1 to 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["f", "F" * 20, "../targets", "%2e%2e/node", "a/b", "?last=1", "#", "\x1b[2J\n", "\udc80", "x" * 9_000, "[/red]"],
)
async def test_an_id_is_an_id(node: tuple[RecentTraces, str], capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A partial id, a path or escape sequences are reported as unknown, without a traceback."""
    recent_traces, url = node
    recent_traces.take([failover()])
    assert await edge(url, "--", name) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edge: ")
    assert "Traceback" not in said.err
    assert all(code.isprintable() or code == "\n" for code in said.err)


async def test_what_callers_wrote_steers_no_terminal(
    node: tuple[RecentTraces, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences and markup in a path, a method, a key's name and a reason are shown as text."""
    recent_traces, url = node
    odd = "\x1b[2J\x9b31m[/red]"
    wrong = attempt(outcome="fail_status", detail=odd)
    recent_traces.take(
        [record(request_id="f" * 20, path="/" + odd, method=odd, key=odd, attempts=(wrong,), kept="failed")]
    )
    for arguments in ((), ("f" * 20,)):
        assert await edge(url, *arguments) == 0
        said = capsys.readouterr().out
        assert all(code.isprintable() or code == "\n" for code in said)
    assert said.count("[/red]") == 4


def test_secrets_are_not_told() -> None:
    """A concealed value is not shown in the text of a failure."""
    logs.redact(["sk-very-secret-value"])
    view = trace_view(record(attempts=(attempt(detail="refused sk-very-secret-value"),)))
    assert "sk-very-secret-value" not in json.dumps(view)


def test_table_of_every_kind() -> None:
    """Each kind of exchange has its line in the list."""
    ones = [failover(), record(status=0), record(status=-1), record(request_id="", route="", kind="", attempts=())]
    assert trace.table([trace_view(one) for one in ones]).row_count == 4


def test_arguments() -> None:
    """Without an id the list is shown."""
    parser = argparse.ArgumentParser()
    trace.add(parser.add_subparsers())
    assert parser.parse_args(["trace"]).id is None
