"""``edge status``: a table of the targets of a node, with their states, the reasons, and when a state may end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.ladder import ladder_lines
from edge.cli.screen import STYLES, screen, style_of

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType
    from rich.table import Table

EVERY_S: Final = 1.0
CROWDED: Final = 0.8  # share of limits.max_buffered
MIB: Final = 1024**2
STALE_S: Final = 15.0  # three heartbeats of edge.regions.digest
# On a narrower terminal a column of reasons would fold to one word per line, so they go below the table.
_WIDE: Final = 130


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge status`` to the parser."""
    parser = subparsers.add_parser("status", help="show every target of a running node: state, load, latency, reason")
    add_address(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the JSON of the admin API")
    parser.add_argument("--all", action="store_true", help="show the views of all regions side by side")
    shape.add_argument("--watch", action="store_true", help="refresh every second, until Ctrl-C")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the targets; return 0 if the node responds, whatever state they are in."""
    if args.json:
        print(json.dumps(_regions(args) if args.all else _targets(args), indent=2))
        return 0
    if not args.watch:
        with interpreting(args):
            console = screen()
            console.print(_shown(args, console.width))
            for line in _ladder(args):
                console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
            for line in _choices(args):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            for line in _pages(args):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            for line in _notes(args):
                console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
        return 0
    from rich.live import Live  # noqa: PLC0415

    console = screen()
    with interpreting(args), Live(_shown(args, console.width), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            live.update(_shown(args, console.width), refresh=True)


def _shown(args: argparse.Namespace, width: int) -> RenderableType:
    return side_by_side(_regions(args)) if args.all else of_targets(_targets(args), width)


def of_targets(targets: list[dict[str, Any]], width: int) -> RenderableType:
    """Return the content of ``/api/targets`` for a terminal ``width`` columns wide, reasons in the table or below."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if width >= _WIDE:
        return table(targets)
    reasons = [
        Text(f"{target['id']} is {target['state']}: {_why(target)}", style=STYLES.get(target["severity"], ""))
        for target in targets
        if target["why"]
    ]
    reasons += [
        Text(f"{target['id']}: {_lacks(part)}", style=STYLES.get(part["severity"], ""))
        for target in targets
        for part in target.get("capabilities", ())
        if part["why"]
    ]
    return Group(table(targets, reasons=False), *reasons)


def side_by_side(view: dict[str, Any]) -> Table:
    """Return the content of ``/api/regions`` as a table with a row per target and a column per region."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    regions = view["regions"]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("target", no_wrap=True)
    for region in regions:
        marks = [f"{region['fresh_nodes']}/{region['nodes']} nodes, {region['age_s']:.0f} s"]
        marks += ["SUSPECT"] if region["suspect"] else []
        marks += ["stale"] if not region["fresh"] else []
        shown.add_column(f"{region['region']}\n{', '.join(marks)}")
    shown.add_column("effect here of\nother regions")
    for name in sorted({name for region in regions for name in region["targets"]}):
        cells = [_cell(region["targets"].get(name)) for region in regions]
        texts = [Text(cell, style=style_of(cell.partition(" ")[0])) for cell in cells]
        verdict = view.get("verdicts", {}).get(name)
        shown.add_row(name, *texts, _effect(verdict) if verdict else "")
    return shown


def _effect(verdict: dict[str, Any]) -> str:
    """Return what a verdict changes here; ``failure_threshold`` 0 keeps the route's failure threshold."""
    threshold = f", failure threshold {verdict['failure_threshold']}" if verdict["failure_threshold"] else ""
    return f"weight {verdict['weight']:g}{threshold}: {verdict['why']}"


def _cell(target: dict[str, Any] | None) -> str:
    """Return a region's digest of a target in one line; "-" if the region has none."""
    if target is None:
        return "-"
    parts = [target["state"], f"{target['error_ratio']:.0%} of {target['total']}"]
    if target["p95_ms"]:
        parts.append(f"p95 {target['p95_ms']} ms")
    if target["headroom"] >= 0:
        parts.append(f"headroom {target['headroom']}")
    if target["rate_limited_ms"]:
        parts.append(f"rate-limited for {target['rate_limited_ms'] / 1000:.0f} s")
    return f"{parts[0]} {', '.join(parts[1:])}"


def table(targets: list[dict[str, Any]], *, reasons: bool = True) -> Table:
    """Return the content of ``/api/targets`` as a table: a row for each target and route that uses the target."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    weighted = any(route["weight"] != 1 for target in targets for route in target["routes"])
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("target", no_wrap=True)
    shown.add_column("route")
    for heading in ("tier", *(["weight"] if weighted else [])):
        shown.add_column(heading, justify="right")
    shown.add_column("state", no_wrap=True)
    penalty = "\n+ penalty" if any(any(target["penalty_ms"].values()) for target in targets) else ""
    for heading in ("in flight", f"first token{penalty}", f"first byte{penalty}", "errors", "of"):
        shown.add_column(heading, justify="right")
    if reasons:
        shown.add_column("why")
    for target in targets:
        facts = [
            str(target["inflight"]),
            _latency(target, "stream"),
            _latency(target, "whole"),
            f"{target['error_ratio']:.0%}" if target["volume"] else "-",
            str(target["volume"]),
            *(["\n".join([_why(target), *_parts(target)]).strip()] if reasons else []),
        ]
        name = target["id"]
        # Every target can also be requested by its own id; that route is of interest only if there is no other.
        for route in [each for each in target["routes"] if each["route"] != name] or target["routes"]:
            same = route["state"] == target["state"]
            shown.add_row(
                name,
                route["route"],
                str(route["tier"]),
                *([f"{route['weight']:g}"] if weighted else []),
                Text(route["state"], style=STYLES.get(target["severity"], "") if same else style_of(route["state"])),
                *facts,
            )
            name, facts = "", []  # the facts of the target stand in the row of its first route
    return shown


def _why(target: dict[str, Any]) -> str:
    until = target["until_s"]
    return str(target["why"]) + (f" ({until:.0f} s left)" if until else "")


def _parts(target: dict[str, Any]) -> list[str]:
    return [_lacks(part) for part in target.get("capabilities", ()) if part["why"]]


def _lacks(part: dict[str, Any]) -> str:
    """Return what is wrong with one capability of a target."""
    return f"{part['name']} is {part['state']}: {_why(part)}"


def _latency(target: dict[str, Any], cell: str) -> str:
    measured, penalty = target["latency_ms"][cell], target["penalty_ms"][cell]
    shown = "-" if measured is None else f"{measured:.0f} ms"
    return f"{shown} + {penalty / 1000:.1f} s" if penalty else shown


def _targets(args: argparse.Namespace) -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = ask(args, "/api/targets", shape=list)[1]
    return targets


def _regions(args: argparse.Namespace) -> dict[str, Any]:
    regions: dict[str, Any] = ask(args, "/api/regions")[1]
    return regions


def notes(node: dict[str, Any], now: float) -> list[str]:
    """Return warnings about the node as a whole, from ``/api/node``; none if all is well."""
    lines = []
    if node.get("draining"):
        lines.append("the node is draining")
    for incident in node.get("incidents", ()):
        age_s = max(now - incident["since"], 0)
        known = f", acknowledged: {incident['acknowledged']}" if incident["acknowledged"] else ""
        lines.append(f"incident {incident['id']}: {incident['title']}, for {age_s:.0f} s{known}")
    if node.get("started_from") is not None:
        age_s = max(now - node["started_from"], 0)
        lines.append(f"{node['config']} is not usable: the last good configuration is in force, {age_s:.0f} s old")
    if node.get("problems"):
        lines.append(f"the last reload was refused {max(now - node['last_refused'], 0):.0f} s ago:")
        lines += [f"  {problem}" for problem in node["problems"]]
    limit = node.get("buffered_limit", 0)
    for worker, size in enumerate(node.get("buffered", ())):
        if size > limit * CROWDED:
            lines.append(
                f"worker {worker} buffers {size / MIB:.0f} of {limit / MIB:.0f} MiB of requests (limits.max_buffered)"
            )
    if node.get("unbuffered"):
        lines.append(f"{node['unbuffered']} requests were refused because they exceeded limits.max_buffered")
    lines += [_source_note(source) for source in node.get("discovery", ()) if source["error"]]
    lines += [_issuer_note(issuer) for issuer in node.get("issuers", ()) if issuer["error"]]
    lines += [_token_note(token) for token in node.get("provider_tokens", ()) if token["error"]]
    lines += _sharing_notes(node.get("sharing"), node.get("region", ""))
    if node.get("state_error"):
        lines.append(f"the last good configuration cannot be written to {node['state_file']}: {node['state_error']}")
    history = node.get("history")
    if history and history["error"]:
        where = history["path"] or "memory"
        lines.append(f"the history cannot be written to {where}: {history['error']} ({history['lost']} rows lost)")
    return lines


def _source_note(source: dict[str, Any]) -> str:
    """Return a warning about a source of discovery that gives no addresses."""
    age = "were not confirmed since control began" if source["age_s"] is None else f"are {source['age_s']:.0f} s old"
    return f"{source['url']}: {source['error']}; its {source['endpoints']} addresses {age}"


def _token_note(token: dict[str, Any]) -> str:
    """Return a warning about a provider whose token cannot be fetched."""
    left_s = token["expires_s"]
    left = "there is none" if left_s is None or left_s <= 0 else f"the last one expires in {left_s:.0f} s"
    return f"the token of provider {token['provider']} ({token['type']}) cannot be fetched: {token['error']}; {left}"


def _issuer_note(issuer: dict[str, Any]) -> str:
    """Return a warning about an issuer of tokens that does not give out its signing keys."""
    kept = f"its {issuer['keys']} known signing keys count for another {issuer['usable_s'] / 3600:.1f} h"
    return f"{issuer['source']}: {issuer['error']}; {kept}"


def _sharing_notes(sharing: dict[str, Any] | None, own: str) -> list[str]:
    """Return warnings about what the node shares with other regions."""
    if sharing is None:
        return []
    lines = []
    age_s = sharing["view_age_s"]
    if age_s is None:
        error = f": {sharing['error']}" if sharing["error"] else ""
        lines.append(f"the shared store has not been reached yet; this node works on its own{error}")
    elif not sharing["connected"] or age_s > STALE_S:
        lines.append(f"the shared store does not respond: the view of other regions is {age_s:.0f} s old")
        if age_s > STALE_S:
            lines[-1] += ", too old to count"
    if sharing.get("unwritten"):
        lines.append(f"the shared store rejects writes, so this node looks silent to others: {sharing['unwritten']}")
    if own in sharing["suspect"]:
        lines.append("most providers look bad from this region alone: it is suspect, and other regions ignore it")
    if sharing["name_conflict"]:
        lines.append("another node has the name of this one: give each its own node.name")
    return lines


def _notes(args: argparse.Namespace) -> list[str]:
    status, node = ask(args, "/api/node", refusals=frozenset({404}))
    return notes(node, time.time()) if status == 200 else []  # noqa: PLR2004  # older versions lack this path


def page_lines(pages: list[dict[str, Any]], now: float) -> list[str]:
    """Return what providers' status pages say, from ``/api/pages``: a line each, and none that was never read."""
    lines = []
    for page in pages:
        if page["error"]:
            lines.append(f"{page['provider']}'s status page cannot be read, which proves nothing: {page['error']}")
        elif page["seen"]:
            text = f": {page['text']}" if page["text"] else ""
            age_s = max(now - page["seen"], 0)
            lines.append(f"{page['provider']}'s status page says {page['state']}{text} ({age_s:.0f} s ago)")
    return lines


def _pages(args: argparse.Namespace) -> list[str]:
    status, pages = ask(args, "/api/pages", shape=list, refusals=frozenset({404}))
    return page_lines(pages, time.time()) if status == 200 else []  # noqa: PLR2004  # older versions lack this path


def _hedged(hedges: dict[str, int]) -> list[str]:
    """Return what hedges have done; nothing if none was due."""
    made = hedges["won"] + hedges["lost"] + hedges["unanswered"]
    due = [(hedges["no_budget"], "the budget was spent"), (hedges["no_target"], "no other target had room")]
    missed = [f"{count} were not made because {why}" for count, why in due if count]
    if not made and not missed:
        return []
    return [", ".join([f"{made} hedges, of which {hedges['won']} answered first", *missed])]


def choice_lines(choices: list[dict[str, Any]]) -> list[str]:
    """Return what affinity, ``prefer`` and hedges have done, from ``/api/choices``: a line for each such model."""
    lines = []
    for model in choices:
        parts = []
        if model["prefer"] != "order":
            saved = f"${model['saved_usd']:.2f}" if model["prefer"] == "cost" else f"{model['saved_s']:.1f} s"
            parts.append(f"prefer: {model['prefer']} has saved {saved}")
        if model["kept"]:
            moved = f", {model['moved']} conversations moved" if model["moved"] else ""
            parts.append(f"{model['kept']} of {model['requests']} requests stayed where their prompt was{moved}")
        if parts and model["cached_share"]:
            parts.append(f"{model['cached_share']:.0%} of prompt tokens came from caches")
        hedges = model.get("hedges")  # older versions have none
        if hedges:
            parts += _hedged(hedges)
        if parts:
            lines.append(f"{model['model']}: {'; '.join(parts)}")
    return lines


def _ladder(args: argparse.Namespace) -> list[str]:
    status, standings = ask(args, "/api/ladder", shape=list, refusals=frozenset({404}))
    return ladder_lines(standings) if status == 200 else []  # noqa: PLR2004  # older versions lack this path


def _choices(args: argparse.Namespace) -> list[str]:
    status, choices = ask(args, "/api/choices", shape=list, refusals=frozenset({404}))
    return choice_lines(choices) if status == 200 else []  # noqa: PLR2004  # older versions lack this path
