"""``edge demo regions``: three edges and a real etcd, and failures of providers, regions and links between them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from edge.sim.region_acts import Act, Outcome
    from edge.sim.regions import RegionsWorld

SECONDS = 10.0
FAST_S = 5.0


def run(args: argparse.Namespace) -> int:
    """Play the acts; return 1 if a promise was broken. With ``--stay`` only run the regions until Ctrl-C."""
    import msgspec  # noqa: PLC0415

    from edge.sim import etcd, load  # noqa: PLC0415

    etcd.binary()  # raises before anything is started if etcd is not installed
    if args.stay:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_stay())
        return 0
    load.sdk()  # likewise, for the SDK
    outcomes = asyncio.run(_play(FAST_S if args.fast else SECONDS, quiet=args.json))
    if args.json:
        print(msgspec.json.encode({"acts": outcomes}).decode())
    return 1 if any(outcome.broken for outcome in outcomes) else 0


async def _play(seconds: float, *, quiet: bool) -> list[Outcome]:
    from edge.sim import region_acts as acts  # noqa: PLC0415
    from edge.sim.regions import RTT_S, RegionsWorld  # noqa: PLC0415

    tell = _Teller(quiet=quiet)
    apart = f"{RTT_S * 1000:.0f} ms apart"
    tell.line(f"Starting three regions {apart}, two simulated providers, three members of etcd …")
    outcomes = []
    async with RegionsWorld() as world:
        for act in acts.DEMO:
            tell.line(f"\n{act.name}: {act.says}")
            outcome = await acts.play(world, act, seconds)
            tell.show(_table(act, outcome))
            outcomes.append(outcome)
            if not await acts.calm(world):
                tell.line("not every target had recovered before the next act")
    kept = sum(not outcome.broken for outcome in outcomes)
    tell.line(f"\n{kept} of {len(outcomes)} acts kept their promise.")
    return outcomes


async def _stay() -> None:
    from edge.sim.regions import MODEL, RegionsWorld  # noqa: PLC0415

    async with RegionsWorld() as world:
        print("\n".join(_addresses(world, MODEL)), flush=True)
        await asyncio.Event().wait()


def _addresses(world: RegionsWorld, model: str) -> list[str]:
    lines = []
    for region in world.regions.values():
        admin = region.edge.admin if region.edge is not None else ""
        lines.append(f"{region.name:<10} clients {region.base_url}   admin {admin}")
    lines += [f"{name:<10} provider {url}" for name, url in world.providers.base_urls.items()]
    if world.etcd is not None:
        lines.append(f"etcd       {' '.join(world.etcd.endpoints)}")
    first = next(iter(world.regions.values()))
    provider = next(iter(world.providers.urls.values()))
    return [
        *lines,
        "",
        "Ask a region:",
        f"  curl -si {first.base_url}/chat/completions -H 'content-type: application/json' \\",
        f"""    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'""",
        "Make a provider fail for all regions (-X DELETE in place of -d and -H brings it back):",
        f"""  curl -s {provider}/_sim/fault -H 'content-type: application/json' -d '{{"kind": "error"}}'""",
        "Ctrl-C stops everything.",
    ]


class _Teller:
    """Prints progress, or nothing if ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console  # noqa: PLC0415

        self._console = None if quiet else Console()

    def line(self, text: str) -> None:
        if self._console is not None:
            self._console.print(text, highlight=False)

    def show(self, drawing: Any) -> None:
        if self._console is not None:
            self._console.print(drawing)


def _table(act: Act, outcome: Outcome) -> Any:
    """Return a table of what each region's clients got, and the time until the regions noticed."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(expand=False)
    for name in ("region", "requests", "failed", "answered by region", "by provider", "median before", "during"):
        table.add_column(name, justify="left" if name in {"region", "answered by region", "by provider"} else "right")
    for name, account in outcome.regions.items():
        table.add_row(
            name,
            str(account.requests),
            Text(str(account.failed), style="bold red" if account.failed else "green"),
            _counts(account.answered_by),
            _counts(account.providers),
            f"{account.before_ms:.0f} ms",
            f"{account.during_ms:.0f} ms",
        )
    lines = []
    if act.watched and outcome.detected_ms is not None:
        last = "and not all notice" if outcome.verdict_ms is None else f"the last one {outcome.verdict_ms} ms later"
        lines.append(Text(f"The first region notices {outcome.detected_ms} ms after the fault, {last}."))
    lines += [Text(f"BROKEN: {sentence}", style="bold red") for sentence in outcome.broken]
    return Group(table, *lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
