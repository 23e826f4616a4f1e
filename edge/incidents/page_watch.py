"""Reads the status pages of providers now and then, without ever waiting for one, and remembers what each said last.

A page corroborates, it never decides: nothing here reaches a circuit. A page that is slow, huge, malformed, moved or
gone is ``unknown``, and unknown is not down.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urldefrag, urljoin

import aiohttp
from msgspec import Struct, structs

from edge import clock
from edge.config.addresses import forbidden, is_private, parse_link
from edge.incidents.pages.read import read
from edge.incidents.pages.view import OUTAGE, NotAPage, PageView
from edge.telemetry import logs
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_S: Final = 1_000_000_000
LIMIT_S: Final = 10.0
LONGEST: Final = 2 * 1024 * 1024
MOST_REDIRECTS: Final = 3
AT_ONCE: Final = 4
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OK: Final = 200
_NOT_MODIFIED: Final = 304
UNKNOWN: Final = PageView("unknown")


class PageUnusableError(Exception):
    """A page cannot be read; the text says why."""


class Page(Struct, frozen=True):
    """A page and what it said last. ``seen`` is the Unix time of the last good reading, 0: never."""

    url: str
    view: PageView = UNKNOWN
    seen: float = 0.0
    error: str = ""  # why the last reading failed; "" if it did not
    etag: str = ""


class PageWatch:
    """Watches pages; :meth:`tend` is called once a second and returns at once.

    Args:
        changed: called with a provider's name and what its page says, when that changes.
    """

    def __init__(self, changed: Callable[[str, PageView], None]) -> None:
        self._changed = changed
        self.pages: dict[str, Page] = {}
        self._due_ns: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._proxy = ""

    def outages(self) -> set[str]:
        """Return the providers whose page speaks of an outage now; a page that cannot be read speaks of nothing."""
        return {name for name, page in self.pages.items() if page.view.state in OUTAGE}

    def tend(self, urls: Mapping[str, str], interval_ns: int, proxy: str, now_ns: int) -> None:
        """Begin the readings that are due.

        Args:
            urls: the address of each provider's page; a fragment names the part of the page to look at.
            interval_ns: time between two readings of a page, give or take a quarter.
            proxy: "" for none, ``env``, or the URL of a proxy.
            now_ns: monotonic nanoseconds.
        """
        self._proxy = proxy
        for name in self.pages.keys() - urls.keys():
            del self.pages[name]
            self._due_ns.pop(name, None)
        for name, url in urls.items():
            if name not in self.pages or self.pages[name].url != url:
                self.pages[name] = Page(url)
                self._due_ns[name] = now_ns + int(min(interval_ns, 2 * _S) * clock.random())
            if now_ns < self._due_ns[name] or name in self._running or len(self._running) >= AT_ONCE:
                continue
            self._due_ns[name] = now_ns + int(interval_ns * (0.75 + clock.random() / 2))
            task = asyncio.get_running_loop().create_task(self._read(name, self.pages[name]))
            self._running[name] = task
            task.add_done_callback(partial(self._done, name))

    def _done(self, name: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(name, None)

    async def stop(self) -> None:
        """Cancel what is being read."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, name: str, page: Page) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                found = await fetch(page, self._proxy)
        except (OSError, TimeoutError, aiohttp.ClientError, PageUnusableError, NotAPage, ValueError) as error:
            said = str(error) or type(error).__name__
            logs.say(logs.DEBUG, "a status page cannot be read", provider=name, error=said)
            found = structs.replace(page, view=UNKNOWN, error=said[:200], etag="")
        if self.pages.get(name) is not page:  # another address was configured meanwhile
            return
        self.pages[name] = found
        if (found.view.state, found.view.text) != (page.view.state, page.view.text):
            self._changed(name, found.view)


async def fetch(page: Page, proxy: str) -> Page:
    """Return a page as it is now.

    Raises:
        PageUnusableError, NotAPage, ValueError, OSError, aiohttp.ClientError: it cannot be read.
    """
    where, part = urldefrag(page.url)
    headers = {"User-Agent": f"edge/{VERSION}", "Accept-Encoding": "identity"}
    if page.etag:
        headers["If-None-Match"] = page.etag
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=proxy == "env"
    ) as client:
        for _ in range(MOST_REDIRECTS + 1):
            async with client.get(
                where, headers=headers, allow_redirects=False, proxy=None if proxy in ("", "env") else proxy
            ) as answer:
                if answer.status in _REDIRECTS:
                    where = _followed(page.url, where, answer.headers.get("Location", ""))
                    continue
                if answer.status == _NOT_MODIFIED and page.etag:
                    return structs.replace(page, seen=clock.wall(), error="")
                if answer.status != _OK:
                    raise PageUnusableError(f"status {answer.status}")
                body = await _body(answer)
                etag = answer.headers.get("ETag", "")[:200]
                now = clock.wall()
                return Page(page.url, read(body, part, now), now, "", etag)
    raise PageUnusableError(f"more than {MOST_REDIRECTS} redirects")


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise PageUnusableError("it is compressed although that was not asked for")
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > LONGEST:
            raise PageUnusableError(f"it is longer than {LONGEST >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _followed(configured: str, where: str, location: str) -> str:
    """Return where a redirect leads, if it may be followed.

    Encryption is not given up on the way, and a page on the internet cannot send edge into a private network.

    Raises:
        PageUnusableError: it may not be followed.
    """
    target = urljoin(where, location)
    try:
        before, after = parse_link(configured), parse_link(target)
    except ValueError as error:
        raise PageUnusableError("it redirects to what is no address") from error
    if before.tls and not after.tls:
        raise PageUnusableError("it redirects from https to http")
    if forbidden(after.host) or (is_private(after.host) and not is_private(before.host)):
        raise PageUnusableError("it redirects into a private network")
    return urldefrag(target)[0]
