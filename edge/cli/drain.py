"""``edge drain``: takes a node out of service; it reports not ready, finishes its requests, and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cli.admin_client import add_address, ask, interpreting

if TYPE_CHECKING:
    import argparse


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge drain`` to the parser."""
    parser = subparsers.add_parser("drain", help="take a running node out of service; it stops when all is answered")
    add_address(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start draining; return 0 once it has begun."""
    _, answer = ask(args, "/api/drain", method="POST")
    with interpreting(args):
        if answer["draining"] is not True:
            raise ValueError("draining is not true")
    print("the node is draining; it stops when all requests are answered")
    return 0
