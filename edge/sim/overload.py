"""The overload demo: whether a failed primary takes a small backup down with it.

A primary takes a hundred concurrent requests, a backup takes thirty, and eighty are offered: twenty with a key of high
priority, sixty with one of low. Then the primary dies. Requests beyond a provider's capacity share its time, so that
all become slower; beyond twice the capacity they are refused. The demo measures from outside whether the high class
fails, how slow the backup becomes, which requests are shed, and whether the load oscillates. Edge knows nothing about
the backup.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from msgspec import Struct

from edge import clock
from edge.sim import remote
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.load import IncompleteAnswerError, Shot, Steady
from edge.sim.node import EdgeProcess
from edge.sim.provider import ProviderSpec
from edge.sim.scores import quantile
from edge.sim.world import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.sim.load import Seen

PRIMARY, BACKUP = "primary", "backup"
CAPACITY = {PRIMARY: 100, BACKUP: 30}
OFFERED = {"high": 20, "low": 60}
"""Concurrent requests, if each takes as long as at an idle provider."""

MODEL, UPSTREAM_MODEL = "chat", "sim-small"
PACE = Pace(ttft_s=1.0, tps=16.0, tokens=8)
ANSWER_S = 1.5  # response time of an idle provider
PATIENCE_S = 20.0
STEP_S = 1.0
POLL_S = 0.25
UNLOADED = 3  # seconds, and also requests, that measure the idle backup
NS_PER_S = 1e9
SHED = 503


class Phases(Struct, frozen=True):
    """Seconds before the primary dies, while it is dead, and after its return."""

    before: float
    dead: float
    after: float

    @property
    def total(self) -> float:
        """The total duration."""
        return self.before + self.dead + self.after


class Point(Struct, frozen=True):
    """One second: requests that began in it, per second, and the state of the targets at its end."""

    at_s: float
    high_ok: float
    low_ok: float
    low_shed: float
    failed: float  # neither successful nor shed
    backup_p95_ms: float  # of the backup's responses; 0 without any
    inflight: dict[str, int]
    limit: float  # of the backup, as learned; 0: none


class Summary(Struct, frozen=True):
    """The results. Latencies are of the backup's responses to requests that began while the primary was dead."""

    requests: dict[str, int]
    high_failed: int
    low_ok: int
    low_shed: int
    low_shed_with_retry_after: int
    low_failed: int  # neither successful nor shed
    unloaded_ms: float
    backup_p50_ms: float
    backup_p95_ms: float
    backup_max_ms: float
    times_unloaded: float  # p95 / unloaded
    retry_after_s: tuple[int, int]  # minimum and maximum Retry-After of the low class
    swing: float  # (maximum - minimum) / median of the backup's requests in flight in the second half of the outage
    backup_trips: int
    series: list[Point]
    dead_from_s: float
    dead_until_s: float

    @property
    def good(self) -> bool:
        """Whether the results meet what the documentation promises."""
        return (
            self.high_failed == 0
            and self.low_failed == 0
            and self.low_shed == self.low_shed_with_retry_after > 0
            and self.times_unloaded <= 1.5  # noqa: PLR2004 - the promised factor
            and self.backup_trips == 0
        )


class Crowd(Steady):
    """A steady load of requests that do not stream, with one key and a minimal client."""

    def __init__(self, base_url: str, key: str, *, rate: float) -> None:
        super().__init__(rate=rate, concurrency=10_000, timeout_s=PATIENCE_S)
        self._url = f"{base_url}/chat/completions"
        self._fields = {"authorization": f"Bearer {key}"}
        self._client: aiohttp.ClientSession | None = None
        self.told_s: dict[int, int] = {}  # Retry-After by request number

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(connector=connector, headers=self._fields)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def ask(self, number: int, seen: Seen) -> None:
        """Make one request; raise unless the response is complete."""
        if self._client is None:
            raise RuntimeError("a request before the load was entered")
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}]}
        async with self._client.post(self._url, json=body) as answer:
            seen.headers(answer.headers)
            said = await answer.json()
            if answer.status == SHED:
                self.told_s[number] = int(answer.headers.get("retry-after", 0))
                raise SentAwayError(str(said["error"]["code"]))
            answer.raise_for_status()
            if not said["choices"][0]["message"]["content"]:
                raise IncompleteAnswerError("a response without content")


class SentAwayError(Exception):
    """Edge answered 503, because it has no capacity now."""


def config(base_urls: dict[str, str], keys: dict[str, str]) -> dict[str, Any]:
    """Return the configuration: the primary in tier 1, the backup in tier 2, and a key of each class."""
    targets = [{"target": f"{name}/{UPSTREAM_MODEL}", "tier": tier} for tier, name in enumerate((PRIMARY, BACKUP), 1)]
    providers: dict[str, Any] = {name: {"dialect": "openai", "base_url": url} for name, url in base_urls.items()}
    return {
        "node": {"name": "demo", "region": "demo"},
        "providers": providers,
        "models": {
            MODEL: {
                "targets": targets,
                "breaker": {"open_duration": "1s", "open_duration_max": "4s", "slow_start": "5s"},
            }
        },
        "keys": [
            {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "priority": name}
            for name, key in keys.items()
        ],
    }


def capacity_of(name: str) -> Fault:
    """Return the fault that limits a provider's capacity."""
    return Fault(kind="capacity", limit=CAPACITY[name], delay_s=ANSWER_S / CAPACITY[name], status=SHED)


def phases(*, fast: bool) -> Phases:
    """Return the phases: about a minute in total, or half of that if ``fast``."""
    return Phases(4, 14, 5) if fast else Phases(8, 34, 14)


async def run(plan: Phases, show: Callable[[float, str], None]) -> Summary:
    """Run the demo; ``show`` is called with the time in seconds and the phase.

    Raises:
        EdgeStartError: edge did not start.
        SimUnreachableError: a simulated provider did not start.
    """
    keys = {name: f"edge-demo-{name}-{'0' * 32}" for name in OFFERED}
    specs = [ProviderSpec(name=name, pace=PACE, faults=(capacity_of(name),)) for name in CAPACITY]
    async with ProviderProcess(*specs) as world:
        unloaded_s = await _idle(world.base_urls[BACKUP])
        async with (
            EdgeProcess(config(world.base_urls, keys)) as edge,
            Crowd(edge.base_url, keys["high"], rate=OFFERED["high"] / ANSWER_S) as high,
            Crowd(edge.base_url, keys["low"], rate=OFFERED["low"] / ANSWER_S) as low,
        ):
            loads = asyncio.gather(high.run(plan.total), low.run(plan.total))
            samples: list[tuple[float, list[dict[str, Any]]]] = []
            started_ns = clock.now_ns()
            turns: list[float] = []
            for name, until_s in (
                ("healthy", plan.before),
                ("the primary is dead", plan.before + plan.dead),
                ("back", plan.total),
            ):
                if name == "the primary is dead":
                    # The primary closes its port and drops its requests; edge retries those at the backup.
                    await remote.switch(world.urls[PRIMARY], Fault(kind="refuse", for_s=plan.dead))
                    turns.append(_since_s(started_ns))
                while (at_s := _since_s(started_ns)) < until_s:
                    samples.append((at_s, await edge.targets()))
                    show(at_s, name)
                    await clock.sleep(min(POLL_S, max(until_s - _since_s(started_ns), 0.0)))
            await loads
        return summarise(plan, turns[0], unloaded_s, samples, high, low)


async def _idle(base_url: str) -> float:
    """Return the median response time of an idle provider, in seconds."""
    async with Crowd(base_url, "none", rate=1.0) as alone:
        await alone.run(UNLOADED)
        return quantile((shot.latency_s for shot in alone.shots), 0.5)


def summarise(  # noqa: PLR0917 - all observations
    plan: Phases,
    died_s: float,
    unloaded_s: float,
    samples: list[tuple[float, list[dict[str, Any]]]],
    high: Crowd,
    low: Crowd,
) -> Summary:
    """Compute the results from the observations."""
    dead_until_s = died_s + plan.dead
    late = [
        shot.latency_s
        for shot in high.shots + low.shots
        if shot.ok and shot.provider == BACKUP and died_s <= shot.at_s < dead_until_s
    ]
    away = [shot for shot in low.shots if shot.reason.startswith("SentAwayError")]
    settled = [
        _of(targets, BACKUP, "inflight") for at_s, targets in samples if died_s + plan.dead / 2 <= at_s < dead_until_s
    ]
    told = [seconds for seconds in low.told_s.values() if seconds > 0]
    p95_ms = quantile(late, 0.95) * 1000
    return Summary(
        requests={"high": len(high.shots), "low": len(low.shots)},
        high_failed=high.failed,
        low_ok=sum(shot.ok for shot in low.shots),
        low_shed=len(away),
        low_shed_with_retry_after=len(told),
        low_failed=low.failed - len(away),
        unloaded_ms=round(unloaded_s * 1000, 1),
        backup_p50_ms=round(quantile(late, 0.5) * 1000, 1),
        backup_p95_ms=round(p95_ms, 1),
        backup_max_ms=round(max(late, default=0.0) * 1000, 1),
        times_unloaded=round(p95_ms / (unloaded_s * 1000), 2),
        retry_after_s=(min(told, default=0), max(told, default=0)),
        swing=round((max(settled, default=0) - min(settled, default=0)) / max(quantile(settled, 0.5), 1), 2),
        backup_trips=int(_of(samples[-1][1], BACKUP, "trips")) if samples else 0,
        series=_series(plan, samples, high.shots, low.shots),
        dead_from_s=round(died_s, 2),
        dead_until_s=round(dead_until_s, 2),
    )


def _series(
    plan: Phases, samples: list[tuple[float, list[dict[str, Any]]]], high: list[Shot], low: list[Shot]
) -> list[Point]:
    points = []
    for step in range(int(plan.total / STEP_S)):
        begin_s, end_s = step * STEP_S, (step + 1) * STEP_S
        highs = [shot for shot in high if begin_s <= shot.at_s < end_s]
        lows = [shot for shot in low if begin_s <= shot.at_s < end_s]
        away = sum(shot.reason.startswith("SentAwayError") for shot in lows)
        late = [shot.latency_s for shot in highs + lows if shot.ok and shot.provider == BACKUP]
        targets: list[dict[str, Any]] = next((each for at_s, each in reversed(samples) if at_s < end_s), [])
        points.append(
            Point(
                at_s=end_s,
                high_ok=sum(shot.ok for shot in highs) / STEP_S,
                low_ok=sum(shot.ok for shot in lows) / STEP_S,
                low_shed=away / STEP_S,
                failed=(sum(not shot.ok for shot in highs + lows) - away) / STEP_S,
                backup_p95_ms=round(quantile(late, 0.95) * 1000, 1),
                inflight={name: int(_of(targets, name, "inflight")) for name in CAPACITY},
                limit=_of(targets, BACKUP, "limit"),
            )
        )
    return points


def _of(targets: list[dict[str, Any]], name: str, field: str) -> float:
    target = next((each for each in targets if each["id"] == f"{name}/{UPSTREAM_MODEL}"), {})
    return float(target.get(field) or 0)


def _since_s(started_ns: int) -> float:
    return (clock.now_ns() - started_ns) / NS_PER_S
