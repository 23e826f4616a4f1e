"""The page's files hold nothing of the node, and its stream tells everything once and then what changes."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import structs
from plans import SECRET
from test_admin import TOKEN, Running

from edge.admin import page
from edge.admin.page import FILES
from edge.balance import report
from edge.regions.view import RegionPicture, TargetPicture

if TYPE_CHECKING:
    import aiohttp


async def events(admin: Running, count: int, **headers: str) -> list[dict[str, Any]]:
    """Return the first events of a stream."""
    async with admin.client.get(f"{admin.url}/api/stream", headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        return [await event(answer) for _ in range(count)]


async def event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Read one event."""
    line = await answer.content.readline()
    assert await answer.content.readline() == b"\n"
    return dict(json.loads(line.removeprefix(b"data: ")))


@pytest.mark.timeout(60)
async def test_the_page_needs_no_token_and_says_nothing() -> None:
    """The page and its files are served to anyone who reaches the address; the stream is not."""
    async with Running(TOKEN) as admin:
        for path in ("/", *(f"/page/{name}" for name in FILES)):
            status, body, headers = await admin.get(path)
            assert status == 200
            assert "script-src 'self'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert "one/small" not in body
        assert (await admin.get("/page/../server.py"))[0] in (401, 404)
        assert (await admin.get("/page/other.js"))[0] == 404
        assert (await admin.get("/api/stream"))[0] == 401
        assert (await events(admin, 1, Authorization=f"Bearer {TOKEN}"))[0]["node"]["name"] == "node-1"


async def test_another_name_for_the_node_gets_no_page() -> None:
    """Without a token the rule about Host holds for the page, too."""
    async with Running("") as admin:
        assert (await admin.get("/", Host="evil.test"))[0] == 403


async def test_nothing_of_the_page_is_inline_or_from_elsewhere() -> None:
    """There is no inline script or style and no other origin in the files."""
    async with Running("") as admin:
        _, index, _ = await admin.get("/")
        assert re.search(r"<script(?![^>]*src=)|style=|\son\w+=", index) is None
        for path in ("/", *(f"/page/{name}" for name in FILES)):
            _, body, _ = await admin.get(path)
            assert "http://" not in body
            assert "https://" not in body
            assert "innerHTML" not in body


async def test_who_does_not_read_gives_up_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that read nothing more are closed, so that others can be opened."""
    monkeypatch.setattr(page, "PERIOD_S", 0.0)
    monkeypatch.setattr(page, "STALLED_S", 0.3)
    monkeypatch.setattr(page, "MOST_STREAMS", 2)
    async with Running("") as admin:
        monkeypatch.setattr(page.Page, "_event", lambda *_: {"x": "x" * 1_000_000})
        host, port = admin.url.removeprefix("http://").split(":")
        writers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readexactly(15)
            writers.append(writer)
        async with asyncio.timeout(15):
            while await status_of(admin) == 503:  # noqa: ASYNC110 - a place is free when the server has noticed
                await asyncio.sleep(0.05)
        for writer in writers:
            writer.transport.abort()


async def status_of(admin: Running) -> int:
    """Return the status of a new stream, which is closed at once."""
    async with admin.client.get(f"{admin.url}/api/stream") as answer:
        return answer.status


async def test_the_stream_tells_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first event has every target, the next only those that changed, and none has a secret."""
    monkeypatch.setattr(page, "PERIOD_S", 0.05)
    async with Running("") as admin, admin.client.get(f"{admin.url}/api/stream") as answer:
        first, second = await event(answer), await event(answer)
        assert {"one/small", "two/big"} <= set(first["targets"])
        assert second["targets"] == {}
        slot = next(target.slot for target in admin.publisher.snapshot.targets if target.id == "two/big")
        admin.shared_state.set_manual(slot, 1)
        changed: dict[str, Any] = {}
        while not changed:
            changed = (await event(answer))["targets"]
        assert list(changed) == ["two/big"]
        assert changed["two/big"][0] == "manual"
        assert SECRET not in json.dumps([first, second, changed])
        assert [route["name"] for route in first["routes"]] == ["chat", "billing"]


async def test_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More open pages than the bound get a sentence, and a closed one makes room."""
    monkeypatch.setattr(page, "MOST_STREAMS", 1)
    monkeypatch.setattr(page, "PERIOD_S", 0.01)
    async with Running("") as admin:
        async with admin.client.get(f"{admin.url}/api/stream") as answer:
            await event(answer)
            status, body, _ = await admin.get("/api/stream")
            assert (status, "close one" in body["error"]) == (503, True)
            answer.close()
        while (await admin.get("/live"))[0] and admin.server is not None:
            async with admin.client.get(f"{admin.url}/api/stream") as again:
                if again.status == 200:
                    break


def seen(state: str, **given: Any) -> TargetPicture:
    """Return a target as a region sees it."""
    facts = {"bad": False, "total": 9, "error_ratio": 0.0, "slow_ratio": 0.0, "p95_ms": 70, "headroom": -1}
    return TargetPicture(state, **{**facts, "rate_limited_ms": 0, **given})


async def test_the_stream_tells_the_map_of_regions() -> None:
    """Other regions' targets come once and then when their state changes; numbers of healthy ones are no change."""
    async with Running("") as admin:
        node = admin.server._node
        sharing = SimpleNamespace(pictures={}, shared=False)

        def draw(region: str, **targets: TargetPicture) -> None:
            picture = RegionPicture(region, 2, 1, 0.4, True, False, 7, targets)
            sharing.pictures = {**sharing.pictures, region: picture}  # a new survey, as four times a second

        node.sharing = cast("Any", sharing)
        draw("test", a=seen("open"))
        draw("us", a=seen("usable", p95_ms=70), b=seen("open", error_ratio=0.5), c=seen("usable", bad=True))
        told = page.Known({}, {})
        stream = page.Page(node)
        first = stream._event(told)["regions"]
        assert (first["test"]["own"], first["test"]["targets"]) == (True, {})  # its own targets stand beside the map
        assert first["us"]["targets"] == {
            "a": ["usable", "ok", 0.0, 0, 0],
            "b": ["open", "failing", 0.5, 70, 0],
            "c": ["usable", "failing", 0.0, 70, 0],  # its circuit is closed, and most of its attempts fail
        }
        assert (first["us"]["fresh_nodes"], first["us"]["nodes"], first["us"]["load"]) == (1, 2, 7)
        draw("us", a=seen("usable", p95_ms=90), b=seen("rate_limited", rate_limited_ms=3000), d=seen("from-later"))
        second = stream._event(told)["regions"]["us"]
        assert second["targets"] == {
            "b": ["rate_limited", "limited", 0.0, 70, 3000],
            "d": ["from-later", "limited", 0.0, 70, 0],
        }
        assert second["gone"] == ["c"]
        sharing.pictures = {"test": sharing.pictures["test"]}
        assert list(stream._event(told)["regions"]) == ["test"]


def test_a_capability_that_is_missing_stands_beside_the_state() -> None:
    """A usable target without eyes says so, and why; one that is down keeps its severity."""
    eyeless = report.CapabilityReport(
        "vision", "open", "failing", False, "requests that need vision: the target declines them", 3.0, 1.0, 4, 1
    )
    slow = structs.replace(eyeless, name="tools", state="slow_start", severity="limited")
    plain = report.TargetReport(
        "usable", "ok", True, "", None, 0, {"stream": 1.0, "whole": None}, {}, 0.0, 0.0, 0, 0, 0, {}, ()
    )
    lacking = structs.replace(plain, capabilities=(eyeless, slow))
    assert page._row(plain, 7)[:4] == ["usable", "ok", "", None]
    assert page._row(lacking, 7)[:4] == [
        "usable, no vision", "limited", "requests that need vision: the target declines them", None,
    ]  # fmt: skip
    down = structs.replace(lacking, state="open", severity="failing", why="it failed")
    assert page._row(down, 7)[:3] == [
        "open, no vision", "failing", "it failed; requests that need vision: the target declines them",
    ]  # fmt: skip
