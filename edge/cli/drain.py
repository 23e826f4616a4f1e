"""Take a node out of service?  ``edge drain``: it says that it is not ready, finishes what it has, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cli.asking import add_address, ask, understood

if TYPE_CHECKING:
    import argparse


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge drain``."""
    parser = subparsers.add_parser("drain", help="take a running node out of service; it ends when all is answered")
    add_address(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Ask for it; 0 when it has begun."""
    _, answer = ask(asked, "/api/drain", method="POST")
    with understood(asked):
        if answer["draining"] is not True:
            raise ValueError("draining is not true")
    print("the node drains; it ends when everything is answered")
    return 0
