"""Keys of edge.yaml that are planned, and what this version does instead, for error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.config.crowding import Concurrency
from edge.config.schema_telemetry import Telemetry

if TYPE_CHECKING:
    from msgspec import Struct

PLANNED: Final[dict[type[Struct], dict[str, str]]] = {
    Concurrency: {
        "initial": "a target has no limit until it shows that it is full",
        "max": "max_inflight is the hard limit of a target",
    },
    Telemetry: {"content": "this version records neither prompts nor responses"},
}
"""Planned keys that this version does not support, by section, with what this version does instead."""
