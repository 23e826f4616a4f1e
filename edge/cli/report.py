"""``edge report``: a month's availability of a provider, alone and with edge, with credits due and the incidents."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from edge.cli.admin_client import add_address, ask, ask_text, interpreting
from edge.cli.moments import spelled
from edge.cli.screen import screen

if TYPE_CHECKING:
    from rich.table import Table

_REFUSALS: Final = frozenset({400, 404, 503})
_OK: Final = 200


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge report`` to the parser."""
    parser = subparsers.add_parser("report", help="report a month's availability of a provider, alone and with edge")
    parser.add_argument("--provider", required=True, help="name in the configuration")
    parser.add_argument("--model", default="", help="upstream model (default: every one of the provider)")
    parser.add_argument("--region", default="", help="default: every region in the history")
    parser.add_argument("--capability", default="", help="only what needs it: vision, tools, ... (default: everything)")
    parser.add_argument("--month", type=_month, default=None, metavar="YYYY-MM", help="default: this month (UTC)")
    parser.add_argument("--slo", default="99.9", metavar="PERCENT", help="objective for the error budget (99.9)")
    parser.add_argument("--terms", default="", metavar="T", help="credits of the contract, such as 99.9=10,99=25")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the JSON of the admin API")
    shape.add_argument("--csv", action="store_true", help="print one line for each side of the comparison")
    shape.add_argument("--html", action="store_true", help="print a document to send or to print")
    add_address(parser)
    parser.set_defaults(run=run)


def _month(text: str) -> str:
    """Return the month; raise argparse.ArgumentTypeError if it is none."""
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a month; write 2026-05")
    return text


def run(args: argparse.Namespace) -> int:
    """Print the report; return 1 if the node cannot make it."""
    asked = {name: getattr(args, name) for name in ("provider", "model", "region", "capability", "slo", "terms")}
    asked["month"] = args.month or f"{datetime.now(UTC):%Y-%m}"
    path = f"/api/report?{urlencode({name: value for name, value in asked.items() if value})}"
    if args.html:
        status, text = ask_text(args, f"{path}&format=html", refusals=_REFUSALS)
        print(text if status == _OK else f"edge: {text}", file=sys.stdout if status == _OK else sys.stderr)
        return 0 if status == _OK else 1
    status, found = ask(args, path, refusals=_REFUSALS)
    if status != _OK:
        print(f"edge: {found['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        if args.json:
            print(json.dumps(found, indent=2))
        elif args.csv:
            _print_csv(found)
        else:
            _print_table(found)
    return 0


def _print_csv(found: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("requests", "failed", "availability", "outage_minutes", "budget_burnt", "cost_usd")
    head = ("provider", "model", "region", "capability", "month", "slo")
    writer.writerow([*head, "side", *names, "first_p50_s", "first_p95_s", "first_p99_s", "credit_usd"])
    for side in ("alone", "with_edge"):
        part = found[side]
        credit = found["credit_usd"] if side == "alone" else ""
        facts = [found[name] for name in head]
        writer.writerow([*facts, side, *(part[name] for name in names), *part["first_s"], credit])


def _print_table(found: dict[str, Any]) -> None:
    console = screen(highlight=False)
    month = found["month"] + ("" if found["complete"] else ", which is not over")
    what = (found["provider"], found["model"] or "(every model)", found["region"], found["capability"])
    console.print(f"{' '.join(filter(None, what))}  {month}", soft_wrap=True)
    console.print(_table(found["table"]))
    if found["parts"]:
        console.print(_table(found["parts"], "requests that need"))
    console.print(f"out of rotation because it failed: {found['minutes_out']:g} minutes")
    if found["credit_share"]:
        console.print(f"credit due: {found['credit_share']:.0%}, {found['credit_usd']:.2f} USD")
    for each in found["incidents"]:
        console.print(f"{each['id']}  {spelled(each['first_symptom'])}  {each['title']}", soft_wrap=True)


def _table(rows: list[list[str]], what: str = "") -> Table:
    from rich.table import Table  # noqa: PLC0415

    shown = Table(what, "the provider alone", "with edge", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*row)
    return shown
