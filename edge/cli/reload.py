"""``edge reload``: makes a node reload its configuration, and prints the problems if it is refused."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from edge.cli.admin_client import add_address, ask, interpreting

if TYPE_CHECKING:
    import argparse

_REFUSALS: Final = frozenset({409, 422})


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge reload`` to the parser."""
    parser = subparsers.add_parser("reload", help="make a running node reload its configuration")
    add_address(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reload; return 0 if the configuration is in force, 1 if it was refused and nothing has changed."""
    status, answer = ask(args, "/api/reload", method="POST", refusals=_REFUSALS)
    if status in _REFUSALS:
        with interpreting(args):
            for problem in answer.get("problems", ()):
                print(problem, file=sys.stderr)
        print(f"edge: {answer['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        version, workers = answer["version"], answer["workers"]
        if not answer["changed"]:
            print(f"no changes: version {version} stays in force")
        else:
            print(f"version {version} is in force on {workers} worker{'' if workers == 1 else 's'}")
    return 0
