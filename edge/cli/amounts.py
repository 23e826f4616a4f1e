"""Argument types for amounts; argparse reports why a value is not accepted."""

from __future__ import annotations

import argparse
import math
from typing import Final

MOST_S: Final = 365 * 86400.0


def seconds(text: str) -> float:
    """Return a time to wait, 0 to a year.

    Raises:
        argparse.ArgumentTypeError: the text is not a number in this range.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_S:  # also true for nan
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds; write 0 to {MOST_S:.0f}")
    return number
