"""``edge status`` shows what the node reports, and gives help when no node answers."""

from __future__ import annotations

import http.server
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from edge.cli import cluster
from edge.cli.ladder import ladder_lines
from edge.cli.main import main
from edge.cli.status import choice_lines, notes, of_targets, side_by_side, table
from edge.cluster.members import MemberStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

TARGETS: list[dict[str, Any]] = [
    {
        "id": "one/small",
        "routes": [
            {"route": "chat", "tier": 2, "weight": 1.0, "state": "open"},
            {"route": "spare", "tier": 1, "weight": 1.0, "state": "open"},
            {"route": "one/small", "tier": 1, "weight": 1.0, "state": "open"},
        ],
        "state": "open",
        "severity": "failing",
        "usable": False,
        "why": "5 failures in a row",
        "until_s": 3.2,
        "inflight": 4,
        "latency_ms": {"stream": 120.4, "whole": None},
        "penalty_ms": {"stream": None, "whole": None},
        "error_ratio": 0.5,
        "slow_ratio": 0.0,
        "volume": 10,
        "consecutive": 5,
        "trips": 1,
        "attempts": {"ok": 5, "fail_reset": 5},
    }
]


def of_columns(shown: Table) -> list[list[str]]:
    """Return the cells of a table by row, headings first."""
    columns = [[str(column.header), *(str(cell) for cell in column.cells)] for column in shown.columns]
    return [list(row) for row in zip(*columns, strict=True)]


class Answers(http.server.BaseHTTPRequestHandler):
    """An admin listener with one fixed response."""

    def do_GET(self) -> None:
        """Answer according to the token."""
        right = self.headers["Authorization"] == "Bearer right"
        known = self.path not in ("/api/node", "/api/pages", "/api/choices", "/api/ladder")  # as an older one
        body = json.dumps(TARGETS if known else {"error": "it is not here"}).encode() if right else b"{}"
        self.send_response((200 if known else 404) if right else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # type: ignore[override]
        """Log nothing."""


def test_words_of_others_are_text(
    admin: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reason with markup or escape sequences is shown as text."""
    monkeypatch.setitem(TARGETS[0], "why", "drained: [/red] \x1b[2J\x9b1m")
    assert main(["status", "--admin", admin, "--token", "right"]) == 0
    said = capsys.readouterr().out
    assert "drained: [/red]" in said
    assert all(code.isprintable() or code == "\n" for code in said)


@pytest.fixture
def admin() -> Iterator[str]:
    """Run it."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_table_says_it_all() -> None:
    """A row has state, load, latency, errors and the reason with its end, in words and units."""
    out = io.StringIO()
    Console(file=out, width=160).print(table(TARGETS))
    row = out.getvalue().splitlines()[1]
    for part in ("one/small", "chat", "2", "open", "4", "120 ms", "50%", "10", "5 failures in a row (3 s left)"):
        assert part in row
    assert row.count("one/small") == 1


def test_a_model_that_is_not_at_its_best_has_a_line() -> None:
    """Who answers, who does not and until when, who waits, and what is left; a model at its best has none."""
    best = {"model": "fine", "rung": "first_choice", "targets": ["a/m"], "out": [], "below": ["unavailable"]}
    best |= {"until_s": None, "waiting": 0, "queue": 100, "stale": 0, "unavailable": 0, "shed": 0}
    ill = {**best, "model": "chat", "rung": "other_model", "targets": ["c/x"], "out": ["a/m", "b/m"], "until_s": 4.2}
    assert ladder_lines([best, {**ill, "waiting": 3}, {**ill, "rung": "of a later version", "out": []}]) == [
        (
            "chat: other model; c/x answers; not a/m, b/m, tried again within 4 s; "
            "3 wait for a place, of at most 100 per worker; then 503"
        ),
        "chat: of a later version; c/x answers; then 503",
    ]


def test_each_route_has_a_row_with_its_own_tier() -> None:
    """A target of two routes has a row for each, with its facts in the first."""
    shown = of_columns(table([{**TARGETS[0], "why": "", "until_s": None}]))
    assert [row[:4] for row in shown[1:]] == [["one/small", "chat", "2", "open"], ["", "spare", "1", "open"]]
    assert (shown[1][4:], shown[2][4:]) == (["4", "120 ms", "-", "50%", "10", ""], [""] * 6)
    (only,) = of_columns(table([{**TARGETS[0], "routes": TARGETS[0]["routes"][2:]}]))[1:]
    assert only[:3] == ["one/small", "one/small", "1"]


def test_a_penalty_is_shown_beside_the_latency() -> None:
    """The penalty of recent failures is marked, with a heading; without penalties there is none."""
    shown = of_columns(table([{**TARGETS[0], "penalty_ms": {"stream": 3210.0, "whole": None}}]))
    assert (shown[0][5], shown[1][5], shown[1][6]) == ("first token\n+ penalty", "120 ms + 3.2 s", "-")
    assert "penalty" not in str(of_columns(table(TARGETS)))


def test_a_weight_is_shown_where_one_differs() -> None:
    """Weights are shown only if they differ."""
    routes = [{**TARGETS[0]["routes"][0], "weight": 2.5}, TARGETS[0]["routes"][1]]
    shown = of_columns(table([{**TARGETS[0], "routes": routes}]))
    assert [row[3] for row in shown] == ["weight", "2.5", "1"]
    assert "weight" not in of_columns(table(TARGETS))[0]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_reasons_are_whole_on_any_screen(width: int) -> None:
    """The reason of a state is readable in one piece: in its row if there is room, else below the table."""
    why = "the provider refused our credential or our balance: check the key and the account"
    out = io.StringIO()
    targets = [
        {**TARGETS[0], "state": "quarantined", "severity": "attention", "why": why, "until_s": 59},
        {**TARGETS[0], "id": "two", "why": ""},
    ]
    Console(file=out, width=width).print(of_targets(targets, width))
    shown = out.getvalue()
    assert f"{why} (59 s left)" in " ".join(shown.split())
    assert "one/small" in shown.splitlines()[1 if width == 200 else 2]
    assert ("one/small is quarantined: " in shown) == (width < 200)
    assert "two is" not in shown


def test_a_pipe_is_wide(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], admin: str) -> None:
    """Output to a pipe is not wrapped to 80 columns, unless COLUMNS is set."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("edge.cli.status._notes", lambda _asked: [])
    assert main(["status", "--admin", admin, "--token", "right"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "one/small" in line]
    assert "5 failures in a row (3 s left)" in row
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["status", "--admin", admin, "--token", "right"]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 70


def test_json_is_what_the_node_said(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON output is the node's response unchanged."""
    assert main(["status", "--admin", admin, "--token", "right", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == TARGETS


def test_a_refused_token_is_explained(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A 401 is shown with instructions to send the token."""
    assert main(["status", "--admin", f"http://{admin}", "--token", "wrong"]) == 1
    assert "the token is wrong; pass admin.token of the node's configuration" in capsys.readouterr().err
    assert main(["status", "--admin", f"http://{admin}", "--token", ""]) == 1
    assert (
        "401: pass admin.token of the node's configuration with --token or EDGE_ADMIN_TOKEN" in capsys.readouterr().err
    )


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:1"])
def test_nobody_there_is_explained(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """If nothing answers, one sentence says what to do, without a traceback."""
    assert main(["status", "--admin", address]) == 1
    error = capsys.readouterr().err
    assert "start a node with `edge run`" in error
    assert "Traceback" not in error


def test_regions_stand_side_by_side() -> None:
    """The table has a row per target and a column per region, with marks for suspect and stale."""
    target = {
        "state": "open",
        "bad": True,
        "total": 10,
        "error_ratio": 0.5,
        "slow_ratio": 0.0,
        "p95_ms": 300,
        "headroom": 4,
        "rate_limited_ms": 2000,
    }
    region = {"nodes": 2, "fresh_nodes": 1, "age_s": 3.2, "fresh": True, "suspect": False, "load": 1}
    said = {
        "regions": [
            {**region, "region": "eu", "targets": {}},
            {**region, "region": "us", "suspect": True, "targets": {"p/m": target}},
            {**region, "region": "ap", "fresh": False, "targets": {}},
        ],
        "verdicts": {"p/m": {"weight": 0.1, "failure_threshold": 1, "why": "found failing by us"}},
    }
    console = Console(file=io.StringIO(), width=300)
    console.print(side_by_side(said))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    cell = "open 50% of 10, p95 300 ms, headroom 4, rate-limited for 2 s"
    for word in (
        "eu",
        "1/2 nodes, 3 s",
        "SUSPECT",
        "stale",
        cell,
        "weight 0.1, failure threshold 1: found failing by us",
    ):
        assert word in shown


def test_a_state_that_is_not_on_disk_is_said_with_the_reason() -> None:
    """The reason is shown while the newest configuration cannot be saved, and no longer."""
    node = {"state_file": "/var/lib/edge/snapshot-1", "state_failures": 3, "state_error": "No space left on device"}
    assert notes(node, 0.0) == [
        "the last good configuration cannot be written to /var/lib/edge/snapshot-1: No space left on device"
    ]
    assert notes({**node, "state_error": ""}, 0.0) == []


def test_an_alarm_comes_with_its_remedy() -> None:
    """An alarm of etcd is shown with its members and, if the store is full, with its remedy."""
    alarm = MemberStatus("http://e:2379", alarms=("memberID:1 alarm:NOSPACE ",))
    first, remedy = cluster.notes([alarm, alarm])
    assert first == "memberID:1 alarm:NOSPACE"
    assert "etcdctl alarm disarm" in remedy
    assert cluster.notes([MemberStatus("http://e:2379", alarms=("memberID:1 alarm:CORRUPT",))]) == [
        "memberID:1 alarm:CORRUPT"
    ]


def test_a_silent_store_is_said_with_its_age() -> None:
    """The age of the view is shown, whether it still counts, and whether there ever was one."""
    sharing = {"view_age_s": 8.0, "connected": False, "error": "refused", "suspect": ["eu"], "name_conflict": True}
    lines = notes({"region": "eu", "sharing": sharing}, 0.0)
    assert lines[0] == "the shared store does not respond: the view of other regions is 8 s old"
    assert [("suspect" in line, "node.name" in line) for line in lines[1:]] == [(True, False), (False, True)]
    late = notes({"region": "us", "sharing": {**sharing, "view_age_s": 70.0, "name_conflict": False}}, 0.0)
    assert late == ["the shared store does not respond: the view of other regions is 70 s old, too old to count"]
    full = notes(
        {"region": "us", "sharing": {**sharing, "connected": True, "name_conflict": False, "unwritten": "no room"}}, 0.0
    )
    assert full == ["the shared store rejects writes, so this node looks silent to others: no room"]
    never = notes({"region": "us", "sharing": {**sharing, "view_age_s": None, "name_conflict": False}}, 0.0)
    assert never == ["the shared store has not been reached yet; this node works on its own: refused"]


def test_held_requests_are_said_when_they_are_many() -> None:
    """A worker near its memory limit is shown with the number of refused requests; another worker is not."""
    node = {"region": "eu", "buffered": [10 * 2**20, 90 * 2**20], "buffered_limit": 100 * 2**20, "unbuffered": 0}
    assert notes(node, 0.0) == ["worker 1 buffers 90 of 100 MiB of requests (limits.max_buffered)"]
    assert notes({**node, "buffered": [0, 0], "unbuffered": 3}, 0.0) == [
        "3 requests were refused because they exceeded limits.max_buffered"
    ]
    assert notes({**node, "buffered": [0, 0]}, 0.0) == []


def test_what_was_saved_is_said() -> None:
    """A model whose prefer or affinity did something has a line with what that was; another has none."""
    base = {"affinity": "auto", "prefer": "order", "requests": 1000, "kept": 0, "moved": 0, "cached_share": None}
    base |= {"saved_usd": 0.0, "saved_s": 0.0}
    kept = {**base, "model": "chat", "kept": 812, "moved": 3, "cached_share": 0.372}
    cheap = {**base, "model": "cheap", "prefer": "cost", "saved_usd": 12.345}
    quick = {**base, "model": "quick", "prefer": "latency", "saved_s": -1.25}
    told = "812 of 1000 requests stayed where their prompt was, 3 conversations moved"
    assert choice_lines([{**base, "model": "idle"}, kept, cheap, quick]) == [
        f"chat: {told}; 37% of prompt tokens came from caches",
        "cheap: prefer: cost has saved $12.35",
        "quick: prefer: latency has saved -1.2 s",
    ]


def test_hedges_are_said() -> None:
    """A hedged model has a line once a hedge was due: how many were made and won, and why others were not made."""
    base = {"affinity": "auto", "prefer": "order", "requests": 1000, "kept": 0, "moved": 0, "cached_share": None}
    none = {"won": 0, "lost": 0, "unanswered": 0, "no_budget": 0, "no_target": 0}
    made = {**none, "won": 30, "lost": 11, "unanswered": 1}
    missed = {**none, "no_budget": 5, "no_target": 2}
    models = [{**base, "model": name, "hedges": hedges} for name, hedges in (("a", None), ("b", none))]
    models += [{**base, "model": "c", "hedges": made}, {**base, "model": "d", "hedges": missed}]
    missed_told = "5 were not made because the budget was spent, 2 were not made because no other target had room"
    assert choice_lines(models) == [
        "c: 42 hedges, of which 30 answered first",
        f"d: 0 hedges, of which 0 answered first, {missed_told}",
    ]
