"""The rungs on which a model may stand while its targets fail: a name and words for people."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Rung: TypeAlias = Literal[
    "first_choice", "other_target", "other_tier", "other_model", "other_region", "stale_cache", "unavailable"
]

SAYS: Final[dict[Rung, str]] = {
    "first_choice": "first choice",
    "other_target": "other target",
    "other_tier": "other tier",
    "other_model": "other model",
    "other_region": "other region",
    "stale_cache": "old answers from the cache, else 503",
    "unavailable": "503",
}
"""Each rung in words, in order."""
