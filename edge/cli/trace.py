"""What happened to a request?  ``edge trace`` lists the last ones worth a look; ``edge trace ID`` shows one in time."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from edge.cli.asking import add_address, ask, understood
from edge.cli.screen import screen
from edge.cli.waterfall import spell, status, waterfall, went_wrong

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

_LAST: Final = 20
_WIDEST: Final = 120  # of a bar in time; more shows nothing more
_UNKNOWN: Final = 404
_REFUSED: Final = 400


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge trace``."""
    parser = subparsers.add_parser("trace", help="show what happened to a request, or the last ones worth a look")
    parser.add_argument("id", nargs="?", help="x-edge-request-id of an answer, or a trace id; none: a list")
    parser.add_argument("--last", type=int, default=_LAST, metavar="N", help=f"how many to list ({_LAST})")
    parser.add_argument("--wrong", action="store_true", help="list only what failed, was slow or was retried")
    parser.add_argument("--route", default="", help="list only this route's")
    parser.add_argument("--json", action="store_true", help="what the admin address answers, as JSON")
    add_address(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Show it; 0 when there is something to show, 1 when the request is not remembered."""
    if asked.id:
        code, found = ask(
            asked, f"/api/traces/{quote(asked.id, safe='', errors='replace')}", refusals=frozenset({_UNKNOWN})
        )
        if code == _UNKNOWN:
            print(f"edge: {found['error']}", file=sys.stderr)
            return 1
    else:
        query = {"last": asked.last, "wrong": int(asked.wrong), **({"route": asked.route} if asked.route else {})}
        path = f"/api/traces?{urlencode(query, errors='replace')}"
        code, found = ask(asked, path, shape=list, refusals=frozenset({_REFUSED}))
        if code == _REFUSED:
            print(f"edge: {found['error']}", file=sys.stderr)
            return 1
    if asked.json:
        print(json.dumps(found, indent=2))
        return 0
    console = screen(highlight=False)
    with understood(asked):
        if not asked.id:
            console.print(table(found) if found else "nothing is remembered yet")
            return 0
        for line in waterfall(found, min(console.width, _WIDEST), unicode=console.encoding.startswith("utf")):
            console.print(line)
    return 0


def table(traces: list[dict[str, Any]]) -> Table:
    """Return the list of what ``/api/traces`` said, newest first."""
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
