"""``edge run [-c edge.yaml]``: runs a node (supervisor, control and workers) until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.amounts import seconds

if TYPE_CHECKING:
    from collections.abc import Callable


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge run`` to the parser."""
    parser = subparsers.add_parser("run", help="run a node")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="default: derived from provider keys in the environment"
    )
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="number of worker processes; 0: everything in one process"
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long exchanges in flight get to end when the node stops (30)",
    )
    parser.add_argument(
        "--drain-grace",
        type=seconds,
        metavar="SECONDS",
        help="how long /ready fails before the node stops accepting (node.drain_grace)",
    )
    parser.add_argument(
        "--state-dir",
        metavar="FOLDER",
        help='folder of the last good configuration; "" stores none (node.state_dir)',
    )
    parser.add_argument("--ready-file", type=_file, metavar="FILE", help="write the addresses as JSON once all serve")
    parser.add_argument(
        "--log-level",
        type=_one_of("EDGE_LOG_LEVEL", "debug", "info", "warning", "error"),
        metavar="LEVEL",
        default=os.environ.get("EDGE_LOG_LEVEL") or None,
        help="lowest level that is logged: debug, info, warning or error (EDGE_LOG_LEVEL, log.level)",
    )
    parser.add_argument(
        "--log-format",
        type=_one_of("EDGE_LOG_FORMAT", "auto", "console", "json"),
        metavar="FORMAT",
        default=os.environ.get("EDGE_LOG_FORMAT") or None,
        help="auto (console on a terminal, else json), console or json (EDGE_LOG_FORMAT, log.format)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the node; return its exit status."""
    from edge.app.start import Options  # noqa: PLC0415
    from edge.app.start import run as run_node  # noqa: PLC0415

    options = Options(
        config=args.config,
        workers=args.workers,
        grace_s=args.grace,
        drain_grace_s=args.drain_grace,
        state_dir=args.state_dir,
        ready_file=args.ready_file,
        log_level=args.log_level,
        log_form=args.log_format,
    )
    return run_node(options, os.environ)


def _one_of(variable: str, *words: str) -> Callable[[str], str]:
    """Return a type that accepts these words; unlike ``choices`` it also checks a default from the environment."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(words)} (given here or in {variable})")
        return text.lower()

    return read


def _workers(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 64:  # noqa: PLR2004  # the shared state has 64 columns
        raise argparse.ArgumentTypeError("the number of workers must be 0 to 64")
    return number


def _file(text: str) -> Path:
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"{text!r} does not name a file")
    return path
