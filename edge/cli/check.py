"""``edge check FILE``: prints every problem of a configuration file with its line, its path and the remedy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from edge.config.problems import Problem


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge check`` to the parser."""
    parser = subparsers.add_parser("check", help="check a configuration file and list all problems")
    parser.add_argument("file", nargs="?", default="edge.yaml", help="default: edge.yaml")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the problems; return 1 if any of them keeps edge from starting."""
    from edge.config.check import check  # noqa: PLC0415
    from edge.config.load import read  # noqa: PLC0415
    from edge.config.problems import errors  # noqa: PLC0415
    from edge.providers import KNOWN  # noqa: PLC0415

    document = read(args.file)
    problems = check(document, KNOWN)
    refused = len(errors(problems))
    _print(problems, document.source)
    warned = len(problems) - refused
    if refused:
        print(f"{document.source}: {_count(refused, 'error')}, {_count(warned, 'warning')}", file=sys.stderr)
        return 1
    models, services = len(document.config.models), len(document.config.services)
    summary = f"{document.source}: valid: {_count(models, 'model')}, {_count(services, 'service')}"
    print(summary + (f", {_count(warned, 'warning')}" if warned else ""))
    return 0


def _print(problems: list[Problem], source: str) -> None:
    """Print one problem per line, in colour on a terminal, else as plain text from which editors can jump to a line."""
    if not sys.stdout.isatty():
        for problem in problems:
            print(problem.text(source))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from edge.config.problems import spell  # noqa: PLC0415

    console: Any = Console(highlight=False, soft_wrap=True)
    for problem in problems:
        style = "bold red" if problem.severity == "error" else "yellow"
        line = Text().append(f"{source}:{problem.line} " if problem.line else f"{source} ", style="dim")
        line.append(f"{spell(problem.path)} ", style="bold")
        line.append(problem.severity, style=style)
        line.append(f" {problem.sentence}")
        console.print(line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
