"""``edge demo``: a provider slows down, black-holes and recovers while a client with a real SDK watches."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from edge.sim.demo import Summary, View
    from edge.sim.load import Steady

RECENT = 40  # requests in the live median


class DemoError(EdgeError):
    """The options of the demo contradict each other."""

    kind = "demo"
    source = "client"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge demo`` to the parser."""
    parser = subparsers.add_parser("demo", help="watch an outage that an application does not notice (about 40 s)")
    parser.add_argument(
        "what",
        nargs="?",
        choices=("outage", "overload", "regions"),
        default="outage",
        help="outage: one edge and a provider that fails; overload: a primary dies before a small backup under two "
        "priorities of load; regions: three edges and failures between them",
    )
    parser.add_argument("--fast", action="store_true", help="about 12 s (overload: about 30 s, regions: about 40 s)")
    parser.add_argument("--plot", metavar="FILE", help="overload: draw the run into this SVG file")
    parser.add_argument("--stay", action="store_true", help="regions: keep them running until Ctrl-C, without faults")
    parser.add_argument(
        "--open",
        action="store_true",
        help="outage: open the page of the node in a browser, and keep it running at the end until Ctrl-C",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 1 if a request or a call through edge failed, or there was none."""
    if args.open and (args.what != "outage" or args.json):
        raise DemoError("--open shows the page of `edge demo`, the outage: leave out --json, overload and regions")
    if args.what == "overload":
        from edge.cli import demo_overload  # noqa: PLC0415

        return demo_overload.run(args)
    if args.what == "regions":
        from edge.cli import demo_regions  # noqa: PLC0415

        return demo_regions.run(args)
    import asyncio  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from edge.sim import demo, load  # noqa: PLC0415

    load.sdk()  # raises before anything is started if the SDK is not installed
    plan = demo.phases(fast=args.fast)
    if args.json:
        summary = asyncio.run(demo.run(plan, lambda _: None))
        print(msgspec.json.encode(summary).decode())
    else:
        summary = _watch(plan, stay=args.open)
    lost = summary.failed + summary.greeter_failed
    return 1 if lost or not summary.requests or not summary.greeter_calls else 0


def _watch(plan: tuple[Any, ...], *, stay: bool) -> Summary:
    """Show the demo live on a terminal; elsewhere print one line per phase. ``stay``: with the page in a browser."""
    import asyncio  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from edge.sim import demo  # noqa: PLC0415

    console = Console()
    console.print(
        "Starting three simulated providers, a gRPC service of two targets, edge, two clients with the official OpenAI "
        "SDK and one with gRPC …"
    )

    def begun(admin: str) -> None:
        console.print(f"The page of this node: {admin}/", highlight=False, soft_wrap=True)
        if stay and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):  # a text browser takes the screen
            import webbrowser  # noqa: PLC0415

            webbrowser.open(f"{admin}/")

    async def over(summary: Summary) -> None:
        _tell(console, summary)
        console.print("The node and its page stay until Ctrl-C.")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:

            def show(view: View) -> None:
                live.update(_picture(view), refresh=True)

            summary = asyncio.run(demo.run(plan, show, begun, over if stay else None))
    else:
        seen: list[str] = []

        def tell(view: View) -> None:
            if view.phase.name not in seen:
                seen.append(view.phase.name)
                print(f"{view.at_s:5.1f} s  {view.phase.says}", flush=True)

        summary = asyncio.run(demo.run(plan, tell, begun, over if stay else None))
    if not stay:
        _tell(console, summary)
    return summary


def _tell(console: Console, summary: Summary) -> None:
    """Print the comparison, and what edge wrote about the outage."""
    console.print(_comparison(summary))
    for text in summary.incidents:
        console.print(f"\n{text}", highlight=False, markup=False, soft_wrap=True)


def _picture(view: View) -> Any:
    """Return one frame: the phase, the targets as edge sees them, both loads."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from edge.sim.demo import GREETER, MODEL, PRIMARY  # noqa: PLC0415

    targets = Table(expand=False)
    for name, width in (
        ("target", 18),
        ("state", 9),
        ("in flight", 9),
        ("answers", 7),
        ("now", 4),
        ("why", 42),
    ):
        right = name in {"in flight", "answers", "now"}
        targets.add_column(name, justify="right" if right else "left", min_width=width)
    for route, load in ((MODEL, view.edge), (GREETER, view.greeter)):
        answers = [shot.target for shot in load.shots if shot.ok]
        recent = answers[-RECENT:]
        for target in (status for status in view.targets if any(use["route"] == route for use in status["routes"])):
            name = str(target["id"])
            share = recent.count(name) / len(recent) if recent else 0.0
            state = str(target.get("state", "?"))
            targets.add_row(
                name,
                Text(state, style={"ok": "green", "limited": "yellow"}.get(str(target.get("severity")), "red")),
                str(target.get("inflight", "")),
                str(answers.count(name)),
                f"{share:.0%}",
                str(target.get("why", "")),
            )
    loads = Table(expand=False)
    for name in ("the application", "requests", "failed", "median now"):
        loads.add_column(name, justify="left" if name == "the application" else "right")
    for name, load in (
        ("through edge", view.edge),
        (f"straight to {PRIMARY}", view.direct),
        ("gRPC through edge", view.greeter),
    ):
        loads.add_row(name, str(len(load.shots)), _failures(load.failed), f"{_median_ms(load):.0f} ms")
    head = Text(f"{view.at_s:4.0f} of {view.total_s:.0f} s   {view.phase.says}")
    head.stylize("bold yellow" if view.phase.faults else "bold green")
    return Group(head, targets, loads)


def _comparison(summary: Summary) -> Any:
    """Return a table of both loads side by side, and the cost of the outage."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title="The same load, the same outage", expand=False)
    for name in ("", "through edge", "straight to the primary"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("requests", str(summary.requests), str(summary.direct_requests))
    table.add_row("failed", _failures(summary.failed), _failures(summary.direct_failed))
    table.add_row("p50", f"{summary.p50_ms:.0f} ms", f"{summary.direct_p50_ms:.0f} ms")
    table.add_row("p99", f"{summary.p99_ms:.0f} ms", f"{summary.direct_p99_ms:.0f} ms")
    answered = ", ".join(f"{name} {count}" for name, count in sorted(summary.answered_by.items()))
    lines = [
        Text(f"Answered by: {answered}"),
        Text(f"First answer by another after the primary turned slow: {_time(summary.failover_ms)}"),
        Text(f"First answer by the primary after its recovery: {_time(summary.recovered_ms)}"),
    ]
    greeted = ", ".join(f"{name} {count}" for name, count in sorted(summary.greeter_answered_by.items()))
    lines.append(Text.assemble(f"gRPC calls: {summary.greeter_calls}, failed ", _failures(summary.greeter_failed)))
    lines.append(Text(f"Answered by: {greeted}"))
    reasons = [*summary.reasons.items(), *summary.greeter_reasons.items()]
    lines += [Text(f"Failed through edge, {count}x: {reason}", style="red") for reason, count in reasons]
    return Group(table, *lines)


def _failures(count: int) -> Any:
    from rich.text import Text  # noqa: PLC0415

    return Text(str(count), style="bold red" if count else "green")


def _median_ms(load: Steady) -> float:
    from edge.sim.scores import quantile  # noqa: PLC0415

    return quantile((shot.latency_s for shot in load.shots[-RECENT:]), 0.5) * 1000


def _time(milliseconds: float | None) -> str:
    return "never" if milliseconds is None else f"{milliseconds:.0f} ms"
