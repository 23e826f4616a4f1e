"""Start a node?  ``edge run [-c edge.yaml]``: supervisor, control and workers, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.amounts import seconds

if TYPE_CHECKING:
    from collections.abc import Callable


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge run``."""
    parser = subparsers.add_parser("run", help="start a node: this is edge itself")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="default: made from the provider keys in the environment"
    )
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="processes that carry traffic; 0: everything in one process"
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for exchanges when stopped (30)",
    )
    parser.add_argument(
        "--drain-grace",
        type=seconds,
        metavar="SECONDS",
        help="how long to accept on while /ready already fails (node.drain_grace)",
    )
    parser.add_argument(
        "--state-dir",
        metavar="FOLDER",
        help='where the last good configuration is kept; "" keeps none (node.state_dir)',
    )
    parser.add_argument("--ready-file", type=_file, metavar="FILE", help="write the addresses as JSON when all is up")
    parser.add_argument(
        "--log-level",
        type=_one_of("EDGE_LOG_LEVEL", "debug", "info", "warning", "error"),
        metavar="LEVEL",
        default=os.environ.get("EDGE_LOG_LEVEL") or None,
        help="the least that is said: debug, info, warning or error (EDGE_LOG_LEVEL, log.level)",
    )
    parser.add_argument(
        "--log-format",
        type=_one_of("EDGE_LOG_FORMAT", "auto", "console", "json"),
        metavar="FORMAT",
        default=os.environ.get("EDGE_LOG_FORMAT") or None,
        help="auto (for people on a terminal, else JSON lines), console or json (EDGE_LOG_FORMAT, log.format)",
    )
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Run the node; return its exit status."""
    from edge.app.start import Options  # noqa: PLC0415
    from edge.app.start import run as run_node  # noqa: PLC0415

    options = Options(
        config=asked.config,
        workers=asked.workers,
        grace_s=asked.grace,
        drain_grace_s=asked.drain_grace,
        state_dir=asked.state_dir,
        ready_file=asked.ready_file,
        log_level=asked.log_level,
        log_form=asked.log_format,
    )
    return run_node(options, os.environ)


def _one_of(variable: str, *words: str) -> Callable[[str], str]:
    """Return what reads one of these words; argparse looks at choices only where they are written, not at a default."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)} (here, or in {variable})")
        return text.lower()

    return read


def _workers(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 64:  # noqa: PLR2004  # the Board's columns
        raise argparse.ArgumentTypeError("0 to 64 workers are possible")
    return number


def _file(text: str) -> Path:
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"{text!r} names no file")
    return path
