"""Status pages are read in every shape that providers use; one that is slow, huge, wrong or gone decides nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

import pytest
from aiohttp import web

from edge.cli.status import page_lines
from edge.config import effective
from edge.config.load import read_text
from edge.incidents import page_watch
from edge.incidents.book import IncidentBook
from edge.incidents.page_watch import Page, PageWatch
from edge.incidents.pages.read import read
from edge.incidents.pages.view import NotAPage, PageView
from edge.incidents.signs import Sign
from edge.incidents.tally import Tally
from edge.providers import KNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NOW = 1_778_233_000.0  # 2026-05-08 09:36:40
AT = 1_778_232_728.0
WHEN = "Fri, 08 May 2026 09:32:08 GMT"


def statuspage(
    *components: tuple[str, str], incidents: list[Any] | None = None, indicator: str = "none"
) -> dict[str, Any]:
    """Return a summary of Statuspage, or of incident.io without incidents."""
    found: dict[str, Any] = {
        "page": {"id": "x", "name": "P", "updated_at": "2026-05-08T09:33:00.000Z"},
        "status": {"indicator": indicator, "description": "d"},
        "components": [{"id": f"c{n}", "name": name, "status": status} for n, (name, status) in enumerate(components)],
    }
    return found if incidents is None else {**found, "incidents": incidents}


STATUSPAGE_DOWN = statuspage(
    ("claude.ai", "operational"),
    ("Claude API (api.anthropic.com)", "major_outage"),
    ("Claude Code", "partial_outage"),
    incidents=[
        {
            "id": "i",
            "name": "Elevated errors on the API",
            "status": "investigating",
            "impact": "major",
            "started_at": "2026-05-08T09:32:08.000Z",
            "incident_updates": [{"affected_components": [{"code": "c1", "old_status": "x", "new_status": "y"}]}],
        }
    ],
)
FLASHDUTY_DOWN = {
    "data": {
        "active_changes": [
            {
                "change_id": 7,
                "type": "incident",
                "title": "API unavailable",
                "status": "investigating",
                "start_at_seconds": 1778232728,
                "close_at_seconds": 0,
                "affected_components": [
                    {"component_id": "1", "name": "API", "status": "full_outage"},
                    {"component_id": "2", "name": "Chat", "status": "partial_outage"},
                ],
                "updates": [{"at_seconds": 1778232728, "status": "investigating", "component_changes": []}],
            }
        ]
    }
}
GEMINI = "Z0FZJAMvEB4j3NbCJs6B"


def google(*incidents: dict[str, Any]) -> list[dict[str, Any]]:
    """Return incidents.json with an old incident and these."""
    base = {"begin": "2026-05-08T09:30:00+00:00", "affected_products": [{"title": "renamed", "id": GEMINI}]}
    old = {**base, "external_desc": "old", "end": "2026-05-01T00:00:00+00:00", "status_impact": "SERVICE_OUTAGE"}
    return [old, *({**base, **each} for each in incidents)]


def rss(title: str, text: str, when: str) -> bytes:
    """Return an RSS feed with one recent and one old item."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>S</title>'
        "<item><title>Old</title><pubDate>Mon, 01 Jan 2024 00:00:00 GMT</pubDate></item>"
        f"<item><title>{title}</title><description><![CDATA[<b>{text}</b>]]></description><pubDate>{when}</pubDate></item>"
        "</channel></rss>"
    ).encode()


def atom(title: str, text: str, when: str) -> bytes:
    """Return an Atom feed with one entry."""
    return (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>S</title>'
        f"<entry><title>{title}</title><updated>{when}</updated><content type='html'>{text}</content></entry></feed>"
    ).encode()


GOOD: list[tuple[str, Any, str, PageView]] = [
    ("statuspage up", statuspage(("API", "operational"), incidents=[]), "", PageView("operational")),
    (
        "statuspage down",
        STATUSPAGE_DOWN,
        "",
        PageView("full_outage", "Elevated errors on the API: Claude API (api.anthropic.com), Claude Code", AT),
    ),
    ("statuspage, another part", STATUSPAGE_DOWN, "claude.ai", PageView("operational")),
    (
        "statuspage, part by id",
        STATUSPAGE_DOWN,
        "c2",
        PageView("partial_outage", "Elevated errors on the API: Claude Code", AT),
    ),
    (
        "incident.io up",
        statuspage(("Chat Completions", "operational"), ("Sora", "operational")),
        "",
        PageView("operational"),
    ),
    (
        "incident.io down",
        statuspage(("Chat Completions", "full_outage"), indicator="minor"),
        "",
        PageView("full_outage", "Chat Completions"),
    ),
    (
        "incident.io native",
        {
            "summary": {
                "components": [{"id": "k", "name": "Responses"}],
                "affected_components": [{"component_id": "k", "status": "degraded_performance"}],
                "ongoing_incidents": [{"id": "i", "name": "Slow", "started_at": "2026-05-08T09:32:08Z"}],
            }
        },
        "",
        PageView("degraded", "Slow: Responses", AT),
    ),
    ("flashduty up", {"data": {"active_changes": []}}, "", PageView("operational")),
    ("flashduty down", FLASHDUTY_DOWN, "", PageView("full_outage", "API unavailable: API, Chat", AT)),
    ("flashduty, one part", FLASHDUTY_DOWN, "Chat", PageView("partial_outage", "API unavailable: Chat", AT)),
    ("flashduty, no such part", FLASHDUTY_DOWN, "Image", PageView("operational")),
    ("google up", google(), GEMINI, PageView("operational")),
    (
        "google down",
        google({"external_desc": "Elevated\n errors", "status_impact": "SERVICE_DISRUPTION"}),
        GEMINI,
        PageView("partial_outage", "Elevated errors", 1778232600.0),
    ),
    (
        "google, other product",
        google({"external_desc": "x", "affected_products": [{"id": "other"}]}),
        GEMINI,
        PageView("operational"),
    ),
    ("rss down", rss("API errors", "We are investigating", WHEN), "", PageView("degraded", "API errors", AT)),
    ("rss over", rss("API errors", "This is Resolved", WHEN), "", PageView("operational", "", AT)),
    (
        "rss old",
        rss("API errors", "We look", "Fri, 01 May 2026 09:32:08 GMT"),
        "",
        PageView("operational", "", 1777627928.0),
    ),
    (
        "atom down",
        atom("API errors", "Investigating", "2026-05-08T09:32:08Z"),
        "",
        PageView("degraded", "API errors", AT),
    ),
    (
        "atom over",
        atom("API errors", "All impacted services: resolved", "2026-05-08T09:32:08Z"),
        "",
        PageView("operational", "", AT),
    ),
]


@pytest.mark.parametrize(("document", "part", "expected"), [each[1:] for each in GOOD], ids=[each[0] for each in GOOD])
def test_each_shape(document: Any, part: str, expected: PageView) -> None:
    """A document as a supplier writes it gives its state, its words and its time."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    assert read(body, part, NOW) == expected


BAD = [
    b"",
    b"null",
    b"[]",
    b"[1]",
    b"{}",
    b'{"data": {}}',
    b'{"data": {"active_changes": {}}}',
    b"<html><body>hi</body></html>",
    b"<!DOCTYPE html><html></html>",
    b'<!DOCTYPE r [<!ENTITY a "aaaa">]><rss>&a;</rss>',
    b"\xff\xfe",
    b"<rss>",
    b'{"page": {}, "components": {}}',
    b'{"summary": {}}',
    b"[" * 100_000,
    b'[{"id": 1}]',
]


@pytest.mark.parametrize("body", BAD)
def test_what_is_no_page(body: bytes) -> None:
    """Any other document is refused, and none brings the reader down."""
    with pytest.raises(NotAPage):
        read(body, "", NOW)


def test_odd_values_inside_a_page() -> None:
    """Values of a wrong type, unknown words and endless texts give a bounded, printable view."""
    document = statuspage(("x" * 500, "odd"), ("n\x1b[31m", "degraded_performance"), incidents=[{"name": ["a"] * 900}])
    document["components"] += [{"status": {}}, 7, None]
    view = read(json.dumps(document).encode(), "", NOW)
    assert view.state == "degraded"
    assert len(view.text) <= 300
    assert view.text.isprintable()


class PageServer:
    """A page at ``url`` that a test's handler answers."""

    def __init__(self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self._answer = answer

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/page"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


async def _slow(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _huge(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(800):
        await answer.write(b" " * 65536)
    return answer


def _gives(text: str = "", status: int = 200, **fields: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return web.Response(text=text, status=status, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_slow, "TimeoutError"),
        (_huge, "longer than 2 MiB"),
        (_gives("oops", 500), "status 500"),
        (_gives("<html></html>"), "not a feed"),
        (_gives('"text"'), "unknown kind"),
        (_gives("{}", Content_Encoding="gzip"), "compressed"),
        (_gives(status=301, Location="http://169.254.169.254/latest"), "private network"),
        (_gives(status=301, Location="file:///etc/passwd"), "no address"),
        (_gives(status=302, Location="/again"), "more than 3 redirects"),
        (_gives(status=301), "more than 3 redirects"),
    ],
    ids=["slow", "huge", "500", "html", "type", "gzip", "metadata", "file", "loop", "nowhere"],
)
async def test_a_page_that_cannot_be_read_is_unknown(answer: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the page does, what is known becomes unknown within the deadline, with the reason."""
    monkeypatch.setattr(page_watch, "LIMIT_S", 0.5 if answer is _slow else 20.0)
    told: list[tuple[str, PageView]] = []
    async with PageServer(answer) as server:
        watch = PageWatch(lambda name, view: told.append((name, view)))
        watch.pages["p"] = Page(server.url, PageView("full_outage", "before"), 1.0)
        watch._due_ns["p"] = 0
        watch.tend({"p": server.url}, 10**10, "", 1)
        assert watch.pages["p"].view.state == "full_outage"  # tend returns at once
        await asyncio.gather(*watch._running.values())
        page = watch.pages["p"]
        assert (page.view, page.seen) == (PageView("unknown"), 1.0)
        assert said in page.error
        assert watch.outages() == set()
        assert told == [("p", PageView("unknown"))]
        await watch.stop()


async def test_a_page_is_read_again_only_when_it_changed() -> None:
    """ETag and 304 keep what is known; a moved page is followed; a change is told once."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("If-None-Match", ""))
        if request.path == "/page":
            return web.Response(status=308, headers={"Location": "/new/page"})
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        return web.json_response(STATUSPAGE_DOWN, headers={"ETag": '"v1"'})

    told: list[str] = []
    async with PageServer(answer) as server:
        watch = PageWatch(lambda _name, view: told.append(view.state))
        for turn in range(3):
            watch.tend({"p": server.url}, 10**9, "", turn * 10**10)
            watch.tend({"p": server.url}, 10**9, "", turn * 10**10 + 2 * 10**9)
            await asyncio.gather(*watch._running.values())
        assert told == ["full_outage"]
        assert watch.outages() == {"p"}
        assert asked == ["", "", '"v1"', '"v1"', '"v1"', '"v1"']
        assert watch.pages["p"].view.state == "full_outage"
        assert watch.pages["p"].error == ""
        watch.tend({}, 10**9, "", 10**12)
        assert watch.pages == {}


async def test_a_proxy_is_used_where_one_is_configured() -> None:
    """With ``proxy`` the request for a page goes to the proxy, with the page's whole address."""
    seen: list[str] = []

    async def proxy(request: web.Request) -> web.StreamResponse:
        seen.append(str(request.url) if request.raw_path.startswith("/") else request.raw_path)
        return web.json_response(statuspage(("API", "operational"), incidents=[]))

    async with PageServer(proxy) as server:
        page = await page_watch.fetch(Page("http://pages.test/summary.json"), server.url.removesuffix("/page"))
    assert (page.view.state, seen) == ("operational", ["http://pages.test/summary.json"])


def test_a_page_stands_beside_an_incident_and_opens_none() -> None:
    """A page of trouble alone opens nothing; beside an incident it is told, with the time when it first spoke."""
    book = IncidentBook("eu")
    empty = Tally({}, {})
    assert book.page("p", PageView("full_outage", "all is lost"), NOW) is None
    assert book.tick(NOW, [], [], empty) == []
    book.page("p", PageView("unknown"), NOW)
    book.tick(NOW + 1, [], [Sign("target_down", "provider:p", "p/m", "eu", "why")], empty)
    incident = book.open["provider:p"]
    assert incident.page_said == 0
    assert book.page("p", PageView("degraded", "we look"), NOW + 300) is incident
    assert incident.page_said == NOW + 300
    assert incident.events[-1].text == "it says degraded: we look"


def test_which_pages_are_read() -> None:
    """Known providers at their own address have a page; one that was moved has none unless it is named."""
    text = """
models: {chat: {targets: [openai/gpt-4.1-mini]}}
providers:
  openai: {api_key: x}
  deepseek: {api_key: x, base_url: "http://127.0.0.1:1/v1"}
  gemini: {api_key: x, status_page: ""}
  own: {base_url: "http://127.0.0.1:1/v1", status_page: "https://status.own.test/summary.json#API"}
"""
    whole = effective.whole(read_text(text, "edge.yaml", None, {}).config, KNOWN)
    assert {name: provider.status_page for name, provider in whole.providers.items()} == {
        "openai": "https://status.openai.com/api/v2/summary.json",
        "deepseek": "",
        "gemini": "",
        "own": "https://status.own.test/summary.json#API",
    }
    assert {known.status_page[:8] for known in KNOWN.values()} <= {"", "https://"}


def test_what_edge_status_says_of_pages() -> None:
    """A page has a line with its age, one that cannot be read says that this proves nothing, a new one has none."""
    base = {"url": "", "text": "", "since": 0, "seen": 0, "error": ""}
    pages = [
        {"provider": "a", **base, "state": "operational", "seen": 90},
        {"provider": "b", **base, "state": "degraded", "text": "slow", "seen": 99},
        {"provider": "c", **base, "state": "unknown", "error": "status 500"},
        {"provider": "d", **base, "state": "unknown"},
    ]
    assert page_lines(pages, 100) == [
        "a's status page says operational (10 s ago)",
        "b's status page says degraded: slow (1 s ago)",
        "c's status page cannot be read, which proves nothing: status 500",
    ]
