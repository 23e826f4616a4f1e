"""The demo: what an application notices when its provider slows down, black-holes and recovers.

Three simulated providers stand behind one edge. Two equal loads use the official SDK: one through edge, the other
directly at the primary, which shows what edge prevents. In addition an internal gRPC service has two targets, one of
which is killed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from edge import clock
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.greeters import SERVICE, GreeterLoad, GreeterProcess
from edge.sim.load import Load
from edge.sim.node import EdgeProcess
from edge.sim.scores import quantile
from edge.sim.world import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.sim.load import Shot

PRIMARY = "primary"
BACKUPS = ("backup-a", "backup-b")
MODEL = "chat"
GREETER = "greeter"
UPSTREAM_MODEL = "sim-small"
PACE = Pace(ttft_s=0.04, tps=200, tokens=8)
RATE = 20.0
PATIENCE_S = 3.0  # timeout of the application, on both ways
REFRESH_S = 0.25
NS_PER_S = 1e9


class Phase(Struct, frozen=True):
    """A phase of the demo, and the faults of the primary during it."""

    name: str
    says: str
    seconds: float
    faults: tuple[Fault, ...] = ()
    greeter_dies: bool = False  # whether one of the two gRPC targets is killed when the phase begins


class Summary(Struct, frozen=True):
    """The results. Latencies include failed requests, because their callers waited too.

    ``failover_ms`` is the time from the primary's slowdown to the first response of another provider, ``recovered_ms``
    the time from its recovery to its first response through edge; None: there was none.
    """

    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    direct_requests: int
    direct_failed: int
    direct_p50_ms: float
    direct_p99_ms: float
    failover_ms: float | None
    recovered_ms: float | None
    answered_by: dict[str, int]
    reasons: dict[str, int]
    direct_reasons: dict[str, int]
    greeter_calls: int
    greeter_failed: int
    greeter_answered_by: dict[str, int]
    greeter_reasons: dict[str, int]
    incidents: tuple[str, ...]  # what edge wrote about it, as Markdown


class View(Struct, frozen=True):
    """The state of the demo at one moment, for display. ``targets`` comes from the admin listener."""

    phase: Phase
    at_s: float
    total_s: float
    targets: list[dict[str, Any]]
    edge: Load
    direct: Load
    greeter: GreeterLoad


def phases(*, fast: bool) -> tuple[Phase, ...]:
    """Return the phases: about 40 s in total, or about 12 s if ``fast``."""
    healthy, slow, hole, back = (2.5, 2.5, 3.5, 3.5) if fast else (7.0, 8.0, 12.0, 13.0)
    return (
        Phase("healthy", "the primary is healthy", healthy),
        Phase("slow", "the primary turns slow: 1.5 s to the first token", slow, (Fault(kind="latency", delay_s=1.5),)),
        Phase(
            "black hole",
            "the primary accepts and never answers; one of two Greeters is killed",
            hole,
            (Fault(kind="blackhole"),),
            greeter_dies=True,
        ),
        Phase("recovered", "the primary is healthy again", back),
    )


def config(base_urls: dict[str, str], greeters: tuple[str, ...]) -> dict[str, Any]:
    """Return the demo's configuration: the primary in tier 1, the backups in tier 2, with short deadlines.

    Args:
        base_urls: base URLs of the providers, by name.
        greeters: addresses of the gRPC service's targets.
    """
    targets: list[dict[str, Any]] = [{"target": f"{PRIMARY}/{UPSTREAM_MODEL}", "tier": 1}]
    targets += [{"target": f"{name}/{UPSTREAM_MODEL}", "tier": 2} for name in BACKUPS]
    return {
        "node": {"name": "demo", "region": "demo"},
        "providers": {name: {"dialect": "openai", "base_url": url} for name, url in base_urls.items()},
        "models": {
            MODEL: {
                "targets": targets,
                "timeouts": {
                    "connect": "500ms",
                    "first_byte": "1s",
                    "first_token": "1s",
                    "stream_idle": "1s",
                    "total": "10s",
                },
                "breaker": {"open_duration": "500ms", "open_duration_max": "2s", "slow_start": "1s"},
            }
        },
        "services": {GREETER: {"match": {"grpc": SERVICE}, "targets": list(greeters)}},
    }


async def run(
    plan: tuple[Phase, ...],
    show: Callable[[View], None],
    begun: Callable[[str], None] = lambda _: None,
    over: Callable[[Summary], Awaitable[None]] | None = None,
) -> Summary:
    """Run the demo.

    Args:
        plan: the phases.
        show: called about four times a second.
        begun: called with the admin address of the node once it serves.
        over: awaited at the end, while the node still runs; None: it ends at once.

    Raises:
        EdgeStartError: edge did not start.
        SimUnreachableError: a simulated provider did not start.
        GreeterStartError: a simulated gRPC service did not start.
        SdkMissingError: the official SDK is not installed.
    """
    async with (
        ProviderProcess(PRIMARY, *BACKUPS, pace=PACE) as world,
        GreeterProcess("greeter-a") as mortal,
        GreeterProcess("greeter-b") as other,
        EdgeProcess(config(world.base_urls, (mortal.address, other.address))) as edge,
        Load(edge.base_url, MODEL, rate=RATE, timeout_s=PATIENCE_S) as through,
        Load(world.base_urls[PRIMARY], UPSTREAM_MODEL, rate=RATE, timeout_s=PATIENCE_S) as direct,
        GreeterLoad(edge.url.removeprefix("http://"), rate=RATE, timeout_s=PATIENCE_S) as greeter,
    ):
        total_s = sum(phase.seconds for phase in plan)
        loads = asyncio.gather(through.run(total_s), direct.run(total_s), greeter.run(total_s))
        begun(edge.admin)
        started_ns = clock.now_ns()
        turns_s: list[float] = []
        due_s = 0.0
        for phase in plan:
            await world.switch(PRIMARY, *phase.faults)
            if phase.greeter_dies:
                await mortal.kill()
            turns_s.append(_since_s(started_ns))
            due_s += phase.seconds
            while (at_s := _since_s(started_ns)) < due_s:
                show(View(phase, at_s, total_s, await edge.targets(), through, direct, greeter))
                await clock.sleep(min(REFRESH_S, max(due_s - _since_s(started_ns), 0.0)))
        await loads
        show(View(plan[-1], total_s, total_s, await edge.targets(), through, direct, greeter))
        summary = summarise(plan, turns_s, through.shots, direct.shots, greeter.shots)
        summary = structs.replace(summary, incidents=tuple(await edge.post_mortems()))
        if over is not None:
            await over(summary)
    return summary


def summarise(
    plan: tuple[Phase, ...], turns_s: list[float], through: list[Shot], direct: list[Shot], greeter: list[Shot]
) -> Summary:
    """Compute the results; ``turns_s`` says when each phase began, on the clock of the shots."""
    onset_s = next((turn for phase, turn in zip(plan, turns_s, strict=True) if phase.faults), 0.0)
    recovery_s = turns_s[-1]
    return Summary(
        requests=len(through),
        failed=_failed(through),
        p50_ms=_latency_ms(through, 0.5),
        p99_ms=_latency_ms(through, 0.99),
        direct_requests=len(direct),
        direct_failed=_failed(direct),
        direct_p50_ms=_latency_ms(direct, 0.5),
        direct_p99_ms=_latency_ms(direct, 0.99),
        failover_ms=_first_ms([shot for shot in through if shot.provider != PRIMARY], onset_s),
        recovered_ms=_first_ms([shot for shot in through if shot.provider == PRIMARY], recovery_s),
        answered_by=dict(Counter(shot.provider for shot in through if shot.ok)),
        reasons=dict(Counter(shot.reason for shot in through if not shot.ok)),
        direct_reasons=dict(Counter(shot.reason for shot in direct if not shot.ok)),
        greeter_calls=len(greeter),
        greeter_failed=_failed(greeter),
        greeter_answered_by=dict(Counter(shot.target for shot in greeter if shot.ok)),
        greeter_reasons=dict(Counter(shot.reason for shot in greeter if not shot.ok)),
        incidents=(),
    )


def _failed(shots: list[Shot]) -> int:
    return sum(not shot.ok for shot in shots)


def _latency_ms(shots: list[Shot], share: float) -> float:
    return round(quantile((shot.latency_s for shot in shots), share) * 1000, 1)


def _first_ms(shots: list[Shot], from_s: float) -> float | None:
    """Return the time from ``from_s`` to the end of the first successful response after it, or None."""
    ends = [shot.at_s + shot.latency_s for shot in shots if shot.ok]
    return min((round((end - from_s) * 1000, 1) for end in ends if end >= from_s), default=None)


def _since_s(started_ns: int) -> float:
    return (clock.now_ns() - started_ns) / NS_PER_S
