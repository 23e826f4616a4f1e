"""``edge keys``: makes a key for the file (``new``) or on a cluster (``create``), lists keys, and shows their usage."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from edge.cli import keys_cluster, keys_spend
from edge.cli.admin_client import add_address, ask, interpreting
from edge.cli.screen import screen

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

# Enough digits of a hash to tell keys apart on a screen.
_SHOWN_DIGITS: Final = 8
_FIELDS: Final = {
    "models": "models",
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "concurrent": "concurrent",
    "budget": "budget",
    "priority": "priority",
    "scope": "scope",
}
"""Options of ``new`` and the configuration fields that they set."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge keys`` and its actions to the parser."""
    parser = subparsers.add_parser("keys", help="make a key for a caller; show keys and their usage")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser("new", help="make a key: print the key to stdout, once, and its file entry to stderr")
    new.add_argument("name", help="who will use it, such as team-a")
    _add_limits(new)
    new.add_argument("--json", action="store_true", help="print name, key, sha256 and line as one JSON object")
    new.set_defaults(run=run_new)
    listed = actions.add_parser("list", help="show the keys of a configuration file")
    listed.add_argument("-c", "--config", default="edge.yaml", metavar="FILE", help="default: edge.yaml")
    listed.add_argument("--cluster", action="store_true", help="those of the running cluster, and not those of a file")
    add_address(listed)
    listed.add_argument("--json", action="store_true", help="print JSON")
    listed.set_defaults(run=run_list)
    status = actions.add_parser("status", help="show the usage of the keys of a running node")
    add_address(status)
    status.add_argument("--json", action="store_true", help="print the JSON of the admin API")
    status.set_defaults(run=run_status)
    keys_spend.add(actions)
    keys_cluster.add(actions, _add_limits)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", metavar="A,B", help="what it may use: aliases, provider/*, service:NAME (all)")
    parser.add_argument("--rpm", metavar="N", help="requests per minute")
    parser.add_argument("--tpm", metavar="N", help="tokens per minute")
    parser.add_argument("--concurrent", metavar="N", help="requests at once")
    parser.add_argument("--budget", metavar="USD", help="US dollars per calendar month")
    parser.add_argument("--priority", metavar="CLASS", help="high, normal or low (normal)")
    parser.add_argument("--scope", metavar="SCOPE", help="node or global (node)")


def run_new(args: argparse.Namespace) -> int:
    """Make a key and print it with its file entry; return 2 if an option is not valid."""
    import yaml  # noqa: PLC0415

    from edge.admission.keys import new_key, sha256_of  # noqa: PLC0415

    key = new_key()
    entry = entry_of(args, sha256_of(key))
    line = (
        "- " + yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()
    )
    problems = _problems(line)
    if problems:
        for problem in problems:
            print(f"edge: {problem}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"name": args.name, "key": key, "sha256": entry["sha256"], "line": line}))
        return 0
    print(key, flush=True)
    print(
        f"\nThis key is shown only once; give it to {args.name}. Add this to the file of every node, then run "
        f"`edge reload`:\n\nkeys:\n  {line}",
        file=sys.stderr,
    )
    return 0


def entry_of(args: argparse.Namespace, sha256: str) -> dict[str, Any]:
    """Return what a file would say of a key with the limits in the arguments."""
    entry: dict[str, Any] = {"name": args.name, "sha256": sha256}
    for option, field in _FIELDS.items():
        written = getattr(args, option)
        if written is not None:
            entry[field] = written.split(",") if option == "models" else _plain(written)
    return entry


def _plain(written: str) -> int | float | str:
    """Return a number as a number, so that YAML does not quote it, and anything else as it is, for the checks."""
    for kind in (int, float):
        try:
            return kind(written)
        except ValueError:
            continue
    return written


def _problems(line: str) -> list[str]:
    """Return the problems that a configuration with this key would have, whatever else is in it."""
    from edge.config.check_keys import keys  # noqa: PLC0415
    from edge.config.load import read_text  # noqa: PLC0415
    from edge.config.problems import spell  # noqa: PLC0415

    document = read_text(f"keys:\n  {line}\n", environ={})
    found = [*document.problems, *keys(document, document.config, {})]
    return [
        f"{spell(problem.path[2:])}: {problem.sentence}"
        for problem in found
        if problem.severity == "error" and problem.path[2:3] != ("models",)  # only the file knows the models
    ]


def run_list(args: argparse.Namespace) -> int:
    """Show the keys of a file, even if it has other problems; return 1 if it cannot be read at all."""
    if args.cluster:
        return keys_cluster.list_cluster(args)
    from edge.config.load import read  # noqa: PLC0415

    document = read(args.config)
    unread = [problem for problem in document.problems if not problem.path]
    if unread:
        print(f"edge: {unread[0].text(document.source)}", file=sys.stderr)
        return 1
    keys: list[dict[str, Any]] = [
        {
            "name": key.name,
            "sha256": key.sha256[:_SHOWN_DIGITS].lower(),
            "models": list(key.models),
            "priority": key.priority,
            "requests_per_minute": key.requests_per_minute,
            "tokens_per_minute": key.tokens_per_minute,
            "concurrent": key.concurrent,
            "budget": key.budget,
            "scope": key.scope,
        }
        for key in document.config.keys
    ]
    if args.json:
        print(json.dumps(keys, indent=2))
        return 0
    if not keys:
        print(f"{document.source} has no keys: loopback clients need none; `edge keys new NAME` makes one")
        return 0
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("key", "sha256", "priority", "requests/min", "tokens/min", "at once", "budget", "models"):
        table.add_column(name, justify="right" if name[-3:] in ("min", "nce", "get") else "left")
    for key in keys:
        table.add_row(
            key["name"],
            f"{key['sha256']}…",
            key["priority"],
            *(_bound(key[name]) for name in ("requests_per_minute", "tokens_per_minute", "concurrent")),
            "-" if key["budget"] is None else f"${key['budget']:,g}",
            ", ".join(key["models"]) or "everything",
        )
    screen().print(table)
    return 0


def run_status(args: argparse.Namespace) -> int:
    """Show the usage of a node's keys; return 0 if the node responds."""
    usage = ask(args, "/api/keys")[1]
    if args.json:
        print(json.dumps(usage, indent=2))
        return 0
    with interpreting(args):
        if not usage["keys"]:
            print("this node has no keys: clients need none")
        console = screen()
        for shown in (usage["keys"], usage["credentials"]):
            if shown:
                console.print(status_table(shown))
    return 0


def status_table(keys: list[dict[str, Any]]) -> Table:
    """Return a table of keys, or of credentials, from ``/api/keys``."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    of_callers = "priority" in keys[0]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key" if of_callers else "provider", no_wrap=True)
    for name in ("requests left", "tokens left", "at once", "requests", "prompt", "output", "spent"):
        table.add_column(name, justify="right")
    if of_callers:
        table.add_column("refused")
    for key in keys:
        budget = key.get("budget")
        spent = f"${key.get('spent', key['cost']):,.2f}" + (f" of ${budget:,g}" if budget else "")
        if key.get("may_spend_here") is not None:
            spent += f", ${key['may_spend_here']:,.2f} here"
        row = [
            key["name"],
            _left(key["requests"]),
            _left(key["tokens"]),
            str(key["inflight"]) + (f" of {key['concurrent']}" if key.get("concurrent") else ""),
            f"{key['admitted']:,}" if of_callers else "-",
            f"{key['prompt_tokens']:,}",
            f"{key['output_tokens']:,}",
            spent,
        ]
        refused = {name: count for name, count in key.get("refused", {}).items() if count}
        refusals = ", ".join(f"{count:,} by {name}" for name, count in refused.items())
        table.add_row(*row, *([Text(refusals, style="yellow")] if of_callers else []))
    return table


def _left(bound: dict[str, Any] | None) -> str:
    return "-" if bound is None else f"{bound['remaining']:,} ({bound['limit']:,g}/min)"


def _bound(value: int) -> str:
    return f"{value:,}" if value else "-"
