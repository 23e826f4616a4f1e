"""``edge target drain|eject|restore ID --reason WHY``: takes a target out of rotation until it is restored."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from edge.cli.admin_client import add_address, ask, interpreting

if TYPE_CHECKING:
    import argparse

_HELP: Final = {
    "drain": "let a target finish its requests, and give it no new ones",
    "eject": "the same, for a target that misbehaves",
    "restore": "put a target back into rotation",
}
_REFUSALS: Final = frozenset({400, 404, 409, 503})


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge target drain``, ``eject`` and ``restore`` to the parser."""
    parser = subparsers.add_parser("target", help="take a target of a running node out of rotation, or put it back")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, description in _HELP.items():
        action = actions.add_parser(name, help=description)
        action.add_argument("id", help="as `edge status` shows it, such as openai/gpt-4.1-mini")
        action.add_argument("--reason", required=name != "restore", default="", help="why, for later readers")
        action.add_argument("--all", action="store_true", help="in all regions, through the cluster")
        add_address(action)
        action.set_defaults(run=run, action=name)


def run(args: argparse.Namespace) -> int:
    """Send the operation; return 0 once it is in force."""
    from urllib.parse import quote  # noqa: PLC0415

    path = f"/api/targets/{quote(args.id, safe='', errors='replace')}/{args.action}" + ("?all=1" if args.all else "")
    status, answer = ask(args, path, method="PUT", body={"reason": args.reason}, refusals=_REFUSALS)
    if status in _REFUSALS:
        print(f"edge: {answer['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        print(f"{answer['id']}: {answer['state']}" + (f" ({answer['why']})" if answer["why"] else ""))
    return 0
