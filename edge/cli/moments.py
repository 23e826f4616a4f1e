"""Argument types for moments: a date, a date with a time, or how long ago."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime
from typing import Final

_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def moment(text: str) -> int:
    """Return Unix seconds for ``2026-05-08``, ``2026-05-08T09:30`` (UTC unless it names a zone), or ``12h`` ago.

    Raises:
        argparse.ArgumentTypeError: the text is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return int(time.time()) - int(ago[1]) * _UNITS[ago[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write 2026-05-08, 2026-05-08T09:30, or 12h for twelve hours ago"
        ) from error
    if read.tzinfo is None:
        read = read.replace(tzinfo=UTC)
    return max(int(read.timestamp()), 0)


def spelled(seconds: float) -> str:
    """Return Unix seconds as text in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
