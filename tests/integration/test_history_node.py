"""A running node writes its history: the counts are those of its clients, and operators' actions have their reasons."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web
from nodes import RunningNode, chat_config, edge
from soon import until

from edge.incidents.database import Database, Wanted
from edge.incidents.records import COLUMNS, page

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sim.provider import SimProvider


def rows(path: Path) -> list[dict[str, object]]:
    """Return the minutes of a history's last hour by column."""
    db = Database(path)
    now = int(time.time()) // 60
    try:
        found = page(db, Wanted(now - 60, now + 1))
    finally:
        db.close()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found["rows"]]


async def test_a_stopped_node_has_written_what_its_clients_saw(tmp_path: Path, provider: SimProvider) -> None:
    """Requests of the last minute are in the file when the node has stopped, for the target and for the route."""
    config = {**chat_config(provider.url), "history": {"path": "past.db"}}
    async with RunningNode(tmp_path, config) as node:
        for _ in range(5):
            assert (await node.ask()).status == 200
        assert (await node.ask(messages="not a list")).status == 400
    db = Database(tmp_path / "past.db")
    try:
        series = dict(db.series(Wanted(0, 1)))
        read = {
            one: [point for part in db.read(number, Wanted(0, 2**31)) for point in part[0]]
            for number, one in series.items()
        }
    finally:
        db.close()
    counted = {(one.kind, one.model): sum(point.requests for point in points) for one, points in read.items()}
    assert counted == {("target", "sim-small"): 6, ("route", "chat"): 6}
    assert {one.capability for one in series.values()} == {"chat"}
    target = next(points for one, points in read.items() if one.kind == "target")
    assert sum(sum(point.failures.values()) for point in target) == 1  # the caller's own fault, by its name
    assert sum(point.failures.get("client_fault", 0) for point in target) == 1


PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}]}]
TOOL = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


async def test_each_request_counts_once_under_its_most_special_need(tmp_path: Path, provider: SimProvider) -> None:
    """Requests, tokens and latencies stand beside what was asked for, at the target and at the route, and add up."""
    config = {**chat_config(provider.url), "history": {"path": "past.db"}}
    asked: list[tuple[str, int, dict[str, Any]]] = [
        ("chat", 3, {}),
        ("streaming", 2, {"stream": True}),
        ("tools", 2, {"tools": TOOL, "stream": True}),
        ("vision", 1, {"messages": PICTURE, "tools": TOOL}),
    ]
    async with RunningNode(tmp_path, config) as node:
        for _, times, more in asked:
            for _ in range(times):
                assert (await node.ask(**more)).status == 200
        view = (await node.get("/api/node"))[1]
        assert view["history"]["lost"] == 0
    found = rows(tmp_path / "past.db")
    for kind in ("target", "route"):
        part = {row["capability"]: row for row in found if row["kind"] == kind}
        assert {name: row["requests"] for name, row in part.items()} == {name: times for name, times, _ in asked}
        assert all(row["prompt_tokens"] and row["output_tokens"] for row in part.values())
        assert all(row["first_p50_s"] is not None and row["total_p50_s"] is not None for row in part.values())


async def test_operators_find_their_actions(tmp_path: Path, provider: SimProvider) -> None:
    """What an operator did is exported with its reason, as CSV and as JSON; the status says where the history is."""
    async with RunningNode(tmp_path, chat_config(provider.url)) as node:
        body = {"reason": "the bill, of May"}
        named = {"X-Edge-Operator": "Zo%C3%AB"}
        assert (await node.send("PUT", "/api/targets/p0/sim-small/drain", body, **named))[0] == 200
        assert (await node.send("PUT", "/api/targets/p0/sim-small/restore", {}, **{"X-Edge-Operator": "a%0Ab"}))[
            0
        ] == 200
        printed = edge("history", "actions", "--admin", node.admin)
        assert printed.returncode == 0, printed.stderr
        found = list(csv.DictReader(printed.stdout.splitlines()))
        assert [(row["what"], row["subject"], row["reason"], row["by"]) for row in found] == [
            ("drain", "p0/sim-small", "the bill, of May", "Zoë"),
            ("restore", "p0/sim-small", "", ""),  # a name of two lines is none
        ]
        printed = edge("history", "actions", "--format", "json", "--admin", node.admin)
        assert [row["what"] for row in json.loads(printed.stdout)] == ["drain", "restore"]
        state = (await node.get("/api/node"))[1]["history"]
        assert state["path"].startswith(str(tmp_path / "state" / "history-"))
        assert (state["lost"], state["error"]) == (0, "")
        assert (await node.get("/api/history?from=x"))[0] == 400
        assert (await node.get("/api/history?color=red"))[0] == 400
        printed = edge("history", "export", "--from", "1h", "--format", "json", "--admin", node.admin)
        assert json.loads(printed.stdout) == []
        report = ("report", "--provider", "p0", "--admin", node.admin)
        found = json.loads(edge(*report, "--json").stdout)
        assert (found["alone"]["availability"], found["routes"]) == (None, ["chat"])
        assert len(edge(*report, "--csv").stdout.splitlines()) == 3
        assert "the provider alone" in edge(*report).stdout
        assert edge(*report, "--html").stdout.startswith("<!doctype html>")
        assert edge(*report, "--slo", "lots").returncode == 1
        assert (await node.get("/api/report?provider=p0&month=2026-13"))[0] == 400


async def test_a_node_whose_history_cannot_be_written_serves(tmp_path: Path, provider: SimProvider) -> None:
    """A folder that is no folder is told once in the log and in the status; requests are answered."""
    (tmp_path / "file").write_text("")
    config = {**chat_config(provider.url), "history": {"path": "file/past.db"}}
    async with RunningNode(tmp_path, config) as node:
        assert (await node.send("PUT", "/api/targets/p0/sim-small/drain", {"reason": "one"}))[0] == 200
        assert (await node.send("PUT", "/api/targets/p0/sim-small/restore", {}))[0] == 200

        def told() -> int:
            return sum("history cannot be written" in line["message"] for line in node.lines())

        await until(lambda: told() > 0, 20)
        assert (await node.ask()).status == 200
        assert (await node.send("PUT", "/api/targets/p0/sim-small/drain", {"reason": "two"}))[0] == 200
        assert (await node.get("/api/history"))[0] == 503
        assert told() == 1
        assert "/file/past.db" in json.dumps((await node.get("/api/node"))[1]["history"])
        assert edge("history", "export", "--admin", node.admin).returncode == 1


async def test_a_drill_is_left_at_the_node(tmp_path: Path, provider: SimProvider) -> None:
    """``--send`` keeps the scores for the page, with the operator's name; what is no result is refused and not kept."""
    async with RunningNode(tmp_path, chat_config(provider.url)) as node:
        environ = {"EDGE_OPERATOR": "team *night*"}
        ran = edge("drill", "run", "quota", "--rate", "0.3", "--send", "--admin", node.admin, environ=environ)
        assert ran.returncode == 0, ran.stderr
        (kept,) = (await node.get("/api/drills"))[1]
        assert (kept["drill"], kept["met"], kept["by"], kept["seed"]) == ("quota", True, "team *night*", 1)
        assert kept["scores"][0]["what"] == "availability in the window"
        assert kept["at"] > 0
        good = {name: kept[name] for name in ("drill", "title", "source", "model", "seed", "met", "scores")}
        for wrong in (
            {},
            {**good, "title": "a\nb"},
            {**good, "scores": [good["scores"][0]] * 100},
            {**good, "seed": -1},
        ):
            assert (await node.send("POST", "/api/drills", wrong))[0] == 400
        assert (await node.send("POST", "/api/drills", good, Origin="https://evil.test"))[0] == 403
        assert len((await node.get("/api/drills"))[1]) == 1


async def test_what_a_page_said_is_exported(tmp_path: Path, provider: SimProvider) -> None:
    """Each change of a provider's page is in the history with its time, and printed as CSV."""

    async def page(_request: web.Request) -> web.Response:
        part = {"id": "a", "name": "API", "status": "major_outage"}
        return web.json_response({"page": {}, "status": {"indicator": "none"}, "components": [part], "incidents": []})

    app = web.Application()
    app.router.add_get("/summary.json", page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        config = chat_config(provider.url)
        config["providers"]["p0"]["status_page"] = f"http://127.0.0.1:{runner.addresses[0][1]}/summary.json"
        async with RunningNode(tmp_path, config) as node:
            found: list[dict[str, str]] = []
            async with asyncio.timeout(60):
                while not found:
                    printed = await asyncio.to_thread(edge, "history", "pages", "--admin", node.admin)
                    assert printed.returncode == 0, printed.stderr
                    found = list(csv.DictReader(printed.stdout.splitlines()))
            assert [(row["provider"], row["state"], row["text"]) for row in found] == [("p0", "full_outage", "API")]
            verdicts: dict[str, dict[str, Any]] = {}  # the page shortens the fuse, and is named as the reason
            async with asyncio.timeout(30):
                while "p0/sim-small" not in verdicts:
                    verdicts = (await node.get("/api/regions"))[1]["verdicts"]
            assert verdicts["p0/sim-small"]["failure_threshold"] == 2
            assert "status page" in verdicts["p0/sim-small"]["why"]
    finally:
        await runner.cleanup()
