"""``edge alerts`` shows the webhooks that are told of incidents; ``edge alerts test`` sends each a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.screen import screen

if TYPE_CHECKING:
    import argparse


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge alerts`` and ``edge alerts test`` to the parser."""
    parser = subparsers.add_parser("alerts", help="show the webhooks that are told of incidents, or test them")
    actions = parser.add_subparsers(metavar="ACTION")
    listing = actions.add_parser("list", help="show each webhook, and what it was sent")
    test = actions.add_parser("test", help="send a test to each webhook, and show what it answers")
    for each in (parser, listing, test):
        each.add_argument("--json", action="store_true", help="print the JSON of the admin API")
        add_address(each)
        each.set_defaults(run=run_list)
    test.set_defaults(run=run_test)


def run_list(args: argparse.Namespace) -> int:
    """Show the webhooks; return 0 also if there is none."""
    found: list[dict[str, Any]] = ask(args, "/api/alerts", shape=list)[1]
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    from rich.table import Table  # noqa: PLC0415

    with interpreting(args):
        shown = Table("host", "format", "on", "waiting", "sent", "failed", "dropped", "error", box=None, pad_edge=False)
        for each in found:
            counts = [str(each[name]) for name in ("waiting", "sent", "failed", "dropped")]
            shown.add_row(each["host"], each["form"], ", ".join(each["on"]) or "all", *counts, each["error"])
        screen(highlight=False).print(shown if found else "no webhook is configured (alerts)")
    return 0


def run_test(args: argparse.Namespace) -> int:
    """Send a test; return 0 if there are webhooks and each took it."""
    found: list[dict[str, Any]] = ask(args, "/api/alerts/test", shape=list, method="POST")[1]
    if args.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print("no webhook is configured (alerts)")
    with interpreting(args):
        for each in () if args.json else found:
            print(f"{each['host']} ({each['format']}): {each['error'] or 'accepted'}")
        return 0 if found and all(each["accepted"] for each in found) else 1
