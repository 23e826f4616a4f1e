"""``edge keys create``, ``rotate``, ``revoke`` and ``list --cluster``: keys of a running cluster, on all its nodes.

The key is drawn here, and only its SHA-256 is sent.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from edge.cli.admin_client import add_address, ask, interpreting

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.table import Table

_REFUSALS: Final = frozenset((400, 404, 409, 422, 503))


def add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],  # argparse has no public name for it
    add_limits: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``create``, ``rotate`` and ``revoke`` to the actions of ``edge keys``."""
    create = actions.add_parser("create", help="make a key on all nodes of a running cluster, and print it, once")
    create.add_argument("name", help="who will use it, such as team-a")
    add_limits(create)
    create.set_defaults(run=run_create)
    rotate = actions.add_parser("rotate", help="replace a key of the cluster, and print the new one, once")
    rotate.add_argument("name", help="the key's name")
    rotate.add_argument("--overlap", metavar="TIME", default="0s", help="how long the one before counts: 1h (0s)")
    rotate.set_defaults(run=run_rotate)
    revoke = actions.add_parser("revoke", help="revoke a key of the cluster on all nodes, at once")
    revoke.add_argument("name", help="the key's name")
    revoke.set_defaults(run=run_revoke)
    for parser in (create, rotate, revoke):
        add_address(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")


def run_create(args: argparse.Namespace) -> int:
    """Make a key; return 1 if the cluster refuses it, 2 if an option is not valid."""
    from edge.admission.keys import new_key, sha256_of  # noqa: PLC0415
    from edge.cli.keys import entry_of  # noqa: PLC0415  # which adds this module's actions

    key = new_key()
    entry = entry_of(args, sha256_of(key))
    name = entry.pop("name")
    return _made(args, key, _step(args, "PUT", f"/api/cluster/keys/{_quoted(name)}", entry))


def run_rotate(args: argparse.Namespace) -> int:
    """Replace a key; return 1 if the cluster refuses it, 2 if the overlap is not a time."""
    from edge.admission.keys import new_key, sha256_of  # noqa: PLC0415
    from edge.config.units import NS_PER_S, parse_duration  # noqa: PLC0415

    try:
        overlap = parse_duration(args.overlap) / NS_PER_S
    except ValueError as error:
        print(f"edge: --overlap: {error}", file=sys.stderr)
        return 2
    key = new_key()
    body = {"sha256": sha256_of(key), "overlap": overlap}
    return _made(args, key, _step(args, "POST", f"/api/cluster/keys/{_quoted(args.name)}/rotate", body))


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke a key; return 1 if the cluster refuses it."""
    shown = _step(args, "DELETE", f"/api/cluster/keys/{_quoted(args.name)}", None)
    if shown is None:
        return 1
    if args.json:
        print(json.dumps(shown))
    else:
        print(f"{args.name} is revoked; nodes that see the store refuse it now, others as soon as they see it")
    return 0


def list_cluster(args: argparse.Namespace) -> int:
    """Show the cluster's keys; return 1 if the node has no cluster."""
    status, answer = ask(args, "/api/cluster/keys", refusals=_REFUSALS)
    if status >= 400:  # noqa: PLR2004  # as ask() says
        print(f"edge: {answer['error']}", file=sys.stderr)
        return 1
    with interpreting(args):
        keys = answer["keys"]
        if args.json:
            print(json.dumps(keys, indent=2))
            return 0
        if keys:
            from edge.cli.screen import screen  # noqa: PLC0415

            screen().print(_table(keys))
        if answer["number"] > len(keys):
            print(f"and {answer['number'] - len(keys)} more")
        if not keys:
            print("the cluster has no keys; `edge keys create NAME` makes one")
        state = answer["state"]
        if not state["connected"]:
            print(f"the store is not reachable from this node: {state['error']}", file=sys.stderr)
    return 0


def _table(keys: list[dict[str, Any]]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("key", "state", "sha256", "priority", "requests/min", "tokens/min", "at once", "budget", "written"):
        table.add_column(name, justify="right" if name[-3:] in ("min", "nce", "get") else "left")
    for key in keys:
        state = key["state"] if key["in_store"] else f"{key['state']}, missing in the store"
        table.add_row(
            key["name"],
            state + (", the one before counts too" if key["previous_until"] else ""),
            f"{key['sha256']}…" if key["sha256"] else "",
            key["priority"],
            *(f"{key[name]:,}" if key[name] else "-" for name in ("requests_per_minute", "tokens_per_minute")),
            f"{key['concurrent']:,}" if key["concurrent"] else "-",
            f"${key['budget']:,g}" if key["budget"] else "-",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(key["written"])),
        )
    return table


def _step(args: argparse.Namespace, method: str, path: str, body: Any) -> dict[str, Any] | None:
    """Send a change; return the key as listed, or None after a refusal, which is printed."""
    status, answer = ask(args, path, method=method, body=body, refusals=_REFUSALS)
    if status >= 400:  # noqa: PLR2004  # as ask() says
        print(f"edge: {answer['error']}", file=sys.stderr)
        return None
    found: dict[str, Any] = answer
    return found


def _made(args: argparse.Namespace, key: str, shown: dict[str, Any] | None) -> int:
    if shown is None:
        return 1
    if args.json:
        print(json.dumps({"name": shown["name"], "key": key, "generation": shown["generation"]}))
        return 0
    print(key, flush=True)
    print(f"\nThis key is shown only once; give it to {shown['name']}. Every node takes it now.", file=sys.stderr)
    return 0


def _quoted(name: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return quote(name, safe="")
