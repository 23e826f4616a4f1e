"""Take a target out by hand?  ``edge target drain|eject|restore ID --reason WHY``: until it is restored."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from edge.cli.asking import add_address, ask, understood

if TYPE_CHECKING:
    import argparse

_HELP: Final = {
    "drain": "let it finish what it has, and give it nothing new",
    "eject": "the same, for one that misbehaves",
    "restore": "let it take part again",
}
_REFUSALS: Final = frozenset({400, 404, 409, 503})


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge target drain``, ``eject`` and ``restore``."""
    parser = subparsers.add_parser("target", help="take a target of a running node out by hand, or give it back")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, said in _HELP.items():
        action = actions.add_parser(name, help=said)
        action.add_argument("id", help="as `edge status` shows it, such as openai/gpt-4.1-mini")
        action.add_argument("--reason", required=name != "restore", default="", help="why, for whoever looks later")
        action.add_argument("--all", action="store_true", help="in all regions, through the cluster")
        add_address(action)
        action.set_defaults(run=run, action=name)


def run(asked: argparse.Namespace) -> int:
    """Ask for it; 0 when it is so."""
    from urllib.parse import quote  # noqa: PLC0415

    path = f"/api/targets/{quote(asked.id, safe='', errors='replace')}/{asked.action}" + ("?all=1" if asked.all else "")
    status, answer = ask(asked, path, method="PUT", body={"reason": asked.reason}, refusals=_REFUSALS)
    if status in _REFUSALS:
        print(f"edge: {answer['error']}", file=sys.stderr)
        return 1
    with understood(asked):
        print(f"{answer['id']}: {answer['state']}" + (f" ({answer['why']})" if answer["why"] else ""))
    return 0
