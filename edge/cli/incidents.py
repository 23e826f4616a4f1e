"""``edge incidents``: lists outages, shows one as a timeline or as Markdown, acknowledges it, adds a note."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.moments import moment, spelled
from edge.cli.screen import screen

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

_REFUSALS: Final = frozenset({400, 404, 503})
_OK: Final = 200


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge incidents`` and its actions to the parser."""
    parser = subparsers.add_parser("incidents", help="list outages, or show the timeline of one")
    actions = parser.add_subparsers(metavar="ACTION")
    listing = actions.add_parser("list", help="list open incidents and those of the last 30 days")
    show = actions.add_parser("show", help="show one incident with its timeline")
    acknowledge = actions.add_parser("acknowledge", help="say who looks after an incident")
    note = actions.add_parser("note", help="add a line to the timeline of an incident")
    for each in (show, acknowledge, note):
        each.add_argument("id", help="as `edge incidents` shows it")
    acknowledge.add_argument("text", help="who looks after it, and what they do")
    note.add_argument("text", help="one line")
    shape = show.add_mutually_exclusive_group()
    shape.add_argument("--markdown", action="store_true", help="print a post-mortem to publish")
    shape.add_argument("--playbook", action="store_true", help="print its playbook: what to look at, what to do")
    for each in (parser, listing):
        each.add_argument("--from", dest="start", type=moment, default=None, metavar="TIME", help="default: 30d")
        each.set_defaults(run=run_list)
    show.set_defaults(run=run_show)
    acknowledge.set_defaults(run=run_say, action="acknowledge")
    note.set_defaults(run=run_say, action="note")
    for each in (parser, listing, show, acknowledge, note):
        each.add_argument("--json", action="store_true", help="print the JSON of the admin API")
        add_address(each)


def run_list(args: argparse.Namespace) -> int:
    """List the incidents; return 0 also if there is none."""
    query = "" if args.start is None else "?" + urlencode({"from": args.start})
    status, found = ask(args, f"/api/incidents{query}", shape=list, refusals=_REFUSALS)
    if status != _OK:
        print(f"edge: {found['error']}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    with interpreting(args):
        screen(highlight=False).print(table(found) if found else "no incident is known")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Show one incident; return 1 if there is none of that id."""
    path = f"/api/incidents/{quote(args.id, safe='', errors='replace')}"
    if args.markdown:
        from edge.cli.admin_client import ask_text  # noqa: PLC0415

        status, text = ask_text(args, f"{path}?format=markdown", refusals=_REFUSALS)
        print(text if status == _OK else f"edge: {text}", file=sys.stdout if status == _OK else sys.stderr)
        return 0 if status == _OK else 1
    status, found = ask(args, path, refusals=_REFUSALS)
    if status != _OK:
        print(f"edge: {found['error']}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    console = screen(highlight=False)
    with interpreting(args):
        if args.playbook:
            print(found["playbook_text"])
            return 0
        for line in lines(found):
            console.print(line, soft_wrap=True)
    return 0


def run_say(args: argparse.Namespace) -> int:
    """Acknowledge, or add a note; return 1 if the node refuses."""
    path = f"/api/incidents/{quote(args.id, safe='', errors='replace')}/{args.action}"
    status, found = ask(args, path, method="POST", body={"text": args.text}, refusals=_REFUSALS)
    if status != _OK:
        print(f"edge: {found['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        print(json.dumps(found, indent=2) if args.json else f"{found['id']}: {found['title']}")
    return 0


def table(found: list[dict[str, Any]]) -> Table:
    """Return the incidents as a table, open ones first."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("incident", "since (UTC)", "lasted", "what", "requests", "failed", "acknowledged"):
        shown.add_column(heading, no_wrap=heading in ("incident", "since (UTC)"))
    for each in found:
        open_ = not each["closed"]
        end = each["recovered"] or each["closed"]
        shown.add_row(
            Text(each["id"], style="bold red" if open_ else ""),
            spelled(each["first_symptom"])[:-1].replace("T", " "),
            f"{max(end - each['first_symptom'], 0) / 60:.1f} min" if end else "open",
            Text(each["title"]),
            str(each["impact"]["requests"]),
            str(each["impact"]["failed"]),
            Text(each["acknowledged"]),
        )
    return shown


def lines(found: dict[str, Any]) -> list[str]:
    """Return one incident as lines: facts, what callers saw, the timeline, what is missing."""
    impact = found["impact"]
    out = [
        f"{found['id']}  {found['title']}",
        f"playbook: {found['playbook']} (edge incidents show {found['id']} --playbook)",
    ]
    out += [f"told by {found['where']}, which keeps it"] if found["where"] else []
    out += [f"acknowledged: {found['acknowledged']}"] if found["acknowledged"] else []
    out.append(
        f"callers: {impact['requests']} requests, {impact['failed']} failed, {impact['delayed']} delayed, "
        f"{impact['degraded']} by a later tier, {impact['shed']} shed"
    )
    out += [_elsewhere(each) for each in found["elsewhere"]]
    out += [f"{spelled(event['at'])}  {event['what']:9} {event['text']}" for event in found["events"]]
    out += [f"{found['left_out']} further events were left out"] if found["left_out"] else []
    out += [f"still missing: {each}" for each in found["missing"]]
    return out


def _elsewhere(each: dict[str, Any]) -> str:
    impact, acknowledged = each["impact"], f", acknowledged: {each['acknowledged']}" if each["acknowledged"] else ""
    region = each["where"].partition("/")[0]
    return f"in {region}: {impact['requests']} requests, {impact['failed']} failed ({each['id']}{acknowledged})"
