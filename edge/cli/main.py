"""Dispatch of the command line: the table of subcommands, exit statuses, and failures of the output streams.

A module of ``COMMANDS`` has ``add(subparsers)``, which adds its arguments and sets ``run`` to a function that takes the
parsed arguments and returns the exit status. Only that function imports other parts of edge: ``edge --help`` imports
every module and must finish within 150 ms. A command line that begins with a subcommand imports its module alone.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
from typing import IO, TYPE_CHECKING, Any, Final

from edge.errors import EdgeError
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    "run",
    "status",
    "top",
    "trace",
    "incidents",
    "alerts",
    "report",
    "history",
    "check",
    "config",
    "doctor",
    "reload",
    "drain",
    "target",
    "keys",
    "cluster",
    "sim",
    "demo",
    "bench",
    "drill",
    "completion",
)
"""Modules of ``edge.cli``, in the order of ``edge --help``. To add a subcommand, add a module and its name here."""

_OUTPUT: Final = frozenset({errno.ENOSPC, errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO})

INTERRUPTED: Final = 130  # 128 + SIGINT, the convention of shells


class CommandParser(argparse.ArgumentParser):
    """Refuses what a command does not know with that command's own usage; argparse prints that of edge alone."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Return the arguments; those of a subcommand come here first, through its own parser."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def parser(commands: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of these subcommands, of all by default.

    Raises:
        ImportError: a module of ``COMMANDS`` is missing.
    """
    whole = CommandParser(prog="edge", description="Keeps applications answered while AI providers and services fail.")
    whole.add_argument("--version", action="version", version=f"edge {VERSION}")
    subparsers = whole.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS if commands is None else commands:
        importlib.import_module(f"edge.cli.{name}").add(subparsers)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit status: 0 done, 1 refused or failed, 2 usage error."""
    _harden_streams()
    try:
        try:
            words = sys.argv[1:] if arguments is None else arguments
            commands = words[:1] if words and words[0] in COMMANDS else None
            return _run(parser(commands).parse_args(words))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output is gone (edge config show | head), which is not an error to report.
        _discard(sys.stdout)
    except OSError as error:
        _report(error)
    return 1


def _run(args: argparse.Namespace) -> int:
    try:
        status: int = args.run(args)
    except (EdgeError, ImportError) as error:  # ImportError: a part is not built or not installed; its text says which
        print(f"edge: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _harden_streams() -> None:
    """Make every character printable, by escaping what the encoding lacks, and replace closed streams.

    Python has no object for a stream that the parent process closed (``>&-``); writing to the replacement fails, as
    writing to a closed stream does.
    """
    if sys.stdout is None:
        sys.stdout = _null(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _null(os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _null(mode: int) -> IO[str]:
    """Return the null device as a stream; its descriptor, the number of the closed one, is inherited by children."""
    number = os.open(os.devnull, mode)
    os.set_inheritable(number, True)
    return open(number, "w", encoding="utf-8")  # noqa: PTH123


def _report(error: OSError) -> None:
    """Print which operation the system refused: writing the output, a named file, or something else."""
    why = (
        error.strerror
        or str(error)
        or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    )
    if error.filename is not None:
        why = f"{error.filename}: {why}"
    elif error.errno in _OUTPUT:
        why = f"the output cannot be written: {why}"
    with contextlib.suppress(OSError):
        print(f"edge: {why}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _discard(stream)


def _discard(stream: IO[str]) -> None:
    """Drop unwritten output; otherwise Python fails to flush it at exit and changes the exit status."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
