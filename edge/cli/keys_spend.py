"""``edge keys spend``: shows what each node has spent of this month's budgets; ``forget NODE`` forgets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.screen import screen

if TYPE_CHECKING:
    import argparse

    from rich.table import Table


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge keys spend`` to the parser."""
    spend = actions.add_parser("spend", help="show what each node has spent this month, or forget a node's spending")
    add_address(spend)
    spend.add_argument("--json", action="store_true", help="print the JSON of the admin API")
    spend.set_defaults(run=run_show)
    forget = spend.add_subparsers(metavar="ACTION").add_parser(
        "forget", help="forget what a node without a heartbeat, or the asked node itself, has spent this month"
    )
    add_address(forget)
    forget.add_argument("node", metavar="REGION/NODE", help="as `edge keys spend` shows it")
    forget.set_defaults(run=run_forget)


def run_show(args: argparse.Namespace) -> int:
    """Show the spending of every node; return 0 if the node responds."""
    found = ask(args, "/api/spend")[1]
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    with interpreting(args):
        screen().print(table(found["nodes"]))
    return 0


def run_forget(args: argparse.Namespace) -> int:
    """Forget a node's spending; return 0 if it was forgotten."""
    found = ask(args, f"/api/spend/{quote(args.node, safe='/')}", method="DELETE")[1]
    with interpreting(args):
        spent = [f"{key['key']} ${key['spent']:,.2f}" for key in found["forgotten"]["keys"] if key["spent"]]
        print(f"{args.node} has spent nothing this month any more; forgotten: {', '.join(spent) or 'nothing'}")
    return 0


def table(nodes: list[dict[str, Any]]) -> Table:
    """Return a table of ``/api/spend``: a row for each key of each node."""
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("node", no_wrap=True)
    shown.add_column("heartbeat")
    shown.add_column("key")
    shown.add_column("spent", justify="right")
    shown.add_column("may spend", justify="right")
    for node in nodes:
        silent = node["silent_s"]
        heard = "this node" if node["here"] else "none" if silent is None else f"{silent:.0f} s ago"
        for key in node["keys"] or [{"key": "-", "spent": 0.0, "may_spend": None}]:
            may_spend = "-" if key["may_spend"] is None else f"${key['may_spend']:,.2f}"
            shown.add_row(node["node"], heard, key["key"], f"${key['spent']:,.2f}", may_spend)
    return shown
