"""Is an ill target perhaps well again?  Asks it something that costs nothing, and only while its circuit is open.

A probe that succeeds proves less than a real request does: a provider may list its models and still fail to answer.
So it closes nothing. It gives the circuit a hint, which at most lets the next real request try sooner.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from edge.telemetry import logs
from edge.upstream.tls import TlsContexts, TlsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from edge.terms.snapshot import Target

_S: Final = 1_000_000_000
PERIOD_NS: Final = 2 * _S
LIMIT_S: Final = 3.0
# A node with hundreds of ill targets probes them in turn; that only makes hints later.
AT_ONCE: Final = 8


class Prober:
    """Keeps one running probe per ill target at most, and :data:`AT_ONCE` in all.

    Args:
        ask: performs one probe; True when the target answered as a healthy one does.
        hint: called with a target's shared state slot after a good probe.
    """

    def __init__(self, ask: Callable[[Target], Awaitable[bool]], hint: Callable[[int], object]) -> None:
        self._ask = ask
        self._hint = hint
        self._due_ns: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def tend(self, ill: Iterable[Target], now_ns: int, chance: Callable[[], float]) -> None:
        """Start the probes that are due; forget targets that are no longer ill.

        Args:
            ill: the targets whose circuit is open now.
            now_ns: monotonic nanoseconds.
            chance: a number in [0, 1), for the jitter: the first probe comes within one period, the next ones a
                period later, give or take a quarter.
        """
        targets = {target.id: target for target in ill}
        self._due_ns = {name: due_ns for name, due_ns in self._due_ns.items() if name in targets}
        for name in targets:
            self._due_ns.setdefault(name, now_ns + int(PERIOD_NS * chance()))
        # who has waited longest comes first, or the first few would be asked for ever and the others never
        for name, target in sorted(targets.items(), key=lambda item: self._due_ns[item[0]]):
            if self._due_ns[name] > now_ns or name in self._running or len(self._running) >= AT_ONCE:
                continue
            self._due_ns[name] = now_ns + int(PERIOD_NS * (0.75 + chance() / 2))
            task = asyncio.get_running_loop().create_task(self._probe(target))
            self._running[name] = task
            task.add_done_callback(partial(self._forget, name))

    def _forget(self, name: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(name, None)

    async def stop(self) -> None:
        """Give up what is running."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, target: Target) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                well = await self._ask(target)
        except (OSError, TimeoutError, TlsError, aiohttp.ClientError) as error:
            logs.say(logs.DEBUG, "probe failed", target=target.id, error=f"{type(error).__name__}: {error}")
            return
        if well:
            self._hint(target.slot)
        logs.say(logs.DEBUG, "probe answered", target=target.id, well=well)


class Asker:
    """Performs probes: a GET of the target's free path, or a TCP connect where it has none.

    ``async with Asker() as asker`` owns the connections; none is reused, because an ill target's old connections
    prove nothing.
    """

    def __init__(self) -> None:
        self._contexts = TlsContexts()
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
            OSError, aiohttp.ClientError: it does not.
            TlsError: our own certificate files cannot be used.
        """
        if target.probe_path is None or self._client is None:
            _, writer = await asyncio.open_connection(target.host, target.port)
            writer.close()
            return True
        scheme = "http" if target.tls is None else "https"
        host = f"[{target.host}]" if ":" in target.host else target.host
        answer = await self._client.get(
            f"{scheme}://{host}:{target.port}{target.probe_path}",
            headers=dict(target.fields),
            ssl=True if target.tls is None else self._contexts.get(target.tls),
            server_hostname=None if target.tls is None else target.tls.server_name,
            allow_redirects=False,
        )
        answer.release()
        return 200 <= answer.status < 300  # noqa: PLR2004  # the class of successes
