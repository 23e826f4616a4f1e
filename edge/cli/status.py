"""How is this node?  ``edge status``: a table of targets, who is left alone, why, and until when."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from edge.cli.asking import add_address, ask

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

EVERY_S: Final = 1.0
_STYLES: Final = {
    "closed": "green",
    "ramping": "cyan",
    "half_open": "cyan",
    "resting": "yellow",
    "open": "red",
    "out": "bold white on red",
    "manual": "magenta",
}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge status``."""
    parser = subparsers.add_parser("status", help="show every target of a running node: state, load, latency, why")
    add_address(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="what the admin address answers, as JSON")
    shape.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Show the targets; 0 when the node answers, whatever state they are in."""
    if asked.json:
        print(json.dumps(_targets(asked), indent=2))
        return 0
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    if not asked.watch:
        console.print(table(_targets(asked)))
        for line in _notes(asked):
            console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
        return 0
    from rich.live import Live  # noqa: PLC0415

    with Live(table(_targets(asked)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            live.update(table(_targets(asked)), refresh=True)


def table(targets: list[dict[str, Any]]) -> Table:
    """Return the table of what ``/api/targets`` said."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("target", no_wrap=True)
    shown.add_column("serves")
    shown.add_column("tier", justify="right")
    shown.add_column("state", no_wrap=True)
    for heading in ("in flight", "first token", "first byte", "errors", "of"):
        shown.add_column(heading, justify="right")
    shown.add_column("why")
    for target in targets:
        shown.add_row(
            target["id"],
            # that a target can be asked for by its own name is true of all of them
            ", ".join(route for route in target["routes"] if route != target["id"]),
            str(target["tier"]),
            Text(target["state"], style=_STYLES.get(target["state"], "")),
            str(target["inflight"]),
            _milliseconds(target["latency_ms"]["stream"]),
            _milliseconds(target["latency_ms"]["whole"]),
            f"{target['error_ratio']:.0%}" if target["volume"] else "-",
            str(target["volume"]),
            _why(target),
        )
    return shown


def _why(target: dict[str, Any]) -> str:
    until = target["until_s"]
    return str(target["why"]) + (f" ({until:.0f} s left)" if until else "")


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _targets(asked: argparse.Namespace) -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = ask(asked, "/api/targets")[1]
    return targets


def notes(node: dict[str, Any], now: float) -> list[str]:
    """Return what a person should know of the node as a whole, of what ``/api/node`` said; nothing when all is well."""
    lines = []
    if node.get("draining"):
        lines.append("the node drains")
    if node.get("started_from") is not None:
        age_s = max(now - node["started_from"], 0)
        lines.append(f"{node['config']} could not be used: the last good configuration holds, {age_s:.0f} s old")
    if node.get("problems"):
        lines.append(f"the last reload was refused {max(now - node['last_refused'], 0):.0f} s ago:")
        lines += [f"  {problem}" for problem in node["problems"]]
    if node.get("state_failures"):
        lines.append(f"the last good configuration could not be written to {node['state_file']}")
    return lines


def _notes(asked: argparse.Namespace) -> list[str]:
    status, node = ask(asked, "/api/node", refusals=frozenset({404}))
    return notes(node, time.time()) if status == 200 else []  # noqa: PLR2004  # an older node has no such path
