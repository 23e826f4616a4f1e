"""How is this node?  ``edge status``: a table of targets, who is left alone, why, and until when."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from edge.cli.asking import add_address, ask, understood
from edge.cli.screen import screen

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType
    from rich.table import Table

EVERY_S: Final = 1.0
CROWDED: Final = 0.8  # of limits.max_buffered
MIB: Final = 1024**2
STALE_S: Final = 15.0  # three heartbeats of edge.regions.digest
# On less, a column of reasons would be folded to a word a line: they stand below the table instead.
_WIDE: Final = 130
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
    parser.add_argument("--all", action="store_true", help="every region's view side by side")
    shape.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Show the targets; 0 when the node answers, whatever state they are in."""
    if asked.json:
        print(json.dumps(_regions(asked) if asked.all else _targets(asked), indent=2))
        return 0
    if not asked.watch:
        with understood(asked):
            console = screen()
            console.print(_shown(asked, console.width))
            for line in _notes(asked):
                console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
        return 0
    from rich.live import Live  # noqa: PLC0415

    console = screen()
    with understood(asked), Live(_shown(asked, console.width), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            live.update(_shown(asked, console.width), refresh=True)


def _shown(asked: argparse.Namespace, width: int) -> RenderableType:
    return side_by_side(_regions(asked)) if asked.all else of_targets(_targets(asked), width)


def of_targets(targets: list[dict[str, Any]], width: int) -> RenderableType:
    """Return what ``/api/targets`` said for a screen of ``width`` columns: reasons in the table, or below it."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if width >= _WIDE:
        return table(targets)
    reasons = [
        Text(f"{target['id']} is {target['state']}: {_why(target)}", style=_STYLES.get(target["state"], ""))
        for target in targets
        if target["why"]
    ]
    return Group(table(targets, reasons=False), *reasons)


def side_by_side(said: dict[str, Any]) -> Table:
    """Return the table of what ``/api/regions`` said: a row per target, a column per region."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    regions = said["regions"]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("target", no_wrap=True)
    for region in regions:
        marks = [f"{region['fresh_nodes']}/{region['nodes']} nodes, {region['age_s']:.0f} s"]
        marks += ["SUSPECT"] if region["suspect"] else []
        marks += ["stale"] if not region["fresh"] else []
        shown.add_column(f"{region['region']}\n{', '.join(marks)}")
    shown.add_column("here\nbecause of the others")
    for name in sorted({name for region in regions for name in region["targets"]}):
        cells = [_cell(region["targets"].get(name)) for region in regions]
        texts = [Text(cell, style=_STYLES.get(cell.partition(" ")[0], "")) for cell in cells]
        verdict = said.get("verdicts", {}).get(name)
        effect = f"weight {verdict['weight']:g}, fuse {verdict['fuse']}: {verdict['why']}" if verdict else ""
        shown.add_row(name, *texts, effect)
    return shown


def _cell(target: dict[str, Any] | None) -> str:
    """Return what a region says of a target in one line; "-" where it has nothing to say."""
    if target is None:
        return "-"
    parts = [target["state"], f"{target['error_ratio']:.0%} of {target['total']}"]
    if target["p95_ms"]:
        parts.append(f"p95 {target['p95_ms']} ms")
    if target["headroom"] >= 0:
        parts.append(f"room {target['headroom']}")
    if target["rest_ms"]:
        parts.append(f"rests {target['rest_ms'] / 1000:.0f} s")
    return f"{parts[0]} {', '.join(parts[1:])}"


def table(targets: list[dict[str, Any]], *, reasons: bool = True) -> Table:
    """Return the table of what ``/api/targets`` said, with or without a column of reasons."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("target", no_wrap=True)
    shown.add_column("serves")
    shown.add_column("tier", justify="right")
    shown.add_column("state", no_wrap=True)
    for heading in ("in flight", "first token", "first byte", "errors", "of"):
        shown.add_column(heading, justify="right")
    if reasons:
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
            *([_why(target)] if reasons else []),
        )
    return shown


def _why(target: dict[str, Any]) -> str:
    until = target["until_s"]
    return str(target["why"]) + (f" ({until:.0f} s left)" if until else "")


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _targets(asked: argparse.Namespace) -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = ask(asked, "/api/targets", shape=list)[1]
    return targets


def _regions(asked: argparse.Namespace) -> dict[str, Any]:
    said: dict[str, Any] = ask(asked, "/api/regions")[1]
    return said


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
    limit = node.get("buffered_limit", 0)
    for worker, size in enumerate(node.get("buffered", ())):
        if size > limit * CROWDED:
            lines.append(
                f"worker {worker} holds {size / MIB:.0f} MiB of requests, of {limit / MIB:.0f} MiB "
                "(limits.max_buffered)"
            )
    if node.get("unbuffered"):
        lines.append(f"{node['unbuffered']} requests were refused because they did not fit into limits.max_buffered")
    lines += _sharing_notes(node.get("sharing"), node.get("region", ""))
    if node.get("state_error"):
        lines.append(f"the last good configuration cannot be written to {node['state_file']}: {node['state_error']}")
    return lines


def _sharing_notes(sharing: dict[str, Any] | None, own: str) -> list[str]:
    """Return what a person should know of what is shared with other regions."""
    if sharing is None:
        return []
    lines = []
    age_s = sharing["view_age_s"]
    if age_s is None:
        lines.append(f"the shared store was never heard; this node goes by itself: {sharing['error']}".rstrip(": "))
    elif not sharing["connected"] or age_s > STALE_S:
        lines.append(f"the shared store is silent: what is known of other regions is {age_s:.0f} s old")
        if age_s > STALE_S:
            lines[-1] += ", too old to count"
    if sharing.get("unwritten"):
        lines.append(f"the shared store takes no writes, so the others find this node silent: {sharing['unwritten']}")
    if own in sharing["suspect"]:
        lines.append("most providers look bad from here at once: this region is suspect, and the others do not heed it")
    if sharing["name_conflict"]:
        lines.append("another node goes by the name of this one: give each its own node.name")
    return lines


def _notes(asked: argparse.Namespace) -> list[str]:
    status, node = ask(asked, "/api/node", refusals=frozenset({404}))
    return notes(node, time.time()) if status == 200 else []  # noqa: PLR2004  # an older node has no such path
