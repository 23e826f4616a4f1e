"""``edge trace``: lists the last recorded requests; ``edge trace ID`` shows the timeline of one."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.screen import screen
from edge.cli.waterfall import spell, status, waterfall, went_wrong

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

_LAST: Final = 20
_WIDEST: Final = 120  # columns of a timeline; more would add no detail
_UNKNOWN: Final = 404
_REFUSED: Final = 400


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge trace`` to the parser."""
    parser = subparsers.add_parser("trace", help="show the timeline of a request, or list the last recorded ones")
    parser.add_argument("id", nargs="?", help="x-edge-request-id of a response, or a trace id (default: a list)")
    parser.add_argument("--last", type=int, default=_LAST, metavar="N", help=f"how many to list ({_LAST})")
    parser.add_argument("--wrong", action="store_true", help="list only failed, slow and retried requests")
    parser.add_argument("--route", default="", help="list only requests of this route")
    parser.add_argument("--json", action="store_true", help="print the JSON of the admin API")
    add_address(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show a request or the list; return 1 if there is no record of the request."""
    if args.id:
        code, found = ask(
            args, f"/api/traces/{quote(args.id, safe='', errors='replace')}", refusals=frozenset({_UNKNOWN})
        )
        if code == _UNKNOWN:
            print(f"edge: {found['error']}", file=sys.stderr)
            return 1
    else:
        query = {"last": args.last, "wrong": int(args.wrong), **({"route": args.route} if args.route else {})}
        path = f"/api/traces?{urlencode(query, errors='replace')}"
        code, found = ask(args, path, shape=list, refusals=frozenset({_REFUSED}))
        if code == _REFUSED:
            print(f"edge: {found['error']}", file=sys.stderr)
            return 1
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    console = screen(highlight=False)
    with interpreting(args):
        if not args.id:
            console.print(table(found) if found else "no request is recorded yet")
            return 0
        for line in waterfall(found, min(console.width, _WIDEST), unicode=console.encoding.startswith("utf")):
            console.print(line)
    return 0


def table(traces: list[dict[str, Any]]) -> Table:
    """Return the content of ``/api/traces`` as a table, newest first."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("request", no_wrap=True)
    shown.add_column("at (UTC)", no_wrap=True)
    shown.add_column("route")
    shown.add_column("status", no_wrap=True)
    shown.add_column("took", justify="right", no_wrap=True)
    shown.add_column("kept", no_wrap=True)
    shown.add_column("attempts")
    for trace in traces:
        began = datetime.fromtimestamp(trace["started_ns"] / 1e9, UTC)
        shown.add_row(
            Text(trace["request_id"] or "-"),
            f"{began:%H:%M:%S}",
            Text(trace["route"] or "-"),
            Text(status(trace), style="red" if went_wrong(trace) else ""),
            spell(trace["duration_ns"]),
            trace["kept"],
            Text(
                " > ".join(f"{attempt['target']} {attempt['outcome']}".strip() for attempt in trace["attempts"]) or "-"
            ),
        )
    return shown
