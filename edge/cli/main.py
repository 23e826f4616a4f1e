"""Which subcommand is meant?  The one table of them; each module is imported only for what it is asked.

A module of ``COMMANDS`` has ``add(subparsers)``, which declares its arguments and sets ``run`` to a function from the
parsed arguments to an exit status. It imports the house only inside that function: ``edge --help`` reads every module
and must answer within 150 ms.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    "run",
    "status",
    "top",
    "trace",
    "check",
    "config",
    "reload",
    "drain",
    "target",
    "keys",
    "cluster",
    "sim",
    "demo",
)
"""Modules of ``edge.cli``, in the order of ``edge --help``. A new subcommand is a module and its name here."""

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line. A module that is named and missing is an ImportError."""
    whole = argparse.ArgumentParser(
        prog="edge", description="Keeps applications answered while AI providers and services fail."
    )
    whole.add_argument("--version", action="version", version=f"edge {VERSION}")
    subparsers = whole.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"edge.cli.{name}").add(subparsers)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit status: 0 done, 1 refused or failed, 2 not understood."""
    asked = parser().parse_args(arguments)
    try:
        status: int = asked.run(asked)
        sys.stdout.flush()
    except (EdgeError, ImportError) as error:  # ImportError: a part is not built or not installed, and says which
        print(f"edge: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (edge config show | head): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
