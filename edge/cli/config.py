"""``edge config show`` and ``edge config schema``: print the effective configuration and its JSON Schema."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``edge config show`` and ``edge config schema`` to the parser."""
    parser = subparsers.add_parser("config", help="show the effective configuration, or the schema of the file")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print the effective configuration as YAML, with secrets hidden")
    show.add_argument("-c", "--config", metavar="FILE", help="default: derived from provider keys in the environment")
    show.set_defaults(run=run_show)
    schema = actions.add_parser("schema", help="print a JSON Schema of edge.yaml, for editors")
    schema.set_defaults(run=run_schema)


def run_show(args: argparse.Namespace) -> int:
    """Print the effective configuration; an invalid file has none, only problems."""
    from edge.config import effective  # noqa: PLC0415
    from edge.config.show import show  # noqa: PLC0415
    from edge.control.compose import from_keys, load_checked  # noqa: PLC0415
    from edge.providers import IN_ENVIRONMENT, KNOWN  # noqa: PLC0415

    config = load_checked(args.config) if args.config else from_keys(os.environ)
    if config is None:
        variables = ", ".join(provider.key_variables[0] for provider in IN_ENVIRONMENT.values())
        print(f"edge: no file (-c FILE), and none of {variables} is set", file=sys.stderr)
        return 1
    print(show(effective.whole(config, KNOWN)), end="")
    return 0


def run_schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    import json  # noqa: PLC0415

    from edge.config.show import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
