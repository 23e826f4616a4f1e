"""Has the configuration changed?  ``edge reload``: the node reads it again, and says what is wrong with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from edge.cli.asking import add_address, ask, understood

if TYPE_CHECKING:
    import argparse

_REFUSALS: Final = frozenset({409, 422})


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge reload``."""
    parser = subparsers.add_parser("reload", help="have a running node read its configuration again")
    add_address(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Ask for it; 0 when the configuration holds now, 1 when it was refused and nothing has changed."""
    status, answer = ask(asked, "/api/reload", method="POST", refusals=_REFUSALS)
    if status in _REFUSALS:
        with understood(asked):
            for problem in answer.get("problems", ()):
                print(problem, file=sys.stderr)
        print(f"edge: {answer['error']}", file=sys.stderr)
        return 1
    with understood(asked):
        version, workers = answer["version"], answer["workers"]
        if not answer["changed"]:
            print(f"nothing is different: version {version} holds")
        else:
            print(f"version {version} holds on {workers} worker{'' if workers == 1 else 's'}")
    return 0
