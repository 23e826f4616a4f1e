"""Statistics over measurements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0..1) of ``values`` do not exceed; 0 without values.

    This is the nearest-rank quantile, which is always a measured value, even for a small sample.
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else 0.0
