"""Probes of targets whose circuit is open, by requests that cost nothing.

A successful probe proves less than a real request: a provider may list its models and still fail to answer. So a probe
never closes a circuit; it only hints that the next real request may try the target sooner.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from edge import clock
from edge.control.rounds import Rounds
from edge.credentials.sigv4 import probe_fields
from edge.telemetry import logs
from edge.upstream.proxies import proxy_of
from edge.upstream.tls import TlsContexts, TlsError, library_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from edge.terms.snapshot import Target

_S: Final = 1_000_000_000
PERIOD_NS: Final = 2 * _S
LIMIT_S: Final = 3.0
# With hundreds of failing targets this only delays hints: they are probed in turn.
AT_ONCE: Final = 8
LONGEST_TEXT: Final = 1024**2
# What an API wants of each request beside the credential: Anthropic's answers 400 without a version.
_OF_DIALECT: Final = {"anthropic": {"anthropic-version": "2023-06-01"}}


class Prober:
    """Runs at most one probe per target, and :data:`AT_ONCE` in total.

    Args:
        ask: performs one probe; returns True if the target answered as a healthy one does.
        hint: called with the target's shared-state slot after a successful probe.
    """

    def __init__(self, ask: Callable[[Target], Awaitable[bool]], hint: Callable[[int], object]) -> None:
        self._ask = ask
        self._hint = hint
        self._rounds = Rounds("probe", self._probe, period_ns=PERIOD_NS, first_ns=PERIOD_NS, at_once=AT_ONCE)

    def tend(self, failing: Iterable[Target], now_ns: int, chance: Callable[[], float]) -> None:
        """Start the probes that are due, and forget targets that have recovered.

        Args:
            failing: the targets whose circuit is open now.
            now_ns: monotonic nanoseconds.
            chance: returns a random number in [0, 1), for jitter.
        """
        self._rounds.tend(failing, now_ns, chance)

    async def stop(self) -> None:
        """Cancel running probes."""
        await self._rounds.stop()

    async def _probe(self, target: Target) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                healthy = await self._ask(target)
        except (OSError, TimeoutError, TlsError, aiohttp.ClientError) as error:
            logs.say(logs.DEBUG, "probe failed", target=target.id, error=f"{type(error).__name__}: {error}")
            return
        if healthy:
            self._hint(target.slot)
        logs.say(logs.DEBUG, "probe answered", target=target.id, well=healthy)


class Asker:
    """Performs probes: a GET of the target's ``probe_path``, or a TCP connect if it has none.

    ``async with Asker() as asker`` owns the connections. None is reused, because connections that a failing target
    accepted earlier prove nothing.
    """

    def __init__(self) -> None:
        self._contexts = TlsContexts(library_context)
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=AT_ONCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def ask(self, target: Target) -> bool:
        """Return whether the target answers as a healthy one does.

        Raises:
            OSError, aiohttp.ClientError: it does not answer.
            TlsError: the certificate files for this target cannot be used.
        """
        status = await self.status(target)
        if status is None:
            if proxy_of(target, os.environ) is not None:
                return False  # that the proxy answers says nothing about the target
            _, writer = await asyncio.open_connection(target.host, target.port)
            writer.close()
            return True
        return 200 <= status < 300  # noqa: PLR2004  # any success

    async def status(self, target: Target) -> int | None:
        """Return the status of the target's free probe, None if it has none; raises as :meth:`ask` does."""
        if target.probe_path is None or self._client is None:
            return None
        answer = await self._get(self._client, target, target.probe_path)
        answer.release()
        return answer.status

    async def text(self, target: Target, path: str) -> str | None:
        """Return the text at a path of the target's host, None if it has none; raises as :meth:`ask` does.

        Raises:
            ValueError: it is no UTF-8, or longer than ``LONGEST_TEXT`` bytes.
        """
        if self._client is None:
            return None
        answer = await self._get(self._client, target, path)
        try:
            if answer.status != 200:  # noqa: PLR2004
                return None
            parts = [part async for part in _first(answer.content)]
        finally:
            answer.release()
        return b"".join(parts).decode()

    async def _get(self, client: aiohttp.ClientSession, target: Target, path: str) -> aiohttp.ClientResponse:
        proxy = proxy_of(target, os.environ)
        scheme = "http" if target.tls is None else "https"
        host = f"[{target.host}]" if ":" in target.host else target.host
        return await client.get(
            f"{scheme}://{host}:{target.port}{path}",
            headers={**_OF_DIALECT.get(target.dialect, {}), **probe_fields(target, path, clock.wall())},
            proxy=None if proxy is None else proxy.url,
            proxy_headers=None if proxy is None else proxy.fields(),
            ssl=True if target.tls is None else self._contexts.get(target.tls),
            server_hostname=None if target.tls is None else target.tls.server_name,
            allow_redirects=False,
        )


async def _first(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the parts of a text that is not too long."""
    size = 0
    async for part in content.iter_any():
        size += len(part)
        if size > LONGEST_TEXT:
            raise ValueError(f"more than {LONGEST_TEXT} bytes")
        yield part
