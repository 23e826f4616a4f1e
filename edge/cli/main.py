"""Which subcommand is meant?  The one table of them; each module is imported only for what it is asked.

A module of ``COMMANDS`` has ``add(subparsers)``, which declares its arguments and sets ``run`` to a function from the
parsed arguments to an exit status. It imports the house only inside that function: ``edge --help`` reads every module
and must answer within 150 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
from typing import IO, TYPE_CHECKING, Final

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

_OUTPUT: Final = frozenset({errno.ENOSPC, errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO})

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
    _steady_streams()
    try:
        try:
            return _obey(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has left (edge config show | head): nothing is wrong, and nothing more can be said.
        _give_up(sys.stdout)
    except OSError as error:
        _say_failure(error)
    return 1


def _obey(asked: argparse.Namespace) -> int:
    try:
        status: int = asked.run(asked)
    except (EdgeError, ImportError) as error:  # ImportError: a part is not built or not installed, and says which
        print(f"edge: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _steady_streams() -> None:
    """Let every character be printed: what an encoding lacks, and half of a pair in a name, comes as an escape.

    Where a stream was closed by who started us (``>&-``) Python has none; what is written to it fails, as elsewhere.
    """
    if sys.stdout is None:
        sys.stdout = _nothing(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _nothing(os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nothing(way: int) -> IO[str]:
    """Return the null device as a stream, and hold its number (that of what was closed) in every child as well."""
    number = os.open(os.devnull, way)
    os.set_inheritable(number, True)
    return open(number, "w", encoding="utf-8")  # noqa: PTH123


def _say_failure(error: OSError) -> None:
    """Say what the system refused: our output, a file that has a name, or something else."""
    why = error.strerror or str(error)
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
            _give_up(stream)


def _give_up(stream: IO[str]) -> None:
    """Let what is not written yet go nowhere, or Python fails once more at its end, with a status of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
