"""``edge history export`` prints traffic per minute, ``actions`` what operators did, ``pages`` what providers said."""

from __future__ import annotations

import csv
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.moments import moment, spelled

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_REFUSALS: Final = frozenset({400, 404, 503})
_FILTERS: Final = ("kind", "provider", "model", "region", "capability")
_OK: Final = 200
_DAY_S: Final = 86_400


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge history`` and its actions to the parser."""
    parser = subparsers.add_parser("history", help="export what a node remembers of traffic and operators")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    export = actions.add_parser("export", help="print traffic per minute of each target and route")
    for name, said in (
        ("kind", "target or route"),
        ("provider", "only this provider"),
        ("model", "only this upstream model, or this alias of a route"),
        ("region", "only this region"),
        ("capability", "only requests whose most special need is this one: vision, tools, streaming, ..."),
    ):
        export.add_argument(f"--{name}", default="", help=said)
    export.set_defaults(run=run)
    done = actions.add_parser("actions", help="print what operators did")
    done.set_defaults(run=run_changes, path="/api/actions")
    pages = actions.add_parser("pages", help="print what providers' status pages said, whenever that changed")
    pages.set_defaults(run=run_changes, path="/api/pages/history")
    for each in (export, done, pages):
        each.add_argument("--format", choices=("csv", "json"), default="csv", help="default: csv")
        each.add_argument("--from", dest="start", type=moment, default=None, metavar="TIME", help="default: a day ago")
        each.add_argument("--to", dest="end", type=moment, default=None, metavar="TIME", help="default: now")
        add_address(each)


def run(args: argparse.Namespace) -> int:
    """Print the minutes; return 1 if the node cannot read its history."""
    filters = {name: getattr(args, name) for name in _FILTERS if getattr(args, name)}
    with interpreting(args):
        return _print(args, _rows(args, filters))


def run_changes(args: argparse.Namespace) -> int:
    """Print what operators did or pages said; return 1 if the node cannot read its history."""
    start, end = _span(args)
    query = urlencode({"from": start, "to": end})
    status, found = ask(args, f"{args.path}?{query}", shape=list, refusals=_REFUSALS)
    if status != _OK:
        print(f"edge: {found['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        return _print(args, ({**each, "at": spelled(each["at"])} for each in found))


class _RefusedError(Exception):
    """The node refused; the text says why."""


def _rows(args: argparse.Namespace, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
    start, end = _span(args)
    while start is not None and start < end:
        query = urlencode({"from": start, "to": end, **filters})
        status, page = ask(args, f"/api/history?{query}", refusals=_REFUSALS)
        if status != _OK:
            raise _RefusedError(page["error"])
        for row in page["rows"]:
            named = dict(zip(page["columns"], row, strict=True))
            yield {**named, "at": spelled(named["at"])}
        start = page["next"]


def _span(args: argparse.Namespace) -> tuple[int, int]:
    now = int(time.time())
    return args.start if args.start is not None else now - _DAY_S, args.end if args.end is not None else now + 60


def _print(args: argparse.Namespace, rows: Iterator[dict[str, Any]]) -> int:
    """Print rows as they come: JSON as one list, CSV with a header line."""
    writer = None
    count = 0
    try:
        for row in rows:
            if args.format == "json":
                sys.stdout.write(("[\n" if count == 0 else ",\n") + json.dumps(row))
            else:
                if writer is None:
                    writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
                    writer.writeheader()
                flat = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}
                writer.writerow(flat)
            count += 1
    except _RefusedError as error:
        print(f"edge: {error}", file=sys.stderr)
        return 1
    if args.format == "json":
        sys.stdout.write("[]\n" if count == 0 else "\n]\n")
    return 0
