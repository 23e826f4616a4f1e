"""What amounts may an argument say?  Those that a wait can take, and argparse says what is wrong with any other."""

from __future__ import annotations

import argparse
import math
from typing import Final

MOST_S: Final = 365 * 86400.0


def seconds(text: str) -> float:
    """Return a time that can be waited for: 0 to a year.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_S:  # nor is nan
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; write 0 or more, up to {MOST_S:.0f}")
    return number
