"""``edge target drain|eject|restore ID --reason WHY``: takes a target out of rotation until it is restored.

``edge target weight ID WEIGHT --reason WHY`` changes its share of the traffic until the weight is ``configured`` again.
``--region`` and ``--cluster`` do so on all nodes of the region, or of all regions.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Final

from edge.cli.admin_client import add_address, ask, interpreting

_HELP: Final = {
    "drain": "let a target finish its requests, and give it no new ones",
    "eject": "the same, for a target that misbehaves",
    "restore": "put a target back into rotation",
}
_REFUSALS: Final = frozenset({400, 404, 409, 503})


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge target drain``, ``eject``, ``restore`` and ``weight`` to the parser."""
    parser = subparsers.add_parser("target", help="take a target of a running node out of rotation, or weigh it")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, description in _HELP.items():
        action = actions.add_parser(name, help=description)
        action.add_argument("id", help="as `edge status` shows it, such as openai/gpt-4.1-mini")
        action.add_argument("--reason", required=name != "restore", default="", help="why, for later readers")
        _add_scope(action)
        add_address(action)
        action.set_defaults(run=run, action=name)

    action = actions.add_parser("weight", help="change a target's share of the traffic")
    action.add_argument("id", help="as `edge status` shows it, such as openai/gpt-4.1-mini")
    action.add_argument("weight", type=weight_of, help="relative to the other targets of its tier, or `configured`")
    action.add_argument("--reason", default="", help="why, for later readers; needed for a weight")
    _add_scope(action)
    add_address(action)
    action.set_defaults(run=run, action="weight")


def _add_scope(action: argparse.ArgumentParser) -> None:
    scope = action.add_mutually_exclusive_group()
    for names, value, where in (
        (("--cluster", "--all"), "cluster", "of all regions"),
        (("--region",), "region", "of this node's region"),
    ):
        scope.add_argument(
            *names, dest="scope", action="store_const", const=value, help=f"on all nodes {where}, through the store"
        )


def weight_of(text: str) -> float | None:
    """Return a weight as a number; None: the one in the configuration.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    if text == "configured":
        return None
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise argparse.ArgumentTypeError(f"{text!r} is not a weight; write a number such as 0.5, or configured")
    return weight


def run(args: argparse.Namespace) -> int:
    """Send the operation; return 0 once it is in force."""
    from urllib.parse import quote  # noqa: PLC0415

    path = f"/api/targets/{quote(args.id, safe='', errors='replace')}/{args.action}"
    path += f"?scope={args.scope}" if args.scope else ""
    body = {"reason": args.reason} | ({"weight": args.weight} if args.action == "weight" else {})
    status, answer = ask(args, path, method="PUT", body=body, refusals=_REFUSALS)
    if status in _REFUSALS:
        print(f"edge: {answer['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        print(f"{answer['id']}: {answer['state']}" + (f" ({answer['why']})" if answer["why"] else ""))
    return 0
